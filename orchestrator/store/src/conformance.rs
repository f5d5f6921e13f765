//! The suite that every [`Store`] passes. Each case gets a fresh, empty store; `memory.rs` and `raft.rs` run it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Change, Committed, Error, Event, Found, Guard, Key, Meta, Op, Payload, ResourceId, Revision, Store, Txn};

/// Panics with the name of the property that does not hold. `make` gives a new store each time.
pub async fn conformance(make: impl AsyncFn() -> Arc<dyn Store>) {
    revisions_count_changes_and_nothing_else(&Bench::new(make().await).await).await;
    guards_hold_or_nothing_happens(&Bench::new(make().await).await).await;
    a_terminating_namespace_refuses(&Bench::new(make().await).await).await;
    quotas_and_pools_are_all_or_nothing(&Bench::new(make().await).await).await;
    a_shared_revision_is_one(&Bench::new(make().await).await).await;
    lists_are_ordered_and_paged(&Bench::new(make().await).await).await;
    pinned_pages_stay_the_same(&Bench::new(make().await).await).await;
    watches_see_every_change_once(&Bench::new(make().await).await).await;
    a_watch_of_the_future_is_refused(&Bench::new(make().await).await).await;
    waiting_ends_when_it_is_visible(&Bench::new(make().await).await).await;
    resources_keep_their_ids(&Bench::new(make().await).await).await;
    concurrent_writers_are_ordered(&Bench::new(make().await).await).await;
    a_closed_store_says_so(&Bench::new(make().await).await).await;
}

/// A store and the few words that the cases speak.
struct Bench {
    store: Arc<dyn Store>,
    pods: ResourceId,
    namespaces: ResourceId,
}

impl Bench {
    async fn new(store: Arc<dyn Store>) -> Self {
        let pods = store.resource("pods").await.expect("a resource gets an id");
        let namespaces = store.resource("namespaces").await.expect("a resource gets an id");
        Self { store, pods, namespaces }
    }

