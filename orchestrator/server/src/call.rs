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

/// Bytes of the name under which a client manages fields.
const MANAGER_BYTES_MAX: usize = 128;

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
        let manager = match query.get("fieldManager").filter(|given| !given.is_empty()) {
            Some(given) => checked_manager(options, given)?,
            None => manager_of_agent(call.header(http::header::USER_AGENT)),
        };
        let dry_run = query.get("dryRun").is_some();
        Ok(Self { dry_run, manager, validation, tracking: Tracking::Changes })
    }
}

fn checked_manager(options: &str, given: &str) -> Result<String, Status> {
    if given.len() > MANAGER_BYTES_MAX {
        let message = format!("Too long: may not be more than {MANAGER_BYTES_MAX} bytes");
        return Err(invalid_option(options, ("FieldValueTooLong", "fieldManager"), message));
    }
    match given.char_indices().find(|(_, c)| c.is_control()) {
        None => Ok(given.to_owned()),
        Some((at, c)) => {
            let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
            let message = format!("Invalid value: {given:?}: {why}");
            Err(invalid_option(options, ("FieldValueInvalid", "fieldManager"), message))
        }
    }
}

/// The program's name before the slash, as much of it as fits.
fn manager_of_agent(agent: &str) -> String {
    let name = agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control());
    let mut manager = String::new();
    for c in name {
        if manager.len() + c.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        manager.push(c);
    }
    if manager.is_empty() { "unknown".to_owned() } else { manager }
}

fn unsupported(options: &str, field: &str, value: &str, supported: &str) -> Status {
    let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
    invalid_option(options, ("FieldValueNotSupported", field), message)
}

fn invalid_option(options: &str, (reason, field): (&'static str, &str), message: String) -> Status {
    let problem = Problem { reason, field: field.to_owned(), message };
    Status::invalid_kind(("meta.k8s.io", options), "", &[problem])
}

/// The text at a path of members; empty when anything is missing.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    let found = path.iter().try_fold(value, |value, member| value.get(member));
    found.and_then(Value::as_str).unwrap_or_default()
}
