//! The keeper of quotas. A new or changed quota is counted from one snapshot, in which objects and counters agree, and
//! the counters are corrected by the transaction that makes its limits known. Writes charge only limits that are known,
//! so those already on their way when a quota is counted are found by a second count shortly after.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amphipod_store::{Change, Error, Guard, Object, Op, Txn, Watch};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::news::{QuotaNews, Want};
use super::usage::{counts, from_units, measure, units, usage};
use super::{QUOTAS, is_counted, scopes};
use crate::codec;
use crate::kinds::json::{entries, set, text};
use crate::kinds::pod_resources::amounts;
use crate::managed;
use crate::registry::{Entry, KindRef};
use crate::seams::Cluster;
use crate::server::Server;

/// Charges of this long are published together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Every write that did not know of a quota's limits is done by then.
const SETTLE: Duration = Duration::from_secs(2);
/// All quotas are counted anew this often.
const RECOUNT: Duration = Duration::from_secs(300);
/// Pause before a failed watch or write is tried again.
const RETRY: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: usize = 5;

/// Runs until dropped.
pub async fn keep(server: Server, news: QuotaNews) {
    let Some(entry) = server.catalog.load().registry.find("", "v1", QUOTAS).cloned() else { return };
    let mut every = tokio::time::interval(RECOUNT);
    let mut watch = None;
    let mut settling = JoinSet::new();
    loop {
        tokio::select! {
            _ = every.tick() => {
                let all = server.store.snapshot().list(entry.id(), None, None, 0);
                let namespaces: BTreeSet<&str> = all.iter().map(|quota| quota.key.namespace()).collect();
                namespaces.into_iter().for_each(|namespace| news.tell(namespace, Want::Recount));
            }
            namespaces = changed(&server, &entry, &mut watch) => {
                for namespace in namespaces {
                    news.tell(&namespace, Want::Recount);
                    let news = news.clone();
                    settling.spawn(async move {
                        tokio::time::sleep(SETTLE).await;
                        news.tell(&namespace, Want::Recount);
                    });
                }
            }
            Some(_) = settling.join_next() => {}
            () = news.told() => {
                tokio::time::sleep(DEBOUNCE).await;
                for (namespace, want) in news.take() {
                    serve(&server, &entry, (&namespace, want)).await;
                }
            }
        }
    }
}

/// Namespaces with quotas whose limits are not known yet.
async fn changed(server: &Server, entry: &Entry, watch: &mut Option<Box<dyn Watch>>) -> BTreeSet<String> {
    let uncounted = |object: &Object| {
        let is_new = !is_counted(&server.codec.value(object));
        is_new.then(|| object.key.namespace().to_owned())
    };
    let Some(watching) = watch else {
        let snapshot = server.store.snapshot();
        match server.store.watch(entry.id(), snapshot.revision()) {
            Ok(opened) => *watch = Some(opened),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
        return snapshot.list(entry.id(), None, None, 0).iter().filter_map(|object| uncounted(object)).collect();
    };
    match watching.next().await {
        Ok(events) => {
            let alive = events.iter().filter(|event| event.change != Change::Deleted);
            alive.filter_map(|event| uncounted(&event.current)).collect()
        }
        Err(error) => {
            tracing::debug!(%error, "the watch of quotas starts over");
            *watch = None;
            BTreeSet::new()
        }
    }
}

/// Does what a namespace's quotas need, each in a transaction of its own.
async fn serve(server: &Server, entry: &Entry, (namespace, want): (&str, Want)) {
    for object in server.store.snapshot().list(entry.id(), Some(namespace), None, 0) {
        for _ in 0..ATTEMPTS_MAX {
            let cluster = server.cluster(server.store.snapshot());
            let Some(object) = cluster.snapshot.get(&object.key) else { break };
            let Some(txn) = step(server, entry, (&cluster, &object, want)) else { break };
            match server.store.commit(txn).await {
                Ok(_) => break,
                Err(Error::Guard { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, namespace, "a quota's use cannot be written");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// The transaction that makes a quota's status true; `None` when it is.
fn step(server: &Server, entry: &Entry, (cluster, object, want): (&Cluster, &Object, Want)) -> Option<Txn> {
    let mut quota = server.codec.value(object);
    let hard = if want == Want::Recount { quota["spec"]["hard"].clone() } else { quota["status"]["hard"].clone() };
    let charged = |name: &str| cluster.snapshot.charged(&object.key, name);
    let names = entries(&hard).map(|(name, _)| name.clone());
    let used: BTreeMap<String, i64> = match want {
        Want::Recount => count(cluster, &quota, server.now().as_second()),
        Want::Publish => names.map(|name| (name.clone(), charged(&name))).collect(),
    };
    let corrections = used.iter().map(|(name, used)| (name, used - charged(name))).filter(|(_, delta)| *delta != 0);
    let charge = |(name, delta): (&String, i64)| Op::Charge {
        quota: object.key.clone(),
        name: name.clone(),
        delta,
        hard: i64::MAX,
    };
    let mut ops: Vec<Op> = corrections.map(charge).collect();
    let status = status(&hard, &used);
    if quota["status"] != status {
        set(&mut quota, "status", status);
        let managed_fields = managed::take(&mut quota);
        let meta = codec::meta(&quota, &entry.hub);
        let payload = server.codec.payload(&quota, &managed_fields, None);
        ops.push(Op::Put { key: object.key.clone(), meta, payload });
    }
    let guards = vec![Guard::Revision(object.key.clone(), object.revision)];
    (!ops.is_empty()).then_some(Txn { guards, ops, share_revision: true })
}

/// Limits and use; the use is written with the suffixes of the limit.
fn status(hard: &Value, used: &BTreeMap<String, i64>) -> Value {
    let limits = amounts(hard);
    let shown = used.iter().filter_map(|(name, used)| {
        let amount = from_units(name, *used).written_like(*limits.get(name)?);
        Some((name.clone(), Value::from(amount.to_string())))
    });
    let shown: serde_json::Map<String, Value> = shown.collect();
    if shown.is_empty() { json!({}) } else { json!({ "hard": hard, "used": shown }) }
}

/// What all objects of a quota's namespace take of each of its limits.
fn count(cluster: &Cluster, quota: &Value, now: i64) -> BTreeMap<String, i64> {
    let namespace = text(&quota["metadata"]["namespace"]);
    let mut used: BTreeMap<String, i64> = entries(&quota["spec"]["hard"]).map(|(name, _)| (name.clone(), 0)).collect();
    for kind in stored_kinds(cluster) {
        let kind = &*kind;
        let Some(measure) = measure(kind) else { continue };
        let names: Vec<String> = used.keys().filter(|name| counts(kind, measure, name)).cloned().collect();
        if names.is_empty() {
            continue;
        }
        for object in cluster.list(kind.storage, Some(namespace)) {
            if !scopes::fits(&quota["spec"], measure, &object) {
                continue;
            }
            let taken = usage(kind, measure, &object, now);
            for name in &names {
                let amount = taken.get(name).map_or(0, |amount| units(name, *amount));
                used.entry(name.clone()).and_modify(|sum| *sum = sum.saturating_add(amount));
            }
        }
    }
    used
}

/// Each kind of the store once, in the version that it is stored in.
fn stored_kinds(cluster: &Cluster) -> Vec<KindRef> {
    let mut seen = BTreeSet::new();
    let entries = cluster.registry.entries().iter().filter(|entry| entry.resource.is_some());
    entries.filter(|entry| seen.insert(entry.kind.storage)).map(|entry| entry.hub.clone()).collect()
}
