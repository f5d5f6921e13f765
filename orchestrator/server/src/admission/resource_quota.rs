//! ResourceQuota: what a write takes of its namespace's quotas is charged by the write's own transaction, so that no
//! race can exceed them and no crash can part objects from counters. What a kind takes is in `usage.rs`, which quotas
//! are for an object in `scopes.rs`; `keeper.rs` counts anew and publishes what is used.
//! Source of texts and rules: apiserver's pkg/admission/plugin/resourcequota.
//!
//! ```text
//!  quota written ─► keeper: recount ─► status.hard known ─► writes charge ─► news ─► keeper: publish status.used
//! ```

pub mod keeper;
mod news;
mod scopes;
mod usage;

use std::collections::BTreeSet;

use amphipod_api::quantity::Quantity;
use amphipod_store::{Error, Found, Key, Op, Snapshot};
use async_trait::async_trait;
use serde_json::Value;

use crate::kinds::json::{entries, is_set, text};
use crate::kinds::pod_resources::{Amounts, amounts, shown};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Cluster, Operation};
pub use news::QuotaNews;
use news::Want;
use usage::{Measure, counts, from_units, is_overdue, measure, units, unsaid, usage};

/// Where quotas are stored.
const QUOTAS: &str = "resourcequotas";

/// The plug-in. It tells the keeper whose quotas were charged.
pub struct ResourceQuotas(pub QuotaNews);

#[async_trait]
impl Admit for ResourceQuotas {
    async fn admit(&self, _request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        Ok(())
    }

    async fn confirm(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let Some(measure) = concerned(request) else { return Ok(()) };
        let Some(new) = request.object.as_ref() else { return Ok(()) };
        let quotas = quotas_of(request.cluster, request.namespace);
        let checked = is_checked(request, measure);
        if checked {
            for quota in &quotas {
                check_known(quota, measure, request, new)?;
            }
        }
        let change = Change { measure, old: request.old, new: Some(new) };
        let bills: Vec<Bill> = quotas.iter().filter_map(|quota| bill(quota, request, &change)).collect();
        let limited = checked && request.subresource != "status";
        if limited && let Some(why) = refusal(&bills, &*request.cluster.snapshot) {
            return Err(Status::forbidden(request.kind, request.name, &why));
        }
        let want = want(request, new);
        self.charge(request, bills, (limited, want));
        Ok(())
    }

    fn removed(&self, request: &mut AdmissionRequest<'_>) {
        let Some(measure) = concerned(request) else { return };
        let Some(old) = request.old else { return };
        // An update that takes the last finalizer has charged its change already; all goes back at once instead.
        request.ops.retain(|op| !matches!(op, Op::Charge { .. }));
        let change = Change { measure, old: Some(old), new: None };
        let quotas = quotas_of(request.cluster, request.namespace);
        let bills: Vec<Bill> = quotas.iter().filter_map(|quota| bill(quota, request, &change)).collect();
        let want = want(request, old);
        self.charge(request, bills, (false, want));
    }
}

impl ResourceQuotas {
    /// Puts the charges into the write's transaction. Without `limited` they cannot be refused.
    fn charge(&self, request: &mut AdmissionRequest<'_>, bills: Vec<Bill>, (limited, want): (bool, Want)) {
        if bills.is_empty() && want == Want::Publish {
            return;
        }
        for bill in &bills {
            for line in &bill.lines {
                let hard = if limited { line.hard_units() } else { i64::MAX };
                let (quota, name) = (bill.key.clone(), line.name.clone());
                request.ops.push(Op::Charge { quota, name, delta: line.delta, hard });
            }
        }
        let (store, kind, name) = (request.cluster.store.clone(), request.entry.kind.clone(), request.name.to_owned());
        // The request keeps its explanations until the transaction is done: then the news go out.
        let told = self.0.when_dropped(request.namespace, want);
        request.explain.push(Box::new(move |error| {
            let _ = &told;
            let Error::Guard { found: Found::QuotaExceeded { used, .. }, .. } = error else { return None };
            let why = refusal(&bills, &*store.snapshot()).or_else(|| last_refusal(&bills, *used))?;
            Some(Status::forbidden(&kind, &name, &why))
        }));
    }
}

/// One quota, as its status has it: what is not there is not counted yet.
struct Quota {
    name: String,
    key: Key,
    spec: Value,
    hard: Amounts,
    /// Names whose use is known.
    known: BTreeSet<String>,
}

fn quotas_of(cluster: &Cluster, namespace: &str) -> Vec<Quota> {
    let read = |quota: Value| {
        let name = text(&quota["metadata"]["name"]).to_owned();
        let known = entries(&quota["status"]["used"]).map(|(name, _)| name.clone()).collect();
        let key = cluster.key(QUOTAS, namespace, &name)?;
        Some(Quota { name, key, hard: amounts(&quota["status"]["hard"]), known, spec: quota["spec"].clone() })
    };
    cluster.list(QUOTAS, Some(namespace)).into_iter().filter_map(read).collect()
}

