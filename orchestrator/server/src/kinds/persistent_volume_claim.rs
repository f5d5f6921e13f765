//! PersistentVolumeClaim: storage that pods ask for. What it asked for stays, but for its size.

use amphipod_api::quantity;
use serde_json::{Value, json};

use super::json::{child, fill as fill_field, fill_text, is_empty, is_set, keep, present, scalar, set, text};
use super::persistent_volume::{
    CLASS_ANNOTATION, VOLUME_MODES, access_modes, amount, class, or_unset, phase, validate_modes,
};
use super::problem::{changes, immutable, invalid_each};
use super::resource_names::validate_positive;
use super::table::{AGE, NAME, age, name, string, wide};
use super::{Kind, PLAIN, Problem, STATUS, Scope, keep_status, labels, metadata, names};

const FROZEN: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const SIZE_PATH: &str = "spec.resources.requests.storage";

pub static PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    subresources: &[STATUS],
    schema: "io.k8s.api.core.v1.PersistentVolumeClaim",
    storage: "persistentvolumeclaims",
    defaults: fill,
    prepare_create: |claim| {
        set(claim, "status", json!({ "phase": "Pending" }));
        mirror_source(claim);
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        mirror_source(new);
    },
    validate: |claim| {
        let mut problems = metadata::validate(claim, Scope::Namespaced, names::subdomain);
        problems.extend(validate_spec(&claim["spec"], "spec"));
        problems
    },
    validate_update,
    columns: &[
        NAME,
        string("Status", "The current phase of the claim."),
        string("Volume", "The volume that backs the claim."),
        string("Capacity", "The actual resources of the underlying volume."),
        string("Access Modes", "The actual access modes of the volume that backs the claim."),
        string("StorageClass", "StorageClass of the pvc"),
        string("VolumeAttributesClass", "Name of the VolumeAttributesClass that the claim asks for."),
        AGE,
        wide("VolumeMode", "What type of volume the claim asks for."),
    ],
    row,
    ..PLAIN
};

/// The defaults of a claim, in the store or in the template of a StatefulSet.
pub(super) fn fill(claim: &mut Value) {
    if let Some(status) = child(claim, "status") {
        fill_text(status, "phase", "Pending");
    }
    if let Some(spec) = child(claim, "spec") {
        fill_field(spec, "volumeMode", "Filesystem");
    }
}

/// `dataSource` and `dataSourceRef` say the same, as far as the older one can.
fn mirror_source(claim: &mut Value) {
    let Some(spec) = present(claim, "spec") else { return };
    let (source, reference) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if is_set(&source) && !is_set(&reference) {
        set(spec, "dataSourceRef", source);
    } else if is_set(&reference) && !is_set(&source) && is_empty(&reference["namespace"]) {
        let group = text(&reference["apiGroup"]);
        let is_known = matches!(
            (group, text(&reference["kind"])),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        );
        if is_known {
            set(spec, "dataSource", reference);
        }
    }
}

/// A claim's spec at `path`.
pub(super) fn validate_spec(spec: &Value, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    if is_empty(&spec["accessModes"]) {
        problems.push(Problem::required(at("accessModes"), "at least 1 access mode is required"));
    }
    problems.extend(labels::validate_selector(&spec["selector"], &at("selector")));
    problems.extend(validate_modes(&spec["accessModes"], &at("accessModes")));
    match spec["resources"]["requests"].get("storage") {
        None => problems.push(Problem::required(at("resources[storage]"), "")),
        Some(size) => problems.extend(validate_positive(size, &at("resources[storage]"))),
    }
    for field in ["storageClassName", "volumeAttributesClassName"] {
        let class = text(&spec[field]);
        if !class.is_empty() {
            problems.extend(invalid_each(&at(field), class, names::subdomain(class)));
        }
    }
    let mode = text(&spec["volumeMode"]);
    if is_set(&spec["volumeMode"]) && !VOLUME_MODES.contains(&mode) {
        problems.push(Problem::not_supported(at("volumeMode"), mode, &VOLUME_MODES));
    }
    for field in ["dataSource", "dataSourceRef"].into_iter().filter(|field| is_set(&spec[*field])) {
        problems.extend(validate_source(&spec[field], &at(field)));
    }
    problems.extend(validate_sources_agree(spec, path));
    problems
}

