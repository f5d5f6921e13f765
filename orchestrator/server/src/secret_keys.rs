//! `/amphipod/secrets`: GET tells which keys seal the secrets, POST rotates them. A new key leads, every sealed object is
//! written anew with it, and keys that seal nothing any more are retired. Authorized as a plain path, so for masters.
//!
//! ```text
//!  new key, durable ─► it seals every write ─► each object sealed otherwise is written again ─► others retired
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use amphipod_store::{Error, Guard, Object, Op, Payload, Txn};
use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use crate::codec;
use crate::limits::WRITE_ATTEMPTS_MAX;
use crate::reply::{self, Status};
use crate::sealer::key_id;
use crate::seams::{KeyFacts, Keys};
use crate::server::Server;
use crate::stamp;

pub const PATH: &str = "/amphipod/secrets";

pub async fn serve(server: &Server, method: &Method) -> Result<Response, Status> {
    let keys = server.keys.clone().ok_or_else(Status::no_such_path)?;
    match *method {
        Method::GET | Method::HEAD => {}
        Method::POST => rotate(server, &*keys).await?,
        _ => return Err(Status::method_not_allowed()),
    }
    let counts = counts(server);
    Ok(reply::ok(shown(&keys.list(), &counts).to_string().into()))
}

/// Which key seals how many objects.
fn shown(keys: &[KeyFacts], counts: &BTreeMap<u32, usize>) -> Value {
    let key = |(index, key): (usize, &KeyFacts)| {
        let state = match key.retired {
            Some(_) => "Retired",
            None if index == 0 => "Primary",
            None => "Secondary",
        };
        json!({
            "id": key.id,
            "state": state,
            "created": stamp::time(key.created),
            "retired": key.retired.map(stamp::time),
            "objects": counts.get(&key.id).copied().unwrap_or(0),
        })
    };
    json!({ "keys": keys.iter().enumerate().map(key).collect::<Vec<_>>() })
}

fn counts(server: &Server) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for id in sealed(server).iter().filter_map(|object| sealing_key(object)) {
        *counts.entry(id).or_default() += 1;
    }
    counts
}

/// Every object of the kinds that lie sealed.
fn sealed(server: &Server) -> Vec<Arc<Object>> {
    let snapshot = server.store.snapshot();
    let registry = server.catalog.registry();
    let entries = registry.entries().iter().filter(|entry| entry.sealed);
    entries.flat_map(|entry| snapshot.list(entry.id(), None, None, 0)).collect()
}

fn sealing_key(object: &Object) -> Option<u32> {
    let payload = object.payload();
    (payload.codec == codec::SEALED).then(|| key_id(&payload.body)).flatten()
}

async fn rotate(server: &Server, keys: &dyn Keys) -> Result<(), Status> {
    let failed = |error: crate::seams::KeysError| Status::internal(error.to_string());
    let primary = keys.rotate(server.now()).map_err(failed)?;
    for object in sealed(server).iter().filter(|object| sealing_key(object) != Some(primary)) {
        seal_again(server, object, primary).await?;
    }
    // Whoever was writing with the old key meanwhile counts too.
    let used = counts(server);
    let unused = keys.list().into_iter().map(|key| key.id).filter(|id| *id != primary && !used.contains_key(id));
    keys.retire(&unused.collect::<Vec<_>>(), server.now()).map_err(failed)
}

/// Writes an object as it is, sealed with the key that leads. One that cannot be opened stops the rotation: nothing is
/// lost, and the key that might open it stays.
async fn seal_again(server: &Server, object: &Arc<Object>, primary: u32) -> Result<(), Status> {
    let Some(sealer) = server.codec.sealer.clone() else { return Ok(()) };
    for _ in 0..WRITE_ATTEMPTS_MAX {
        let Some(now) = server.store.snapshot().get(&object.key) else { return Ok(()) };
        if sealing_key(&now) == Some(primary) {
            return Ok(());
        }
        let (key, payload) = (now.key.clone(), now.payload());
        let plain = match payload.codec {
            codec::SEALED => sealer.open(&payload.body, key.as_bytes()),
            _ => Some(payload.body.clone()),
        };
        let plain = plain.ok_or_else(|| {
            let (namespace, name) = (key.namespace(), key.name());
            Status::internal(format!("secret {namespace}/{name} does not open with any key: the rotation stopped"))
        })?;
        let body = sealer.seal(&plain, key.as_bytes());
        let payload = Payload { codec: codec::SEALED, body, ..payload };
        let guards = vec![Guard::Revision(key.clone(), now.revision)];
        let ops = vec![Op::Put { key, meta: (*now.meta).clone(), payload }];
        match server.store.commit(Txn { guards, ops, share_revision: true }).await {
            Ok(_) => return Ok(()),
            Err(Error::Guard { .. }) => {}
            Err(error) => return Err(Status::unavailable(error.to_string())),
        }
    }
    Err(Status::unavailable("a secret changes faster than it can be sealed: rotate again"))
}
