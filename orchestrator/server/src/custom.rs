//! Custom kinds: what a CustomResourceDefinition says of each of its versions, made into entries of the registry.
//!
//! ```text
//!  definition stored ─► custom/follow.rs reads it ─► names.rs judges its names ─► entries swapped into the catalog
//!                                                                              └─► Established written
//!  definition deleted ─► finalizer ─► custom/cleanup.rs empties it ─► finalizer goes ─► entries swapped out
//! ```

mod body;
pub mod cleanup;
pub mod convert;
pub mod follow;
pub mod json_path;
pub mod names;
pub mod rules;
mod words;

use std::sync::Arc;

use amphipod_schema::Structural;
use amphipod_store::{ResourceId, Revision};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::kinds::json::{is_set, items, text};
use crate::kinds::{ALL_VERBS, Kind, PLAIN, Problem, SCALE, STATUS, Scope, Subresource, UpdateRules, metadata};
use crate::kinds::{drop_status, keep_status, names as rules_of_names, table};
use crate::registry::{Entry, KindRef};
use convert::Conversion;
use json_path::JsonPath;
use rules::Rules;
use words::word;

/// One version of a custom kind.
pub struct CustomKind {
    pub kind: Kind,
    pub schema: Structural,
    /// `openAPIV3Schema` as OpenAPI shows it.
    pub published: Value,
    pub columns: Vec<PrinterColumn>,
    pub scale: Option<ScalePaths>,
    pub rules: Rules,
    /// What users of a deprecated version are told.
    pub deprecation: Option<String>,
    pub conversion: Arc<Conversion>,
    /// Objects written later than this were written under this very schema: their stored frames are served as they are.
    pub since: Revision,
    /// New objects are refused: the definition is being deleted.
    pub is_terminating: bool,
    /// Cancelled when another schema takes this one's place: who watches starts over.
    pub retired: CancellationToken,
}

/// A column of `kubectl get`.
pub struct PrinterColumn {
    pub name: String,
    pub r#type: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    path: JsonPath,
}

/// Where `/scale` finds and puts what it shows.
pub struct ScalePaths {
    pub spec_replicas: JsonPath,
    pub status_replicas: JsonPath,
    pub selector: Option<JsonPath>,
}

/// The entries of an established definition, one for each served version. `retired` ends them all.
pub fn entries(
    definition: &Value,
    resource: ResourceId,
    since: Revision,
    retired: &CancellationToken,
) -> Vec<Arc<Entry>> {
    let versions = items(&definition["spec"]["versions"]);
    let conversion = Arc::new(Conversion::of(definition));
    let made: Vec<(&Value, KindRef)> = versions
        .iter()
        .map(|version| {
            let custom = custom_kind(definition, version, (&conversion, since, retired));
            (version, KindRef::Custom(Arc::new(custom)))
        })
        .collect();
    let Some((_, hub)) = made.iter().find(|(version, _)| version["storage"] == true).cloned() else {
        return Vec::new();
    };
    let served = made.into_iter().filter(|(version, _)| version["served"] == true);
    let entry = |kind: KindRef| Entry { kind, resource: Some(resource), hub: hub.clone(), ty: None, sealed: false };
    served.map(|(_, kind)| Arc::new(entry(kind))).collect()
}

fn custom_kind(
    definition: &Value,
    version: &Value,
    (conversion, since, retired): (&Arc<Conversion>, Revision, &CancellationToken),
) -> CustomKind {
    let published = &version["schema"]["openAPIV3Schema"];
    let has_status = is_set(&version["subresources"]["status"]);
    let mut schema = Structural::read(published);
    schema.status_apart = has_status;
    CustomKind {
        kind: kind(definition, version),
        rules: Rules::compile(published),
        schema,
        published: published.clone(),
        columns: columns(version),
        scale: scale(&version["subresources"]["scale"]),
        deprecation: deprecation(definition, version),
        conversion: conversion.clone(),
        since,
        is_terminating: is_set(&definition["metadata"]["deletionTimestamp"]),
        retired: retired.clone(),
    }
}

