//! ConfigMap.

use serde_json::{Value, json};

use super::{ALL_VERBS, Column, Kind, Scope, UpdateRules};

pub static CONFIG_MAP: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "io.k8s.api.core.v1.ConfigMap",
    storage: "configmaps",
    update: UpdateRules { unconditional: true, creates: false, generation: false },
    defaults: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    validate: |_| Vec::new(),
    validate_update: |_, _| Vec::new(),
    fields: |_| Vec::new(),
    field_labels: &[],
    columns: &[
        Column { name: "Name", r#type: "string", format: "name", description: "", priority: 0 },
        Column { name: "Data", r#type: "integer", format: "", description: "", priority: 0 },
    ],
    row: |object, _now| {
        let entries = |field: &str| object[field].as_object().map_or(0, |map| map.len());
        vec![object["metadata"]["name"].clone(), json!(entries("data") + entries("binaryData"))]
    },
};
