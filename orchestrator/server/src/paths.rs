//! Plain paths: discovery, version, probes, metrics, OpenAPI.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;

use crate::accept::Form;
use crate::measure;
use crate::pretty;
use crate::reply::{self, Status};
use crate::route::Query;
use crate::server::Server;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// What `/livez` and `/healthz` look at, in the order they are shown.
const CHECKS: &[&str] = &["ping", "log", STORE];
/// What `/readyz` looks at.
const READY_CHECKS: &[&str] = &["ping", "log", STORE, SHUTDOWN];
const SHUTDOWN: &str = "shutdown";
/// Upstream's name of the check on what keeps the state.
const STORE: &str = "etcd";

pub fn serve(
    server: &Server,
    (method, path, query): (&Method, &str, &Query),
    (headers, form): (&HeaderMap, Form),
) -> Result<Response, Status> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Status::method_not_allowed());
    }
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let catalog = server.catalog.load();
    let documents = &catalog.documents;
    match segments.as_slice() {
        ["api"] if form == Form::Discovery => Ok(aggregated(&documents.core_aggregated, headers)),
        ["apis"] if form == Form::Discovery => Ok(aggregated(&documents.groups_aggregated, headers)),
        ["api"] => Ok(reply::ok(documents.core_versions.clone())),
        ["apis"] => Ok(reply::ok(documents.groups.clone())),
        ["api", version] => found(documents.resources.get(*version)),
        ["apis", group] => found(documents.group.get(*group)),
        ["apis", group, version] => found(documents.resources.get(&format!("{group}/{version}"))),
        ["openapi", "v3", rest @ ..] => catalog.openapi.serve(rest, headers, &catalog.remotes),
        ["version"] => Ok(reply::ok(version())),
        ["healthz" | "livez" | "readyz", rest @ ..] => probe(server, (segments[0], rest), query),
        ["metrics"] => metrics(server),
        [] => Ok(reply::ok(documents.paths.clone())),
        _ => page(server, path),
    }
}

fn found(document: Option<&Bytes>) -> Result<Response, Status> {
    document.map(|document| reply::ok(document.clone())).ok_or_else(Status::no_such_path)
}

fn page(server: &Server, path: &str) -> Result<Response, Status> {
    let page = server.pages.iter().find(|page| page.path == path).ok_or_else(Status::no_such_path)?;
    let mut response = reply::ok(page.body.clone());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Ok(response)
}

/// The content type must repeat what was asked for, else clients take it for the old form.
fn aggregated((body, etag): &(Bytes, String), headers: &HeaderMap) -> Response {
    let etag = HeaderValue::from_str(&format!("\"{etag}\"")).expect("a hash is made of header characters");
    if headers.get(header::IF_NONE_MATCH) == Some(&etag) {
        return reply::not_modified();
    }
    let mut response = reply::ok(body.clone());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response.headers_mut().insert(header::ETAG, etag);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn version() -> Bytes {
    let git_version = format!("{}+{}", amphipod_api::KUBERNETES_VERSION, amphipod_api::NAME);
    let mut numbers = amphipod_api::KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    let version = json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "gitVersion": git_version, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, platform()),
    });
    pretty::indented(version.to_string().as_bytes()).into()
}

/// Go's names of architectures.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Healthy is one word, unless more is asked for; `exclude` leaves checks out.
fn probe(server: &Server, (kind, rest): (&str, &[&str]), query: &Query) -> Result<Response, Status> {
    let checks = checks(kind);
    if let [check] = rest {
        let check = checks.iter().find(|known| *known == check).ok_or_else(Status::no_such_path)?;
        return Ok(match fault(server, check) {
            Some(why) => reply::probe(false, format!("internal server error: {why}\n")),
            None => reply::probe(true, "ok".to_owned()),
        });
    }
    let is_excluded = |check: &str| query.all("exclude").any(|excluded| excluded == check);
    let mut is_well = true;
    let mut lines = String::new();
    for check in checks {
        if is_excluded(check) {
            lines.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if let Some(why) = fault(server, check) {
            // Why something is not well stands in the log; whoever may ask need not know it.
            tracing::info!("{kind} check {check}: {why}");
            is_well = false;
            lines.push_str(&format!("[-]{check} failed: reason withheld\n"));
        } else {
            lines.push_str(&format!("[+]{check} ok\n"));
        }
    }
    if is_well && !query.named("verbose") {
        return Ok(reply::probe(true, "ok".to_owned()));
    }
    Ok(reply::probe(is_well, format!("{lines}{kind} check {}\n", if is_well { "passed" } else { "failed" })))
}

/// A server that ends is alive, and ready for nobody.
fn checks(kind: &str) -> &'static [&'static str] {
    if kind == "readyz" { READY_CHECKS } else { CHECKS }
}

fn fault(server: &Server, check: &str) -> Option<String> {
    match check {
        STORE => server.store.health().err().map(|error| error.to_string()),
        SHUTDOWN => server.ending.is_cancelled().then(|| "process is shutting down".to_owned()),
        _ => None,
    }
}

fn metrics(server: &Server) -> Result<Response, Status> {
    let mut text = server.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    text.push_str(&measure::facts::text(server));
    let mut response = reply::probe(true, text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    Ok(response)
}
