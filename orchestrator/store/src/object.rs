//! An object as the store holds it: clear metadata that selectors need, and a payload it never interprets.

use std::ops::Range;
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
    body: Body,
}

/// A plain object lies once in memory, as the JSON that readers get; its payload is cut out of that again.
#[derive(Debug)]
enum Body {
    Plain(Frame),
    Sealed { payload: Payload, frame: OnceLock<Bytes> },
}

/// The whole object as JSON, and what of it is not the payload's body.
#[derive(Debug)]
struct Frame {
    json: Bytes,
    managed_fields: Range<u32>,
    revision: Range<u32>,
}

const MANAGED_FIELDS: &[u8] = b"\"managedFields\":";
const RESOURCE_VERSION: &[u8] = b"\"resourceVersion\":\"";
const RESOURCE_VERSION_END: &[u8] = b"\",";

impl Object {
    pub fn new(key: Key, create_revision: Revision, revision: Revision, meta: Arc<Meta>, payload: &Payload) -> Self {
        let body = match payload.codec {
            0 => Body::Plain(Frame::splice(payload, &payload.body, revision)),
            _ => Body::Sealed { payload: payload.clone(), frame: OnceLock::new() },
        };
        Self { key, create_revision, revision, meta, body }
    }

    /// The same object as it reads at another revision.
    pub fn at(&self, revision: Revision) -> Self {
        Self::new(self.key.clone(), self.create_revision, revision, self.meta.clone(), &self.payload())
    }

    /// The whole object as JSON with `resourceVersion` and `managedFields`: made once, shared by every reader.
    /// `open` turns an encrypted body into plain JSON; it is not called for codec 0.
    pub fn frame(&self, open: impl FnOnce(&Payload) -> Bytes) -> Bytes {
        match &self.body {
            Body::Plain(frame) => frame.json.clone(),
            Body::Sealed { payload, frame } => {
                let make = || Frame::splice(payload, &open(payload), self.revision).json;
                frame.get_or_init(make).clone()
            }
        }
    }

    pub fn payload(&self) -> Payload {
        match &self.body {
            Body::Plain(frame) => frame.payload(),
            Body::Sealed { payload, .. } => payload.clone(),
        }
    }

    /// Whether its payload is this one.
    pub fn holds(&self, payload: &Payload) -> bool {
        match &self.body {
            Body::Plain(frame) => payload.codec == 0 && frame.holds(payload),
            Body::Sealed { payload: own, .. } => own == payload,
        }
    }

    /// Roughly what it costs in memory, in bytes.
    pub fn weight(&self) -> usize {
        let body = match &self.body {
            Body::Plain(frame) => frame.json.len(),
            Body::Sealed { payload, .. } => 2 * payload.body.len() + payload.managed_fields.len(),
        };
        let pairs = self.meta.labels.iter().chain(&self.meta.fields);
        let words: usize = pairs.map(|(key, value)| key.len() + value.len() + 48).sum();
        let owners: usize = self.meta.owners.iter().map(|owner| owner.len() + 24).sum();
        OBJECT_OVERHEAD_BYTES + self.key.as_bytes().len() + self.meta.uid.len() + words + owners + body
    }
}

impl Frame {
    fn splice(payload: &Payload, body: &[u8], revision: Revision) -> Self {
        let (first, second) = (payload.managed_fields_at as usize, payload.revision_at as usize);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(revision).as_bytes();
        let managed = match payload.managed_fields.len() {
            0 => 0,
            length => MANAGED_FIELDS.len() + length + 1,
        };
        let stamp = RESOURCE_VERSION.len() + digits.len() + RESOURCE_VERSION_END.len();
        let mut json = Vec::with_capacity(body.len() + managed + stamp);
        json.extend_from_slice(&body[..first]);
        if managed > 0 {
            json.extend_from_slice(MANAGED_FIELDS);
            json.extend_from_slice(&payload.managed_fields);
            json.push(b',');
        }
        json.extend_from_slice(&body[first..second]);
        let revision = range(json.len(), stamp);
        for part in [RESOURCE_VERSION, digits, RESOURCE_VERSION_END, &body[second..]] {
            json.extend_from_slice(part);
        }
        Self { json: json.into(), managed_fields: range(first, managed), revision }
    }

    fn payload(&self) -> Payload {
        Payload {
            codec: 0,
            body: self.parts().concat().into(),
            managed_fields_at: self.managed_fields.start,
            revision_at: self.revision.start - (self.managed_fields.end - self.managed_fields.start),
            managed_fields: Bytes::copy_from_slice(self.list()),
        }
    }

    fn holds(&self, payload: &Payload) -> bool {
        let mut rest = &payload.body[..];
        let mut same = |part: &&[u8]| rest.strip_prefix(*part).map(|left| rest = left).is_some();
        let managed = self.managed_fields.end - self.managed_fields.start;
        payload.managed_fields_at == self.managed_fields.start
            && payload.revision_at + managed == self.revision.start
            && payload.managed_fields == self.list()
            && self.parts().iter().all(&mut same)
            && rest.is_empty()
    }

    /// The body: what stands before, between and after the two that were put in.
    fn parts(&self) -> [&[u8]; 3] {
        let (managed, revision) = (&self.managed_fields, &self.revision);
        let between = managed.end as usize..revision.start as usize;
        [&self.json[..managed.start as usize], &self.json[between], &self.json[revision.end as usize..]]
    }

    /// The managed fields' JSON array; empty when there is none.
    fn list(&self) -> &[u8] {
        if self.managed_fields.is_empty() {
            return &[];
        }
        &self.json[self.managed_fields.start as usize + MANAGED_FIELDS.len()..self.managed_fields.end as usize - 1]
    }
}

fn range(start: usize, length: usize) -> Range<u32> {
    let at = |place| u32::try_from(place).expect("an object is at most a few MiB");
    at(start)..at(start + length)
}

/// Map nodes, counters and allocator overhead of one object.
const OBJECT_OVERHEAD_BYTES: usize = 320;
