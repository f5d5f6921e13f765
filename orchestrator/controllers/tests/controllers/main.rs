//! The controllers against the API server in process over a memory store.

mod cleanup;
mod cluster;
mod jobs;
mod leader;
mod sets;
