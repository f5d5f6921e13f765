//! What a node may write: its own Node, Lease and CSINode, the status of the pods bound to it, mirror pods, tokens bound
//! to its pods. What it may read is the Node authorizer's (`authz/nodes.rs`).

use async_trait::async_trait;
use serde_json::Value;

use crate::authz::nodes::graph::{What, used_by};
use crate::authz::nodes::node_name;
use crate::kinds::json::{entries, is_empty, is_set, items, remove, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";
const NODE_RESTRICTION: &str = "node-restriction.kubernetes.io";
/// Labels of Kubernetes' own domains that a node may put on itself.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

pub struct NodeRestriction;

#[async_trait]
impl Admit for NodeRestriction {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let Some(node) = node_name(request.identity) else { return Ok(()) };
        let refused = |why: String| Status::forbidden(request.kind, request.name, &why);
        if node.is_empty() {
            return Err(refused(format!("could not determine node from user {:?}", request.identity.user)));
        }
        let write = Write { request, node };
        let verdict = match (request.kind.group, request.kind.plural, request.subresource) {
            ("", "pods", "") => write.pod()?,
            ("", "pods", "status") => write.pod_status(),
            ("", "pods", "eviction") => write.eviction()?,
            ("", "pods", other) => {
                Err(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
            }
            ("", "nodes", _) => write.node(),
            ("", "persistentvolumeclaims", "status") => write.claim_status(),
            ("", "persistentvolumeclaims", _) => Err("may only update PVC status".to_owned()),
            ("", "serviceaccounts", "token") => write.token()?,
            ("coordination.k8s.io", "leases", _) => write.lease(),
            ("storage.k8s.io", "csinodes", _) => {
                write.named("can only access CSINode with the same name as the requesting node")
            }
            _ => Ok(()),
        };
        verdict.map_err(refused)
    }
}

/// `Err` says why not.
type Verdict = Result<(), String>;

struct Write<'a> {
    request: &'a AdmissionRequest<'a>,
    node: &'a str,
}

