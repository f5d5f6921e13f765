//! Every pod runs as a ServiceAccount of its namespace and, unless it says otherwise, finds that account's token mounted.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{suffix, writes};
use crate::kinds::json::{fill, fill_text, is_empty, items, items_mut, present, set, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and a little, so that such tokens can be told apart from those asked for by hand.
const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";

pub struct PodServiceAccount;

#[async_trait]
impl Admit for PodServiceAccount {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !writes(request, Operation::Create, "pods") {
            return Ok(());
        }
        let Some(pod) = request.object.as_mut() else { return Ok(()) };
        if pod["metadata"]["annotations"].get(MIRROR).is_some() {
            return Ok(());
        }
        let Some(spec) = present(pod, "spec") else { return Ok(()) };
        let name = name_account(spec);
        let Some(account) = request.cluster.get("serviceaccounts", request.namespace, &name) else {
            let namespace = request.namespace;
            let why =
                format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found");
            return Err(Status::forbidden(request.kind, request.name, &why));
        };
        take_from_account(spec, &account, &format!("{VOLUME_PREFIX}{}", suffix()));
        Ok(())
    }
}

/// The account's name, `default` when the pod has none; the deprecated twin of the field follows.
fn name_account(spec: &mut Value) -> String {
    fill_text(spec, "serviceAccountName", "default");
    let name = text(&spec["serviceAccountName"]).to_owned();
    set(spec, "serviceAccount", name.clone().into());
    name
}

/// Pull secrets and the token's volume; `volume` is its name if it is new.
fn take_from_account(spec: &mut Value, account: &Value, volume: &str) {
    if is_empty(&spec["imagePullSecrets"]) && !is_empty(&account["imagePullSecrets"]) {
        set(spec, "imagePullSecrets", account["imagePullSecrets"].clone());
    }
    let field = "automountServiceAccountToken";
    let wanted = spec[field].as_bool().or(account[field].as_bool()).unwrap_or(true);
    if wanted {
        mount_token(spec, volume);
    }
}

fn mount_token(spec: &mut Value, new_volume: &str) {
    let names = items(&spec["volumes"]).iter().map(|volume| text(&volume["name"]));
    let existing = names.filter(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned).next();
    let volume = existing.clone().unwrap_or_else(|| new_volume.to_owned());
    let mount = json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH });
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            if items(&container["volumeMounts"]).iter().all(|mount| mount["mountPath"] != MOUNT_PATH) {
                push(container, "volumeMounts", mount.clone());
                mounted = true;
            }
        }
    }
    if mounted && existing.is_none() {
        push(spec, "volumes", token_volume(new_volume));
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [
                    { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
                ] } },
            ],
        },
    })
}

fn push(object: &mut Value, list: &str, item: Value) {
    fill(object, list, json!([]));
    if let Some(items) = object.get_mut(list).and_then(Value::as_array_mut) {
        items.push(item);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(mut spec: Value, account: Value, expect: Expect) {
        name_account(&mut spec);
        take_from_account(&mut spec, &account, "kube-api-access-xxxxx");
        if let Some(volumes) = spec.get("volumes").cloned() {
            assert_eq!(volumes, json!([token_volume("kube-api-access-xxxxx")]));
            set(&mut spec, "volumes", json!("the token's"));
        }
        expect.assert_eq(&spec.to_string());
    }

    #[test]
    fn a_pod_gets_account_token_and_pull_secrets() {
        let secrets = json!({ "imagePullSecrets": [{ "name": "s" }] });
        check(
            json!({ "containers": [{ "name": "a" }] }),
            secrets,
            expect![[
                r#"{"containers":[{"name":"a","volumeMounts":[{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"kube-api-access-xxxxx","readOnly":true}]}],"imagePullSecrets":[{"name":"s"}],"serviceAccount":"default","serviceAccountName":"default","volumes":"the token's"}"#
            ]],
        );
    }

    #[test]
    fn the_pod_may_refuse_and_overrules_the_account() {
        let refuse = json!({ "automountServiceAccountToken": false });
        check(
            json!({ "containers": [{}], "automountServiceAccountToken": false }),
            json!({}),
            expect![[
                r#"{"automountServiceAccountToken":false,"containers":[{}],"serviceAccount":"default","serviceAccountName":"default"}"#
            ]],
        );
        check(
            json!({ "containers": [{}], "serviceAccountName": "x" }),
            refuse,
            expect![[r#"{"containers":[{}],"serviceAccount":"x","serviceAccountName":"x"}"#]],
        );
    }

    #[test]
    fn a_mount_of_its_own_is_left_alone() {
        let mounts = json!([{ "name": "mine", "mountPath": MOUNT_PATH }]);
        let spec = json!({ "containers": [{ "volumeMounts": mounts }] });
        check(
            spec,
            json!({}),
            expect![[
                r#"{"containers":[{"volumeMounts":[{"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","name":"mine"}]}],"serviceAccount":"default","serviceAccountName":"default"}"#
            ]],
        );
    }
}