fn validate_source(source: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in ["name", "kind"].into_iter().filter(|field| is_empty(&source[*field])) {
        problems.push(Problem::required(format!("{path}.{field}"), ""));
    }
    let (group, kind) = (text(&source["apiGroup"]), text(&source["kind"]));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        problems.push(Problem::invalid(path, kind, detail));
    }
    if !group.is_empty() {
        problems.extend(invalid_each(&format!("{path}.apiGroup"), group, names::subdomain(group)));
    }
    let namespace = text(&source["namespace"]);
    if !namespace.is_empty() {
        problems.extend(invalid_each(&format!("{path}.namespace"), namespace, names::label(namespace)));
    }
    problems
}

fn validate_sources_agree(spec: &Value, path: &str) -> Option<Problem> {
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    if !is_set(source) || !is_set(reference) {
        return None;
    }
    let detail = if !is_empty(&reference["namespace"]) {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if ["apiGroup", "kind", "name"].iter().any(|field| source[*field] != reference[*field]) {
        "must match dataSourceRef"
    } else {
        return None;
    };
    Some(Problem::invalid(path, format!("{path}.dataSource"), detail))
}

fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate_update(new, old);
    let (mut spec, mut before) = (new["spec"].clone(), old["spec"].clone());
    if is_empty(&before["volumeName"]) {
        keep(&mut before, "volumeName", &spec);
    }
    let annotation = |claim: &Value| claim["metadata"]["annotations"].get(CLASS_ANNOTATION).cloned();
    let (class, was_class) = (annotation(new), annotation(old));
    if is_set(&spec["storageClassName"])
        && !is_set(&before["storageClassName"])
        && was_class.as_ref().is_none_or(|was| *was == spec["storageClassName"])
    {
        keep(&mut spec, "storageClassName", &before);
    } else if class != was_class {
        let path = format!("metadata.annotations[{CLASS_ANNOTATION}]");
        let class = class.unwrap_or_else(|| "".into());
        problems.push(Problem::invalid(path, class, super::problem::IMMUTABLE));
    }
    if old["status"]["phase"] == "Bound"
        && let Some(requests) = present(&mut spec, "resources").and_then(|resources| present(resources, "requests"))
    {
        keep(requests, "storage", &before["resources"]["requests"]);
    }
    keep(&mut spec, "volumeAttributesClassName", &before);
    if spec != before {
        problems.push(Problem::forbidden("spec", &format!("{FROZEN}\n{}", changes(&spec, &before))));
    }
    problems.extend(validate_size(new, old));
    problems.extend(immutable("volumeMode", &new["spec"]["volumeMode"], &old["spec"]["volumeMode"]));
    if is_set(&old["spec"]["volumeAttributesClassName"]) {
        let detail = match &new["spec"]["volumeAttributesClassName"] {
            Value::Null => "update from non-nil value to nil is forbidden",
            Value::String(class) if class.is_empty() => "update from non-nil value to an empty string is forbidden",
            _ => return problems,
        };
        problems.push(Problem::forbidden("spec.volumeAttributesClassName", detail));
    }
    problems
}

/// A claim may shrink again after an expansion that failed, but not below what it has.
fn validate_size(new: &Value, old: &Value) -> Option<Problem> {
    let bytes = |resources: &Value| resources.get("storage").map_or(Some(0), |size| quantity::milli(&scalar(size)));
    let size = bytes(&new["spec"]["resources"]["requests"]);
    let is_smaller = size < bytes(&old["spec"]["resources"]["requests"]);
    (is_smaller && size <= bytes(&old["status"]["capacity"]))
        .then(|| Problem::forbidden(SIZE_PATH, "field can not be less than status.capacity"))
}

fn row(claim: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&claim["spec"], &claim["status"]);
    let volume = text(&spec["volumeName"]);
    let (capacity, modes) = match volume {
        "" => Default::default(),
        _ => (amount(&status["capacity"]), access_modes(&status["accessModes"])),
    };
    vec![
        name(claim),
        phase(claim).into(),
        volume.into(),
        capacity.into(),
        modes.into(),
        class(claim).into(),
        or_unset(&spec["volumeAttributesClassName"]).into(),
        age(claim, now),
        or_unset(&spec["volumeMode"]).into(),
    ]
}
