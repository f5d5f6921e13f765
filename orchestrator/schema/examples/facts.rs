//! Writes the facts of a Kubernetes release, as `kubernetes-1.37.json` has them, from upstream's Go sources:
//!
//! ```text
//! cargo run --example facts -- KUBERNETES/staging/src/k8s.io > orchestrator/schema/kubernetes-1.38.json
//! ```
//! Field names, protobuf numbers and merge keys come from struct tags, the rest from `+` markers in comments. Only such
//! facts are taken, no prose. ARCHITECTURE.md, "The next Kubernetes minor", says what else a new release needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs, io};

use serde_json::{Map, Value, json};

/// The packages whose types are read: those that are served, and what they are made of.
const PACKAGES: &[&str] = &[
    "api/admission/v1",
    "api/admissionregistration/v1",
    "api/apidiscovery/v2",
    "api/apps/v1",
    "api/authentication/v1",
    "api/authorization/v1",
    "api/autoscaling/v1",
    "api/autoscaling/v2",
    "api/batch/v1",
    "api/certificates/v1",
    "api/coordination/v1",
    "api/core/v1",
    "api/discovery/v1",
    "api/events/v1",
    "api/flowcontrol/v1",
    "api/networking/v1",
    "api/node/v1",
    "api/policy/v1",
    "api/rbac/v1",
    "api/resource/v1",
    "api/scheduling/v1",
    "api/storage/v1",
    "api/storagemigration/v1",
    "apiextensions-apiserver/pkg/apis/apiextensions/v1",
    "apimachinery/pkg/apis/meta/v1",
    "kube-aggregator/pkg/apis/apiregistration/v1",
    "metrics/pkg/apis/metrics/v1",
    "metrics/pkg/apis/metrics/v1beta1",
];

/// Go types with a form of their own in JSON or protobuf.
const SPECIAL: &[(&str, &str)] = &[
    ("io.k8s.apimachinery.pkg.api.resource.Quantity", "quantity"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Duration", "duration"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", "fields-v1"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "micro-time"),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", "time"),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", "raw"),
    ("io.k8s.apimachinery.pkg.types.NodeName", "string"),
    ("io.k8s.apimachinery.pkg.types.UID", "string"),
    ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", "int-or-string"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", "raw"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray", "schema-or-array"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool", "schema-or-bool"),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray", "schema-or-strings"),
];

/// Lists are atomic unless they say otherwise.
const ATOMIC: [&str; 2] = ["structType=atomic", "mapType=atomic"];

fn main() -> io::Result<()> {
    let Some(root) = env::args_os().nth(1) else {
        return Err(io::Error::other("usage: facts KUBERNETES/staging/src/k8s.io"));
    };
    let mut sources = Sources::default();
    for package in PACKAGES {
        let folder = Path::new(&root).join(package);
        let mut files: Vec<_> = match fs::read_dir(&folder) {
            Ok(files) => files.filter_map(|file| Some(file.ok()?.path())).collect(),
            Err(error) => {
                eprintln!("{} is left out: {error}", folder.display());
                continue;
            }
        };
        files.sort();
        for file in files.iter().filter(|file| is_source(file)) {
            sources.read(&name_of(package), &fs::read_to_string(file)?);
        }
    }
    println!("{}", serde_json::to_string(&sources.facts())?);
    Ok(())
}

fn is_source(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("types") && name.ends_with(".go") && !name.contains("generated") && !name.contains("_test")
        || matches!(&*name, "watch.go" | "group_version.go")
}

/// `api/core/v1` is `io.k8s.api.core.v1`.
fn name_of(package: &str) -> String {
    format!("io.k8s.{}", package.replace('/', "."))
}

#[derive(Default)]
pub struct Sources {
    structs: BTreeMap<String, Struct>,
    /// Named types that are no structs: `type PodPhase string`.
    names: BTreeMap<String, Go>,
}

#[derive(Default)]
struct Struct {
    markers: Vec<String>,
    fields: Vec<Field>,
}

struct Field {
    go_name: String,
    ty: Go,
    tag: String,
    markers: Vec<String>,
}

/// A Go type, its names in full.
#[derive(Clone, Debug)]
enum Go {
    Named(String),
    Slice(Box<Go>),
    Map(Box<Go>),
    Pointer(Box<Go>),
}

