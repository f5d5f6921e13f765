//! The facts of Kubernetes' types in one table, and everything that only needs those facts: strict JSON
//! parsing, protobuf decoding, patches, managed fields, literal defaults, OpenAPI. Pure: no IO, no clock.
//!
//! `table` is the facts, `parse` the way in for JSON, `protobuf` the way in for typed Go clients, `shape`
//! what Go would print, `structural` is
//! the schema of custom kinds, `patch` and `managed_fields` what writes do, `apply` server-side apply.

pub mod apply;
pub mod field_set;
pub mod managed_fields;
pub mod openapi;
pub mod parse;
pub mod patch;
pub mod protobuf;
pub mod shape;
pub mod structural;
pub mod table;

#[cfg(test)]
mod fuzz;
mod time;

pub use parse::{ParseError, Parsed, check, parse, parse_yaml};
pub use protobuf::{DecodeError, Decoded, EncodeError, decode_protobuf, encode_protobuf, encode_watch_event};
pub use shape::{canonical, fill_defaults, prune_empty};
pub use structural::{Fault, Shape, Structural};
pub use table::{Field, KindFacts, Table, TypeRef, table};
