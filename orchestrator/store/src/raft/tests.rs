//! What `RaftStore` owes beyond the suite of every store: what was acknowledged outlives crashes, and damage is told.

mod crash;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::{Error, Key, Meta, Object, Op, Options, Payload, RaftStore, ResourceId, Revision, Snapshot, Store, Txn};

pub(super) async fn open(directory: &Path) -> Result<RaftStore, Error> {
    RaftStore::open(Options { segment_bytes: 1 << 20, ..Options::new(directory) }).await
}

pub(super) fn put(resource: ResourceId, name: &str, value: &str) -> Txn {
    let payload = Payload {
        codec: 0,
        body: value.to_owned().into(),
        managed_fields_at: 0,
        revision_at: 0,
        managed_fields: "".into(),
    };
    let meta = Meta { uid: format!("uid-of-{name}"), ..Meta::default() };
    Txn { ops: vec![Op::Put { key: Key::new(resource, "default", name), meta, payload }], ..Txn::default() }
}

/// Everything that clients can see of a resource.
pub(super) fn picture(
    snapshot: &dyn Snapshot,
    resource: ResourceId,
) -> (Revision, Vec<(Key, Revision, Revision, Payload)>) {
    let see = |object: Arc<Object>| (object.key.clone(), object.create_revision, object.revision, object.payload());
    (snapshot.revision(), snapshot.list(resource, None, None, 0).into_iter().map(see).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_raft_store_conforms() {
    let directories = Mutex::new(Vec::new());
    let make = async || {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path()).await.unwrap();
        directories.lock().push(directory);
        Arc::new(store) as Arc<dyn Store>
    };
    crate::conformance::conformance(make).await;
}

#[tokio::test]
async fn a_reopened_store_is_the_same() {
    let directory = TempDir::new().unwrap();
    let mut before = (0, Vec::new());
    for round in 0..4 {
        let store = open(directory.path()).await.unwrap();
        let pods = store.resource("pods").await.unwrap();
        assert_eq!(picture(&*store.snapshot(), pods), before);
        let quota = Key::new(pods, "default", "quota");
        assert_eq!(store.snapshot().charged(&quota, "pods"), round);
        store.commit(put(pods, "quota", "few")).await.unwrap();
        for index in 0..50 {
            store.commit(put(pods, &format!("pod-{index}"), &format!("{round}"))).await.unwrap();
        }
        let gone = Op::Delete { key: Key::new(pods, "default", "pod-7") };
        let charge = Op::Charge { quota, name: "pods".into(), delta: 1, hard: 9 };
        let take = Op::Allocate { pool: "ips".into(), value: round as u64, owner: Key::new(pods, "default", "pod-1") };
        store.commit(Txn { ops: vec![gone, charge, take], ..Txn::default() }).await.unwrap();
        before = picture(&*store.snapshot(), pods);
        assert_eq!(store.snapshot().allocated("ips"), (0..=round as u64).collect::<Vec<_>>());
        match round % 2 {
            0 => store.shutdown().await,
            _ => crash(store).await,
        }
    }
}

/// Drops the store without a checkpoint; waits until its files are closed.
async fn crash(store: RaftStore) {
    store.raft.shutdown().await.unwrap();
    store.checkpoint.lock().await.close();
    store.log.close();
    drop(store);
}

#[tokio::test]
async fn after_a_restart_a_watch_goes_on_or_has_expired() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await.unwrap();
    let pods = store.resource("pods").await.unwrap();
    let early = store.commit(put(pods, "a", "1")).await.unwrap().revision;
    let saved = store.commit(put(pods, "a", "2")).await.unwrap().revision;
    store.checkpoint().await.unwrap();
    let late = store.commit(put(pods, "a", "3")).await.unwrap().revision;
    crash(store).await;

    let store = open(directory.path()).await.unwrap();
    let expired = store.watch(pods, early).map(drop);
    assert_eq!(expired, Err(Error::Expired { asked: early, oldest: saved }));
    let events = store.watch(pods, saved).unwrap().next().await.unwrap();
    assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [late], "the replay rebuilt it");
    let mut now = store.watch(pods, late).unwrap();
    let (next, written) = tokio::join!(now.next(), store.commit(put(pods, "a", "4")));
    assert_eq!(next.unwrap()[0].revision, written.unwrap().revision);
}

