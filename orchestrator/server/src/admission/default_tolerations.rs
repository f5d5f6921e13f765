//! A pod stays five minutes on a node that went away, unless it tolerates that in its own way.

use amphipod_api::labels::{TAINT_NOT_READY, TAINT_UNREACHABLE};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::writes;
use crate::kinds::json::{items, present, set, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

const SECONDS: i64 = 300;

pub struct DefaultTolerations;

#[async_trait]
impl Admit for DefaultTolerations {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let pods = writes(request, Operation::Create, "pods") || writes(request, Operation::Update, "pods");
        if pods && let Some(spec) = request.object.as_mut().and_then(|pod| present(pod, "spec")) {
            add_tolerations(spec);
        }
        Ok(())
    }
}

fn add_tolerations(spec: &mut Value) {
    let mut tolerations = items(&spec["tolerations"]).to_vec();
    let before = tolerations.len();
    for key in [TAINT_NOT_READY, TAINT_UNREACHABLE] {
        if !tolerations[..before].iter().any(|toleration| covers(toleration, key)) {
            tolerations
                .push(json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS }));
        }
    }
    if tolerations.len() > before {
        set(spec, "tolerations", tolerations.into());
    }
}

fn covers(toleration: &Value, taint: &str) -> bool {
    let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == "NoExecute")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tolerations: Value, added: &[&str]) {
        let mut spec = json!({ "tolerations": tolerations });
        let before = items(&spec["tolerations"]).len();
        add_tolerations(&mut spec);
        let keys: Vec<&str> = items(&spec["tolerations"])[before..].iter().map(|one| text(&one["key"])).collect();
        assert_eq!(keys, added);
    }

    #[test]
    fn only_what_is_not_tolerated_is_added() {
        check(json!([]), &[TAINT_NOT_READY, TAINT_UNREACHABLE]);
        check(json!([{ "operator": "Exists" }]), &[]);
        check(json!([{ "operator": "Exists", "effect": "NoSchedule" }]), &[TAINT_NOT_READY, TAINT_UNREACHABLE]);
        check(json!([{ "key": TAINT_NOT_READY, "operator": "Exists" }]), &[TAINT_UNREACHABLE]);
    }
}
