//! What is known of every Kubernetes type: fields, protobuf numbers, list keys, merge keys, defaults.
//! `load` builds it once from `kubernetes-1.37.json`; all names are slices of that text.

mod load;

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;

/// The one table of this program, read at first use.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(load::table)
}

/// All types of the Kubernetes API that this program knows.
pub struct Table {
    types: Vec<Type>,
    by_name: HashMap<&'static str, u16>,
    by_kind: HashMap<(&'static str, &'static str), u16>,
    kinds: Vec<(u16, bool)>,
}

/// A kind that upstream stores or answers at a path of its own.
#[derive(Clone, Copy, Debug)]
pub struct KindFacts {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub cluster_scoped: bool,
    pub ty: TypeRef,
}

impl Table {
    /// By OpenAPI name: `io.k8s.api.apps.v1.Deployment`.
    pub fn by_name(&'static self, name: &str) -> Option<TypeRef> {
        self.by_name.get(name).map(|index| self.at(*index))
    }

    /// By what an object says of itself: `("apps/v1", "Deployment")`. The option kinds of `meta/v1`
    /// (`DeleteOptions` and its siblings) answer to every apiVersion, as upstream registers them.
    pub fn by_kind(&'static self, api_version: &str, kind: &str) -> Option<TypeRef> {
        let exact = self.by_kind.get(&(api_version, kind));
        let index = exact.or_else(|| match kind {
            "DeleteOptions" | "CreateOptions" | "UpdateOptions" | "PatchOptions" | "GetOptions" | "ListOptions"
            | "WatchEvent" => self.by_kind.get(&("meta.k8s.io/v1", kind)),
            _ => None,
        })?;
        Some(self.at(*index))
    }

    /// Every type, sorted by name.
    pub fn types(&'static self) -> impl Iterator<Item = TypeRef> {
        self.types.iter().map(TypeRef)
    }

    /// The kinds that upstream serves, sorted by type name.
    pub fn kinds(&'static self) -> impl Iterator<Item = KindFacts> {
        self.kinds.iter().map(|(index, cluster_scoped)| {
            let ty = self.at(*index);
            KindFacts { api_version: ty.api_version(), kind: ty.short_name(), cluster_scoped: *cluster_scoped, ty }
        })
    }

    fn at(&'static self, index: u16) -> TypeRef {
        TypeRef(&self.types[usize::from(index)])
    }
}

/// A type of the table. Cheap to copy; two are equal when they are the same type.
#[derive(Clone, Copy)]
pub struct TypeRef(&'static Type);

struct Type {
    index: u16,
    name: &'static str,
    go_name: &'static str,
    api_version: &'static str,
    atomic: bool,
    is_kind: bool,
    /// Sorted by JSON name; inlined structs are dissolved into it.
    fields: Vec<Field>,
    numbers: Vec<(u32, Numbered)>,
}

/// What a protobuf field number means: a field, or a struct that JSON has inlined.
#[derive(Clone, Copy)]
pub(crate) enum Numbered {
    Field(u16),
    Inline(u16),
}

impl TypeRef {
    /// OpenAPI name: `io.k8s.api.apps.v1.Deployment`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The name in Go's error texts: `v1.Deployment`.
    pub fn go_name(self) -> &'static str {
        self.0.go_name
    }

    /// The last word of the name: `Deployment`.
    pub fn short_name(self) -> &'static str {
        let name = self.0.name;
        name.rsplit_once('.').map_or(name, |(_, last)| last)
    }

    /// `apps/v1`; `meta.k8s.io/v1` for the shared words.
    pub fn api_version(self) -> &'static str {
        self.0.api_version
    }

    /// Whether it carries `apiVersion` and `kind`.
    pub fn is_kind(self) -> bool {
        self.0.is_kind
    }

    /// Whether server-side apply owns it as a whole.
    pub fn atomic(self) -> bool {
        self.0.atomic
    }

    /// Sorted by JSON name.
    pub fn fields(self) -> &'static [Field] {
        &self.0.fields
    }

    /// The field of that JSON name; names are case-sensitive.
    pub fn field(self, name: &str) -> Option<&'static Field> {
        self.field_index(name).map(|index| &self.0.fields[index])
    }

    pub(crate) fn field_index(self, name: &str) -> Option<usize> {
        self.0.fields.binary_search_by(|field| field.name.cmp(name)).ok()
    }

    pub(crate) fn numbered(self, number: u32) -> Option<Numbered> {
        let index = self.0.numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.0.numbers[index].1)
    }

    /// Sorted by number.
    pub(crate) fn numbers(self) -> &'static [(u32, Numbered)] {
        &self.0.numbers
    }

    pub(crate) fn element(self) -> Element {
        Element::Object(self.0.index)
    }
}

impl PartialEq for TypeRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for TypeRef {}

