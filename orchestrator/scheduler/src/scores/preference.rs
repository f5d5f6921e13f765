//! TaintToleration (PreferNoSchedule) and the preferred terms of NodeAffinity.

use super::BEST;
use crate::filters::{term_matches, tolerates};
use crate::pod::Class;
use crate::snapshot::Node;

pub fn few_soft_taints(class: &Class, node: &Node) -> i64 {
    let soft = node.taints.iter().filter(|taint| taint.effect == "PreferNoSchedule");
    let untolerated = soft.into_iter().filter(|taint| !tolerates(&class.tolerations, taint)).count();
    BEST / (1 + i64::try_from(untolerated).unwrap_or(BEST))
}

pub fn preferred_affinity(class: &Class, node: &Node) -> i64 {
    let weight = |matching: bool| -> i64 {
        let terms = class.preferred.iter().filter(|term| !matching || term_matches(&term.preference, node));
        terms.map(|term| i64::from(term.weight.max(0))).sum()
    };
    let all = weight(false);
    if all == 0 { 0 } else { weight(true) * BEST / all }
}
