//! Namespace: `spec.finalizers` holds it until its content is gone; only `finalize` takes them away.

use serde_json::{Value, json};

use super::json::{child, fill, is_empty, items, keep, set, text};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, STATUS, Scope, Subresource, metadata, names};

pub static NAMESPACE: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
    subresources: &[Subresource { name: "finalize", verbs: &["update"], kind: None }, STATUS],
    schema: "io.k8s.api.core.v1.Namespace",
    storage: "namespaces",
    defaults: |namespace| {
        let name = text(&namespace["metadata"]["name"]).to_owned();
        if !name.is_empty()
            && let Some(labels) = child(namespace, "metadata").and_then(|metadata| child(metadata, "labels"))
        {
            set(labels, amphipod_api::labels::METADATA_NAME, name.into());
        }
        if let Some(status) = child(namespace, "status") {
            fill(status, "phase", "Active");
        }
        child(namespace, "spec");
    },
    prepare_create: |namespace| {
        set(namespace, "status", json!({ "phase": "Active" }));
        let mut finalizers = items(&namespace["spec"]["finalizers"]).to_vec();
        if !finalizers.contains(&json!("kubernetes")) {
            finalizers.push(json!("kubernetes"));
        }
        if let Some(spec) = child(namespace, "spec") {
            set(spec, "finalizers", Value::Array(finalizers));
        }
    },
    prepare_update: |new, old| {
        keep(new, "spec", old);
        keep(new, "status", old);
    },
    validate: |namespace| {
        let mut problems = metadata::validate(namespace, Scope::Cluster, names::label);
        problems.extend(metadata::validate_finalizers(&namespace["spec"]["finalizers"], "spec.finalizers"));
        problems
    },
    fields: |namespace| {
        let phase = &namespace["status"]["phase"];
        vec![("status.phase", if is_empty(phase) { "Active" } else { text(phase) }.to_owned())]
    },
    field_labels: &["status.phase"],
    columns: &[NAME, string("Status", "The status of the namespace"), AGE],
    row: |namespace, now| vec![name(namespace), namespace["status"]["phase"].clone(), age(namespace, now)],
    ..PLAIN
};
