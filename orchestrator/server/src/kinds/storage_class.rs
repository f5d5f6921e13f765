//! StorageClass: a kind of storage that claims can ask for, and who makes it.

use serde_json::Value;

use super::json::{entries, fill, is_empty, items, text};
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, boolean, string};
use super::{Kind, PLAIN, Problem, Scope, metadata, names};

const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const POLICIES: [&str; 2] = ["Delete", "Retain"];
const BINDING_MODES: [&str; 2] = ["Immediate", "WaitForFirstConsumer"];
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

pub static STORAGE_CLASS: Kind = Kind {
    group: "storage.k8s.io",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    scope: Scope::Cluster,
    schema: "io.k8s.api.storage.v1.StorageClass",
    storage: "storage.k8s.io/storageclasses",
    defaults: |class| {
        fill(class, "reclaimPolicy", "Delete");
        fill(class, "volumeBindingMode", "Immediate");
    },
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(frozen(new, old, &["parameters", "provisioner", "reclaimPolicy"]));
        problems.extend(immutable("volumeBindingMode", &new["volumeBindingMode"], &old["volumeBindingMode"]));
        problems
    },
    columns: &[
        NAME,
        string("Provisioner", "Who makes the volumes of this class."),
        string("ReclaimPolicy", "What happens to volumes of this class that are released."),
        string("VolumeBindingMode", "When claims of this class are provisioned and bound."),
        boolean("AllowVolumeExpansion", "Whether volumes of this class can grow."),
        AGE,
    ],
    row: |class, now| {
        let or = |field: &str, default: &'static str| class[field].as_str().unwrap_or(default).to_owned();
        vec![
            shown_name(class).into(),
            text(&class["provisioner"]).into(),
            or("reclaimPolicy", "Delete").into(),
            or("volumeBindingMode", "Immediate").into(),
            (class["allowVolumeExpansion"] == true).into(),
            age(class, now),
        ]
    },
    ..PLAIN
};

fn shown_name(class: &Value) -> String {
    let annotations = &class["metadata"]["annotations"];
    let is_default = DEFAULT_ANNOTATIONS.iter().any(|annotation| annotations[*annotation] == "true");
    format!("{}{}", text(&class["metadata"]["name"]), if is_default { " (default)" } else { "" })
}

/// Fields of which upstream says that updates to them are forbidden.
pub(super) fn frozen(new: &Value, old: &Value, fields: &[&str]) -> Vec<Problem> {
    let changed = fields.iter().filter(|field| new[**field] != old[**field]);
    changed.map(|field| Problem::forbidden(*field, &format!("updates to {field} are forbidden."))).collect()
}

fn validate(class: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(class, Scope::Cluster, names::subdomain);
    problems.extend(validate_provisioner(text(&class["provisioner"]), "provisioner"));
    problems.extend(validate_parameters(&class["parameters"]));
    let policy = text(&class["reclaimPolicy"]);
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        problems.push(Problem::not_supported("reclaimPolicy", policy, &POLICIES));
    }
    match text(&class["volumeBindingMode"]) {
        "" => problems.push(Problem::required("volumeBindingMode", "")),
        known if BINDING_MODES.contains(&known) => {}
        other => problems.push(Problem::not_supported("volumeBindingMode", other, &BINDING_MODES)),
    }
    for (index, term) in items(&class["allowedTopologies"]).iter().enumerate() {
        for (position, term) in items(&term["matchLabelExpressions"]).iter().enumerate() {
            let path = format!("allowedTopologies[{index}].matchLabelExpressions[{position}]");
            let key = text(&term["key"]);
            problems.extend(invalid_each(&format!("{path}.key"), key, names::qualified(key)));
            if is_empty(&term["values"]) {
                problems.push(Problem::required(format!("{path}.values"), ""));
            }
        }
    }
    problems
}

/// A qualified name, case aside.
pub(super) fn validate_provisioner(provisioner: &str, path: &str) -> Vec<Problem> {
    if provisioner.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let lower = provisioner.to_lowercase();
    invalid_each(path, &lower, names::qualified(&lower))
}

pub(super) fn validate_parameters(parameters: &Value) -> Vec<Problem> {
    let path = "parameters";
    if entries(parameters).count() > PARAMETERS_MAX {
        return vec![Problem::too_long(path, PARAMETERS_MAX)];
    }
    let mut problems = Vec::new();
    if parameters.get("").is_some() {
        problems.push(Problem::invalid(path, "", "field can not be empty."));
    }
    let bytes: usize = entries(parameters).map(|(key, value)| key.len() + text(value).len()).sum();
    if bytes > PARAMETERS_BYTES_MAX {
        problems.push(Problem::too_long(path, PARAMETERS_BYTES_MAX));
    }
    problems
}
