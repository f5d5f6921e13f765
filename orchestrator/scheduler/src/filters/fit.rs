//! NodeResourcesFit: what is requested must be left of what the node may give.

use std::borrow::Cow;

use super::Refusal;
use crate::need::{Amounts, Need};
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Option<Refusal> {
    let (wanted, given, taken) = (&need.requests, &node.allocatable, &node.requested);
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    let mut resolvable = true;
    let mut check = |reason: Cow<'static, str>, wanted: i64, given: i64, taken: i64| {
        if wanted > 0 && wanted > given.saturating_sub(taken) {
            // More than the whole node has: nobody's leaving helps.
            resolvable &= wanted <= given;
            reasons.push(reason);
        }
    };
    check("Too many pods".into(), wanted.pods, given.pods, taken.pods);
    check("Insufficient cpu".into(), wanted.cpu, given.cpu, taken.cpu);
    check("Insufficient memory".into(), wanted.memory, given.memory, taken.memory);
    check("Insufficient ephemeral-storage".into(), wanted.storage, given.storage, taken.storage);
    for (name, wanted) in &wanted.other {
        let of = |amounts: &Amounts| amounts.other.get(name).copied().unwrap_or_default();
        if *wanted > of(given).saturating_sub(of(taken)) {
            check(format!("Insufficient {name}").into(), *wanted, of(given), of(taken));
        }
    }
    (!reasons.is_empty()).then_some(Refusal { plugin: Plugin::NodeResourcesFit, reasons, resolvable })
}

/// Whether the node could hold it if nothing else were there.
pub fn fits_alone(need: &Need, node: &NodeState) -> bool {
    let (wanted, given) = (&need.requests, &node.allocatable);
    let other = |(name, wanted): (&String, &i64)| *wanted <= given.other.get(name).copied().unwrap_or_default();
    wanted.pods <= given.pods
        && wanted.cpu <= given.cpu
        && wanted.memory <= given.memory
        && wanted.storage <= given.storage
        && wanted.other.iter().all(other)
}
