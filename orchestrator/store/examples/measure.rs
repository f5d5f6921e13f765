//! Prints, as one line of JSON, what this disk and this store can do: raw syncs, durable commits at several numbers
//! in flight, and how long opening a large state takes. `cargo run --release --example measure [directory]`.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use amphipod_store::{Error, Guard, Key, Meta, Op, Options, Payload, RaftStore, ResourceId, Store, Txn};

const OBJECT_BYTES: usize = 1024;
const SECONDS: u64 = 2;
const REOPENED_OBJECTS: usize = 100_000;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let directory = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("amphipod-measure-{}", std::process::id()));
    let raw = raw_syncs(&directory);
    let store = Arc::new(RaftStore::open(Options::new(&directory)).await?);
    let pods = store.resource("pods").await?;
    let mut figures = vec![format!(r#""raw_syncs_per_second":{raw:.0}"#)];
    for in_flight in [1, 16, 64, 256] {
        let (rate, median, worst) = commits(&store, pods, in_flight).await?;
        figures.push(format!(r#""commits_{in_flight}":{{"per_second":{rate:.0},"p50_us":{median},"p99_us":{worst}}}"#));
    }
    store.shutdown().await;
    drop(store);
    std::fs::remove_dir_all(&directory).map_err(|error| Error::Unavailable(error.to_string()))?;
    figures.extend(reopen(&directory).await?);
    println!("{{{}}}", figures.join(","));
    std::fs::remove_dir_all(&directory).map_err(|error| Error::Unavailable(error.to_string()))
}

/// One writer that overwrites zeros and syncs: the floor of any durable commit.
fn raw_syncs(directory: &Path) -> f64 {
    std::fs::create_dir_all(directory).expect("the directory can be made");
    let path = directory.join("raw.tmp");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).expect("a file can be made");
    file.write_all_at(&vec![0; 16 << 20], 0).expect("the file can be written");
    file.sync_all().expect("the file can be synced");
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(SECONDS) {
        let offset = count * OBJECT_BYTES as u64 % (16 << 20);
        file.write_all_at(&[1; OBJECT_BYTES], offset).expect("the file can be written");
        file.sync_data().expect("the file can be synced");
        count += 1;
    }
    std::fs::remove_file(path).expect("the file can be removed");
    count as f64 / start.elapsed().as_secs_f64()
}

/// Guarded creations by this many writers: per second, median and 99th percentile in microseconds.
async fn commits(store: &Arc<RaftStore>, pods: ResourceId, in_flight: usize) -> Result<(f64, u128, u128), Error> {
    let made = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (store, made) = (store.clone(), made.clone());
        writers.spawn(async move {
            let mut waits = Vec::new();
            while start.elapsed() < Duration::from_secs(SECONDS) {
                let name = format!("{in_flight}-{}", made.fetch_add(1, Ordering::Relaxed));
                let begun = Instant::now();
                store.commit(create(pods, &name)).await?;
                waits.push(begun.elapsed().as_micros());
            }
            Ok::<_, Error>(waits)
        });
    }
    let mut waits = Vec::new();
    for result in writers.join_all().await {
        waits.extend(result?);
    }
    let rate = waits.len() as f64 / start.elapsed().as_secs_f64();
    waits.sort_unstable();
    Ok((rate, waits[waits.len() / 2], waits[waits.len() * 99 / 100]))
}

/// Opening many objects: from a checkpoint, and as much log as there can be behind one.
async fn reopen(directory: &Path) -> Result<Vec<String>, Error> {
    let store = RaftStore::open(Options::new(directory)).await?;
    let pods = store.resource("pods").await?;
    for chunk in 0..REOPENED_OBJECTS / 500 {
        let ops = (0..500).flat_map(|index| create(pods, &format!("{chunk}-{index}")).ops).collect();
        store.commit(Txn { ops, ..Txn::default() }).await?;
    }
    store.shutdown().await;
    drop(store);
    let start = Instant::now();
    let store = RaftStore::open(Options::new(directory)).await?;
    let took = start.elapsed().as_millis();
    let count = store.snapshot().count(pods, None);
    for chunk in 0..10_000 / 500 {
        let ops = (0..500).flat_map(|index| create(pods, &format!("late-{chunk}-{index}")).ops).collect();
        store.commit(Txn { ops, ..Txn::default() }).await?;
    }
    drop(store);
    let start = Instant::now();
    let store = reopen_dropped(directory).await?;
    let replayed = start.elapsed().as_millis();
    let all = store.snapshot().count(pods, None);
    store.shutdown().await;
    Ok(vec![
        format!(r#""reopen":{{"objects":{count},"milliseconds":{took}}}"#),
        format!(r#""reopen_with_log":{{"objects":{all},"milliseconds":{replayed}}}"#),
    ])
}

/// A store that was dropped lets go of its directory once its tasks have ended.
async fn reopen_dropped(directory: &Path) -> Result<RaftStore, Error> {
    loop {
        match RaftStore::open(Options::new(directory)).await {
            Err(Error::Unavailable(_)) => tokio::task::yield_now().await,
            result => return result,
        }
    }
}

fn create(pods: ResourceId, name: &str) -> Txn {
    let key = Key::new(pods, "default", name);
    let head = format!(r#"{{"metadata":{{"name":"{name}","uid":"u"}},"value":""#);
    let body = format!("{head}{}\"}}", "x".repeat(OBJECT_BYTES.saturating_sub(head.len() + 2)));
    let labels = vec![("app".to_owned(), "measure".to_owned())];
    let meta = Meta { uid: "0dd9c9ea-6b3b-4d7a-b6c5-4a0f6d1f3a55".into(), labels, ..Meta::default() };
    let managed_fields_at = body.find("\"name\"").expect("the body has a name") as u32;
    let revision_at = body.find("\"uid\"").expect("the body has a uid") as u32;
    let payload = Payload { codec: 0, body: body.into(), managed_fields_at, revision_at, managed_fields: "".into() };
    Txn { guards: vec![Guard::Absent(key.clone())], ops: vec![Op::Put { key, meta, payload }], share_revision: false }
}
