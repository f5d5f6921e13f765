//! Crashes: at every sync of a recorded trace, with what was not synced kept, dropped or torn; and a real process
//! that is killed while it writes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tempfile::TempDir;

use super::{open, picture, put};
use crate::disk::Disk;
use crate::disk::twin::{Crash, Image, Trouble, Twin};
use crate::{Error, Key, Op, Options, RaftStore, ResourceId, Revision, Snapshot, Store, Txn};

const OPERATIONS: usize = 200;
const CRASHES: [Crash; 5] = [Crash::Drop, Crash::Keep, Crash::Tear(0), Crash::Tear(1), Crash::LoseNames];

fn options() -> Options {
    Options { segment_bytes: 8 << 10, purge_margin: 3, ..Options::new("twin") }
}

/// Writes the trace; returns the images and what clients saw after each acknowledged operation.
async fn record(options: Options) -> (Vec<Image>, Vec<Arc<dyn Snapshot>>, ResourceId, Arc<Twin>) {
    let twin = Arc::new(Twin::recording());
    let store = RaftStore::open_on(twin.clone(), options, None).await.unwrap();
    let pods = store.resource("pods").await.unwrap();
    let mut seen = vec![store.snapshot()];
    twin.acknowledged.store(1, Ordering::SeqCst);
    for index in 0..OPERATIONS {
        let name = format!("pod-{}", index % 23);
        let txn = match index % 5 {
            4 => Txn { ops: vec![Op::Delete { key: Key::new(pods, "default", &name) }], ..Txn::default() },
            _ => put(pods, &name, &format!("{index} {}", "x".repeat(index * 7 % 900))),
        };
        store.commit(txn).await.unwrap();
        seen.push(store.snapshot());
        twin.acknowledged.store(seen.len(), Ordering::SeqCst);
        if index % 45 == 44 {
            store.checkpoint().await.unwrap();
        }
    }
    store.shutdown().await;
    (twin.take_images(), seen, pods, twin)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_of_a_trace_can_be_the_last() {
    let (images, seen, pods, _) = record(options()).await;
    assert!(images.len() > OPERATIONS, "each acknowledgement has a sync of its own: {}", images.len());
    for (number, image) in images.iter().enumerate() {
        for crash in CRASHES {
            let at = format!("image {number}, {crash:?}, {} acknowledged", image.acknowledged);
            let twin = Arc::new(Twin::after(image, crash));
            let store = match RaftStore::open_on(twin, options(), None).await {
                Ok(store) => store,
                Err(error) => panic!("{at}: nothing was damaged, but: {error}"),
            };
            let found = picture(&*store.snapshot(), pods);
            // Zero is the moment before the resource got its id; one more than was promised may have been kept.
            let fits = |count: usize| count > 0 && seen.get(count - 1).is_some_and(|s| picture(&**s, pods) == found);
            let empty = image.acknowledged == 0 && found == (0, Vec::new());
            assert!(empty || fits(image.acknowledged) || fits(image.acknowledged + 1), "{at}: {found:?}");
            let again = store.resource("pods").await.unwrap();
            let next = store.commit(put(again, "after", "1")).await.unwrap().revision;
            assert_eq!(next, found.0 + 1, "{at}: revisions go on");
            store.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_never_taken_for_a_torn_end() {
    let (_, _, _, twin) = record(Options { purge_margin: 1000, ..options() }).await;
    let names = twin.list().unwrap();
    let segments: Vec<_> = names.iter().filter(|name| name.starts_with("log-")).collect();
    let mut refused = 0;
    for name in &segments {
        let bytes = twin.read(name);
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        let is_last = *name == segments[segments.len() - 1];
        for offset in (0..end).step_by(97) {
            // The last frame alone cannot be told from one that was torn; it begins after the last clean shutdown.
            if is_last && offset > end / 2 {
                continue;
            }
            twin.flip(name, offset);
            let opened = RaftStore::open_on(twin.clone(), options(), None).await;
            twin.flip(name, offset);
            match opened {
                Err(Error::Corrupt(_)) => refused += 1,
                Err(other) => panic!("{name} at {offset}: {other}"),
                // A bit of a preamble's or a frame's padding carries nothing.
                Ok(_) => assert!(is_padding(&bytes, offset), "{name} at {offset}: damage went unseen"),
            }
        }
    }
    assert!(refused > 20, "only {refused} places were tried");
}

fn is_padding(bytes: &[u8], offset: usize) -> bool {
    bytes[offset] == 0 && (40..64).contains(&offset)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let twin = Arc::new(Twin::default());
    let store = RaftStore::open_on(twin.clone(), options(), None).await.unwrap();
    let pods = store.resource("pods").await.unwrap();
    twin.trouble(Some(Trouble::Full));
    let body = "x".repeat(100);
    let mut kept = 0;
    let refused = loop {
        match store.commit(put(pods, &format!("pod-{kept}"), &body)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::Full("the disk of the data directory is full"));
    let gone = Op::Delete { key: Key::new(pods, "default", "pod-0") };
    store.commit(Txn { ops: vec![gone], ..Txn::default() }).await.unwrap();
    assert_eq!(store.snapshot().count(pods, None), kept - 1, "reads and deletions go on");
    twin.trouble(None);
    let again = async {
        while store.commit(put(pods, "again", &body)).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), again).await.expect("there is room again");
    let before = picture(&*store.snapshot(), pods);
    store.shutdown().await;
    let store = RaftStore::open_on(twin, options(), None).await.unwrap();
    assert_eq!(picture(&*store.snapshot(), pods), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_the_end_of_writing() {
    let twin = Arc::new(Twin::default());
    let store = RaftStore::open_on(twin.clone(), options(), None).await.unwrap();
    let pods = store.resource("pods").await.unwrap();
    store.commit(put(pods, "kept", "1")).await.unwrap();
    let before = picture(&*store.snapshot(), pods);
    assert_eq!(store.health(), Ok(()));
    twin.trouble(Some(Trouble::Failing));
    let lost = store.commit(put(pods, "lost", "1")).await.err();
    assert!(matches!(lost, Some(Error::Unavailable(_))), "{lost:?}");
    assert!(matches!(store.failed().await, Error::Unavailable(_)));
    assert!(matches!(store.health(), Err(Error::Unavailable(_))));
    twin.trouble(None);
    let after = store.commit(put(pods, "after", "1")).await.err();
    assert!(matches!(after, Some(Error::Unavailable(_))), "a disk that lied once is not asked again: {after:?}");
    assert_eq!(picture(&*store.snapshot(), pods), before, "what was not durable was never seen");
}

const DIRECTORY: &str = "AMPHIPOD_STORE_CRASH_DIRECTORY";
const WRITERS: usize = 16;
const ROUNDS: usize = 5;

/// The test runs itself as a child, reads what it was promised from a pipe, and kills it without warning.
#[test]
fn a_killed_process_loses_nothing_that_it_promised() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        runtime.block_on(write_until_killed(Path::new(&directory)));
    }
    let directory = TempDir::new().unwrap();
    let mut promised = BTreeMap::new();
    for round in 0..ROUNDS {
        promised.extend(kill_after(directory.path(), 200 + 150 * round));
        runtime.block_on(async {
            let store = open(directory.path()).await.unwrap();
            let pods = store.resource("pods").await.unwrap();
            let snapshot = store.snapshot();
            for (name, revision) in &promised {
                let object = snapshot.get(&Key::new(pods, "default", name));
                let kept = object.map(|object| object.revision);
                assert_eq!(kept, Some(*revision), "round {round}: {name} was promised");
            }
            let last = promised.values().max().copied().unwrap_or_default();
            assert!(snapshot.revision() >= last, "revisions never go back");
        });
    }
}

fn kill_after(directory: &Path, lines: usize) -> Vec<(String, Revision)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "raft::tests::crash::a_killed_process_loses_nothing_that_it_promised", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let mut promised = Vec::new();
    for line in pipe.lines() {
        // What was in the pipe when it was killed counts too.
        if let Some((name, revision)) = line.unwrap().strip_prefix("kept ").and_then(|line| line.split_once(' ')) {
            promised.push((name.to_owned(), revision.parse().unwrap()));
        }
        if promised.len() == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(promised.len() >= lines, "the child wrote {} of {lines}", promised.len());
    promised
}

async fn write_until_killed(directory: &Path) {
    let store = Arc::new(open(directory).await.unwrap());
    let pods = store.resource("pods").await.unwrap();
    let start = store.snapshot().revision();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            for index in 0.. {
                let name = format!("{start}-{writer}-{index}");
                let revision = store.commit(put(pods, &name, &"x".repeat(700))).await.unwrap().revision;
                let line = format!("kept {name} {revision}\n");
                // One write each: a line is whole or absent.
                std::io::stdout().write_all(line.as_bytes()).unwrap();
                std::io::stdout().flush().unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
}
