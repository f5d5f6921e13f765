//! The rules of volumes: one source, which never changes.

use serde_json::{Map, Value, json};

use super::{VOLUME_MODES, validate_modes};
use crate::kinds::json::{entries, is_empty, is_set, items, map, text};
use crate::kinds::problem::{immutable, invalid_each};
use crate::kinds::resource_names::validate_positive;
use crate::kinds::{Problem, metadata, names};

const POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
/// Fields of the spec that are no source.
const OTHERS: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub fn validate(spec: &Value) -> Vec<Problem> {
    let at = |field: &str| format!("spec.{field}");
    let mut problems = Vec::new();
    if is_empty(&spec["accessModes"]) {
        problems.push(Problem::required(at("accessModes"), ""));
    }
    problems.extend(validate_modes(&spec["accessModes"], &at("accessModes")));
    problems.extend(validate_capacity(&spec["capacity"], &at("capacity")));
    let policy = text(&spec["persistentVolumeReclaimPolicy"]);
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        problems.push(Problem::not_supported(at("persistentVolumeReclaimPolicy"), policy, &POLICIES));
    }
    problems.extend(validate_affinity(&spec["nodeAffinity"]));
    problems.extend(validate_sources(spec, "spec"));
    if is_set(&spec["local"]) && is_empty(&spec["nodeAffinity"]["required"]) {
        problems.push(Problem::required(at("nodeAffinity"), "Local volume requires node affinity"));
    }
    if spec["hostPath"]["path"] == "/" && policy == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        problems.push(Problem::forbidden(at("persistentVolumeReclaimPolicy"), detail));
    }
    let class = text(&spec["storageClassName"]);
    if !class.is_empty() {
        problems.extend(invalid_each(&at("storageClassName"), class, names::subdomain(class)));
    }
    let mode = text(&spec["volumeMode"]);
    if is_set(&spec["volumeMode"]) && !VOLUME_MODES.contains(&mode) {
        problems.push(Problem::not_supported(at("volumeMode"), mode, &VOLUME_MODES));
    }
    problems.extend(validate_attributes(spec));
    problems
}

fn validate_attributes(spec: &Value) -> Vec<Problem> {
    let path = "spec.volumeAttributesClassName";
    let mut problems = match &spec["volumeAttributesClassName"] {
        Value::String(class) if class.is_empty() => vec![Problem::required(path, "an empty string is disallowed")],
        Value::String(class) => invalid_each(path, class, names::subdomain(class)),
        _ => return Vec::new(),
    };
    if !is_set(&spec["csi"]) {
        problems.push(Problem::required("spec.csi", "has to be specified when using volumeAttributesClassName"));
    }
    problems
}

fn validate_capacity(capacity: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if is_empty(capacity) {
        problems.push(Problem::required(path, ""));
    }
    let given = map(capacity);
    if given.len() != 1 || !given.contains_key("storage") {
        let shown = if is_set(capacity) { capacity.clone() } else { json!({}) };
        problems.push(Problem::not_supported_shown(path, &shown, &["storage"]));
    }
    for (resource, amount) in entries(capacity) {
        problems.extend(validate_positive(amount, &format!("{path}[{resource}]")));
    }
    problems
}

fn validate_affinity(affinity: &Value) -> Option<Problem> {
    let required = &affinity["required"];
    if !is_set(affinity) {
        return None;
    }
    if !is_set(required) {
        return Some(Problem::required("spec.nodeAffinity.required", "must specify required node constraints"));
    }
    is_empty(&required["nodeSelectorTerms"]).then(|| {
        let detail = "must have at least one node selector term";
        Problem::required("spec.nodeAffinity.required.nodeSelectorTerms", detail)
    })
}

