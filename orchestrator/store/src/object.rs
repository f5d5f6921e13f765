//! An object as the store holds it: clear metadata that selectors need, and a payload it never interprets.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Key, Revision};

/// What apply, selectors and indexes need, never secret. Sorted where order has no meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub uid: String,
    pub labels: Vec<(String, String)>,
    /// Selectable fields beyond name and namespace (`spec.nodeName`, `status.phase`, …), as field selectors name them.
    pub fields: Vec<(String, String)>,
    /// Uids of owners.
    pub owners: Vec<String>,
    /// It has a deletionTimestamp. A namespace with it refuses creations.
    pub terminating: bool,
}

impl Meta {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// The object's canonical JSON (sorted keys, no `resourceVersion`, no `managedFields`) and where those two go.
/// `body` may be encrypted; then only the server's codec can make a frame of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// 0: plain JSON. 1: AEAD, whose key id and nonce lead the body.
    pub codec: u8,
    pub body: Bytes,
    /// Offset in the plain JSON at which `"managedFields":…,` is inserted: before `"name"` in metadata.
    pub managed_fields_at: u32,
    /// Offset in the plain JSON at which `"resourceVersion":"…",` is inserted: before `"uid"` in metadata.
    pub revision_at: u32,
    /// JSON array, empty when there is none.
    pub managed_fields: Bytes,
}

/// One object at one revision.
#[derive(Debug)]
pub struct Object {
    pub key: Key,
    pub create_revision: Revision,
    pub revision: Revision,
    pub meta: Arc<Meta>,
    pub payload: Payload,
    frame: OnceLock<Bytes>,
}

impl Object {
    pub fn new(key: Key, create_revision: Revision, revision: Revision, meta: Arc<Meta>, payload: Payload) -> Self {
        Self { key, create_revision, revision, meta, payload, frame: OnceLock::new() }
    }

    /// The whole object as JSON with `resourceVersion` and `managedFields`: made once, shared by every reader.
    /// `open` turns an encrypted body into plain JSON; it is not called for codec 0.
    pub fn frame(&self, open: impl FnOnce(&Payload) -> Bytes) -> Bytes {
        self.frame.get_or_init(|| self.splice(open)).clone()
    }

    /// Roughly what it costs in memory, in bytes, without its frame.
    pub fn weight(&self) -> usize {
        weigh(&self.key, &self.meta, &self.payload)
    }

    fn splice(&self, open: impl FnOnce(&Payload) -> Bytes) -> Bytes {
        let payload = &self.payload;
        let body = if payload.codec == 0 { payload.body.clone() } else { open(payload) };
        let (first, second) = (payload.managed_fields_at as usize, payload.revision_at as usize);
        let mut frame = Vec::with_capacity(body.len() + payload.managed_fields.len() + 64);
        frame.extend_from_slice(&body[..first]);
        if !payload.managed_fields.is_empty() {
            frame.extend_from_slice(b"\"managedFields\":");
            frame.extend_from_slice(&payload.managed_fields);
            frame.push(b',');
        }
        frame.extend_from_slice(&body[first..second]);
        frame.extend_from_slice(b"\"resourceVersion\":\"");
        frame.extend_from_slice(itoa::Buffer::new().format(self.revision).as_bytes());
        frame.extend_from_slice(b"\",");
        frame.extend_from_slice(&body[second..]);
        frame.into()
    }
}

/// Map nodes, counters and allocator overhead of one object.
const OBJECT_OVERHEAD_BYTES: usize = 320;

fn weigh(key: &Key, meta: &Meta, payload: &Payload) -> usize {
    let pairs = meta.labels.iter().chain(&meta.fields);
    let words: usize = pairs.map(|(key, value)| key.len() + value.len() + 48).sum();
    let owners: usize = meta.owners.iter().map(|owner| owner.len() + 24).sum();
    let bytes = payload.body.len() + payload.managed_fields.len();
    OBJECT_OVERHEAD_BYTES + key.as_bytes().len() + meta.uid.len() + words + owners + bytes
}
