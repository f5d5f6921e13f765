//! The table of scores: how well a node suits a pod, 0 to 10 000, with upstream's weights. A score looks at
//! one node only, so that a change of one node moves one place in an order and nothing else; what upstream
//! normalises over all nodes is normalised by a constant here.

mod balance;
mod preference;

use crate::pod::Class;
use crate::snapshot::Node;

pub const BEST: i64 = 10_000;
pub type Score = fn(&Class, &Node) -> i64;

/// Each with its weight.
pub const SCORES: &[(Score, i64)] = &[
    (preference::few_soft_taints, 3),
    (preference::preferred_affinity, 2),
    (balance::least_allocated, 1),
    (balance::balanced, 1),
];

pub fn total(class: &Class, node: &Node) -> i64 {
    SCORES.iter().map(|(score, weight)| score(class, node) * weight).sum()
}