impl Sources {
    pub fn read(&mut self, package: &str, text: &str) {
        let imports = imports(text);
        let mut markers = Vec::new();
        let mut open: Option<(String, Struct)> = None;
        for line in text.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix("//") {
                markers.extend(comment.trim().strip_prefix('+').map(str::to_owned));
                continue;
            }
            if line.is_empty() {
                continue;
            }
            let own = std::mem::take(&mut markers);
            match &mut open {
                Some(_) if line == "}" => {
                    let (name, body) = open.take().expect("it was just there");
                    self.structs.insert(name, body);
                }
                Some((_, body)) => body.fields.extend(field(package, &imports, line, own)),
                None => {
                    let Some((name, ty)) = line.strip_prefix("type ").and_then(|rest| rest.split_once(' ')) else {
                        continue;
                    };
                    let name = format!("{package}.{name}");
                    if ty.starts_with("struct") && ty.ends_with('{') {
                        open = Some((name, Struct { markers: own, fields: Vec::new() }));
                    } else if let Some(ty) = go_type(package, &imports, ty) {
                        self.names.insert(name, ty);
                    }
                }
            }
        }
    }

    pub fn facts(&self) -> Value {
        let known = |name: &str| !SPECIAL.iter().any(|(special, _)| *special == name);
        let structs =
            || self.structs.iter().filter(|(name, body)| known(name) && body.fields.iter().any(Field::is_data));
        let types: Map<String, Value> = structs().map(|(name, body)| (name.clone(), self.fields(body))).collect();
        let marked = |body: &Struct, marker: &str| body.markers.iter().any(|own| own == marker);
        let atomic: BTreeSet<&String> =
            structs().filter(|(_, body)| ATOMIC.iter().any(|m| marked(body, m))).map(|(name, _)| name).collect();
        let kinds: Vec<Value> = structs()
            .filter(|(_, body)| marked(body, "genclient") && !marked(body, "genclient:readonly"))
            .map(|(name, body)| json!({"t": name, "cluster": marked(body, "genclient:nonNamespaced")}))
            .collect();
        json!({"kinds": kinds, "atomic": atomic, "types": types})
    }

    fn fields(&self, body: &Struct) -> Value {
        let fields = body.fields.iter().filter(|field| field.is_data());
        Value::Object(fields.map(|field| (field.name(), self.field(field))).collect())
    }

    fn field(&self, field: &Field) -> Value {
        let mut facts = Map::new();
        let (ty, shape) = self.shape(&field.ty);
        facts.insert("t".into(), ty.into());
        if let Some(number) = field.part("protobuf").and_then(|tag| tag.split(',').nth(1)?.parse::<u32>().ok()) {
            facts.insert("n".into(), number.into());
        }
        let inline = field.part("json").is_some_and(|json| json.contains(",inline"));
        let flags = [
            (shape, true),
            ("o", field.has("optional")),
            ("a", !inline && !field.part("json").unwrap_or_default().contains("omit")),
            ("r", field.has("required")),
            ("i", inline),
        ];
        let flags: String = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag).collect();
        if !flags.is_empty() {
            facts.insert("f".into(), flags.into());
        }
        let list = field.value("listType").filter(|list| *list != "atomic");
        let list = list.or_else(|| ATOMIC.iter().any(|marker| field.has(marker)).then_some("atomic"));
        facts.extend(list.map(|list| ("l".into(), list.into())));
        let keys: Vec<Value> = field.values("listMapKey").map(Value::from).collect();
        if !keys.is_empty() {
            facts.insert("k".into(), keys.into());
        }
        for (name, tag) in [("mk", "patchMergeKey"), ("ps", "patchStrategy")] {
            facts.extend(field.part(tag).map(|value| (name.into(), value.into())));
        }
        let default = field.value("default").and_then(|text| serde_json::from_str(text).ok());
        facts.extend(
            default
                .filter(|value: &Value| value.is_number() || value.is_string() || value.is_boolean())
                .map(|value| ("d".into(), value)),
        );
        Value::Object(facts)
    }

    /// The element's name and the flag of its container.
    fn shape(&self, ty: &Go) -> (String, &'static str) {
        match ty {
            Go::Pointer(inner) => (self.shape(inner).0, "p"),
            Go::Map(inner) => (self.shape(inner).0, "m"),
            Go::Slice(inner) => match &**inner {
                Go::Named(name) if name == "byte" => ("bytes".into(), ""),
                inner => (self.shape(inner).0, "l"),
            },
            Go::Named(name) => {
                let special = SPECIAL.iter().find(|(special, _)| special == name).map(|(_, short)| (*short).to_owned());
                match (special, self.names.get(name)) {
                    (Some(short), _) => (short, ""),
                    // A named list is a message of its own in protobuf.
                    (None, Some(Go::Slice(_))) => ("strings".into(), ""),
                    (None, Some(other)) => self.shape(other),
                    (None, None) if name == "int" => ("int32".into(), ""),
                    (None, None) => (name.clone(), ""),
                }
            }
        }
    }
}

