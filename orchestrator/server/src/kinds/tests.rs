//! The table as a whole, and what its kinds do with manifests: `tests/defaults.rs`, `tests/rules.rs`, `tests/rows.rs`;
//! of the kinds of each area in files of their own.

mod autoscaling;
mod batch;
mod checks;
mod cluster;
mod defaults;
mod devices;
mod networking;
mod quotas;
mod rows;
mod rules;
mod storage;
mod workloads;

use std::collections::HashSet;

use serde_json::Value;

use super::*;

/// Noon of a day, in seconds: the time at which rows are printed.
const NOW: i64 = 1_767_268_800;

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.kind == name).expect("the kind is in the table")
}

/// The kind of that name, of the version that the manifest names if it names one.
fn parse(manifest: &str) -> (&'static Kind, Value) {
    let object: Value = serde_yaml_ng::from_str(manifest).expect("tests hold good YAML");
    let (version, name) = (json::text(&object["apiVersion"]), json::text(&object["kind"]));
    let named = KINDS.iter().find(|kind| kind.kind == name && format!("{}/{}", kind.group, kind.version) == version);
    (named.copied().unwrap_or_else(|| kind(name)), object)
}

/// As the server does on creation, without what it stamps.
fn created(manifest: &str) -> (&'static Kind, Value) {
    let (kind, mut object) = parse(manifest);
    (kind.prepare_create)(&mut object);
    (kind.defaults)(&mut object);
    (kind, object)
}

#[test]
fn every_kind_is_named_once_and_complete() {
    let mut seen = HashSet::new();
    for kind in KINDS {
        assert!(seen.insert((kind.group, kind.version, kind.plural)), "{} is there twice", kind.kind);
        // As metrics-server has it.
        let nameless = kind.group == resource_metrics::GROUP;
        assert_eq!(kind.singular, if nameless { String::new() } else { kind.kind.to_lowercase() });
        let own =
            if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}/{}", kind.group, kind.plural) };
        let storage = if kind.group == "events.k8s.io" { "events".to_owned() } else { own };
        assert_eq!(kind.storage, storage);
        assert!(kind.schema.ends_with(&format!(".{}.{}", kind.version, kind.kind)), "{}", kind.schema);
        assert!(kind.verbs.is_sorted() && kind.subresources.is_sorted_by_key(|sub| sub.name), "{}", kind.kind);
    }
}

#[test]
fn rows_have_a_cell_for_each_column_and_fields_have_labels() {
    for kind in KINDS {
        let mut object = serde_json::json!({ "metadata": { "name": "x" } });
        (kind.defaults)(&mut object);
        assert_eq!((kind.row)(&object, NOW).len(), kind.columns.len(), "{}", kind.kind);
        let fields: Vec<_> = (kind.fields)(&object).into_iter().map(|(label, _)| label).collect();
        assert_eq!(fields, kind.field_labels, "{}", kind.kind);
    }
}

#[test]
fn no_function_of_a_kind_fails_on_objects_of_odd_shape() {
    let odd = [
        "null",
        "3",
        "[]",
        "{}",
        r#"{"metadata":3,"spec":[],"status":"x"}"#,
        r#"{"metadata":{"labels":[],"finalizers":{}},"spec":{"containers":{},"ports":3,"template":[]},"status":[]}"#,
        r#"{"spec":{"containers":[3,null,{"ports":[3],"env":[null],"resources":3}],"volumes":[3],"template":{"spec":3}}}"#,
    ];
    for kind in KINDS {
        for text in odd {
            let mut object: Value = serde_json::from_str(text).unwrap();
            let old = object.clone();
            (kind.prepare_create)(&mut object);
            (kind.prepare_update)(&mut object, &old);
            (kind.defaults)(&mut object);
            (kind.validate)(&object);
            (kind.validate_update)(&object, &old);
            (kind.fields)(&object);
            (kind.row)(&object, NOW);
        }
    }
}
