//! Between JSON values and what the store holds: canonical bytes with their splice points, clear metadata,
//! and sealed bodies for what may not lie readable on disk. The store's half is `Object::frame`.

use std::sync::Arc;

use amphipod_store::{Key, Meta, Object, Payload};
use bytes::Bytes;
use serde_json::Value;

use crate::kinds::Kind;
use crate::seams::Sealer;

const PLAIN: u8 = 0;
pub const SEALED: u8 = 1;

/// Makes payloads and opens them.
#[derive(Clone)]
pub struct Codec {
    pub sealer: Option<Arc<dyn Sealer>>,
}

impl Codec {
    /// `value` must have `metadata.name` and `metadata.uid`; managedFields are given apart, resourceVersion not at all.
    pub fn payload(&self, value: &Value, managed_fields: &Value, seal_for: Option<&Key>) -> Payload {
        let (plain, managed_fields_at, revision_at) = canonical(value);
        let (codec, body) = match (&self.sealer, seal_for) {
            (Some(sealer), Some(key)) => (SEALED, sealer.seal(&plain, key.as_bytes())),
            _ => (PLAIN, plain.into()),
        };
        let managed_fields = match managed_fields.as_array() {
            Some(entries) if !entries.is_empty() => managed_fields.to_string().into(),
            _ => Bytes::new(),
        };
        Payload { codec, body, managed_fields_at, revision_at, managed_fields }
    }

    /// The whole object as its hub version's JSON.
    pub fn frame(&self, object: &Object) -> Bytes {
        object.frame(|payload| self.open(payload, &object.key))
    }

    /// An unreadable body gives an object that says so, never a wrong one: offsets of the original do not fit anything else.
    pub fn open(&self, payload: &Payload, key: &Key) -> Bytes {
        let opened = self.sealer.as_ref().and_then(|sealer| sealer.open(&payload.body, key.as_bytes()));
        opened.unwrap_or_else(|| {
            tracing::error!(?key, "a sealed object does not open: its key is unknown or its bytes were changed");
            unreadable(payload)
        })
    }

    pub fn value(&self, object: &Object) -> Value {
        serde_json::from_slice(&self.frame(object)).expect("the store holds the JSON this codec wrote")
    }
}

/// Blanks long enough for the splice points, closed into an empty object by the members put there.
fn unreadable(payload: &Payload) -> Bytes {
    let end = payload.managed_fields_at.max(payload.revision_at) as usize;
    let mut text = vec![b' '; end + 1];
    text[0] = b'{';
    text.extend_from_slice(b"\"unreadable\":true}");
    text.into()
}

/// Sorted keys, integers as integers; the offsets before `"name"` and before `"uid"` in metadata.
fn canonical(value: &Value) -> (Vec<u8>, u32, u32) {
    let object = value.as_object().expect("an object was checked to be one");
    let mut out = Vec::with_capacity(512);
    let (mut name_at, mut uid_at) = (0, 0);
    let mut separator = b'{';
    for (key, member) in object {
        out.push(separator);
        separator = b',';
        write_json(&mut out, key);
        out.push(b':');
        match member.as_object().filter(|_| key == "metadata") {
            Some(metadata) => (name_at, uid_at) = write_metadata(&mut out, metadata),
            None => write_json(&mut out, member),
        }
    }
    out.push(b'}');
    (out, name_at, uid_at)
}

fn write_metadata(out: &mut Vec<u8>, metadata: &serde_json::Map<String, Value>) -> (u32, u32) {
    let (mut name_at, mut uid_at) = (0, 0);
    let mut first = true;
    out.push(b'{');
    for (key, member) in metadata {
        if key == "managedFields" || key == "resourceVersion" {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        let at = u32::try_from(out.len()).expect("a body is at most 3 MiB");
        match key.as_str() {
            "name" => name_at = at,
            "uid" => uid_at = at,
            _ => {}
        }
        write_json(out, key);
        out.push(b':');
        write_json(out, member);
    }
    out.push(b'}');
    (name_at, uid_at)
}

fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a JSON value can be written to memory");
}

/// What selectors, owners' lookups and the machine need to know of an object in clear.
pub fn meta(value: &Value, kind: &Kind) -> Meta {
    let metadata = &value["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = metadata["labels"].as_object();
    let labels = labels.map(|map| map.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    let owners = metadata["ownerReferences"].as_array();
    let mut owners: Vec<String> =
        owners.map(|list| list.iter().map(|owner| text(&owner["uid"])).collect()).unwrap_or_default();
    owners.sort_unstable();
    let mut fields: Vec<_> = (kind.fields)(value).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    fields.sort_unstable();
    Meta {
        uid: text(&metadata["uid"]),
        labels: labels.unwrap_or_default(),
        fields,
        owners,
        terminating: !metadata["deletionTimestamp"].is_null(),
    }
}

#[cfg(test)]
mod tests {
    use amphipod_store::ResourceId;
    use serde_json::json;

    use super::*;

    #[test]
    fn frames_carry_revision_and_managed_fields_in_canonical_order() {
        let value = json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": { "b": "2", "a": "1" },
            "metadata": { "uid": "u", "name": "n", "namespace": "d", "labels": { "l": "v" } },
        });
        let codec = Codec { sealer: None };
        let payload = codec.payload(&value, &json!([{ "manager": "m" }]), None);
        let meta = Arc::new(meta(&value, crate::kinds::KINDS[0]));
        let object = Object::new(Key::new(ResourceId(1), "d", "n"), 7, 9, meta, &payload);
        let frame = codec.frame(&object);
        expect_test::expect![[r#"{"apiVersion":"v1","data":{"a":"1","b":"2"},"kind":"ConfigMap","metadata":{"labels":{"l":"v"},"managedFields":[{"manager":"m"}],"name":"n","namespace":"d","resourceVersion":"9","uid":"u"}}"#]]
            .assert_eq(std::str::from_utf8(&frame).unwrap());
    }
}
