//! TaintToleration: a pod stays off a node whose NoSchedule and NoExecute taints it does not tolerate.

use crate::pod::Class;
use crate::snapshot::Node;
use k8s_openapi::api::core::v1::{Taint, Toleration};

pub fn tolerated(class: &Class, node: &Node) -> Vec<String> {
    let hard = node.taints.iter().filter(|taint| taint.effect != "PreferNoSchedule");
    let refused = hard.into_iter().any(|taint| !tolerates(&class.tolerations, taint));
    refused.then(|| "node(s) had untolerated taint(s)".into()).into_iter().collect()
}

/// Empty key with `Exists` tolerates everything, empty effect every effect.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    tolerations.iter().any(|toleration| {
        let effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
        let key = given(&toleration.key).is_none_or(|key| key == taint.key);
        let value = match toleration.operator.as_deref() {
            Some("Exists") => true,
            _ => {
                let same = toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("");
                same && given(&toleration.key).is_some()
            }
        };
        effect && key && value
    })
}