    fn pod(&self, path: &str) -> Key {
        let (namespace, name) = path.split_once('/').expect("a path is namespace/name");
        Key::new(self.pods, namespace, name)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<Committed, Error> {
        self.store.commit(Txn { guards, ops, share_revision: false }).await
    }

    async fn put(&self, path: &str, value: &str) -> Revision {
        let committed = self.commit(Vec::new(), vec![put(self.pod(path), value)]).await;
        committed.expect("an unguarded put succeeds").revision
    }

    fn names(&self, namespace: Option<&str>, after: Option<&str>, limit: usize) -> Vec<String> {
        let after = after.map(|path| self.pod(path));
        let objects = self.store.snapshot().list(self.pods, namespace, after.as_ref(), limit);
        objects.iter().map(|object| format!("{}/{}", object.key.namespace(), object.key.name())).collect()
    }
}

/// A put whose payload is a small frame around `value`.
fn put(key: Key, value: &str) -> Op {
    let meta = Meta { uid: format!("uid-of-{}", key.name()), ..Meta::default() };
    Op::Put { key, meta, payload: payload(value) }
}

fn payload(value: &str) -> Payload {
    let body = format!(r#"{{"metadata":{{"name":"n","uid":"u"}},"value":"{value}"}}"#);
    let managed_fields_at = body.find(r#""name""#).expect("the body has a name") as u32;
    let revision_at = body.find(r#""uid""#).expect("the body has a uid") as u32;
    Payload { codec: 0, body: body.into(), managed_fields_at, revision_at, managed_fields: Bytes::new() }
}

async fn revisions_count_changes_and_nothing_else(bench: &Bench) {
    let start = bench.store.snapshot().revision();
    assert_eq!(bench.put("a/x", "1").await, start + 1, "a change takes the next revision");
    assert_eq!(bench.put("a/x", "1").await, start + 1, "a put that changes nothing keeps the revision");
    assert_eq!(bench.put("a/x", "2").await, start + 2, "an update takes the next revision");
    let object = bench.store.snapshot().get(&bench.pod("a/x")).expect("what was put is there");
    assert_eq!((object.create_revision, object.revision), (start + 1, start + 2));
    let frame = object.frame(|_| unreachable!("a plain body needs no key"));
    let spliced = format!(r#"{{"metadata":{{"name":"n","resourceVersion":"{}","uid":"u"}},"value":"2"}}"#, start + 2);
    assert_eq!(frame, spliced.as_bytes(), "the frame carries the revision");

    let ops = vec![put(bench.pod("a/y"), "1"), Op::Delete { key: bench.pod("a/none") }, put(bench.pod("a/z"), "1")];
    let committed = bench.commit(Vec::new(), ops).await.expect("an unguarded transaction succeeds");
    assert_eq!(committed.revision, start + 4, "each changed object takes one revision");
    let revisions: Vec<_> = committed.objects.iter().map(|object| object.as_ref().map(|o| o.revision)).collect();
    assert_eq!(revisions, [Some(start + 3), None, Some(start + 4)], "results are in the order of the ops");

    let gone = bench.commit(Vec::new(), vec![Op::Delete { key: bench.pod("a/x") }]).await.expect("a delete succeeds");
    let last = gone.objects[0].clone().expect("a deletion gives the last state");
    assert_eq!((last.revision, last.create_revision), (start + 5, start + 1), "it carries the deletion's revision");
    assert!(bench.store.snapshot().get(&bench.pod("a/x")).is_none(), "what was deleted is gone");
    let again = bench.put("a/x", "3").await;
    let reborn = bench.store.snapshot().get(&bench.pod("a/x")).expect("what was put is there");
    assert_eq!(reborn.create_revision, again, "a new object has a new beginning");
}

async fn guards_hold_or_nothing_happens(bench: &Bench) {
    let (here, none) = (bench.pod("a/here"), bench.pod("a/none"));
    let revision = bench.put("a/here", "1").await;
    let uid = "uid-of-here".to_owned();
    let holding = [
        Guard::Absent(none.clone()),
        Guard::Present(here.clone()),
        Guard::Revision(here.clone(), revision),
        Guard::Uid(here.clone(), uid.clone()),
    ];
    bench.commit(holding.to_vec(), Vec::new()).await.expect("guards that hold let through");
    let failing = [
        (Guard::Absent(here.clone()), Found::Exists),
        (Guard::Present(none.clone()), Found::Absent),
        (Guard::Revision(here.clone(), revision + 7), Found::Revision(revision)),
        (Guard::Revision(none.clone(), revision), Found::Absent),
        (Guard::Uid(here.clone(), "other".into()), Found::Uid(uid)),
        (Guard::Uid(none.clone(), "other".into()), Found::Absent),
        (Guard::NamespaceActive(none.clone()), Found::NamespaceAbsent),
    ];
    for (guard, found) in failing {
        let guards = vec![Guard::Present(here.clone()), guard];
        let refused = bench.commit(guards, vec![put(none.clone(), "1"), Op::Delete { key: here.clone() }]).await;
        assert_eq!(refused.map(drop), Err(Error::Guard { index: 1, found }), "the failing guard is named");
    }
    assert_eq!(bench.store.snapshot().revision(), revision, "a refused transaction changes nothing");
}

async fn a_terminating_namespace_refuses(bench: &Bench) {
    let namespace = Key::new(bench.namespaces, "", "a");
    let create = || bench.commit(vec![Guard::NamespaceActive(namespace.clone())], vec![put(bench.pod("a/x"), "1")]);
    let refused = |found| Err(Error::Guard { index: 0, found });
    assert_eq!(create().await.map(drop), refused(Found::NamespaceAbsent));
    bench.commit(Vec::new(), vec![put(namespace.clone(), "1")]).await.expect("a put succeeds");
    create().await.expect("an active namespace lets through");
    let meta = Meta { terminating: true, ..Meta::default() };
    let end = Op::Put { key: namespace.clone(), meta, payload: payload("1") };
    bench.commit(Vec::new(), vec![end]).await.expect("a put succeeds");
    assert_eq!(create().await.map(drop), refused(Found::NamespaceTerminating));
}

async fn quotas_and_pools_are_all_or_nothing(bench: &Bench) {
    let quota = bench.pod("a/quota");
    let charge = |delta, hard| Op::Charge { quota: quota.clone(), name: "pods".into(), delta, hard };
    let take = |value, owner: &str| Op::Allocate { pool: "ips".into(), value, owner: bench.pod(owner) };
    let refused = |index, found| Err(Error::Guard { index, found });
    bench.commit(Vec::new(), vec![charge(2, 3)]).await.expect("there is nothing to exceed");
    assert_eq!(bench.store.snapshot().charged(&quota, "pods"), 0, "a quota that is not there counts nothing");
    bench.commit(Vec::new(), vec![put(quota.clone(), "1")]).await.expect("a put succeeds");
    bench.commit(Vec::new(), vec![charge(2, 3), take(7, "a/x")]).await.expect("there is room");

    let over = bench.commit(Vec::new(), vec![charge(1, 3), charge(1, 3), put(bench.pod("a/y"), "1")]).await;
    assert_eq!(
        over.map(drop),
        refused(1, Found::QuotaExceeded { used: 3, hard: 3 }),
        "charges of one transaction add up"
    );
    let taken = bench.commit(Vec::new(), vec![take(8, "a/y"), take(7, "a/y"), charge(1, 3)]).await;
    assert_eq!(taken.map(drop), refused(1, Found::Allocated), "a value has one holder");
    let snapshot = bench.store.snapshot();
    assert_eq!(snapshot.charged(&quota, "pods"), 2, "a refused charge is taken back");
    assert_eq!(snapshot.allocated("ips"), [7], "a refused allocation is taken back");
    assert_eq!(snapshot.holder("ips", 7), Some(bench.pod("a/x")));
    assert!(snapshot.get(&bench.pod("a/y")).is_none(), "a refused transaction puts nothing");

    let ops = vec![take(7, "a/x"), charge(-9, 0), Op::Release { pool: "ips".into(), value: 7 }, take(7, "a/y")];
    bench.commit(Vec::new(), ops).await.expect("the holder may ask again, less is always allowed");
    assert_eq!(bench.store.snapshot().charged(&quota, "pods"), -7);
    let gone = vec![Op::Delete { key: quota.clone() }, put(bench.pod("a/z"), "1")];
    bench.commit(Vec::new(), gone).await.expect("a deletion succeeds");
    bench.commit(Vec::new(), vec![put(quota.clone(), "1")]).await.expect("a put succeeds");
    assert_eq!(bench.store.snapshot().charged(&quota, "pods"), 0, "counters go with their quota");
    assert_eq!(bench.store.snapshot().holder("ips", 7), Some(bench.pod("a/y")));
}

async fn a_shared_revision_is_one(bench: &Bench) {
    let start = bench.store.snapshot().revision();
    let mut watch = bench.store.watch(bench.pods, start).expect("the present can be watched");
    let ops = vec![put(bench.pod("a/x"), "1"), put(bench.pod("a/y"), "1")];
    let committed = bench.store.commit(Txn { guards: Vec::new(), ops, share_revision: true }).await;
    assert_eq!(committed.expect("a put succeeds").revision, start + 1);
    let events = watch.next().await.expect("events arrive");
    assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [start + 1, start + 1]);
    assert_eq!(bench.put("a/z", "1").await, start + 2);
}

async fn lists_are_ordered_and_paged(bench: &Bench) {
    for path in ["b/x", "a/y", "a-b/x", "a/x", "a/x-1", "c/x"] {
        bench.put(path, "1").await;
    }
    bench.commit(Vec::new(), vec![put(Key::new(bench.namespaces, "", "a"), "1")]).await.expect("a put succeeds");
    let all = ["a/x", "a/x-1", "a/y", "a-b/x", "b/x", "c/x"];
    assert_eq!(bench.names(None, None, 0), all, "namespaces, then names, in byte order");
    assert_eq!(bench.names(Some("a"), None, 0), all[..3]);
    assert_eq!(bench.names(None, None, 2), all[..2]);
    assert_eq!(bench.names(None, Some("a/x-1"), 3), all[2..5]);
    assert_eq!(bench.names(Some("a"), Some("a/x-1"), 3), all[2..3]);
    assert!(bench.names(Some("a"), Some("b/x"), 3).is_empty());
    assert_eq!(bench.names(Some("b"), Some("a/x"), 3), ["b/x"]);
    let snapshot = bench.store.snapshot();
    let counts = [None, Some("a"), Some("b"), Some("none")].map(|namespace| snapshot.count(bench.pods, namespace));
    assert_eq!(counts, [6, 3, 1, 0]);
    bench.commit(Vec::new(), vec![Op::Delete { key: bench.pod("a/x") }]).await.expect("a delete succeeds");
    assert_eq!(bench.store.snapshot().count(bench.pods, Some("a")), 2);
    assert_eq!(snapshot.count(bench.pods, Some("a")), 3, "a snapshot does not change");
}

async fn pinned_pages_stay_the_same(bench: &Bench) {
    bench.put("a/x", "1").await;
    let loose = bench.put("a/y", "1").await;
    let pinned = bench.put("a/z", "1").await;
    bench.store.pin(bench.store.snapshot());
    bench.put("a/z", "2").await;
    let kept = bench.store.snapshot_at(pinned).expect("a pinned revision is kept");
    assert_eq!(kept.revision(), pinned);
    assert_eq!(kept.get(&bench.pod("a/z")).map(|object| object.revision), Some(pinned));
    let lost = bench.store.snapshot_at(loose).map(drop);
    assert!(matches!(lost, Err(Error::Expired { asked, .. }) if asked == loose), "others are not: {lost:?}");
    let ahead = bench.store.snapshot_at(pinned + 9).map(drop);
    assert_eq!(ahead, Err(Error::TooNew { asked: pinned + 9, current: pinned + 1 }));
    bench.store.snapshot_at(pinned + 1).expect("the present needs no pin");
}

async fn watches_see_every_change_once(bench: &Bench) {
    let start = bench.put("a/before", "1").await;
    let mut watch = bench.store.watch(bench.pods, start).expect("the present can be watched");
    assert_eq!(watch.revision(), start);
    for index in 0..1200 {
        bench.put("a/x", &index.to_string()).await;
        if index % 100 == 0 {
            let elsewhere = put(Key::new(bench.namespaces, "", "n"), &index.to_string());
            bench.commit(Vec::new(), vec![elsewhere]).await.expect("a put succeeds");
        }
    }
    bench.commit(Vec::new(), vec![Op::Delete { key: bench.pod("a/x") }]).await.expect("a delete succeeds");
    let end = bench.store.snapshot().revision();
    let events = collect(&mut *watch, end).await;
    assert_eq!(events.len(), 1201, "no gap, nothing twice, nothing of other resources");
    assert!(events.windows(2).all(|pair| pair[0].revision < pair[1].revision), "in order");
    assert!(matches!(events[0].change, Change::Added) && matches!(events[1].change, Change::Modified));
    let previous = events[1].previous.as_ref().expect("a change has a before");
    assert_eq!(previous.revision, events[0].revision);
    let last = events.last().expect("there are events");
    assert_eq!((last.change, last.revision, last.current.revision), (Change::Deleted, end, end));

    let middle = events[600].revision;
    let mut resumed = bench.store.watch(bench.pods, middle).expect("recent history is kept");
    let rest = collect(&mut *resumed, end).await;
    assert_eq!(rest.first().map(|event| event.revision), Some(events[601].revision), "it continues right after");
    assert_eq!(rest.len(), 600);

    let elsewhere = put(Key::new(bench.namespaces, "", "n"), "last");
    let later = bench.commit(Vec::new(), vec![elsewhere]).await.expect("a put succeeds").revision;
    assert_eq!(watch.revision(), later, "a quiet watch has seen everything up to now");
}

async fn collect(watch: &mut dyn crate::Watch, until: Revision) -> Vec<Arc<Event>> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    while events.last().is_none_or(|event| event.revision < until) {
        events.extend(watch.next().await.expect("events arrive"));
    }
    events
}

async fn a_watch_of_the_future_is_refused(bench: &Bench) {
    let current = bench.put("a/x", "1").await;
    let ahead = bench.store.watch(bench.pods, current + 1).map(drop);
    assert_eq!(ahead, Err(Error::TooNew { asked: current + 1, current }));
}

async fn waiting_ends_when_it_is_visible(bench: &Bench) {
    let current = bench.put("a/x", "1").await;
    bench.store.barrier().await.expect("the store is open");
    bench.store.reached(current).await.expect("the present is reached");
    let (waited, written) = tokio::join!(bench.store.reached(current + 1), bench.put("a/x", "2"));
    waited.expect("the future arrives");
    assert_eq!(written, current + 1);
}

async fn resources_keep_their_ids(bench: &Bench) {
    let before = bench.store.snapshot().revision();
    let leases = bench.store.resource("coordination.k8s.io/leases").await.expect("a resource gets an id");
    assert_ne!(leases, bench.pods);
    assert_eq!(bench.store.resource("pods").await, Ok(bench.pods));
    assert_eq!(bench.store.resource("coordination.k8s.io/leases").await, Ok(leases));
    assert_eq!(bench.store.snapshot().revision(), before, "naming a resource changes no object");
}

async fn concurrent_writers_are_ordered(bench: &Bench) {
    let start = bench.put("a/counter", "0").await;
    let writers = (0..8).map(|writer| async move {
        for index in 0..20 {
            bench.put(&format!("w{writer}/x"), &index.to_string()).await;
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(bench.store.snapshot().revision(), start + 160, "no revision is skipped or given twice");

    let contenders = (0..8).map(|writer| {
        let guards = vec![Guard::Revision(bench.pod("a/counter"), start)];
        bench.commit(guards, vec![put(bench.pod("a/counter"), &format!("by {writer}"))])
    });
    let won = futures::future::join_all(contenders).await.iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 1, "one of many equal guards wins");
}

async fn a_closed_store_says_so(bench: &Bench) {
    let current = bench.put("a/x", "1").await;
    let mut watch = bench.store.watch(bench.pods, current).expect("the present can be watched");
    let (ended, waited, ()) = tokio::join!(watch.next(), bench.store.reached(current + 1), bench.store.shutdown());
    assert!(matches!(ended.map(drop), Err(Error::Unavailable(_))), "a watch ends");
    assert!(matches!(waited, Err(Error::Unavailable(_))), "a wait ends");
    let late = bench.commit(Vec::new(), vec![put(bench.pod("a/x"), "2")]).await;
    assert!(matches!(late.map(drop), Err(Error::Unavailable(_))), "a write is refused");
}
