//! The versions of a definition: names, one that is stored, and for each its schema, columns and subresources.

use serde_json::Value;

use super::super::json::{is_empty, is_set, items, text};
use super::super::{Problem, names};

const SELECTABLE_MAX: usize = 8;
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password", "int-or-string", "binary"];

pub fn validate(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let versions = items(&spec["versions"]);
    let mut seen: Vec<&str> = Vec::new();
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let (path, name) = (format!("spec.versions[{index}]"), text(&version["name"]));
        unique &= !seen.contains(&name);
        seen.push(name);
        let complaints = names::dns_1035(name);
        if !complaints.is_empty() {
            problems.push(Problem::invalid(format!("{path}.name"), name, &complaints.join(",")));
        }
        problems.extend(validate_version(version, &path));
    }
    if spec["preserveUnknownFields"] == true {
        let detail =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        problems.push(Problem::invalid("spec.preserveUnknownFields", true, detail));
    }
    if !unique {
        problems.push(Problem::invalid("spec.versions", spec["versions"].clone(), "must contain unique version names"));
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        problems.push(Problem::invalid("spec.versions", spec["versions"].clone(), detail));
    }
    problems
}

fn validate_version(version: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if version["deprecationWarning"].is_string() && version["deprecated"] != true {
        let detail = "can only be set for deprecated versions";
        problems.push(Problem::invalid(
            format!("{path}.deprecationWarning"),
            version["deprecationWarning"].clone(),
            detail,
        ));
    }
    let schema = &version["schema"]["openAPIV3Schema"];
    let at = format!("{path}.schema.openAPIV3Schema");
    if is_set(schema) {
        let faults = amphipod_schema::structural::check_schema(schema, &at);
        problems.extend(faults.into_iter().map(Problem::from));
        problems.extend(crate::custom::rules::check(schema, &at));
    } else {
        problems.push(Problem::required(at, "schemas are required"));
    }
    for (index, column) in items(&version["additionalPrinterColumns"]).iter().enumerate() {
        problems.extend(validate_column(column, &format!("{path}.additionalPrinterColumns[{index}]")));
    }
    problems.extend(validate_selectable(version, path));
    problems.extend(validate_scale(&version["subresources"]["scale"], &format!("{path}.subresources.scale")));
    problems
}

fn validate_column(column: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_empty(&column["name"]) {
        problems.push(Problem::required(format!("{path}.name"), ""));
    }
    match text(&column["type"]) {
        "" => {
            let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
            problems.push(Problem::required(format!("{path}.type"), &detail));
        }
        kind if COLUMN_TYPES.contains(&kind) => {}
        kind => {
            let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
            problems.push(Problem::invalid(format!("{path}.type"), kind, &detail));
        }
    }
    let format = text(&column["format"]);
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        problems.push(Problem::invalid(format!("{path}.format"), format, &detail));
    }
    match text(&column["jsonPath"]) {
        "" => problems.push(Problem::required(format!("{path}.JSONPath"), "")),
        source => {
            if let Err(why) = crate::custom::json_path::JsonPath::parse(source) {
                problems.push(Problem::invalid(format!("{path}.JSONPath"), source, &why));
            }
        }
    }
    problems
}

/// Labels of field selectors: plain paths to scalars that the schema names.
fn validate_selectable(version: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (fields, schema) = (items(&version["selectableFields"]), &version["schema"]["openAPIV3Schema"]);
    if fields.len() > SELECTABLE_MAX {
        problems.push(Problem::too_many(format!("{path}.selectableFields"), fields.len(), SELECTABLE_MAX));
    }
    let mut seen = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let (at, source) = (format!("{path}.selectableFields[{index}].jsonPath"), text(&field["jsonPath"]));
        if source.is_empty() {
            problems.push(Problem::required(at, ""));
            continue;
        }
        if seen.contains(&source) {
            problems.push(Problem::duplicate(at.clone(), source));
        }
        seen.push(source);
        let steps = source.strip_prefix('.').unwrap_or(source).split('.');
        let found = steps.clone().try_fold(schema, |schema, step| schema["properties"].get(step));
        let scalar = |schema: &Value| matches!(text(&schema["type"]), "string" | "boolean" | "integer");
        match found {
            _ if !source.starts_with('.') || source.contains(['[', '*', '\'']) => {
                problems.push(Problem::invalid(at, source, "must be a simple path"));
            }
            None => {
                problems.push(Problem::invalid(at, source, "is an invalid path: does not refer to a valid field"));
            }
            Some(_) if steps.clone().next() == Some("metadata") => {
                problems.push(Problem::invalid(at, source, "must not point to fields in metadata"));
            }
            Some(schema) if !scalar(schema) => {
                let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                problems.push(Problem::invalid(at, source, detail));
            }
            Some(_) => {}
        }
    }
    problems
}

fn validate_scale(scale: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_set(scale) {
        return problems;
    }
    let mut under = |field: &str, root: &str, required: bool| {
        let (at, source) = (format!("{path}.{field}"), text(&scale[field]));
        if source.is_empty() {
            if required {
                problems.push(Problem::required(at, ""));
            }
            return;
        }
        let simple = source.starts_with('.') && !source.contains("..") && !source.contains(['[', ']', '*']);
        if !simple {
            problems.push(Problem::invalid(at, source, "must be a simple json path starting with ."));
        } else if !source.starts_with(root) {
            let root = root.trim_end_matches('.');
            problems.push(Problem::invalid(at, source, &format!("should be a json path under {root}")));
        }
    };
    under("specReplicasPath", ".spec.", true);
    under("statusReplicasPath", ".status.", true);
    let selector = text(&scale["labelSelectorPath"]);
    let fits = selector.is_empty() || selector.starts_with(".spec.") || selector.starts_with(".status.");
    if !fits {
        let detail = "should be a json path under either .status or .spec";
        problems.push(Problem::invalid(format!("{path}.labelSelectorPath"), selector, detail));
    }
    problems
}