impl Field {
    /// What neither JSON nor protobuf carries is no field.
    fn is_data(&self) -> bool {
        self.part("json").is_some_and(|json| json != "-")
    }

    fn name(&self) -> String {
        let json = self.part("json").unwrap_or_default();
        let name = json.split(',').next().unwrap_or_default();
        if name.is_empty() { self.go_name.clone() } else { name.to_owned() }
    }

    /// One key of the struct tag: `json:"…"`.
    fn part(&self, key: &str) -> Option<&str> {
        let start = self.tag.find(&format!("{key}:\""))? + key.len() + 2;
        let rest = &self.tag[start..];
        rest.find('"').map(|end| &rest[..end])
    }

    fn has(&self, marker: &str) -> bool {
        self.markers.iter().any(|own| own == marker || own.strip_prefix("k8s:") == Some(marker))
    }

    fn values(&self, key: &'static str) -> impl Iterator<Item = &str> {
        self.markers.iter().filter_map(move |own| own.strip_prefix(key)?.strip_prefix('='))
    }

    fn value(&self, key: &'static str) -> Option<&str> {
        self.values(key).next()
    }
}

/// Alias to package name.
fn imports(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("type "));
    let parts = lines.filter_map(|line| {
        let (before, rest) = line.split_once('"')?;
        let path = rest.strip_suffix('"')?;
        let alias = match before.trim() {
            "" | "import" => path.rsplit('/').next().unwrap_or(path),
            alias => alias,
        };
        Some((alias.to_owned(), name_of(path.strip_prefix("k8s.io/").unwrap_or(path))))
    });
    parts.collect()
}

fn field(package: &str, imports: &BTreeMap<String, String>, line: &str, markers: Vec<String>) -> Option<Field> {
    let (declared, tag) = line.split_once('`')?;
    let tag = tag.split('`').next()?.to_owned();
    let mut words = declared.split_whitespace();
    let (first, second) = (words.next()?, words.next());
    let ty = go_type(package, imports, second.unwrap_or(first))?;
    // An embedded type is a field of its own name.
    let go_name = if second.is_some() { first } else { first.rsplit('.').next().unwrap_or(first) };
    Some(Field { go_name: go_name.trim_start_matches('*').to_owned(), ty, tag, markers })
}

fn go_type(package: &str, imports: &BTreeMap<String, String>, text: &str) -> Option<Go> {
    let inner = |text: &str| go_type(package, imports, text).map(Box::new);
    let text = text.trim_start_matches("= ");
    if let Some(rest) = text.strip_prefix('*') {
        return inner(rest).map(Go::Pointer);
    }
    if let Some(rest) = text.strip_prefix("[]") {
        return inner(rest).map(Go::Slice);
    }
    if let Some(rest) = text.strip_prefix("map[") {
        return inner(rest.split_once(']')?.1).map(Go::Map);
    }
    let name = match text.split_once('.') {
        Some((alias, name)) => format!("{}.{name}", imports.get(alias)?),
        None if matches!(text, "string" | "bool" | "int" | "int32" | "int64" | "float64" | "byte") => text.to_owned(),
        None if text.chars().all(char::is_alphanumeric) => format!("{package}.{text}"),
        None => return None,
    };
    Some(Go::Named(name))
}