impl std::fmt::Debug for TypeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// As JSON spells it.
    pub name: &'static str,
    /// Of the value, or of the elements of a list or map.
    pub element: Element,
    pub container: Container,
    /// A Go pointer: zero and absent differ.
    pub pointer: bool,
    /// Go prints it even when empty (no `omitempty`).
    pub always: bool,
    /// Marked optional, whatever Go prints.
    pub optional: bool,
    /// Clients must give it.
    pub required: bool,
    /// How server-side apply merges it.
    pub list_type: ListType,
    /// The keys of a `ListType::Map`.
    pub list_map_keys: Vec<&'static str>,
    /// The key of a strategic merge; not always one of `list_map_keys`.
    pub patch_merge_key: Option<&'static str>,
    pub patch_merge: bool,
    pub patch_retain_keys: bool,
    /// The literal default that upstream's types declare.
    pub default: Option<Value>,
}

impl Field {
    pub fn is_single(&self) -> bool {
        self.container == Container::One
    }

    /// The type of the value or of its elements, when it is an object type of the table.
    pub fn object(&self) -> Option<TypeRef> {
        match self.element {
            Element::Object(index) => Some(table().at(index)),
            Element::Scalar(_) => None,
        }
    }

    pub(crate) fn scalar(&self) -> Option<Scalar> {
        match self.element {
            Element::Object(_) => None,
            Element::Scalar(scalar) => Some(scalar),
        }
    }
}

pub(crate) fn object_at(index: u16) -> TypeRef {
    table().at(index)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    One,
    List,
    /// Keys are always strings.
    Map,
}

/// How lists, and maps and structs declared atomic, are owned and merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Nothing declared: lists are atomic, maps and structs granular.
    Default,
    Atomic,
    Set,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Object(u16),
    Scalar(Scalar),
}

/// Everything that is no struct of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int32,
    Int64,
    Float64,
    String,
    /// base64 in JSON.
    Bytes,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with six digits of a second.
    MicroTime,
    /// Go's `1h2m3s`.
    Duration,
    Quantity,
    IntOrString,
    /// Any JSON.
    Raw,
    /// The paths of a managedFields entry.
    FieldsV1,
    /// A named list of strings (`ExtraValue`, `Verbs`).
    Strings,
    /// `JSONSchemaPropsOrBool`.
    SchemaOrBool,
    /// `JSONSchemaPropsOrArray`.
    SchemaOrArray,
    /// `JSONSchemaPropsOrStringArray`.
    SchemaOrStrings,
}

/// The type of a schema inside a CustomResourceDefinition.
pub(crate) fn schema_props() -> TypeRef {
    const NAME: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    table().by_name(NAME).expect("the table has CustomResourceDefinition and all it names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_what_objects_say() {
        for (api_version, kind, name) in [
            ("v1", "Pod", "io.k8s.api.core.v1.Pod"),
            ("apps/v1", "Deployment", "io.k8s.api.apps.v1.Deployment"),
            ("rbac.authorization.k8s.io/v1", "Role", "io.k8s.api.rbac.v1.Role"),
            ("autoscaling/v1", "Scale", "io.k8s.api.autoscaling.v1.Scale"),
            ("policy/v1", "Eviction", "io.k8s.api.policy.v1.Eviction"),
            ("authentication.k8s.io/v1", "TokenRequest", "io.k8s.api.authentication.v1.TokenRequest"),
            ("v1", "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
            ("apps/v1", "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
            ("v1", "Status", "io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
            ("meta.k8s.io/v1", "Table", "io.k8s.apimachinery.pkg.apis.meta.v1.Table"),
            (
                "apiregistration.k8s.io/v1",
                "APIService",
                "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
            ),
            ("metrics.k8s.io/v1beta1", "PodMetrics", "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics"),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
            ),
        ] {
            assert_eq!(table().by_kind(api_version, kind).map(TypeRef::name), Some(name), "{api_version} {kind}");
        }
        assert!(table().by_kind("v1", "Deployment").is_none());
    }

    #[test]
    fn inlined_structs_are_dissolved() {
        let volume = table().by_name("io.k8s.api.core.v1.Volume").unwrap();
        assert!(volume.field("configMap").is_some());
        let rule = table().by_name("io.k8s.api.admissionregistration.v1.NamedRuleWithOperations").unwrap();
        assert!(rule.field("apiGroups").is_some() && rule.field("operations").is_some());
    }

    #[test]
    fn apply_and_strategic_merge_may_differ_in_keys() {
        let container = table().by_name("io.k8s.api.core.v1.Container").unwrap();
        let ports = container.field("ports").unwrap();
        assert_eq!(ports.patch_merge_key, Some("containerPort"));
        assert_eq!(ports.list_map_keys, ["containerPort", "protocol"]);
    }
}
