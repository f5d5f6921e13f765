//! A new node takes no pods until it has shown that it is ready.

use amphipod_api::labels::TAINT_NOT_READY;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::writes;
use crate::kinds::json::{child, items, set};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};

pub struct TaintNewNodes;

#[async_trait]
impl Admit for TaintNewNodes {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if writes(request, Operation::Create, "nodes")
            && let Some(node) = request.object.as_mut()
        {
            taint(node);
        }
        Ok(())
    }
}

fn taint(node: &mut Value) {
    let mut taints = items(&node["spec"]["taints"]).to_vec();
    if taints.iter().any(|taint| taint["key"] == TAINT_NOT_READY && taint["effect"] == "NoSchedule") {
        return;
    }
    taints.push(json!({ "key": TAINT_NOT_READY, "effect": "NoSchedule" }));
    if let Some(spec) = child(node, "spec") {
        set(spec, "taints", taints.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taint_is_added_once() {
        let mut node = json!({});
        taint(&mut node);
        taint(&mut node);
        assert_eq!(node, json!({ "spec": { "taints": [{ "key": TAINT_NOT_READY, "effect": "NoSchedule" }] } }));
    }
}
