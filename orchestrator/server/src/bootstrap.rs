//! The objects that every cluster has from the start, and `ensure`, which creates the missing ones through the API
//! itself. Roles are in `bootstrap/roles.rs`, all else in `bootstrap/objects.rs`.

pub mod objects;
pub mod roles;

use std::collections::HashMap;
use std::net::IpAddr;

pub use roles::node_rules;

use futures::stream::{self, StreamExt, TryStreamExt};
use kube::Client;
use serde_json::Value;

/// Requests under way at a time; the store makes one disk write of them.
const CONCURRENT: usize = 32;
/// A role or binding with this annotation `"false"` is the operator's: it is left alone.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// What the objects say about this cluster.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of Service `kubernetes`: the first of the service CIDR.
    pub service_address: IpAddr,
    /// `10.96.0.0/16`
    pub service_network: String,
    /// Where API servers listen.
    pub api_addresses: Vec<IpAddr>,
    pub api_port: u16,
    /// PEM: who signs the certificates of clients.
    pub client_authority: String,
    /// PEM: who signs what this server shows to aggregated APIs.
    pub front_proxy_authority: String,
}

/// One object, and where it goes.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Path of the list over all namespaces.
    pub list: &'static str,
    /// Path that a POST creates in.
    pub collection: String,
    pub object: Value,
    pub repair: Repair,
}

/// What becomes of an object that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// It is the operator's now.
    Never,
    /// Missing rules and subjects are added, more are left.
    Widen,
    /// These members are made what they should be.
    Members(&'static [&'static str]),
}

#[derive(Debug, thiserror::Error)]
#[error("cannot ensure {what}")]
pub struct EnsureError {
    pub what: String,
    #[source]
    pub source: kube::Error,
}

/// Everything, namespaces first.
pub fn desired(settings: &Settings) -> Vec<Desired> {
    let mut all = objects::objects(settings);
    all.extend(roles::roles());
    all
}

/// Creates what is missing and repairs the rest; again is harmless. `client` must be a master. One list per kind,
/// then only what differs, many at a time. Returns how many objects were written.
pub async fn ensure(client: &Client, settings: &Settings) -> Result<usize, EnsureError> {
    let (first, rest): (Vec<_>, Vec<_>) =
        desired(settings).into_iter().partition(|desired| desired.list == objects::NAMESPACES);
    Ok(ensure_all(client, first).await? + ensure_all(client, rest).await?)
}

async fn ensure_all(client: &Client, desired: Vec<Desired>) -> Result<usize, EnsureError> {
    let mut lists: Vec<&'static str> = desired.iter().map(|desired| desired.list).collect();
    lists.sort_unstable();
    lists.dedup();
    let listed = stream::iter(lists).map(|path| list(client, path)).buffer_unordered(CONCURRENT);
    let parts: Vec<HashMap<String, Value>> = listed.try_collect().await?;
    let present: HashMap<String, Value> = parts.into_iter().flatten().collect();
    let steps =
        desired.into_iter().filter_map(|desired| step(&desired, present.get(&identity(desired.list, &desired.object))));
    let steps: Vec<Step> = steps.collect();
    let count = steps.len();
    stream::iter(steps).map(Ok).try_for_each_concurrent(CONCURRENT, |step| carry_out(client, step)).await?;
    Ok(count)
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Create { collection: String, object: Value },
    Replace { path: String, object: Value },
}

/// What to do about one object, given what exists.
fn step(desired: &Desired, present: Option<&Value>) -> Option<Step> {
    let collection = desired.collection.clone();
    let Some(present) = present else { return Some(Step::Create { collection, object: desired.object.clone() }) };
    let mut object = present.clone();
    match desired.repair {
        Repair::Never => {}
        Repair::Widen if present["metadata"]["annotations"][AUTO_UPDATE] == "false" => {}
        // A controller writes the rules of these.
        Repair::Widen if desired.object["aggregationRule"].is_object() => {}
        Repair::Widen => ["rules", "subjects"].iter().for_each(|list| widen(&mut object, &desired.object, list)),
        Repair::Members(members) => members.iter().for_each(|member| restore(&mut object, &desired.object, member)),
    }
    let name = desired.object["metadata"]["name"].as_str().unwrap_or_default();
    (object != *present).then(|| Step::Replace { path: format!("{collection}/{name}"), object })
}

/// An empty list is not stored.
fn restore(object: &mut Value, desired: &Value, member: &str) {
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    if !is_empty(&object[member]) || !is_empty(&desired[member]) {
        object[member] = desired[member].clone();
    }
}

fn widen(object: &mut Value, desired: &Value, list: &str) {
    let Some(wanted) = desired[list].as_array() else { return };
    if !object[list].is_array() {
        object[list] = Value::Array(Vec::new());
    }
    let present = object[list].as_array_mut().expect("it was just made a list");
    for entry in wanted {
        if !present.contains(entry) {
            present.push(entry.clone());
        }
    }
}

async fn list(client: &Client, path: &'static str) -> Result<HashMap<String, Value>, EnsureError> {
    let request = http::Request::get(path).body(Vec::new()).expect("a fixed path is a request");
    let failed = |source| EnsureError { what: path.to_owned(), source };
    let answer: Value = client.request(request).await.map_err(failed)?;
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    Ok(items.into_iter().map(|item| (identity(path, &item), item)).collect())
}

async fn carry_out(client: &Client, step: Step) -> Result<(), EnsureError> {
    let (builder, path, object) = match step {
        Step::Create { collection, object } => (http::Request::post(&collection), collection, object),
        Step::Replace { path, object } => (http::Request::put(&path), path, object),
    };
    let what = format!("{path} {}", object["metadata"]["name"]);
    let request = builder.header("content-type", "application/json").body(object.to_string().into_bytes());
    match client.request::<Value>(request.expect("a path of fixed names is a request")).await {
        // Another server of this cluster was here first.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(EnsureError { what, source }),
        Ok(_) => Ok(()),
    }
}

fn identity(list: &str, object: &Value) -> String {
    let metadata = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{list}|{}|{}", metadata("namespace"), metadata("name"))
}

#[cfg(test)]
mod tests;
