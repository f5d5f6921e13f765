//! CPU time of containers: measured around every poll of a guest, limited by a token bucket that the epoch callback
//! asks, ticked by a thread that runs only while a guest does.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::{Engine, UpdateDeadline};

const TICK: Duration = Duration::from_millis(2);
/// Ticks until a guest is looked at.
pub(crate) const SLICE_TICKS: u64 = 1;
/// What a guest may run in one go before others of its thread get their turn.
const SLICE: Duration = TICK.saturating_mul(SLICE_TICKS as u32);
/// Ticks without a running guest before the clock sleeps.
const LINGER_TICKS: u32 = 10;
/// As the Linux scheduler's default: `limits.cpu` is a share of each such period.
const PERIOD: Duration = Duration::from_millis(100);

/// The thread that advances the engine's epoch.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticking = shared.clone();
        let handle = std::thread::Builder::new()
            .name("epoch".into())
            .stack_size(64 << 10)
            .spawn(move || tick(&ticking, &engine))?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    fn enter(&self) {
        if self.shared.running.fetch_add(1, Ordering::SeqCst) == 0 && self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    fn leave(&self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick(shared: &Shared, engine: &Engine) {
    let mut quiet = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            quiet = 0;
        } else {
            quiet += 1;
        }
        if quiet > LINGER_TICKS {
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.running.load(Ordering::SeqCst) == 0 {
                std::thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            quiet = 0;
        }
        std::thread::park_timeout(TICK);
        engine.increment_epoch();
    }
}

/// What one container has used and may use.
pub(crate) struct Meter {
    used_nanoseconds: AtomicU64,
    /// Per period; `None`: as much as there is.
    quota_nanoseconds: Option<u64>,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    period_start: Instant,
    used_nanoseconds: u64,
}

impl Meter {
    pub(crate) fn new(millicores: Option<u64>) -> Self {
        let period = PERIOD.as_nanos() as u64;
        Self {
            used_nanoseconds: AtomicU64::new(0),
            quota_nanoseconds: millicores.map(|millicores| (period / 1_000).saturating_mul(millicores).max(1)),
            bucket: Mutex::new(Bucket { period_start: Instant::now(), used_nanoseconds: 0 }),
        }
    }

    pub(crate) fn used_nanoseconds(&self) -> u64 {
        self.used_nanoseconds.load(Ordering::Relaxed)
    }

    fn charge(&self, nanoseconds: u64) {
        self.used_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        if self.quota_nanoseconds.is_some() {
            self.bucket.lock().used_nanoseconds += nanoseconds;
        }
    }

    /// How long the container must wait before it may run again.
    fn throttled(&self, now: Instant) -> Option<Duration> {
        self.quota_nanoseconds.and_then(|quota| self.bucket.lock().wait(quota, now))
    }

    /// Resolves when the container may run.
    pub(crate) async fn allowed(&self) {
        while let Some(wait) = self.throttled(Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// What happens to a guest whose deadline has passed. Ticks also pass while it waits for its thread: only a slice
    /// that it has run is one.
    pub(crate) fn deadline(&self) -> UpdateDeadline {
        let now = Instant::now();
        match self.throttled(now) {
            Some(wait) => UpdateDeadline::YieldCustom(SLICE_TICKS, Box::pin(tokio::time::sleep(wait))),
            None if now.saturating_duration_since(POLLED.get()) < SLICE => UpdateDeadline::Continue(1),
            None => UpdateDeadline::Yield(SLICE_TICKS),
        }
    }
}

impl Bucket {
    /// A debt is carried into the next periods, an unused rest is not.
    fn wait(&mut self, quota: u64, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.period_start).as_nanos() / PERIOD.as_nanos();
        if passed > 0 {
            let refill = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(quota);
            self.used_nanoseconds = self.used_nanoseconds.saturating_sub(refill);
            self.period_start += PERIOD * u32::try_from(passed).unwrap_or(u32::MAX);
        }
        if self.used_nanoseconds < quota {
            return None;
        }
        let periods = u32::try_from(self.used_nanoseconds / quota).unwrap_or(u32::MAX);
        Some((self.period_start + PERIOD.saturating_mul(periods)).saturating_duration_since(now))
    }
}

thread_local! {
    /// Since when this thread polls its guest.
    static POLLED: Cell<Instant> = Cell::new(Instant::now());
}

/// A guest's future: each poll is charged to its container and keeps the clock ticking.
pub(crate) struct Metered<T> {
    guest: Pin<Box<dyn Future<Output = T> + Send>>,
    meter: Arc<Meter>,
    host: Arc<crate::Host>,
}

impl<T> Metered<T> {
    pub(crate) fn new(
        guest: impl Future<Output = T> + Send + 'static,
        meter: Arc<Meter>,
        host: Arc<crate::Host>,
    ) -> Self {
        Self { guest: Box::pin(guest), meter, host }
    }
}

impl<T> Future for Metered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        POLLED.set(Instant::now());
        let before = thread_nanoseconds();
        this.host.ticker.enter();
        let polled = this.guest.as_mut().poll(cx);
        this.host.ticker.leave();
        this.meter.charge(thread_nanoseconds().saturating_sub(before));
        polled
    }
}

fn thread_nanoseconds() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fifth of a core: 20 ms of each 100.
    fn check(used_milliseconds: u64, after_milliseconds: u64) -> Option<u128> {
        let start = Instant::now();
        let mut bucket = Bucket { period_start: start, used_nanoseconds: used_milliseconds * 1_000_000 };
        bucket.wait(20_000_000, start + Duration::from_millis(after_milliseconds)).map(|wait| wait.as_millis())
    }

    #[test]
    fn a_used_up_quota_waits_for_the_next_period() {
        assert_eq!(check(19, 30), None);
        assert_eq!(check(20, 30), Some(70));
        assert_eq!(check(25, 99), Some(1));
    }

    #[test]
    fn a_debt_takes_several_periods() {
        assert_eq!(check(45, 30), Some(170));
        assert_eq!(check(45, 130), Some(70));
        assert_eq!(check(45, 230), None);
    }
}
