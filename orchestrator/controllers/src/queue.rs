//! A queue of keys to reconcile. Keys, never changes: adding a waiting key again changes nothing, a key that
//! is being worked on is worked on once more afterwards, never twice at a time. Failures come back with
//! exponential back-off.
//!
//! ```text
//!  add ──► ready ──► busy ──done──► (again if added meanwhile)
//!  add_after ──► later ──due──► ready          failed ──► later, 5 ms × 2ⁿ up to 16 min
//! ```

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub const BACKOFF_FIRST: Duration = Duration::from_millis(5);
pub const BACKOFF_MAX: Duration = Duration::from_secs(16 * 60);
/// Users may name longer times than a clock can tell; who is early looks again.
const DELAY_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What names a thing to reconcile.
pub trait Key: Clone + Eq + Ord + Hash + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Ord + Hash + Debug + Send + Sync + 'static> Key for T {}

/// Clones share one queue.
pub struct Queue<K> {
    name: &'static str,
    state: Arc<Mutex<State<K>>>,
    changed: Arc<Notify>,
    meters: Arc<Meters>,
}
impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        let (state, changed, meters) = (self.state.clone(), self.changed.clone(), self.meters.clone());
        Self { name: self.name, state, changed, meters }
    }
}

/// What metrics tell of one queue, made once.
struct Meters {
    adds: Counter,
    retries: Counter,
    depth: Gauge,
    /// How long keys wait, and how long work on one takes.
    waits: Histogram,
    works: Histogram,
}

impl Meters {
    fn new(name: &'static str) -> Self {
        let depth = metrics::gauge!("workqueue_depth", "name" => name);
        depth.set(0.0);
        Self {
            adds: metrics::counter!("workqueue_adds_total", "name" => name),
            retries: metrics::counter!("workqueue_retries_total", "name" => name),
            depth,
            waits: metrics::histogram!("workqueue_queue_duration_seconds", "name" => name),
            works: metrics::histogram!("workqueue_work_duration_seconds", "name" => name),
        }
    }
}

struct State<K> {
    /// With the time since when it waits.
    ready: VecDeque<(K, Instant)>,
    queued: HashSet<K>,
    busy: HashSet<K>,
    again: HashSet<K>,
    later: BTreeSet<(Instant, K)>,
    due: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

/// Reconciles one key at a time. `Ok(Some(after))` asks to be called again then, whatever happens.
pub trait Reconcile<K>: Send + Sync + 'static {
    type Error: Display + Send;
    fn reconcile(&self, key: &K) -> impl Future<Output = Result<Option<Duration>, Self::Error>> + Send;
}

