//! What is served, told in both of discovery's forms (one document per group-version, and the aggregated v2). Written
//! once from the registry.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kinds::{Kind, Scope, Subresource};
use crate::registry::Registry;

/// All documents, as bytes.
pub struct Documents {
    pub core_versions: Bytes,
    pub groups: Bytes,
    pub paths: Bytes,
    /// APIGroup by group.
    pub group: HashMap<String, Bytes>,
    /// APIResourceList by `v1` or `group/version`.
    pub resources: HashMap<String, Bytes>,
    /// Document and hash.
    pub core_aggregated: (Bytes, String),
    pub groups_aggregated: (Bytes, String),
}

/// One group with its versions, the preferred one first.
struct Group<'a> {
    name: &'a str,
    versions: Vec<(&'a str, Vec<&'a Kind>)>,
}

impl Documents {
    pub fn new(registry: &Registry) -> Self {
        let groups = groups(registry);
        let (core, named): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.name.is_empty());
        let group_objects: Vec<Value> = named.iter().map(|group| group.object()).collect();
        let mut resources = HashMap::new();
        for group in &groups {
            for (version, kinds) in &group.versions {
                let group_version = group_version(group.name, version);
                let document = resource_list(&group_version, kinds);
                resources.insert(group_version, Bytes::from(document.to_string()));
            }
        }
        let group_list = json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": group_objects });
        let group = named.iter().map(|group| {
            let mut object = group.object();
            object["kind"] = "APIGroup".into();
            object["apiVersion"] = "v1".into();
            (group.name.to_owned(), Bytes::from(object.to_string()))
        });
        Self {
            core_versions: core_versions().to_string().into(),
            groups: group_list.to_string().into(),
            paths: paths(&groups).to_string().into(),
            group: group.collect(),
            resources,
            core_aggregated: aggregated(&core),
            groups_aggregated: aggregated(&named),
        }
    }
}

fn groups(registry: &Registry) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for kind in registry.entries().iter().map(|entry| &*entry.kind) {
        let at = groups.iter().position(|group| group.name == kind.group).unwrap_or_else(|| {
            groups.push(Group { name: kind.group, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match versions.iter_mut().find(|(version, _)| *version == kind.version) {
            Some((_, kinds)) => kinds.push(kind),
            None => versions.push((kind.version, vec![kind])),
        }
    }
    for group in &mut groups {
        group.versions.sort_by_key(|(version, _)| std::cmp::Reverse(Age::of(version)));
    }
    groups
}

/// How far a version has come: `v2` before `v1` before `v2beta1` before `v1alpha1`, other names behind in reverse of
/// their letters.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Age<'a>(u8, u64, u64, std::cmp::Reverse<&'a str>);

impl<'a> Age<'a> {
    pub fn of(version: &'a str) -> Self {
        Self::known(version).unwrap_or(Self(0, 0, 0, std::cmp::Reverse(version)))
    }

    fn known(version: &'a str) -> Option<Self> {
        let rest = version.strip_prefix('v')?;
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with(['0', '+']));
        let same = std::cmp::Reverse("");
        if let Some(major) = number(rest) {
            return Some(Self(3, major, 0, same));
        }
        for (stage, name) in [(2, "beta"), (1, "alpha")] {
            if let Some((major, minor)) = rest.split_once(name) {
                return Some(Self(stage, number(major)?, number(minor)?, same));
            }
        }
        None
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn core_versions() -> Value {
    json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "" }],
    })
}

impl Group<'_> {
    fn object(&self) -> Value {
        let version = |version: &str| json!({ "groupVersion": group_version(self.name, version), "version": version });
        let versions: Vec<Value> = self.versions.iter().map(|(name, _)| version(name)).collect();
        json!({ "name": self.name, "versions": versions, "preferredVersion": versions[0] })
    }

    fn discovery(&self) -> Value {
        let versions = self.versions.iter().map(|(version, kinds)| {
            let resources: Vec<Value> = kinds.iter().map(|kind| aggregated_resource(kind)).collect();
            json!({ "version": version, "freshness": "Current", "resources": resources })
        });
        let metadata = if self.name.is_empty() {
            json!({ "creationTimestamp": null })
        } else {
            json!({ "name": self.name, "creationTimestamp": null })
        };
        json!({ "metadata": metadata, "versions": versions.collect::<Vec<_>>() })
    }
}

fn paths(groups: &[Group<'_>]) -> Value {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for group in groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|(version, _)| format!("/apis/{}/{version}", group.name)));
    }
    paths.extend(["/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({ "paths": paths })
}

fn resource_list(group_version: &str, kinds: &[&Kind]) -> Value {
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources })
}

fn resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.scope == Scope::Namespaced,
        "kind": kind.kind, "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = kind.short_names.into();
    }
    if !kind.categories.is_empty() {
        resource["categories"] = kind.categories.into();
    }
    if kind.verbs.contains(&"list") {
        resource["storageVersionHash"] = short_hash(&format!("{}/{}", kind.storage, kind.version)).into();
    }
    resource
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let mut resource = json!({
        "name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
        "namespaced": kind.scope == Scope::Namespaced, "kind": kind.kind, "verbs": sub.verbs,
    });
    if let Some((group, version, name)) = sub.kind {
        resource["group"] = group.into();
        resource["version"] = version.into();
        resource["kind"] = name.into();
    }
    resource
}

fn aggregated(groups: &[&Group<'_>]) -> (Bytes, String) {
    let items: Vec<Value> = groups.iter().map(|group| group.discovery()).collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let text = document.to_string();
    let hash = hash(&text);
    (text.into(), hash)
}

fn aggregated_resource(kind: &Kind) -> Value {
    let scope = if kind.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" };
    let response =
        |(group, version, name): (&str, &str, &str)| json!({ "group": group, "version": version, "kind": name });
    let own = (kind.group, kind.version, kind.kind);
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response(own), "scope": scope,
        "singularResource": kind.singular, "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = kind.short_names.into();
    }
    if !kind.categories.is_empty() {
        resource["categories"] = kind.categories.into();
    }
    let subresources = kind.subresources.iter().map(
        |sub| json!({ "subresource": sub.name, "responseKind": response(sub.kind.unwrap_or(own)), "verbs": sub.verbs }),
    );
    if !kind.subresources.is_empty() {
        resource["subresources"] = subresources.collect();
    }
    resource
}

/// Upper-case hexadecimal, as upstream's ETags are.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02X}")).collect()
}

fn short_hash(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(text.as_bytes())[..8])
}