#[tokio::test]
async fn one_process_has_the_directory() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path()).await.unwrap();
    let second = open(directory.path()).await.err().unwrap().to_string();
    assert!(second.ends_with("cannot be used: another process has it open"), "{second}");
    store.shutdown().await;
    open(directory.path()).await.unwrap();
}

#[tokio::test]
async fn a_format_that_is_not_ours_is_refused() {
    let directory = TempDir::new().unwrap();
    open(directory.path()).await.unwrap().shutdown().await;
    let file = directory.path().join("format");
    let text = std::fs::read_to_string(&file).unwrap();
    let newer = "the data directory's format file says 2, this program reads 1: \
                 run the program that wrote it, or one that is newer";
    let unreadable = "the data directory's format file is not readable: \
                      restore the file, or the directory from a backup";
    for (edited, message) in [(text.replace("store 1", "store 2"), newer), ("x".into(), unreadable)] {
        std::fs::write(&file, edited).unwrap();
        assert_eq!(open(directory.path()).await.err(), Some(Error::Corrupt(message.into())));
    }
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(open(directory.path()).await.err(), Some(Error::Corrupt(_))));
    std::fs::write(&file, text).unwrap();
    open(directory.path()).await.unwrap();
}

#[tokio::test]
async fn a_missing_part_is_refused() {
    for part in ["state.redb", "log-0000000000000001"] {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path()).await.unwrap();
        let pods = store.resource("pods").await.unwrap();
        store.commit(put(pods, "a", "1")).await.unwrap();
        store.shutdown().await;
        std::fs::remove_file(directory.path().join(part)).unwrap();
        let refused = open(directory.path()).await.err();
        assert!(matches!(refused, Some(Error::Corrupt(_))), "{part}: {refused:?}");
    }
}

#[tokio::test]
async fn a_full_state_refuses_creations_only() {
    let directory = TempDir::new().unwrap();
    let options = Options { state_bytes_max: Some(1), ..Options::new(directory.path()) };
    let store = RaftStore::open(options).await.unwrap();
    let pods = store.resource("pods").await.unwrap();
    let leases = store.resource("coordination.k8s.io/leases").await.unwrap();
    store.commit(put(pods, "a", "1")).await.unwrap();
    let full = store.commit(put(pods, "b", "1")).await.err();
    assert!(matches!(full, Some(Error::Full(_))), "{full:?}");
    store.commit(put(pods, "a", "2")).await.unwrap();
    store.commit(put(leases, "node", "1")).await.unwrap();
    for (resource, name) in [(pods, "a"), (leases, "node")] {
        let gone = Op::Delete { key: Key::new(resource, "default", name) };
        store.commit(Txn { ops: vec![gone], ..Txn::default() }).await.unwrap();
    }
    store.commit(put(pods, "b", "1")).await.unwrap();
}

#[tokio::test]
async fn the_log_behind_a_checkpoint_goes() {
    let directory = TempDir::new().unwrap();
    let options = || Options { segment_bytes: 64 << 10, purge_margin: 0, ..Options::new(directory.path()) };
    let store = RaftStore::open(options()).await.unwrap();
    let pods = store.resource("pods").await.unwrap();
    let segments = || {
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("log-")).count()
    };
    let body = "x".repeat(1000);
    let mut most = 0;
    for round in 0..5 {
        for index in 0..100 {
            store.commit(put(pods, &format!("pod-{index}"), &format!("{round}{body}"))).await.unwrap();
        }
        most = most.max(segments());
        store.checkpoint().await.unwrap();
    }
    // The purge is done by the next write at the latest: the log is one queue.
    store.commit(put(pods, "last", "1")).await.unwrap();
    let before = picture(&*store.snapshot(), pods);
    crash(store).await;
    assert!(segments() <= most, "{} segments are left, {most} at most before", segments());
    assert!(segments() < 8, "500 KiB were written into segments of 64 KiB, {} are left", segments());
    let store = RaftStore::open(options()).await.unwrap();
    assert_eq!(picture(&*store.snapshot(), pods), before);
}
