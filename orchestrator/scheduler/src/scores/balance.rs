//! LeastAllocated and BalancedAllocation, over CPU and memory.

use super::BEST;
use crate::pod::Class;
use crate::snapshot::Node;

pub fn least_allocated(class: &Class, node: &Node) -> i64 {
    let free = |name| BEST - used(class, node, name);
    (free("cpu") + free("memory")) / 2
}

/// Best when the fractions of CPU and memory in use are equal.
pub fn balanced(class: &Class, node: &Node) -> i64 {
    BEST - (used(class, node, "cpu") - used(class, node, "memory")).abs() / 2
}

/// The fraction in use once the pod is there, in 1/BEST.
fn used(class: &Class, node: &Node, name: &str) -> i64 {
    let total = i128::from(node.allocatable.get(name));
    if total <= 0 {
        return BEST;
    }
    let asked = i128::from(node.nonzero.get(name)) + i128::from(class.nonzero.get(name));
    i64::try_from((asked * i128::from(BEST) / total).clamp(0, i128::from(BEST))).unwrap_or(BEST)
}
