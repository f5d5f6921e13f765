//! PersistentVolume: storage that a claim can have. Its claim's side is `persistent_volume_claim.rs`, the rules
//! of its spec are in `persistent_volume/rules.rs`.

mod rules;

pub use rules::{validate_driver, validate_inline};

use serde_json::{Value, json};

use super::json::{fill, fill_text, is_set, items, present, scalar, set, text};
use super::table::{AGE, NAME, age, name, string, wide};
use super::{Kind, PLAIN, Problem, STATUS, Scope, keep_status, metadata, names};

pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
pub(super) const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub(super) const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];

pub static PERSISTENT_VOLUME: Kind = Kind {
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.core.v1.PersistentVolume",
    storage: "persistentvolumes",
    defaults: |volume| {
        if let Some(status) = super::json::child(volume, "status") {
            fill_text(status, "phase", "Pending");
        }
        let Some(spec) = present(volume, "spec") else { return };
        fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill(spec, "volumeMode", "Filesystem");
        if let Some(path) = present(spec, "hostPath") {
            fill(path, "type", "");
        }
    },
    prepare_create: |volume| {
        let mut status = json!({ "phase": "Pending" });
        if is_set(&volume["metadata"]["creationTimestamp"]) {
            status["lastPhaseTransitionTime"] = volume["metadata"]["creationTimestamp"].clone();
        }
        set(volume, "status", status);
    },
    prepare_update: keep_status,
    validate: |volume| {
        let mut problems = metadata::validate(volume, Scope::Cluster, names::subdomain);
        problems.extend(rules::validate(&volume["spec"]));
        problems
    },
    validate_update: rules::validate_update,
    columns: &[
        NAME,
        string("Capacity", "The persistent volume's resources and capacity."),
        string("Access Modes", "All ways the volume can be mounted."),
        string("Reclaim Policy", "What happens to the persistent volume when it is released from its claim."),
        string("Status", "Whether the volume is available, bound to a claim, or released by a claim."),
        string("Claim", "The claim that the volume is bound to."),
        string("StorageClass", "StorageClass of the pv"),
        string("VolumeAttributesClass", "Name of the VolumeAttributesClass of the volume."),
        string("Reason", "A brief word on why the volume failed, for machines."),
        AGE,
        wide("VolumeMode", "Whether the volume is used with a filesystem or as a raw block device."),
    ],
    row,
    ..PLAIN
};

fn row(volume: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&volume["spec"], &volume["status"]);
    let claim = &spec["claimRef"];
    let claim = match is_set(claim) {
        true => format!("{}/{}", text(&claim["namespace"]), text(&claim["name"])),
        false => String::new(),
    };
    vec![
        name(volume),
        amount(&spec["capacity"]).into(),
        access_modes(&spec["accessModes"]).into(),
        text(&spec["persistentVolumeReclaimPolicy"]).into(),
        phase(volume).into(),
        claim.into(),
        class(volume).into(),
        or_unset(&spec["volumeAttributesClassName"]).into(),
        text(&status["reason"]).into(),
        age(volume, now),
        or_unset(&spec["volumeMode"]).into(),
    ]
}

/// The amount of storage in a list of resources.
pub(super) fn amount(resources: &Value) -> String {
    resources.get("storage").map_or_else(|| "0".to_owned(), scalar)
}

/// The modes' short forms, each once, in upstream's order.
pub(super) fn access_modes(modes: &Value) -> String {
    let table =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let found = table.iter().filter(|(mode, _)| items(modes).iter().any(|given| given == mode));
    found.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// The old annotation comes first.
pub(super) fn class(object: &Value) -> &str {
    match &object["metadata"]["annotations"][CLASS_ANNOTATION] {
        Value::String(class) => class,
        _ => text(&object["spec"]["storageClassName"]),
    }
}

pub(super) fn phase(object: &Value) -> &str {
    if is_set(&object["metadata"]["deletionTimestamp"]) { "Terminating" } else { text(&object["status"]["phase"]) }
}

pub(super) fn or_unset(value: &Value) -> &str {
    value.as_str().unwrap_or("<unset>")
}

/// What volumes and claims ask of their access modes, at `path`.
pub(super) fn validate_modes(modes: &Value, path: &str) -> Vec<Problem> {
    let modes = items(modes);
    let unknown = modes.iter().map(text).filter(|mode| !ACCESS_MODES.contains(mode));
    let mut problems: Vec<Problem> = unknown.map(|mode| Problem::not_supported(path, mode, &ACCESS_MODES)).collect();
    let alone = modes.iter().any(|mode| mode == "ReadWriteOncePod");
    if alone && modes.iter().any(|mode| mode != "ReadWriteOncePod" && ACCESS_MODES.contains(&text(mode))) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        problems.push(Problem::forbidden(path, detail));
    }
    problems
}
