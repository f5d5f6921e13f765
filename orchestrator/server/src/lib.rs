//! The Kubernetes API over the store. A request comes in at `pipeline.rs`, a watch is served in `watch.rs`,
//! every kind is an entry of the table in `kinds.rs`.

mod accept;
pub mod admission;
pub mod aggregation;
mod apply;
pub mod audit;
pub mod authn;
pub mod authz;
mod body;
pub mod bootstrap;
mod call;
pub mod catalog;
pub mod certificates;
mod codec;
mod component_status;
mod compress;
mod create;
pub mod custom;
mod delete;
mod discovery;
mod encoding;
pub mod expressions;
mod forms;
mod forward;
mod get;
pub mod kinds;
pub mod limits;
mod list;
mod managed;
pub mod measure;
mod openapi;
mod patch;
mod paths;
pub mod pipeline;
mod pretty;
mod reads;
pub mod registry;
pub mod reply;
mod resources;
mod reviews;
mod route;
pub mod sealer;
pub mod seams;
mod secret_keys;
pub mod selectors;
pub mod serve;
pub mod server;
pub mod service_reference;
mod stamp;
mod subresources;
mod table;
mod tail;
mod tap;
pub mod tokens;
mod twins;
mod update;
pub mod usage;
mod versions;
mod watch;
mod webhook_client;
mod write;

#[cfg(test)]
mod tests;

pub use server::{Clock, Options, Page, Server};
