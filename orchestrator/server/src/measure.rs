//! What `/metrics` tells of requests, under upstream's names. Handles are made once for each combination of labels and
//! found again by a hash of what the request already knows, so that a request allocates nothing here. What can be counted
//! when somebody asks is in `measure/facts.rs`.

pub mod facts;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use amphipod_store::{Committed, Error, Store, Txn};
use axum::body::HttpBody;
use axum::response::Response;
use http::{HeaderMap, Method, header};
use metrics::{Counter, Gauge, Histogram, Label};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};
use parking_lot::RwLock;
use tokio::time::Instant;

use crate::catalog::Catalog;
use crate::kinds::Kind;
use crate::route::Route;
use crate::seams::{Admit, Operation};
use crate::tail::Tail;

/// Combinations beyond these are counted as one: names of custom kinds come and go for as long as the program lives.
const METERS_MAX: usize = 10_000;
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const STORE_SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const ADMISSION_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const QUEUE_SECONDS: &[f64] = &[1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 50.0, 100.0, 500.0, 1_000.0];
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Plain paths that have a name of their own.
const PAGES: &[&str] = &["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];

/// The recorder that `/metrics` is read from, with upstream's buckets. Call the handle's `run_upkeep` every few seconds.
pub fn recorder() -> Result<PrometheusBuilder, BuildError> {
    [
        (Matcher::Full("apiserver_request_duration_seconds".to_owned()), SECONDS),
        (Matcher::Full("etcd_request_duration_seconds".to_owned()), STORE_SECONDS),
        (Matcher::Prefix("apiserver_admission_".to_owned()), ADMISSION_SECONDS),
        (Matcher::Prefix("workqueue_".to_owned()), QUEUE_SECONDS),
        (Matcher::Full("apiserver_response_sizes".to_owned()), BYTES),
    ]
    .into_iter()
    .try_fold(PrometheusBuilder::new(), |builder, (names, buckets)| builder.set_buckets_for_metric(names, buckets))
}

/// The handles of all requests.
#[derive(Default)]
pub struct Requests {
    hasher: RandomState,
    meters: RwLock<HashMap<u64, Arc<Meters>>>,
    strangers: RwLock<Option<Arc<Meters>>>,
}

/// The handles of one combination.
pub struct Meters {
    labels: Vec<Label>,
    seconds: Histogram,
    bytes: Histogram,
    running: Gauge,
    in_flight: Gauge,
    /// By HTTP code; there are few.
    totals: RwLock<Vec<(u16, Counter)>>,
}

/// What of a request becomes labels.
#[derive(Hash)]
struct Asked<'a> {
    verb: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'static str,
    dry_run: bool,
}

impl<'a> Asked<'a> {
    fn of(method: &Method, route: &'a Route, headers: &HeaderMap) -> Self {
        let attributes = &route.attributes;
        let dry_run = route.query.get("dryRun").is_some();
        if let Some(path) = &attributes.path {
            let subresource = PAGES.iter().find(|page| path == *page).copied().unwrap_or_default();
            let verb = known_method(method);
            return Self { verb, group: "", version: "", resource: "", subresource, scope: "", dry_run };
        }
        let scope = match (attributes.name.as_str(), attributes.namespace.as_str()) {
            ("", "") => "cluster",
            ("", _) => "namespace",
            _ => "resource",
        };
        Self {
            verb: verb(route, headers),
            group: &attributes.group,
            version: &attributes.version,
            resource: &attributes.resource,
            subresource: &attributes.subresource,
            scope,
            dry_run,
        }
    }

    /// A client may ask for any name; only what is served becomes a label.
    fn is_served(&self, catalog: &Catalog) -> bool {
        if self.resource.is_empty() || catalog.remotes.find(self.group, self.version).is_some() {
            return true;
        }
        let entry = catalog.registry.find(self.group, self.version, self.resource);
        let has = |kind: &Kind| kind.subresources.iter().any(|sub| sub.name == self.subresource);
        entry.is_some_and(|entry| self.subresource.is_empty() || has(&entry.kind))
    }
}

fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn verb(route: &Route, headers: &HeaderMap) -> &'static str {
    let attributes = &route.attributes;
    if matches!(attributes.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy") {
        return "CONNECT";
    }
    let is_apply = || {
        let media = headers.get(header::CONTENT_TYPE);
        media.is_some_and(|media| media.as_bytes().starts_with(b"application/apply-patch"))
    };
    match attributes.verb.as_str() {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" if is_apply() => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

impl Requests {
    /// Begins to measure a request.
    pub fn begin(&self, method: &Method, route: &Route, headers: &HeaderMap, catalog: &Catalog) -> Running {
        let asked = Asked::of(method, route, headers);
        let is_long = route.is_long_running();
        let meters = self.find(&asked, catalog);
        let gauge = if is_long { &meters.running } else { &meters.in_flight };
        Running { _held: Held::new(gauge), meters, begun: Instant::now(), is_long }
    }

    fn find(&self, asked: &Asked<'_>, catalog: &Catalog) -> Arc<Meters> {
        let key = self.hasher.hash_one(asked);
        if let Some(meters) = self.meters.read().get(&key) {
            return meters.clone();
        }
        if !asked.is_served(catalog) || self.meters.read().len() >= METERS_MAX {
            let nothing = Asked { group: "", version: "", resource: "", subresource: "", ..*asked };
            return self.strangers.write().get_or_insert_with(|| Arc::new(Meters::new(&nothing))).clone();
        }
        self.meters.write().entry(key).or_insert_with(|| Arc::new(Meters::new(asked))).clone()
    }
}

impl Meters {
    fn new(asked: &Asked<'_>) -> Self {
        let label = |name: &'static str, value: &str| Label::new(name, value.to_owned());
        let labels = vec![
            label("verb", asked.verb),
            label("group", asked.group),
            label("version", asked.version),
            label("resource", asked.resource),
            label("subresource", asked.subresource),
            label("scope", asked.scope),
            label("component", "apiserver"),
        ];
        let with_dry_run = with(&labels, "dry_run", if asked.dry_run { "All" } else { "" });
        let kind = if matches!(asked.verb, "GET" | "HEAD" | "LIST" | "WATCH") { "readOnly" } else { "mutating" };
        Self {
            seconds: metrics::histogram!("apiserver_request_duration_seconds", with_dry_run.clone()),
            bytes: match asked.verb {
                "GET" | "LIST" => metrics::histogram!("apiserver_response_sizes", labels.clone()),
                _ => Histogram::noop(),
            },
            running: metrics::gauge!("apiserver_longrunning_requests", labels),
            in_flight: metrics::gauge!("apiserver_current_inflight_requests", "request_kind" => kind),
            labels: with_dry_run,
            totals: RwLock::default(),
        }
    }

    fn count(&self, code: u16) {
        if let Some((_, counter)) = self.totals.read().iter().find(|(known, _)| *known == code) {
            return counter.increment(1);
        }
        let labels = with(&self.labels, "code", &code.to_string());
        let counter = metrics::counter!("apiserver_request_total", labels);
        counter.increment(1);
        let mut totals = self.totals.write();
        if totals.iter().all(|(known, _)| *known != code) {
            totals.push((code, counter));
        }
    }
}

fn with(labels: &[Label], name: &'static str, value: &str) -> Vec<Label> {
    labels.iter().cloned().chain([Label::new(name, value.to_owned())]).collect()
}

/// One request on its way.
pub struct Running {
    meters: Arc<Meters>,
    begun: Instant,
    is_long: bool,
    _held: Held,
}

impl Running {
    /// Its answer begins; one that lives long is held until its body ends.
    pub fn answered(self, response: Response) -> Response {
        self.meters.count(response.status().as_u16());
        if self.is_long {
            let (parts, body) = response.into_parts();
            return Response::from_parts(parts, Tail::wrap(body, self));
        }
        self.meters.seconds.record(self.begun.elapsed().as_secs_f64());
        if let Some(bytes) = response.body().size_hint().exact() {
            self.meters.bytes.record(bytes as f64);
        }
        response
    }
}

/// One more for as long as it lives.
struct Held(Gauge);

impl Held {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// How long the store took, by operation and resource.
#[derive(Default)]
pub struct Commits(RwLock<HashMap<Written, (Histogram, Counter)>>);

/// An operation and a type.
type Written = (&'static str, &'static str);

impl Commits {
    /// Commits and measures. `operation` is `create`, `update` or `delete`; `storage` as in [`Kind::storage`].
    pub async fn commit(
        &self,
        store: &dyn Store,
        (operation, storage): (&'static str, &'static str),
        txn: Txn,
    ) -> Result<Committed, Error> {
        let begun = Instant::now();
        let committed = store.commit(txn).await;
        self.record((operation, storage), begun.elapsed());
        committed
    }

    fn record(&self, key: (&'static str, &'static str), took: Duration) {
        if let Some((seconds, count)) = self.0.read().get(&key) {
            seconds.record(took.as_secs_f64());
            return count.increment(1);
        }
        let labels = || vec![Label::new("operation", key.0), Label::new("type", resource(key.1))];
        let seconds = metrics::histogram!("etcd_request_duration_seconds", labels());
        let count = metrics::counter!("etcd_requests_total", labels());
        seconds.record(took.as_secs_f64());
        count.increment(1);
        self.0.write().insert(key, (seconds, count));
    }
}

/// Which walk through admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Admit,
    Validate,
}

/// How long admission took, by walk and operation. Of single plug-ins only refusals are measured: a write passes
/// twenty of them, and what each did not do is of no use to anyone.
pub struct Admissions {
    passed: [Histogram; 8],
    rejected: [Histogram; 8],
}

const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];

