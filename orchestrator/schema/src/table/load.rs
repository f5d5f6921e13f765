//! Reads `kubernetes-1.37.json` into the table. Per type: field name to `t` type, `n` protobuf number,
//! `f` flags (l list, m map, p pointer, o optional, a always, i inline, r required), `l` list type,
//! `k` list keys, `mk` merge key, `ps` patch strategy, `d` default.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::{Container, Element, Field, ListType, Numbered, Scalar, Table, Type};

static FACTS: &str = include_str!("../../kubernetes-1.37.json");

#[derive(Deserialize)]
struct Facts<'a> {
    #[serde(borrow)]
    kinds: Vec<KindText<'a>>,
    #[serde(borrow)]
    atomic: Vec<&'a str>,
    #[serde(borrow)]
    types: BTreeMap<&'a str, BTreeMap<&'a str, FieldText<'a>>>,
}

#[derive(Deserialize)]
struct KindText<'a> {
    t: &'a str,
    cluster: bool,
}

#[derive(Deserialize)]
struct FieldText<'a> {
    t: &'a str,
    n: Option<u32>,
    #[serde(default)]
    f: &'a str,
    l: Option<&'a str>,
    #[serde(default, borrow)]
    k: Vec<&'a str>,
    mk: Option<&'a str>,
    ps: Option<&'a str>,
    d: Option<Value>,
}

impl FieldText<'_> {
    fn has(&self, flag: char) -> bool {
        self.f.contains(flag)
    }
}

/// Where the types of a package are served.
const PACKAGES: &[(&str, &str)] = &[
    ("io.k8s.api.admission.v1.", "admission.k8s.io/v1"),
    ("io.k8s.api.admissionregistration.v1.", "admissionregistration.k8s.io/v1"),
    ("io.k8s.api.apidiscovery.v2.", "apidiscovery.k8s.io/v2"),
    ("io.k8s.api.apps.v1.", "apps/v1"),
    ("io.k8s.api.authentication.v1.", "authentication.k8s.io/v1"),
    ("io.k8s.api.authorization.v1.", "authorization.k8s.io/v1"),
    ("io.k8s.api.autoscaling.v1.", "autoscaling/v1"),
    ("io.k8s.api.autoscaling.v2.", "autoscaling/v2"),
    ("io.k8s.api.batch.v1.", "batch/v1"),
    ("io.k8s.api.certificates.v1.", "certificates.k8s.io/v1"),
    ("io.k8s.api.coordination.v1.", "coordination.k8s.io/v1"),
    ("io.k8s.api.core.v1.", "v1"),
    ("io.k8s.api.discovery.v1.", "discovery.k8s.io/v1"),
    ("io.k8s.api.events.v1.", "events.k8s.io/v1"),
    ("io.k8s.api.flowcontrol.v1.", "flowcontrol.apiserver.k8s.io/v1"),
    ("io.k8s.api.networking.v1.", "networking.k8s.io/v1"),
    ("io.k8s.api.node.v1.", "node.k8s.io/v1"),
    ("io.k8s.api.policy.v1.", "policy/v1"),
    ("io.k8s.api.rbac.v1.", "rbac.authorization.k8s.io/v1"),
    ("io.k8s.api.resource.v1.", "resource.k8s.io/v1"),
    ("io.k8s.api.scheduling.v1.", "scheduling.k8s.io/v1"),
    ("io.k8s.api.storage.v1.", "storage.k8s.io/v1"),
    ("io.k8s.api.storagemigration.v1.", "storagemigration.k8s.io/v1"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.", "apiextensions.k8s.io/v1"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.", "meta.k8s.io/v1"),
    ("io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.", "apiregistration.k8s.io/v1"),
    ("io.k8s.metrics.pkg.apis.metrics.v1.", "metrics.k8s.io/v1"),
    ("io.k8s.metrics.pkg.apis.metrics.v1beta1.", "metrics.k8s.io/v1beta1"),
];

/// `apiVersion` and `kind` have protobuf numbers of their own only in the envelope.
const TYPE_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.TypeMeta";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const META_PACKAGE: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
/// Of the shared kinds, those whose apiVersion is `meta.k8s.io/v1` and nothing else.
const META_ONLY: &[&str] = &["Table", "PartialObjectMetadata", "PartialObjectMetadataList"];

type Names = HashMap<&'static str, u16>;

