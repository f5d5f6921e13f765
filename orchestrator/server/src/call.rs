//! One request behind the road: what a verb needs to know of it, and the options of writes.

use std::sync::Arc;

use http::HeaderMap;
use serde_json::Value;

use crate::accept::Form;
use crate::kinds::{Kind, Problem, Scope};
use crate::pipeline::Caller;
use crate::registry::Entry;
use crate::reply::Status;
use crate::route::{Query, Route};
use crate::seams::Notes;
use crate::server::Server;

/// A request for a resource of the table.
#[derive(Clone)]
pub struct Call {
    pub server: Server,
    pub entry: Arc<Entry>,
    pub route: Arc<Route>,
    pub identity: Caller,
    pub form: Form,
    pub headers: Arc<HeaderMap>,
    pub notes: Arc<Notes>,
}

impl Call {
    pub fn kind(&self) -> &Kind {
        &self.entry.kind
    }

    pub fn query(&self) -> &Query {
        &self.route.query
    }

    /// Empty for a cluster-scoped kind, whatever the address says.
    pub fn namespace(&self) -> &str {
        match self.kind().scope {
            Scope::Namespaced => &self.route.attributes.namespace,
            Scope::Cluster => "",
        }
    }

    pub fn name(&self) -> &str {
        &self.route.attributes.name
    }

    pub fn subresource(&self) -> &str {
        &self.route.attributes.subresource
    }

    pub fn header(&self, name: http::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// What to do about fields the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    Strict,
    Warn,
    Ignore,
}

/// The options every write takes.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub manager: String,
    pub validation: FieldValidation,
    pub tracking: Tracking,
}

/// Where the managedFields of a write come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// From what changed.
    Changes,
    /// They came with the new object: server-side apply worked them out.
    Given,
}

impl WriteOptions {
    pub fn of(call: &Call) -> Result<Self, Status> {
        let query = call.query();
        let options = match call.route.attributes.verb.as_str() {
            "patch" => "PatchOptions",
            "update" => "UpdateOptions",
            "create" => "CreateOptions",
            _ => "DeleteOptions",
        };
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                let supported = r#""Ignore", "Strict", "Warn""#;
                return Err(unsupported(options, "fieldValidation", other, supported));
            }
        };
        if let Some(value) = query.all("dryRun").find(|value| *value != "All" && !value.is_empty()) {
            return Err(unsupported(options, "dryRun", value, r#""All""#));
        }
        let agent = call.header(http::header::USER_AGENT);
        let manager = query.get("fieldManager").unwrap_or_else(|| agent.split('/').next().unwrap_or_default());
        let manager: String =
            if manager.is_empty() { "unknown".to_owned() } else { manager.chars().take(128).collect() };
        let dry_run = query.get("dryRun").is_some();
        Ok(Self { dry_run, manager, validation, tracking: Tracking::Changes })
    }
}

fn unsupported(options: &str, field: &str, value: &str, supported: &str) -> Status {
    let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
    let problem = Problem { reason: "FieldValueNotSupported", field: field.to_owned(), message };
    Status::invalid_kind(("meta.k8s.io", options), "", &[problem])
}

/// The text at a path of members; empty when anything is missing.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(value, |value, member| value.get(member));
    found.and_then(Value::as_str).unwrap_or_default()
}
