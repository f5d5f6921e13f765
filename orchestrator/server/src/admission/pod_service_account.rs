//! Every pod runs as a ServiceAccount of its namespace and, unless it says otherwise, finds that account's token mounted.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{suffix, writes};
use crate::kinds::json::{fill, fill_text, is_empty, is_set, items, items_mut, present, set, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and a little, so that such tokens can be told apart from those asked for by hand.
const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";
/// An account marked so lets its pods have only the secrets that it lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// Lists of containers, and the word for one of each.
const CONTAINERS: [(&str, &str); 3] =
    [("containers", "container"), ("initContainers", "init container"), ("ephemeralContainers", "ephemeral container")];

pub struct PodServiceAccount;

#[async_trait]
impl Admit for PodServiceAccount {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !writes(request, Operation::Create, "pods") {
            return Ok(());
        }
        let Some(pod) = request.object.as_mut() else { return Ok(()) };
        if pod["metadata"]["annotations"].get(MIRROR).is_some() {
            let refused = of_mirror(&pod["spec"]).map(|why| Status::forbidden(request.kind, request.name, why));
            return refused.map_or(Ok(()), Err);
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
        let is_strict = account["metadata"]["annotations"][ENFORCE] == "true";
        let refused = is_strict.then(|| beyond_account(spec, &account)).flatten();
        refused.map_or(Ok(()), |why| Err(Status::forbidden(request.kind, request.name, &why)))
    }
}

/// What the shadow of a static pod may not have: nobody gave it to its node.
fn of_mirror(spec: &Value) -> Option<&'static str> {
    if !is_empty(&spec["serviceAccountName"]) {
        return Some("a mirror pod may not reference service accounts");
    }
    let volumes = items(&spec["volumes"]);
    let sources = || volumes.iter().flat_map(|volume| items(&volume["projected"]["sources"]));
    let in_volumes =
        volumes.iter().any(|volume| is_set(&volume["secret"])) || sources().any(|one| is_set(&one["secret"]));
    let in_containers = CONTAINERS
        .iter()
        .any(|(list, _)| items(&spec[*list]).iter().any(|container| !secrets_of(container).is_empty()));
    if in_volumes || in_containers || !is_empty(&spec["imagePullSecrets"]) {
        return Some("a mirror pod may not reference secrets");
    }
    let takes_token = sources().any(|one| is_set(&one["serviceAccountToken"]));
    takes_token.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// Where a container takes secrets from: the words for the place, and the secret.
fn secrets_of(container: &Value) -> Vec<(String, &str)> {
    let env = items(&container["env"]).iter().filter_map(|variable| {
        let secret = variable["valueFrom"]["secretKeyRef"].get("name")?;
        Some((format!("with envVar {}", text(&variable["name"])), text(secret)))
    });
    let whole = items(&container["envFrom"])
        .iter()
        .filter_map(|source| Some(("with envFrom".to_owned(), text(source["secretRef"].get("name")?))));
    env.chain(whole).collect()
}

/// The first secret of a pod that its account, which must list them, does not.
fn beyond_account(spec: &Value, account: &Value) -> Option<String> {
    let name = text(&account["metadata"]["name"]);
    let lists = |list: &str, secret: &str| items(&account[list]).iter().any(|one| one["name"] == secret);
    let unlisted = |secret: &str| {
        let tail = format!("is not allowed because service account {name} does not reference that secret");
        (!lists("secrets", secret)).then(|| format!("secret.secretName=\"{secret}\" {tail}"))
    };
    let volumes = items(&spec["volumes"]).iter().filter(|volume| is_set(&volume["secret"]));
    let mut volumes = volumes.filter_map(|volume| unlisted(text(&volume["secret"]["secretName"])));
    if let Some(why) = volumes.next() {
        return Some(format!("volume with {why}"));
    }
    for (list, word) in CONTAINERS.iter().take(2).rev() {
        for container in items(&spec[*list]) {
            let mut refused =
                secrets_of(container).into_iter().filter_map(|(place, secret)| Some((place, unlisted(secret)?)));
            if let Some((place, why)) = refused.next() {
                return Some(format!("{word} {} {place} referencing {why}", text(&container["name"])));
            }
        }
    }
    let pulls = items(&spec["imagePullSecrets"]).iter().map(|one| text(&one["name"])).enumerate();
    let mut pulls = pulls.filter(|(_, secret)| !lists("imagePullSecrets", secret));
    let (index, secret) = pulls.next()?;
    Some(format!(
        "imagePullSecrets[{index}].name=\"{secret}\" is not allowed because service account {name} does not reference that imagePullSecret"
    ))
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
    fn mirror_pods_take_nothing_from_the_api() {
        for (spec, expected) in [
            (json!({ "containers": [{}] }), None),
            (json!({ "serviceAccountName": "a" }), Some("a mirror pod may not reference service accounts")),
            (json!({ "volumes": [{ "secret": {} }] }), Some("a mirror pod may not reference secrets")),
            (
                json!({ "initContainers": [{ "env": [{ "valueFrom": { "secretKeyRef": { "name": "s" } } }] }] }),
                Some("a mirror pod may not reference secrets"),
            ),
            (
                json!({ "volumes": [{ "projected": { "sources": [{ "serviceAccountToken": {} }] } }] }),
                Some("a mirror pod may not use ServiceAccountToken volume projections"),
            ),
        ] {
            assert_eq!(of_mirror(&spec), expected, "{spec}");
        }
    }

    #[test]
    fn a_strict_account_lists_the_secrets_of_its_pods() {
        let account = json!({ "metadata": { "name": "a" }, "secrets": [{ "name": "mine" }] });
        let show = |spec: Value| beyond_account(&spec, &account).unwrap_or_default();
        let from = |secret: &str| json!([{ "name": "c", "env": [{ "name": "E", "valueFrom": { "secretKeyRef": { "name": secret } } }] }]);
        assert_eq!(
            show(json!({ "containers": from("mine"), "volumes": [{ "secret": { "secretName": "mine" } }] })),
            ""
        );
        expect![[r#"volume with secret.secretName="other" is not allowed because service account a does not reference that secret"#]]
            .assert_eq(&show(json!({ "volumes": [{ "secret": { "secretName": "other" } }] })));
        expect![[r#"init container c with envVar E referencing secret.secretName="other" is not allowed because service account a does not reference that secret"#]]
            .assert_eq(&show(json!({ "initContainers": from("other"), "containers": from("another") })));
        expect![[r#"container c with envFrom referencing secret.secretName="other" is not allowed because service account a does not reference that secret"#]]
            .assert_eq(&show(json!({ "containers": [{ "name": "c", "envFrom": [{ "secretRef": { "name": "other" } }] }] })));
        expect![[r#"imagePullSecrets[0].name="p" is not allowed because service account a does not reference that imagePullSecret"#]]
            .assert_eq(&show(json!({ "imagePullSecrets": [{ "name": "p" }] })));
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