impl Default for Admissions {
    fn default() -> Self {
        let steps = |rejected: &'static str| {
            std::array::from_fn(|index| {
                let labels = [
                    ("type", if index < OPERATIONS.len() { "admit" } else { "validate" }),
                    ("operation", OPERATIONS[index % OPERATIONS.len()]),
                    ("rejected", rejected),
                ];
                metrics::histogram!("apiserver_admission_step_admission_duration_seconds", &labels)
            })
        };
        Self { passed: steps("false"), rejected: steps("true") }
    }
}

impl Admissions {
    pub fn passed(&self, step: (Phase, Operation), took: Duration) {
        self.passed[index(step)].record(took.as_secs_f64());
    }

    pub fn rejected(&self, plugin: &dyn Admit, step: (Phase, Operation), took: Duration) {
        let index = index(step);
        self.rejected[index].record(took.as_secs_f64());
        let labels = [
            ("name", plugin.name()),
            ("type", if step.0 == Phase::Admit { "admit" } else { "validate" }),
            ("operation", OPERATIONS[index % OPERATIONS.len()]),
            ("rejected", "true"),
        ];
        metrics::histogram!("apiserver_admission_controller_admission_duration_seconds", &labels)
            .record(took.as_secs_f64());
    }
}

/// One webhook was asked; `rejection` is the code that it refused with. 500 is its own failure.
pub fn webhook((name, step, operation): (&str, &'static str, Operation), rejection: Option<u16>, took: Duration) {
    let operation = OPERATIONS[index((Phase::Admit, operation))];
    let label = |name: &'static str, value: &str| Label::new(name, value.to_owned());
    let rejected = if rejection.is_some() { "true" } else { "false" };
    let labels = [label("name", name), label("type", step), label("operation", operation)];
    let all = with(&labels, "rejected", rejected);
    metrics::histogram!("apiserver_admission_webhook_admission_duration_seconds", all.clone())
        .record(took.as_secs_f64());
    let code = rejection.unwrap_or(200).to_string();
    metrics::counter!("apiserver_admission_webhook_request_total", with(&all, "code", &code)).increment(1);
    if let Some(code) = rejection {
        let (error, code) =
            if code == 500 { ("calling_webhook_error", "0".to_owned()) } else { ("no_error", code.to_string()) };
        let labels = with(&with(&labels, "error_type", error), "rejection_code", &code);
        metrics::counter!("apiserver_admission_webhook_rejection_count", labels).increment(1);
    }
}

fn index((phase, operation): (Phase, Operation)) -> usize {
    let operation = match operation {
        Operation::Create => 0,
        Operation::Update => 1,
        Operation::Delete => 2,
        Operation::Connect => 3,
    };
    operation + if phase == Phase::Admit { 0 } else { OPERATIONS.len() }
}

/// `pods`, `deployments.apps`: as upstream names resources.
pub fn resource(storage: &str) -> String {
    match storage.split_once('/') {
        Some((group, plural)) => format!("{plural}.{group}"),
        None => storage.to_owned(),
    }
}
