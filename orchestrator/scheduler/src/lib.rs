//! Gives every pod a node. `schedule.rs` decides, `snapshot.rs` and `counts.rs` are what it decides on, `queue.rs` says
//! whose turn it is, `preempt.rs` whom a pod may push out; `cycle.rs` decides and writes, `watch.rs` follows what happens.
//!
//! ```text
//!  informers ─► watch ─► snapshot, counts, storage ─┐
//!                  └───► queue ─► schedule by class ─► assume ─► volumes ─► POST …/binding (several at once)
//!                          ▲           └─► preempt ─► FailedScheduling event, PodScheduled=False, nominatedNodeName
//!                          ├── a change that may help (`hints.rs`)
//!                          └── a binding that failed: forget the assumption
//! ```

pub mod buckets;
pub mod choose;
pub mod classes;
pub mod counts;
mod cycle;
pub mod filters;
pub mod hints;
mod measure;
pub mod need;
mod needs;
pub mod outlook;
pub mod plugins;
pub mod preempt;
pub mod queue;
pub mod schedule;
pub mod scores;
mod siblings;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod volumes;
mod watch;
mod writes;

use std::sync::Arc;

use amphipod_api::{Informers, Recorder};
use jiff::Timestamp;

use cycle::Scheduler;
use watch::Sources;

/// The name that pods ask for with `spec.schedulerName` unless they name another, and that events are signed with.
pub const NAME: &str = "default-scheduler";

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Whose pods are scheduled: those that name one of these.
#[derive(Debug, Clone)]
pub struct Options {
    pub names: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { names: vec![NAME.to_owned()] }
    }
}

/// Schedules for as long as the future is polled.
pub async fn run(client: kube::Client, informers: Informers, recorder: Recorder, clock: Clock, options: Options) {
    let sources = Sources::start(&informers).await;
    let changes = sources.changes();
    Scheduler::new(client, recorder, clock, sources, &options).run(changes).await;
}