/// The facts of a kind, as the table has them of built-in ones.
fn kind(definition: &Value, version: &Value) -> Kind {
    let (spec, names) = (&definition["spec"], &definition["status"]["acceptedNames"]);
    let group = word(text(&spec["group"]));
    let plural = word(text(&spec["names"]["plural"]));
    let texts = |value: &Value| words::words(items(value).iter().map(text));
    let (status, scale) = (&version["subresources"]["status"], &version["subresources"]["scale"]);
    let subresources: &[Subresource] = match (is_set(status), is_set(scale)) {
        (true, true) => &[STATUS, SCALE],
        (true, false) => &[STATUS],
        (false, true) => &[SCALE],
        (false, false) => &[],
    };
    let fields = items(&version["selectableFields"]).iter();
    let labels = fields.map(|field| text(&field["jsonPath"]).trim_start_matches('.'));
    Kind {
        group,
        version: word(text(&version["name"])),
        kind: word(text(&names["kind"])),
        plural,
        singular: word(text(&names["singular"])),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        scope: if spec["scope"] == "Cluster" { Scope::Cluster } else { Scope::Namespaced },
        verbs: ALL_VERBS,
        subresources,
        storage: word(&format!("{group}/{plural}")),
        update: UpdateRules { unconditional: false, creates: false, generation: true },
        prepare_create: if is_set(status) { drop_status } else { |_| {} },
        prepare_update: if is_set(status) { keep_status } else { |_, _| {} },
        field_labels: words::words(labels),
        is_custom: true,
        columns: &[],
        ..PLAIN
    }
}

fn columns(version: &Value) -> Vec<PrinterColumn> {
    let column = |column: &Value| {
        Some(PrinterColumn {
            name: text(&column["name"]).to_owned(),
            r#type: text(&column["type"]).to_owned(),
            format: text(&column["format"]).to_owned(),
            description: match text(&column["description"]) {
                "" => format!("Custom resource definition column (in JSONPath format): {}", text(&column["jsonPath"])),
                said => said.to_owned(),
            },
            priority: column["priority"].as_i64().unwrap_or(0),
            path: JsonPath::parse(text(&column["jsonPath"])).ok()?,
        })
    };
    let given: Vec<PrinterColumn> = items(&version["additionalPrinterColumns"]).iter().filter_map(column).collect();
    if !given.is_empty() {
        return given;
    }
    let age = serde_json::json!({
        "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": table::AGE.description,
    });
    column(&age).into_iter().collect()
}

fn scale(scale: &Value) -> Option<ScalePaths> {
    let path = |name: &str| JsonPath::parse(text(&scale[name])).ok();
    Some(ScalePaths {
        spec_replicas: path("specReplicasPath")?,
        status_replicas: path("statusReplicasPath")?,
        selector: path("labelSelectorPath"),
    })
}

fn deprecation(definition: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    let own = version["deprecationWarning"].as_str().map(str::to_owned);
    let usual = || {
        let (group, kind) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["kind"]));
        format!("{group}/{} {kind} is deprecated", text(&version["name"]))
    };
    Some(own.unwrap_or_else(usual))
}

impl CustomKind {
    /// Everything that is wrong with an object; `old` is what stood there before.
    pub fn problems(&self, object: &Value, old: Option<&Value>) -> Vec<Problem> {
        let mut problems = metadata::validate_plain(object, self.kind.scope, rules_of_names::subdomain);
        let faults = amphipod_schema::structural::validate(object, &self.schema, old);
        let well_formed = faults.is_empty();
        problems.extend(faults.into_iter().map(Problem::from));
        let unchanged = |fault: &amphipod_schema::Fault| {
            old.is_some_and(|old| amphipod_schema::structural::check_lists(old, &self.schema).contains(fault))
        };
        let lists = amphipod_schema::structural::check_lists(object, &self.schema);
        problems.extend(lists.into_iter().filter(|fault| !unchanged(fault)).map(Problem::from));
        // Rules speak of values that have their declared types.
        if well_formed {
            problems.extend(self.rules.problems(object, old));
        } else if self.rules.is_any() {
            let message = "Invalid value: \"null\": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            let (reason, field) = ("FieldValueInvalid", "<nil>".to_owned());
            problems.push(Problem { reason, field, message: message.to_owned() });
        }
        problems
    }

    /// The cells of a row, the name first; `now` in seconds since the epoch.
    pub fn row(&self, object: &Value, now: i64) -> Vec<Value> {
        let mut cells = vec![object["metadata"]["name"].clone()];
        cells.extend(self.columns.iter().map(|column| cell(column, object, now)));
        cells
    }

    /// The labels of the table above a row.
    pub fn definitions(&self) -> Value {
        let name = serde_json::json!({
            "name": "Name", "type": "string", "format": "name", "description": table::NAME.description, "priority": 0,
        });
        let own = self.columns.iter().map(|column| {
            serde_json::json!({
                "name": column.name, "type": column.r#type, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        });
        std::iter::once(name).chain(own).collect()
    }
}

fn cell(column: &PrinterColumn, object: &Value, now: i64) -> Value {
    let Some(value) = column.path.first(object) else { return Value::Null };
    match (column.r#type.as_str(), value) {
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", other) => other.to_string().into(),
        ("integer", value) => value.as_i64().or(value.as_f64().map(|number| number as i64)).into(),
        ("number", value) if value.is_number() => value.clone(),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) if text.parse::<jiff::Timestamp>().is_err() => "<invalid>".into(),
        ("date", Value::String(_)) => table::since(value, now).into(),
        _ => Value::Null,
    }
}
