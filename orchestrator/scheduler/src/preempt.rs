//! Whom a pod that fits nowhere may push out: pods that are less important, on the node where it hurts least. Every node
//! that might do is tried out on the snapshot itself; `preempt/pick.rs` compares them.

mod pick;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;

use crate::need::Selector;
use crate::schedule::{Asked, Unschedulable, histogram, refusal_awaited};
use crate::snapshot::{Placed, Snapshot};
pub use pick::pick;

/// How many nodes where it could be done are compared: this share, in hundredths, but no fewer than these.
const COMPARED_PERCENT: usize = 10;
const COMPARED_MIN: usize = 100;
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NOBODY: &str = "No preemption victims found for incoming pod";

/// Pods that must leave a node.
#[derive(Debug, Clone)]
pub struct Victims {
    pub slot: u32,
    /// The most important first.
    pub pods: Vec<Arc<Placed>>,
    /// How many of them a disruption budget would keep.
    pub violations: usize,
}

/// A budget as preemption reads it.
#[derive(Debug)]
pub struct Budget {
    namespace: String,
    selector: Option<Selector>,
    /// Pods that it knows to be leaving.
    leaving: Vec<String>,
    allowed: i32,
}

impl Budget {
    pub fn of(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.as_ref();
        let leaving = status.and_then(|status| status.disrupted_pods.as_ref());
        let selector = Selector::of(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()));
        Self {
            namespace: budget.namespace().unwrap_or_default(),
            // An empty one means nobody here.
            selector: selector.filter(|selector| !selector.is_empty()),
            leaving: leaving.into_iter().flat_map(|pods| pods.keys().cloned()).collect(),
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or_default(),
        }
    }

    fn concerns(&self, pod: &Placed) -> bool {
        let kin = &pod.need.kin;
        let selects = |selector: &Selector| selector.matches(&kin.labels);
        self.namespace == kin.namespace
            && self.selector.as_ref().is_some_and(selects)
            && !self.leaving.contains(&pod.facts.name)
    }
}

/// Whom to push out, or why nobody is; that is said after `preemption: `. `turn` says where to begin, so that not the
/// same nodes suffer every time.
pub fn preempt(
    asked: &Asked,
    why: &Unschedulable,
    snapshot: &mut Snapshot,
    budgets: &[Budget],
    turn: usize,
) -> Result<Victims, String> {
    if !asked.need.preempts {
        return Err("not eligible due to preemptionPolicy=Never.".to_owned());
    }
    if awaits_victims(asked, why, snapshot) {
        return Err("not eligible due to a terminating pod on the nominated node.".to_owned());
    }
    let might = &why.resolvable;
    let (mut found, mut reasons) = (Vec::new(), BTreeMap::<Cow<'static, str>, usize>::new());
    if snapshot.has_below(asked.need.priority) {
        let enough = (might.len() * COMPARED_PERCENT / 100).max(COMPARED_MIN);
        let from = if might.is_empty() { 0 } else { turn % might.len() };
        for slot in might[from..].iter().chain(&might[..from]) {
            match victims(asked, snapshot, *slot, budgets) {
                Ok(victims) => found.push(victims),
                Err(why) => why.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
            }
            if found.len() >= enough && found.iter().any(|victims| victims.violations == 0) {
                break;
            }
        }
    } else if !might.is_empty() {
        reasons.insert(NOBODY.into(), might.len());
    }
    pick(found).ok_or_else(|| {
        if why.nodes > might.len() {
            reasons.insert(NOT_HELPFUL.into(), why.nodes - might.len());
        }
        format!("0/{} nodes are available: {}.", why.nodes, histogram(&reasons))
    })
}

/// It has pushed pods out already, and they are leaving.
fn awaits_victims(asked: &Asked, why: &Unschedulable, snapshot: &Snapshot) -> bool {
    let Some(slot) = snapshot.nomination(asked.uid) else { return false };
    let leaving = |pod: &Arc<Placed>| pod.facts.preempted && pod.need.priority < asked.need.priority;
    let still_might = why.resolvable.contains(&slot) || why.nodes == 0;
    still_might && snapshot.at(slot).pods.iter().any(leaving)
}

/// The fewest and least important pods whose leaving makes room on the node.
fn victims(
    asked: &Asked,
    snapshot: &mut Snapshot,
    slot: u32,
    budgets: &[Budget],
) -> Result<Victims, Vec<Cow<'static, str>>> {
    let here = snapshot.at(slot).pods.iter();
    let mut candidates: Vec<_> = here.filter(|pod| pod.need.priority < asked.need.priority).cloned().collect();
    if candidates.is_empty() {
        return Err(vec![NOBODY.into()]);
    }
    candidates.sort_by_key(pick::importance);
    let leave: Vec<_> = candidates.iter().map(|pod| (pod.clone(), false)).collect();
    snapshot.suppose(&leave, |snapshot| {
        if let Some(refusal) = refusal_awaited(asked, snapshot, slot) {
            return Err(refusal.reasons);
        }
        let (guarded, free) = by_budget(candidates, budgets);
        let mut spared = Vec::new();
        let mut pods = Vec::new();
        let mut violations = 0;
        for (pod, is_guarded) in guarded.into_iter().map(|pod| (pod, true)).chain(free.into_iter().map(|p| (p, false)))
        {
            snapshot.place(&pod);
            if refusal_awaited(asked, snapshot, slot).is_none() {
                spared.push(pod);
            } else {
                snapshot.displace(&pod);
                violations += usize::from(is_guarded);
                pods.push(pod);
            }
        }
        spared.iter().rev().for_each(|pod| snapshot.displace(pod));
        pods.sort_by_key(pick::importance);
        // It would have fitted anyway: nobody is pushed out for nothing.
        if pods.is_empty() { Err(Vec::new()) } else { Ok(Victims { slot, pods, violations }) }
    })
}

/// Those whose leaving would break a budget, and the others; order is kept.
fn by_budget(pods: Vec<Arc<Placed>>, budgets: &[Budget]) -> (Vec<Arc<Placed>>, Vec<Arc<Placed>>) {
    let mut allowed: Vec<i32> = budgets.iter().map(|budget| budget.allowed).collect();
    pods.into_iter().partition(|pod| {
        let mut breaks = false;
        for (budget, allowed) in budgets.iter().zip(&mut allowed) {
            if !pod.need.kin.labels.is_empty() && budget.concerns(pod) {
                *allowed -= 1;
                breaks |= *allowed < 0;
            }
        }
        breaks
    })
}
