//! Properties of the bootstrap policy, and that `ensure` does no more than needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::client::Body;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::authz::{Policy, Rbac};
use crate::seams::{Attributes, Authorize, Decision, Identity};

fn settings() -> Settings {
    let address = [127, 43, 0, 1].into();
    Settings {
        service_address: address,
        service_network: "10.96.0.0/16".to_owned(),
        api_addresses: vec![[127, 42, 0, 1].into()],
        api_port: 6443,
        client_authority: "clients".to_owned(),
        front_proxy_authority: "front".to_owned(),
    }
}

/// An API that keeps objects by path; `(client, objects, requests)`.
type Fake = (Client, Arc<Mutex<BTreeMap<String, Value>>>, Arc<Mutex<Vec<String>>>);

fn fake() -> Fake {
    let objects: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let (kept, seen) = (objects.clone(), requests.clone());
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (kept, seen) = (kept.clone(), seen.clone());
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path().to_owned();
            seen.lock().push(format!("{} {path}", parts.method));
            let body = body.collect_bytes().await?;
            let answer = if parts.method == http::Method::GET {
                let plural = path.rsplit('/').next().unwrap().to_owned();
                let items: Vec<Value> = kept
                    .lock()
                    .iter()
                    .filter(|(key, _)| key.split('/').rev().nth(1) == Some(&plural))
                    .map(|(_, object)| object.clone())
                    .collect();
                json!({"items": items})
            } else {
                let object: Value = serde_json::from_slice(&body).unwrap();
                let key = if parts.method == http::Method::POST {
                    format!("{path}/{}", object["metadata"]["name"].as_str().unwrap())
                } else {
                    path
                };
                kept.lock().insert(key, object.clone());
                object
            };
            Ok::<_, kube::Error>(http::Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    (Client::new(service, "default"), objects, requests)
}

#[tokio::test]
async fn a_second_pass_writes_nothing_and_a_narrowed_role_is_widened_again() {
    let (client, objects, requests) = fake();
    let written = ensure(&client, &settings()).await.unwrap();
    assert_eq!(written, objects.lock().len());
    requests.lock().clear();
    assert_eq!(ensure(&client, &settings()).await.unwrap(), 0);
    assert!(requests.lock().iter().all(|request| request.starts_with("GET ")));
    assert_eq!(requests.lock().len(), 15, "one list per kind");
    let key = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:discovery";
    let mine = json!({"verbs": ["get"], "nonResourceURLs": ["/mine"]});
    objects.lock().get_mut(key).unwrap()["rules"] = json!([mine]);
    assert_eq!(ensure(&client, &settings()).await.unwrap(), 1);
    assert_eq!(objects.lock()[key]["rules"].as_array().unwrap().len(), 2);
    let mut moved = settings();
    moved.api_addresses = vec![[127, 42, 0, 2].into()];
    assert_eq!(ensure(&client, &moved).await.unwrap(), 2, "Endpoints and EndpointSlice");
}

#[test]
fn the_policy_lets_each_do_its_work() {
    let rbac = Rbac::default();
    for desired in roles::roles() {
        let policy = match desired.object["kind"].as_str().unwrap() {
            "Role" => Policy::Role(serde_json::from_value(desired.object).unwrap()),
            "ClusterRole" => Policy::ClusterRole(serde_json::from_value(desired.object).unwrap()),
            "RoleBinding" => Policy::RoleBinding(serde_json::from_value(desired.object).unwrap()),
            _ => Policy::ClusterRoleBinding(serde_json::from_value(desired.object).unwrap()),
        };
        rbac.update(|index| index.apply(policy));
    }
    let may = |user: &str, groups: &[&str], verb: &str, group: &str, resource: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: "d".into(),
            ..Attributes::default()
        };
        matches!(rbac.authorize(&Identity::new(user, groups), &attributes), Decision::Allowed { .. })
    };
    assert!(may("system:kube-scheduler", &[], "create", "", "pods/binding"));
    assert!(!may("system:kube-scheduler", &[], "create", "", "pods"));
    assert!(may("system:kube-controller-manager", &[], "create", "", "pods"));
    assert!(may("system:kube-controller-manager", &[], "patch", "apps", "deployments/status"));
    assert!(may("system:serviceaccount:kube-system:job-controller", &[], "patch", "batch", "jobs/status"));
    assert!(!may("system:node:a", &["system:nodes"], "patch", "", "pods/status"), "the Node authorizer's");
    assert!(may("any", &["system:authenticated"], "create", "authorization.k8s.io", "selfsubjectaccessreviews"));
    assert!(!may("any", &["system:authenticated"], "get", "", "secrets"));
    for (kind, is_seen) in
        [("resourceclaims", true), ("resourceclaimtemplates", true), ("resourceclaims/status", false)]
    {
        let editors = |verb: &str| role_allows("system:aggregate-to-edit", (verb, "resource.k8s.io", kind));
        assert_eq!(editors("create"), is_seen, "{kind}");
    }
    assert!(role_allows(
        "system:controller:resource-claim-controller",
        ("update", "resource.k8s.io", "resourceclaims/status")
    ));
    assert!(role_allows("system:node", ("create", "resource.k8s.io", "resourceslices")));
    let rules = |name: &str| rbac_rules(&rbac, name);
    assert!(rules("admin") > rules("edit") && rules("edit") > rules("view"));
}

fn rbac_rules(rbac: &Rbac, name: &str) -> usize {
    let mut count = 0;
    rbac.update(|index| count = index.rules(&crate::authz::index::RoleName::Cluster(name.to_owned())).unwrap().len());
    count
}

#[test]
fn every_built_in_group_and_version_has_an_api_service() {
    let names: Vec<String> = objects::objects(&settings())
        .into_iter()
        .filter(|desired| desired.object["kind"] == "APIService")
        .map(|desired| desired.object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    for kind in crate::kinds::KINDS.iter().filter(|kind| kind.group != "apiregistration.k8s.io") {
        let name = format!("{}.{}", kind.version, kind.group);
        assert!(names.contains(&name), "{name} is missing");
    }
}

#[test]
fn what_a_cluster_starts_with_is_valid_and_needs_no_repair() {
    for desired in objects::objects(&settings()) {
        let kind =
            crate::kinds::KINDS.iter().find(|kind| desired.list.ends_with(&format!("/{}", kind.plural))).unwrap();
        if !matches!(kind.group, "flowcontrol.apiserver.k8s.io" | "apiregistration.k8s.io") {
            continue;
        }
        let mut object = desired.object.clone();
        (kind.prepare_create)(&mut object);
        (kind.defaults)(&mut object);
        assert_eq!((kind.validate)(&object), [], "{object}");
        assert_eq!(object["spec"], desired.object["spec"], "defaults change nothing");
    }
}

fn role_allows(role: &str, (verb, group, resource): (&str, &str, &str)) -> bool {
    let role = roles::roles()
        .into_iter()
        .find(|desired| desired.object["kind"] == "ClusterRole" && desired.object["metadata"]["name"] == role);
    let has = |rule: &Value, field: &str, wanted: &str| rule[field].as_array().unwrap().contains(&json!(wanted));
    role.unwrap().object["rules"]
        .as_array()
        .unwrap()
        .iter()
        .any(|rule| has(rule, "apiGroups", group) && has(rule, "resources", resource) && has(rule, "verbs", verb))
}
