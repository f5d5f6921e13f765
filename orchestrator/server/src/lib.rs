//! The Kubernetes API over the store. A request comes in at `pipeline.rs`, a watch is served in `watch.rs`,
//! every kind is an entry of the table in `kinds.rs`.

pub mod authn;
pub mod authz;
pub mod bootstrap;
pub mod certificates;
pub mod kinds;
pub mod reply;
pub mod seams;
pub mod serve;
pub mod tokens;
