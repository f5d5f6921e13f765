//! Keys: `u16 resource ‖ cluster ‖ 0 ‖ namespace ‖ 0 ‖ name`, so that byte order is the order of a Kubernetes list.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A resource (group and plural), interned by the store. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceId(pub u16);

/// Names one object. The cluster segment is reserved and empty; so is the namespace of a cluster-scoped object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(Arc<[u8]>);

impl Key {
    pub fn new(resource: ResourceId, namespace: &str, name: &str) -> Self {
        let mut bytes = Self::prefix(resource, Some(namespace));
        bytes.extend_from_slice(name.as_bytes());
        Self(bytes.into())
    }

    /// What every key of a resource (in a namespace) starts with.
    pub fn prefix(resource: ResourceId, namespace: Option<&str>) -> Vec<u8> {
        let mut bytes = resource.0.to_be_bytes().to_vec();
        bytes.push(0); // the empty cluster segment
        if let Some(namespace) = namespace {
            bytes.extend_from_slice(namespace.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    pub fn resource(&self) -> ResourceId {
        ResourceId(u16::from_be_bytes([self.0[0], self.0[1]]))
    }

    pub fn namespace(&self) -> &str {
        self.segment(1)
    }

    pub fn name(&self) -> &str {
        self.segment(2)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key as it lies on disk; `None` unless it has the three segments.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.get(2..)?).ok()?;
        (text.split('\0').count() == 3).then(|| Self(bytes.into()))
    }

    fn segment(&self, index: usize) -> &str {
        let segment = self.0[2..].split(|byte| *byte == 0).nth(index);
        let bytes = segment.expect("a key has three segments");
        std::str::from_utf8(bytes).expect("a key is made of text")
    }
}

/// Lets ordered maps of keys be searched by a prefix.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.resource().0, self.namespace(), self.name())
    }
}