impl Write<'_> {
    /// The pod that another object's address or reference names.
    fn stored_pod(&self, name: &str) -> Result<Value, Status> {
        let pod = self.request.cluster.get("pods", self.request.namespace, name);
        pod.ok_or_else(|| Status::not_found_resource(("", "pods"), name))
    }

    fn pod(&self) -> Result<Verdict, Status> {
        let node = self.node;
        match (self.request.operation, &self.request.object, self.request.old) {
            (Operation::Create, Some(pod), _) => {
                if let Err(why) = mirror_pod(pod, node) {
                    return Ok(Err(why));
                }
                let known = self.request.cluster.get("nodes", "", node);
                let known = known.ok_or_else(|| Status::not_found_resource(("", "nodes"), node))?;
                let (owner, uid) =
                    (text(&pod["metadata"]["ownerReferences"][0]["uid"]), text(&known["metadata"]["uid"]));
                Ok(if owner == uid {
                    Ok(())
                } else {
                    Err(format!("node {node} UID mismatch: expected {owner} got {uid}"))
                })
            }
            (Operation::Delete, _, Some(pod)) => {
                Ok(self.own_pod(pod, format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
            }
            (operation, ..) => Ok(Err(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                format!("{operation:?}").to_uppercase()
            ))),
        }
    }

    fn own_pod(&self, pod: &Value, why: String) -> Verdict {
        if pod["spec"]["nodeName"] == self.node { Ok(()) } else { Err(why) }
    }

    fn pod_status(&self) -> Verdict {
        let node = self.node;
        let (Some(new), Some(old)) = (&self.request.object, self.request.old) else { return Ok(()) };
        self.own_pod(
            old,
            format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"),
        )?;
        if !same(&new["metadata"]["labels"], &old["metadata"]["labels"]) {
            return Err(format!("node {node:?} cannot update labels through pod status"));
        }
        if !same(&new["status"]["resourceClaimStatuses"], &old["status"]["resourceClaimStatuses"]) {
            return Err(format!("node {node:?} cannot update resource claim statues"));
        }
        Ok(())
    }

    fn eviction(&self) -> Result<Verdict, Status> {
        let pod = self.stored_pod(self.request.name)?;
        let why = format!("node {} can only evict pods with spec.nodeName set to itself", self.node);
        Ok(self.own_pod(&pod, why))
    }

    fn node(&self) -> Verdict {
        let (node, name) = (self.node, self.request.name);
        if name != node {
            return Err(format!("node {node:?} is not allowed to modify node {name:?}"));
        }
        let Some(new) = &self.request.object else { return Ok(()) };
        let Some(old) = self.request.old else {
            if is_set(&new["spec"]["configSource"]) {
                return Err(format!("node {node:?} is not allowed to create pods with a non-nil configSource"));
            }
            let forbidden = forbidden_labels(&new["metadata"]["labels"], &Value::Null);
            if !forbidden.is_empty() {
                let labels = forbidden.join(", ");
                return Err(format!("node {node:?} is not allowed to set the following labels: {labels}"));
            }
            return Ok(());
        };
        let source = &new["spec"]["configSource"];
        if is_set(source) && source != &old["spec"]["configSource"] {
            return Err(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource"));
        }
        if !same(&new["spec"]["taints"], &old["spec"]["taints"]) {
            return Err(format!("node {node:?} is not allowed to modify taints"));
        }
        let forbidden = forbidden_labels(&new["metadata"]["labels"], &old["metadata"]["labels"]);
        if !forbidden.is_empty() {
            return Err(format!("is not allowed to modify labels: {}", forbidden.join(", ")));
        }
        Ok(())
    }

    fn claim_status(&self) -> Verdict {
        let (Some(new), Some(old)) = (&self.request.object, self.request.old) else { return Ok(()) };
        let bare = |claim: &Value| {
            let mut claim = claim.clone();
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                remove(&mut claim["status"], field);
            }
            remove(&mut claim["metadata"], "resourceVersion");
            remove(&mut claim["metadata"], "managedFields");
            claim
        };
        if bare(new) == bare(old) {
            return Ok(());
        }
        let node = self.node;
        Err(format!("node {node:?} is not allowed to update fields other than status.capacity and status.conditions"))
    }

    fn token(&self) -> Result<Verdict, Status> {
        let Some(asked) = &self.request.object else { return Ok(Ok(())) };
        let bound = &asked["spec"]["boundObjectRef"];
        let field = |name: &str| text(&bound[name]);
        if field("apiVersion") != "v1" || field("kind") != "Pod" || field("name").is_empty() {
            return Ok(Err("node requested token not bound to a pod".to_owned()));
        }
        if field("uid").is_empty() {
            return Ok(Err("node requested token with a pod binding without a uid".to_owned()));
        }
        let pod = self.stored_pod(field("name"))?;
        if pod["metadata"]["uid"] != field("uid") {
            let uid = field("uid");
            return Ok(Err(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            )));
        }
        Ok(self.own_pod(&pod, "node requested token bound to a pod scheduled on a different node".to_owned()))
    }

    fn lease(&self) -> Verdict {
        if self.request.namespace != LEASES {
            return Err(format!("can only access leases in the {LEASES:?} system namespace"));
        }
        self.named("can only access node lease with the same name as the requesting node")
    }

    fn named(&self, why: &str) -> Verdict {
        if self.request.name == self.node { Ok(()) } else { Err(why.to_owned()) }
    }
}

