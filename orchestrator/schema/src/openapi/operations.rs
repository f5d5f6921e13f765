//! Paths and operations of a kind, named and marked as upstream's generator does.

use serde_json::{Map, Value, json};

use super::schemas::Names;
use super::{KindSchema, OpenApiKind, OpenApiSubresource, group_and_version, group_version_kind, reference};
use crate::table::table;

/// What parameters are for; the first sentences are upstream's, which people search for.
const PARAMETERS: &[(&str, &str)] = &[
    (
        "allowWatchBookmarks",
        "allowWatchBookmarks requests watch events with type \"BOOKMARK\". Servers that do not implement bookmarks may \
         ignore this flag.",
    ),
    ("continue", "The continue option should be set when retrieving more results from the server."),
    (
        "dryRun",
        "When present, indicates that modifications should not be persisted. Valid values are: - All: all dry run \
         stages will be processed",
    ),
    (
        "fieldManager",
        "fieldManager is a name associated with the actor or entity that is making these changes. The value must be \
         less than or 128 characters long.",
    ),
    ("fieldSelector", "A selector to restrict the list of returned objects by their fields. Defaults to everything."),
    (
        "fieldValidation",
        "fieldValidation instructs the server on how to handle objects in the request (POST/PUT/PATCH) containing \
         unknown or duplicate fields. Valid values are: Ignore, Warn (the default), Strict.",
    ),
    ("force", "Force is going to \"force\" Apply requests. It means user will re-acquire conflicting fields."),
    (
        "gracePeriodSeconds",
        "The duration in seconds before the object should be deleted. Value must be non-negative integer. The value \
         zero indicates delete immediately.",
    ),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "Delete an object that cannot be read from the store."),
    ("labelSelector", "A selector to restrict the list of returned objects by their labels. Defaults to everything."),
    ("limit", "limit is a maximum number of responses to return for a list call."),
    ("name", "name of the object"),
    ("namespace", "object name and auth scope, such as for teams and projects"),
    ("orphanDependents", "Deprecated: please use the PropagationPolicy. Should the dependent objects be orphaned."),
    ("pretty", "If 'true', then the output is pretty printed."),
    (
        "propagationPolicy",
        "Whether and how garbage collection will be performed. Acceptable values are: Orphan, Background, Foreground.",
    ),
    ("resourceVersion", "resourceVersion sets a constraint on what resource versions a request may be served from."),
    (
        "resourceVersionMatch",
        "resourceVersionMatch determines how resourceVersion is applied to list calls. It is highly recommended that \
         it be set for list calls where resourceVersion is set.",
    ),
    (
        "sendInitialEvents",
        "sendInitialEvents=true may be set together with watch=true: the stream begins with events of all current \
         objects, and a bookmark.",
    ),
    ("timeoutSeconds", "Timeout for the list/watch call. This limits the duration of the call."),
    (
        "watch",
        "Watch for changes to the described resources and return them as a stream of add, update, and remove \
         notifications. Specify resourceVersion.",
    ),
];

/// What stays the same for all operations of one path.
struct Place<'a> {
    api_version: &'a str,
    /// `NamespacedPod`, `NamespacedPodStatus`, `PodForAllNamespaces`.
    word: String,
    /// Of the object in the body, which is a subresource's own.
    object_api_version: &'a str,
    object_kind: &'a str,
    one: &'a str,
    list: &'a str,
    custom: bool,
}

pub(super) fn add_paths(paths: &mut Map<String, Value>, api_version: &str, kind: &OpenApiKind<'_>, names: &Names) {
    let root = format!("/{}", super::document_path(api_version));
    let base = if kind.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    };
    let scope = if kind.namespaced { "Namespaced" } else { "" };
    let place = |word: String| Place {
        api_version,
        word,
        object_api_version: api_version,
        object_kind: kind.kind,
        one: &names.one,
        list: &names.list,
        custom: matches!(kind.schema, KindSchema::Custom(_)),
    };
    let own = place(format!("{scope}{}", kind.kind));
    let has = |verb: &str| kind.verbs.contains(&verb);
    let pick = |pairs: &[(&'static str, &str)]| -> Vec<(&'static str, &'static str)> {
        pairs.iter().filter(|(_, verb)| has(verb)).filter_map(|(method, verb)| Some((*method, action(verb)?))).collect()
    };
    put_path(paths, &base, &own, pick(&[("get", "list"), ("post", "create"), ("delete", "deletecollection")]));
    let one = pick(&[("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")]);
    put_path(paths, &format!("{base}/{{name}}"), &own, one);
    if kind.namespaced && has("list") {
        let everywhere = place(format!("{}ForAllNamespaces", kind.kind));
        put_path(paths, &format!("{root}/{}", kind.plural), &everywhere, vec![("get", "list")]);
    }
    for sub in &kind.subresources {
        add_subresource(paths, &format!("{base}/{{name}}/{}", sub.name), &own, sub);
    }
}

fn add_subresource(paths: &mut Map<String, Value>, path: &str, own: &Place<'_>, sub: &OpenApiSubresource<'_>) {
    let ty = table().by_kind(sub.api_version, sub.kind);
    let mut capital = sub.name.to_owned();
    capital[..1].make_ascii_uppercase();
    let place = Place {
        word: format!("{}{capital}", own.word),
        object_api_version: sub.api_version,
        object_kind: sub.kind,
        one: ty.map_or(own.one, |ty| ty.name()),
        ..*own
    };
    let methods = sub.verbs.iter().filter_map(|verb| {
        let method = match *verb {
            "get" => "get",
            "create" => "post",
            "update" => "put",
            "patch" => "patch",
            "delete" => "delete",
            _ => return None,
        };
        Some((method, action(verb)?))
    });
    put_path(paths, path, &place, methods.collect());
}