/// Exactly one source, complete.
fn validate_sources(spec: &Value, path: &str) -> Vec<Problem> {
    let sources = sources(spec);
    let mut problems = Vec::new();
    if sources.is_empty() {
        problems.push(Problem::required(path, "must specify a volume type"));
    }
    for (index, (kind, source)) in sources.iter().enumerate() {
        let path = format!("{path}.{kind}");
        if index > 0 {
            problems.push(Problem::forbidden(path, "may not specify more than 1 volume type"));
            continue;
        }
        let needed: &[&str] = match kind.as_str() {
            "nfs" => &["server", "path"],
            "csi" => &["driver", "volumeHandle"],
            "hostPath" | "local" => &["path"],
            "iscsi" => &["targetPortal", "iqn"],
            _ => &[],
        };
        for field in needed.iter().filter(|field| is_empty(&source[**field])) {
            problems.push(Problem::required(format!("{path}.{field}"), ""));
        }
        let steps_up = text(&source["path"]).split('/').any(|part| part == "..");
        if matches!(kind.as_str(), "hostPath" | "local") && steps_up {
            problems.push(Problem::invalid(format!("{path}.path"), text(&source["path"]), "must not contain '..'"));
        }
        if kind == "nfs" && !is_empty(&source["path"]) && !text(&source["path"]).starts_with('/') {
            problems.push(Problem::invalid(format!("{path}.path"), text(&source["path"]), "must be an absolute path"));
        }
        let driver = text(&source["driver"]);
        if kind == "csi" && !driver.is_empty() {
            problems.extend(validate_driver(driver, &format!("{path}.driver")));
        }
    }
    problems
}

/// The name of a CSI driver.
pub fn validate_driver(driver: &str, path: &str) -> Vec<Problem> {
    const DRIVER_MAX: usize = 63;
    if driver.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let mut problems = Vec::new();
    if driver.len() > DRIVER_MAX {
        problems.push(Problem::too_long(path, DRIVER_MAX));
    }
    problems.extend(invalid_each(path, driver, names::subdomain(&driver.to_lowercase())));
    problems
}

fn sources(spec: &Value) -> Map<String, Value> {
    map(spec).into_iter().filter(|(field, value)| is_set(value) && !OTHERS.contains(&field.as_str())).collect()
}

pub fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (spec, before) = (&new["spec"], &old["spec"]);
    let mut source = sources(spec);
    let was_open = is_set(&before["csi"]) && !is_set(&before["csi"]["controllerExpandSecretRef"]);
    if was_open && let Some(csi) = source.get_mut("csi") {
        crate::kinds::json::remove(csi, "controllerExpandSecretRef");
    }
    if source != sources(before) {
        let changed = crate::kinds::problem::changes(&Value::Object(source), &Value::Object(sources(before)));
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{changed}");
        problems.push(Problem::forbidden("spec.persistentvolumesource", &detail));
    }
    problems.extend(immutable("volumeMode", &spec["volumeMode"], &before["volumeMode"]));
    if is_set(&before["nodeAffinity"]) {
        problems.extend(immutable("nodeAffinity", &spec["nodeAffinity"], &before["nodeAffinity"]));
    }
    if is_set(&before["volumeAttributesClassName"]) && !is_set(&spec["volumeAttributesClassName"]) {
        let detail = "update from non-nil value to nil is forbidden";
        problems.push(Problem::forbidden("spec.volumeAttributesClassName", detail));
    }
    problems
}

/// A volume spec inside a VolumeAttachment: a CSI volume without what only a volume of its own has.
pub fn validate_inline(spec: &Value, path: &str) -> Vec<Problem> {
    let inline = "in the context of inline volumes";
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    for field in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
        if !is_empty(&spec[field]) {
            problems.push(Problem::forbidden(at(field), &format!("may not be specified {inline}")));
        }
    }
    if !is_set(&spec["csi"]) {
        problems.push(Problem::required(at("csi"), &format!("has to be specified {inline}")));
    }
    if items(&spec["accessModes"]).is_empty() {
        problems.push(Problem::required(at("accessModes"), ""));
    }
    problems.extend(validate_modes(&spec["accessModes"], &at("accessModes")));
    if !matches!(text(&spec["persistentVolumeReclaimPolicy"]), "" | "Retain") {
        problems.push(Problem::forbidden(at("persistentVolumeReclaimPolicy"), &format!("may only be Retain {inline}")));
    }
    if !matches!(text(&spec["volumeMode"]), "" | "Filesystem") {
        let detail = format!("may not specify volumeMode other than Filesystem {inline}");
        problems.push(Problem::forbidden(at("volumeMode"), &detail));
    }
    problems.extend(validate_sources(spec, path));
    problems
}