/// A pod that a node reports of itself: bound to it, owned by it, using nothing of the cluster.
fn mirror_pod(pod: &Value, node: &str) -> Verdict {
    let metadata = &pod["metadata"];
    if metadata["annotations"].get(MIRROR).is_none() {
        return Err(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if pod["spec"]["nodeName"] != node {
        return Err(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    match items(&metadata["ownerReferences"]) {
        [owner] => {
            if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
                return Err(format!("node {node:?} can only create pods with an owner reference set to itself"));
            }
            if owner["controller"] != true {
                return Err(format!(
                    "node {node:?} can only create pods with a controller owner reference set to itself"
                ));
            }
            if owner["blockOwnerDeletion"] == true {
                return Err(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
            }
        }
        [] => return Err(format!("node {node:?} can only create pods with an owner reference set to itself")),
        _ => return Err(format!("node {node:?} can only create pods with a single owner reference set to itself")),
    }
    let may_not = |what: &str| Err(format!("node {node:?} can not create pods that reference {what}"));
    if !is_empty(&pod["spec"]["serviceAccountName"]) {
        return may_not("a service account");
    }
    let used = used_by(pod);
    for (what, name) in
        [(What::Secret, "secrets"), (What::ConfigMap, "configmaps"), (What::Claim, "persistentvolumeclaims")]
    {
        if used.iter().any(|thing| thing.what == what) {
            return may_not(name);
        }
    }
    let bundles = items(&pod["spec"]["volumes"]).iter().flat_map(|volume| items(&volume["projected"]["sources"]));
    if bundles.clone().any(|source| is_set(&source["clusterTrustBundle"])) {
        return may_not("clustertrustbundles");
    }
    Ok(())
}

/// Absent and empty are the same.
fn same(one: &Value, other: &Value) -> bool {
    one == other || (is_empty(one) && is_empty(other))
}

/// Of the labels that differ, those a node may not touch, sorted.
fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let added = entries(new).filter(|(key, value)| old.get(*key) != Some(value)).map(|(key, _)| key);
    let removed = entries(old).filter(|(key, _)| new.get(*key).is_none()).map(|(key, _)| key);
    let mut forbidden: Vec<String> = added.chain(removed).filter(|key| is_forbidden(key)).cloned().collect();
    forbidden.sort_unstable();
    forbidden
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    let is_own = OWN_LABELS.contains(&label) || OWN_DOMAINS.into_iter().any(within);
    within(NODE_RESTRICTION) || ((within("kubernetes.io") || within("k8s.io")) && !is_own)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_of_kubernetes_are_not_a_nodes_to_set() {
        let new = json!({"a": "1", "kubernetes.io/os": "linux", "node-role.kubernetes.io/control-plane": "",
            "x.node-restriction.kubernetes.io/y": "1", "node.kubernetes.io/own": "1", "example.com/z": "1"});
        let old = json!({"k8s.io/gone": "1"});
        assert_eq!(
            forbidden_labels(&new, &old),
            ["k8s.io/gone", "node-role.kubernetes.io/control-plane", "x.node-restriction.kubernetes.io/y"]
        );
    }

    fn check(change: impl FnOnce(&mut Value), expected: Expect) {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "1", "controller": true});
        let mut pod = json!({"metadata": {"annotations": {MIRROR: "x"}, "ownerReferences": [owner]},
            "spec": {"nodeName": "a", "containers": []}});
        change(&mut pod);
        expected.assert_eq(mirror_pod(&pod, "a").err().as_deref().unwrap_or("yes"));
    }

    #[test]
    fn mirror_pods_are_the_nodes_own_and_use_nothing() {
        check(|_| {}, expect!["yes"]);
        check(
            |pod| pod["metadata"]["annotations"] = json!({}),
            expect![[
                r#"pod does not have "kubernetes.io/config.mirror" annotation, node "a" can only create mirror pods"#
            ]],
        );
        check(
            |pod| pod["spec"]["nodeName"] = json!("b"),
            expect![[r#"node "a" can only create pods with spec.nodeName set to itself"#]],
        );
        check(
            |pod| pod["metadata"]["ownerReferences"] = json!([]),
            expect![[r#"node "a" can only create pods with an owner reference set to itself"#]],
        );
        check(
            |pod| pod["spec"]["containers"] = json!([{"envFrom": [{"secretRef": {"name": "s"}}]}]),
            expect![[r#"node "a" can not create pods that reference secrets"#]],
        );
        check(
            |pod| pod["spec"]["serviceAccountName"] = json!("x"),
            expect![[r#"node "a" can not create pods that reference a service account"#]],
        );
    }
}
