//! The built program with real clients: kubectl, curl-like HTTP, a real registry. One binary; each test has a
//! cluster of its own in a temporary folder. Adding a case is adding a file and its line here.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod access;
mod admission;
mod aggregation;
mod audit;
mod bad_input;
mod cluster;
mod custom;
mod features;
mod grants;
mod hello;
mod nodes;
mod objects;
mod pods;
mod registries;
mod survival;
mod tokens;