/// Upstream's `x-kubernetes-action` of an API verb.
fn action(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "get" => "get",
        "list" => "list",
        "create" => "post",
        "update" => "put",
        "patch" => "patch",
        "delete" => "delete",
        "deletecollection" => "deletecollection",
        _ => return None,
    })
}

fn put_path(paths: &mut Map<String, Value>, path: &str, place: &Place<'_>, methods: Vec<(&str, &str)>) {
    if methods.is_empty() {
        return;
    }
    let mut item = Map::new();
    for (method, action) in methods {
        item.insert(method.to_owned(), operation(place, action));
    }
    let mut parameters = Vec::new();
    for name in ["name", "namespace"] {
        if path.contains(&format!("{{{name}}}")) {
            let mut parameter = query(name, "string");
            parameter["in"] = "path".into();
            parameter["required"] = true.into();
            parameters.push(parameter);
        }
    }
    parameters.push(query("pretty", "string"));
    item.insert("parameters".to_owned(), Value::Array(parameters));
    paths.insert(path.to_owned(), Value::Object(item));
}

fn operation(place: &Place<'_>, action: &str) -> Value {
    let (group, version) = group_and_version(place.api_version);
    let mut operation = json!({
        "tags": [tag(group, version)],
        "operationId": operation_id(place, action),
        "parameters": query_parameters(action),
        "responses": responses(place, action),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": group_version_kind(place.object_api_version, place.object_kind),
    });
    if let Some(body) = request_body(place, action) {
        operation["requestBody"] = body;
    }
    operation
}

fn responses(place: &Place<'_>, action: &str) -> Value {
    const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
    let name = match action {
        "list" => place.list,
        "delete" | "deletecollection" => STATUS,
        _ => place.one,
    };
    let ok =
        |text: &str| json!({ "description": text, "content": { "application/json": { "schema": reference(name) } } });
    match action {
        "post" => json!({ "200": ok("OK"), "201": ok("Created"), "202": ok("Accepted") }),
        "put" | "patch" => json!({ "200": ok("OK"), "201": ok("Created") }),
        _ => json!({ "200": ok("OK") }),
    }
}

fn request_body(place: &Place<'_>, action: &str) -> Option<Value> {
    const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
    const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
    let schema = |name: &str| json!({ "schema": reference(name) });
    match action {
        "post" | "put" => Some(json!({ "content": { "application/json": schema(place.one) }, "required": true })),
        "delete" | "deletecollection" => Some(json!({ "content": { "application/json": schema(DELETE_OPTIONS) } })),
        "patch" => {
            let mut types =
                vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
            if !place.custom {
                types.push("application/strategic-merge-patch+json");
            }
            let content: Map<String, Value> = types.into_iter().map(|kind| (kind.to_owned(), schema(PATCH))).collect();
            Some(json!({ "content": content, "required": true }))
        }
        _ => None,
    }
}

fn query_parameters(action: &str) -> Value {
    const LIST: &[(&str, &str)] = &[
        ("allowWatchBookmarks", "boolean"),
        ("continue", "string"),
        ("fieldSelector", "string"),
        ("labelSelector", "string"),
        ("limit", "integer"),
        ("resourceVersion", "string"),
        ("resourceVersionMatch", "string"),
        ("sendInitialEvents", "boolean"),
        ("timeoutSeconds", "integer"),
        ("watch", "boolean"),
    ];
    const WRITE: &[(&str, &str)] = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
    const PATCH: &[(&str, &str)] =
        &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
    const DELETE: &[(&str, &str)] = &[
        ("dryRun", "string"),
        ("gracePeriodSeconds", "integer"),
        ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
        ("orphanDependents", "boolean"),
        ("propagationPolicy", "string"),
    ];
    let names = match action {
        "list" => LIST,
        "post" | "put" => WRITE,
        "patch" => PATCH,
        "delete" | "deletecollection" => DELETE,
        _ => &[],
    };
    Value::Array(names.iter().map(|(name, kind)| query(name, kind)).collect())
}

fn query(name: &str, kind: &str) -> Value {
    let mut parameter = json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } });
    if let Some((_, description)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
        parameter["description"] = (*description).into();
    }
    parameter
}

/// `apps_v1`, `core_v1`, `rbacAuthorization_v1`
fn tag(group: &str, version: &str) -> String {
    let words = group_words(group);
    let mut chars = words.chars();
    let first: String = chars.next().map(|c| c.to_ascii_lowercase()).into_iter().collect();
    format!("{first}{}_{version}", chars.as_str())
}

/// `listCoreV1NamespacedPod`, `readAppsV1NamespacedDeployment`
fn operation_id(place: &Place<'_>, action: &str) -> String {
    let (group, version) = group_and_version(place.api_version);
    let verb = match action {
        "post" => "create",
        "get" => "read",
        "put" => "replace",
        "deletecollection" => "deleteCollection",
        other => other,
    };
    let mut version = version.to_owned();
    version[..1].make_ascii_uppercase();
    format!("{verb}{}{version}{}", group_words(group), place.word)
}

/// `Core`, `Apps`, `RbacAuthorization`
fn group_words(group: &str) -> String {
    if group.is_empty() {
        return "Core".to_owned();
    }
    let short = group.strip_suffix(".k8s.io").unwrap_or(group);
    short
        .split(['.', '-'])
        .map(|word| {
            let mut word = word.to_owned();
            if !word.is_empty() {
                word[..1].make_ascii_uppercase();
            }
            word
        })
        .collect()
}
