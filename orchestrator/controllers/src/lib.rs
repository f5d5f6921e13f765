//! The controllers: each makes one promise of the API true, again and again. This file is their table.
//! They read through `Informers`, write through a `kube::Client`, and share nothing but `Context`.

mod claim;
mod context;
mod pending;
mod pods;
mod queue;
mod replica_set;

pub use context::Clock;
