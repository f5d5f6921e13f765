//! The bounds of the rings: who is too slow learns so, and nobody else notices.

use super::*;
use crate::{Key, MemoryStore, Meta, Op, Payload, Store, Txn};

const PODS: ResourceId = ResourceId(1);
const NODES: ResourceId = ResourceId(2);

async fn put(store: &MemoryStore, resource: ResourceId, value: u32) -> Revision {
    let body = format!("{value:01000}").into();
    let payload = Payload { codec: 0, body, managed_fields_at: 0, revision_at: 0, managed_fields: "".into() };
    let ops = vec![Op::Put { key: Key::new(resource, "", "x"), meta: Meta::default(), payload }];
    store.commit(Txn { ops, ..Txn::default() }).await.unwrap().revision
}

fn store(ring_bytes: usize, total_bytes: usize) -> MemoryStore {
    MemoryStore::with_history(Limits { ring_bytes, total_bytes })
}

#[tokio::test]
async fn a_slow_watcher_expires_and_a_quick_one_goes_on() {
    let store = store(20_000, 1 << 30);
    let start = put(&store, PODS, 0).await;
    let (mut slow, mut quick) = (store.watch(PODS, start).unwrap(), store.watch(PODS, start).unwrap());
    for value in 1..50 {
        let revision = put(&store, PODS, value).await;
        assert_eq!(quick.next().await.unwrap()[0].revision, revision);
    }
    let Err(Error::Expired { asked, oldest }) = slow.next().await else { panic!("the slow one fell off the ring") };
    assert_eq!(asked, start);
    assert!(oldest > start);
    // Exactly the oldest revision can still be continued from, the one before cannot.
    let next = store.watch(PODS, oldest).unwrap().next().await.unwrap();
    assert_eq!(next[0].revision, oldest + 1);
    let lost = store.watch(PODS, oldest - 1).map(drop);
    assert_eq!(lost, Err(Error::Expired { asked: oldest - 1, oldest }));
}

#[tokio::test]
async fn a_busy_resource_does_not_expire_a_quiet_one() {
    let store = store(20_000, 1 << 30);
    let quiet = put(&store, NODES, 0).await;
    for value in 0..50 {
        put(&store, PODS, value).await;
    }
    let last = put(&store, NODES, 1).await;
    let events = store.watch(NODES, quiet).unwrap().next().await.unwrap();
    assert_eq!(events.iter().map(|event| event.revision).collect::<Vec<_>>(), [last]);
}

#[tokio::test]
async fn all_rings_together_are_bounded_at_the_cost_of_the_fullest() {
    let store = store(1 << 30, 40_000);
    let quiet = put(&store, NODES, 0).await;
    for value in 0..100 {
        put(&store, PODS, value).await;
    }
    put(&store, NODES, 1).await;
    assert_eq!(store.watch(NODES, quiet).unwrap().next().await.unwrap().len(), 1);
    assert!(matches!(store.watch(PODS, quiet).map(drop), Err(Error::Expired { .. })));
}