pub(super) fn table() -> Table {
    let facts: Facts<'static> = serde_json::from_str(FACTS).expect("the facts are part of this program and tested");
    let by_name: Names = facts.types.keys().copied().zip(0u16..).collect();
    let types: Vec<Type> = facts.types.keys().map(|name| build_type(name, &facts, &by_name)).collect();
    let kinds = facts.kinds.iter().filter_map(|kind| Some((*by_name.get(kind.t)?, kind.cluster))).collect();
    Table { by_kind: index_kinds(&types), types, by_name, kinds }
}

fn index_kinds(types: &[Type]) -> HashMap<(&'static str, &'static str), u16> {
    let mut by_kind = HashMap::new();
    for (index, ty) in (0u16..).zip(types).filter(|(_, ty)| ty.is_kind || ty.name == WATCH_EVENT) {
        let short = short_name(ty.name);
        by_kind.insert((ty.api_version, short), index);
        if ty.name.starts_with(META_PACKAGE) && !META_ONLY.contains(&short) {
            by_kind.entry(("v1", short)).or_insert(index);
        }
    }
    by_kind
}

fn short_name(name: &'static str) -> &'static str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

/// The last two words: `v1.Pod`.
fn go_name(name: &'static str) -> &'static str {
    let before_last = name.rfind('.').unwrap_or(0);
    name[..before_last].rfind('.').map_or(name, |dot| &name[dot + 1..])
}

fn build_type(name: &'static str, facts: &Facts<'static>, names: &Names) -> Type {
    let own = &facts.types[name];
    let mut fields = Vec::new();
    flatten(name, facts, names, &mut fields);
    fields.sort_by_key(|field: &Field| field.name);
    let mut numbers: Vec<(u32, Numbered)> = own
        .iter()
        .filter_map(|(field_name, text)| {
            let numbered = if text.has('i') {
                Numbered::Inline(*names.get(text.t)?)
            } else {
                let index = fields.binary_search_by(|field| field.name.cmp(field_name)).ok()?;
                Numbered::Field(u16::try_from(index).ok()?)
            };
            Some((text.n?, numbered))
        })
        .collect();
    numbers.sort_by_key(|(number, _)| *number);
    Type {
        index: names[name],
        name,
        go_name: go_name(name),
        api_version: PACKAGES.iter().find(|(package, _)| name.starts_with(package)).map_or("", |(_, version)| version),
        atomic: facts.atomic.contains(&name),
        is_kind: own.values().any(|text| text.has('i') && text.t == TYPE_META),
        fields,
        numbers,
    }
}

/// JSON knows no inlined structs: their fields stand among the others.
fn flatten(name: &'static str, facts: &Facts<'static>, names: &Names, into: &mut Vec<Field>) {
    for (field_name, text) in &facts.types[name] {
        if text.has('i') {
            flatten(text.t, facts, names, into);
        } else {
            into.push(field(field_name, text, names));
        }
    }
}

fn field(name: &'static str, text: &FieldText<'static>, names: &Names) -> Field {
    let strategies = || text.ps.unwrap_or("").split(',');
    Field {
        name,
        element: names.get(text.t).map_or_else(|| Element::Scalar(scalar(text.t)), |index| Element::Object(*index)),
        container: match (text.has('l'), text.has('m')) {
            (true, _) => Container::List,
            (_, true) => Container::Map,
            _ => Container::One,
        },
        pointer: text.has('p'),
        always: text.has('a'),
        optional: text.has('o'),
        required: text.has('r'),
        list_type: match text.l {
            None => ListType::Default,
            Some("set") => ListType::Set,
            Some("map") => ListType::Map,
            Some(_) => ListType::Atomic,
        },
        list_map_keys: text.k.clone(),
        patch_merge_key: text.mk,
        patch_merge: strategies().any(|strategy| strategy == "merge"),
        patch_retain_keys: strategies().any(|strategy| strategy == "retainKeys"),
        default: text.d.clone(),
    }
}

fn scalar(name: &'static str) -> Scalar {
    match name {
        "bool" => Scalar::Bool,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "float64" => Scalar::Float64,
        "string" => Scalar::String,
        "bytes" => Scalar::Bytes,
        "time" => Scalar::Time,
        "micro-time" => Scalar::MicroTime,
        "duration" => Scalar::Duration,
        "quantity" => Scalar::Quantity,
        "int-or-string" => Scalar::IntOrString,
        "raw" => Scalar::Raw,
        "fields-v1" => Scalar::FieldsV1,
        "strings" => Scalar::Strings,
        "schema-or-bool" => Scalar::SchemaOrBool,
        "schema-or-array" => Scalar::SchemaOrArray,
        "schema-or-strings" => Scalar::SchemaOrStrings,
        unknown => panic!("the facts name no type {unknown}"),
    }
}