/// `None`: no quota can count this write. Costs nothing where a namespace has none.
fn concerned(request: &AdmissionRequest<'_>) -> Option<Measure> {
    // A Binding or a Scale takes nothing itself.
    if request.own_kind().is_some() {
        return None;
    }
    let measure = measure(request.kind).filter(|_| request.cluster.count(QUOTAS, Some(request.namespace)) != 0)?;
    // An object that is only counted takes the same whatever it becomes.
    let is_change = request.operation == Operation::Update && request.object.is_some();
    (!(is_change && measure == Measure::Objects)).then_some(measure)
}

/// Whether this write may be refused; others are only counted.
fn is_checked(request: &AdmissionRequest<'_>, measure: Measure) -> bool {
    match (request.operation, request.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "resize") => measure == Measure::Pods,
        (Operation::Update, "") => matches!(measure, Measure::Services | Measure::Claims | Measure::Devices),
        (Operation::Update, "status") => measure == Measure::Claims,
        _ => false,
    }
}

/// Whether a pod that time alone has freed needs a recount: its counters may or may not have been lowered.
fn want(request: &AdmissionRequest<'_>, object: &Value) -> Want {
    let is_pod = request.kind.group.is_empty() && request.kind.plural == "pods";
    if is_pod && is_overdue(object, request.now) { Want::Recount } else { Want::Publish }
}

fn check_known(quota: &Quota, measure: Measure, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), Status> {
    let names = quota.hard.keys().map(String::as_str);
    let counted: BTreeSet<&str> = names.filter(|name| counts(request.kind, measure, name)).collect();
    if counted.is_empty() || !scopes::fits(&quota.spec, measure, object) {
        return Ok(());
    }
    let refuse = |why: &str| Err(Status::forbidden(request.kind, request.name, why));
    if measure == Measure::Pods
        && let Some(unsaid) = unsaid(object, &counted)
    {
        return refuse(&format!("failed quota: {}: {unsaid}", quota.name));
    }
    if counted.iter().any(|name| !quota.known.contains(*name)) {
        let resources = counted.into_iter().collect::<Vec<_>>().join(",");
        return refuse(&format!("status unknown for quota: {}, resources: {resources}", quota.name));
    }
    Ok(())
}

/// An object before and after; `None` where it does not exist.
struct Change<'a> {
    measure: Measure,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
}

/// What one write changes of one quota.
struct Bill {
    quota: String,
    key: Key,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    delta: i64,
    requested: Quantity,
    hard: Quantity,
}

impl Line {
    fn hard_units(&self) -> i64 {
        units(&self.name, self.hard)
    }
}

fn bill(quota: &Quota, request: &AdmissionRequest<'_>, change: &Change<'_>) -> Option<Bill> {
    let taken = |object: Option<&Value>| {
        let object = object.filter(|object| scopes::fits(&quota.spec, change.measure, object));
        object.map(|object| usage(request.kind, change.measure, object, request.now)).unwrap_or_default()
    };
    if !quota.hard.keys().any(|name| counts(request.kind, change.measure, name)) {
        return None;
    }
    let (before, after) = (taken(change.old), taken(change.new));
    let mut lines = Vec::new();
    for (name, hard) in quota.hard.iter().filter(|(name, _)| counts(request.kind, change.measure, name)) {
        let zero = Quantity::ZERO;
        let of = |side: &Amounts| side.get(name).copied().unwrap_or(zero);
        let delta = units(name, of(&after)) - units(name, of(&before));
        if delta != 0 {
            lines.push(Line { name: name.clone(), delta, requested: of(&after) - of(&before), hard: *hard });
        }
    }
    (!lines.is_empty()).then(|| Bill { quota: quota.name.clone(), key: quota.key.clone(), lines })
}

/// Why the first quota that has not enough left refuses, as things stand.
fn refusal(bills: &[Bill], snapshot: &dyn Snapshot) -> Option<String> {
    bills.iter().find_map(|bill| {
        let exceeded = bill.lines.iter().filter_map(|line| {
            let used = snapshot.charged(&bill.key, &line.name);
            (line.delta > 0 && used.saturating_add(line.delta) > line.hard_units()).then_some((line, used))
        });
        told(bill, exceeded.collect())
    })
}

/// The same from what the transaction found, when room has come since.
fn last_refusal(bills: &[Bill], used: i64) -> Option<String> {
    bills.iter().find_map(|bill| {
        let exceeded = |line: &&Line| line.delta > 0 && used.saturating_add(line.delta) > line.hard_units();
        told(bill, bill.lines.iter().filter(exceeded).map(|line| (line, used)).take(1).collect())
    })
}

fn told(bill: &Bill, exceeded: Vec<(&Line, i64)>) -> Option<String> {
    if exceeded.is_empty() {
        return None;
    }
    let list = |amount: &dyn Fn(&Line, i64) -> Quantity| {
        shown(&exceeded.iter().map(|(line, used)| (line.name.clone(), amount(line, *used))).collect())
    };
    Some(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        bill.quota,
        list(&|line, _| line.requested),
        list(&|line, used| from_units(&line.name, used).written_like(line.hard)),
        list(&|line, _| line.hard),
    ))
}

/// Whether the status has all limits of the spec and knows the use of each.
fn is_counted(quota: &Value) -> bool {
    let (spec, status) = (&quota["spec"]["hard"], &quota["status"]);
    let same = amounts(spec) == amounts(&status["hard"]);
    same && entries(spec).all(|(name, _)| is_set(&status["used"][name.as_str()]))
}