impl<K: Key> Queue<K> {
    /// `name` labels the queue's metrics.
    pub fn new(name: &'static str) -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            busy: HashSet::new(),
            again: HashSet::new(),
            later: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
        };
        let meters = Arc::new(Meters::new(name));
        Self { name, state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()), meters }
    }

    pub fn add(&self, key: K) {
        let added = self.state.lock().add(key);
        if added {
            self.meters.adds.increment(1);
            self.changed.notify_one();
        }
    }

    /// At the latest after this long; an earlier appointment stays.
    pub fn add_after(&self, key: K, delay: Duration) {
        self.state.lock().add_at(key, Instant::now() + delay.min(DELAY_MAX));
        self.changed.notify_one();
    }

    /// Works on keys with this many workers until dropped.
    pub async fn work(self, workers: usize, reconciler: Arc<impl Reconcile<K>>) {
        let mut working = JoinSet::new();
        loop {
            let next_due = self.start_ready(workers, &reconciler, &mut working);
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(next_due) => {}
                Some(_) = working.join_next() => {}
            }
        }
    }

    fn start_ready(
        &self,
        workers: usize,
        reconciler: &Arc<impl Reconcile<K>>,
        working: &mut JoinSet<()>,
    ) -> Option<Instant> {
        let mut state = self.state.lock();
        state.wake_due(Instant::now());
        while working.len() < workers {
            let Some((key, since)) = state.take() else { break };
            self.meters.waits.record(since.elapsed().as_secs_f64());
            let (queue, reconciler) = (self.clone(), reconciler.clone());
            working.spawn(async move {
                let begun = Instant::now();
                // One object that a reconciler stumbles over must not end all others' care, and again after each start.
                let outcome = AssertUnwindSafe(reconciler.reconcile(&key)).catch_unwind().await;
                queue.meters.works.record(begun.elapsed().as_secs_f64());
                let outcome = outcome.unwrap_or_else(|_| {
                    tracing::error!(queue = queue.name, ?key, "the reconciler panicked");
                    Ok(Some(BACKOFF_MAX))
                });
                queue.done(key, outcome.map_err(|error| error.to_string()));
            });
        }
        self.meters.depth.set(state.ready.len() as f64);
        state.later.first().map(|(at, _)| *at)
    }

    fn done(&self, key: K, outcome: Result<Option<Duration>, String>) {
        let mut state = self.state.lock();
        state.busy.remove(&key);
        if state.again.remove(&key) {
            state.add(key.clone());
        }
        match outcome {
            Ok(after) => {
                state.failures.remove(&key);
                if let Some(after) = after {
                    state.add_at(key, Instant::now() + after.min(DELAY_MAX));
                }
            }
            Err(error) => {
                let failures = state.failures.entry(key.clone()).or_default();
                let delay = backoff(*failures);
                *failures += 1;
                tracing::debug!(queue = self.name, ?key, %error, "reconcile again in {delay:?}");
                self.meters.retries.increment(1);
                state.add_at(key, Instant::now() + delay);
            }
        }
        drop(state);
        self.changed.notify_one();
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(BACKOFF_MAX)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl<K: Key> State<K> {
    fn add(&mut self, key: K) -> bool {
        if self.busy.contains(&key) {
            return self.again.insert(key);
        }
        let new = self.queued.insert(key.clone());
        if new {
            self.ready.push_back((key, Instant::now()));
        }
        new
    }

    fn add_at(&mut self, key: K, at: Instant) {
        match self.due.get(&key) {
            Some(due) if *due <= at => return,
            Some(due) => {
                self.later.remove(&(*due, key.clone()));
            }
            None => {}
        }
        self.due.insert(key.clone(), at);
        self.later.insert((at, key));
    }

    fn wake_due(&mut self, now: Instant) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.later.pop_first() {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }

    fn take(&mut self) -> Option<(K, Instant)> {
        let (key, since) = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.busy.insert(key.clone());
        Some((key, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    struct Probe {
        seen: mpsc::UnboundedSender<(String, Duration)>,
        started: Instant,
        failures: Mutex<u32>,
    }

    impl Reconcile<String> for Probe {
        type Error = String;
        async fn reconcile(&self, key: &String) -> Result<Option<Duration>, String> {
            let _ = self.seen.send((key.clone(), self.started.elapsed()));
            assert_ne!(key, "panic");
            let mut failures = self.failures.lock();
            if *failures == 0 {
                return Ok(None);
            }
            *failures -= 1;
            Err("refused".into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_panics_comes_back_later_and_holds_nobody_up() {
        let (seen, mut log) = mpsc::unbounded_channel();
        let probe = Probe { seen, started: Instant::now(), failures: Mutex::new(0) };
        let queue = Queue::new("probe");
        queue.add("panic".to_owned());
        queue.add_after("b".to_owned(), Duration::from_secs(1));
        queue.add_after("never".to_owned(), Duration::MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(queue.work(1, Arc::new(probe)));
        let mut keys = Vec::new();
        for _ in 0..3 {
            let (key, at) = log.recv().await.expect("the queue works");
            keys.push(format!("{key}@{}", at.as_secs()));
        }
        assert_eq!(keys, ["panic@0", "b@1", "panic@960"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_key_comes_back_ever_later_and_a_waiting_key_is_one() {
        let (seen, mut log) = mpsc::unbounded_channel();
        let probe = Probe { seen, started: Instant::now(), failures: Mutex::new(3) };
        let queue = Queue::new("probe");
        queue.add("a".to_owned());
        queue.add("a".to_owned());
        queue.add_after("b".to_owned(), Duration::from_secs(2));
        queue.add_after("b".to_owned(), Duration::from_secs(1));
        let mut tasks = JoinSet::new();
        tasks.spawn(queue.work(2, Arc::new(probe)));
        let mut times = Vec::new();
        for _ in 0..5 {
            let (key, at) = log.recv().await.expect("the queue works");
            times.push(format!("{key}@{}", at.as_millis()));
        }
        // Timers tick in whole milliseconds, so each wait may end one late.
        let due = [0, 5, 15, 35, 1000];
        for (time, due) in times.iter().zip(due) {
            let at: u128 = time[2..].parse().expect("a number");
            assert!((due..due + 5).contains(&at), "{times:?}");
        }
        assert!(times[4].starts_with("b@") && log.try_recv().is_err(), "{times:?}");
    }
}
