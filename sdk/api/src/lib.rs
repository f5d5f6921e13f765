//! Words that both halves share: names, labels, and the seam through which everyone reads the cluster.
//! No IO of its own and no HTTP codes; the control plane is `orchestrator/`, the node is `host/`.

pub mod answer;
pub mod events;
pub mod informer;
pub mod labels;
pub mod leader;
pub mod node_selector;
pub mod quantity;
mod remote;
pub mod schedule;
pub mod selector;
#[cfg(not(test))]
pub mod shared;
pub mod taints;

pub use answer::said;
pub use events::{Recorder, Reporter};
pub use informer::{Change, Changes, Informer, Informers, RawEvent, Source};

/// The Kubernetes minor release whose API this program serves.
pub const KUBERNETES_VERSION: &str = "v1.37.0";

/// Name under which this program signs what it writes (events, managed fields of its parts).
pub const NAME: &str = "amphipod";
