//! What is served, told in both of discovery's forms (one document per group-version, and the aggregated v2). Written
//! once from the registry and from what aggregated APIs told of themselves. Who comes first is in
//! `discovery/priorities.rs`.

mod priorities;

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::aggregation::{Remote, Remotes};
use crate::kinds::{Kind, Scope, Subresource};
use crate::registry::Registry;
use crate::reviews;
pub use priorities::{PRIORITIES, Priority, priority};

/// What is served besides resources.
const PAGES: [&str; 7] = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];

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
    versions: Vec<Version<'a>>,
}

struct Version<'a> {
    name: &'a str,
    priority: Priority,
    content: Content<'a>,
}

/// Who answers for a version.
enum Content<'a> {
    Here(Vec<&'a Kind>),
    Elsewhere(&'a Remote),
}

impl Documents {
    pub fn new(registry: &Registry, remotes: &Remotes) -> Self {
        let groups = groups(registry, remotes);
        let (core, named): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.name.is_empty());
        let group_objects: Vec<Value> = named.iter().map(|group| group.object()).collect();
        let mut resources = HashMap::new();
        for group in &groups {
            for version in &group.versions {
                let Content::Here(kinds) = &version.content else { continue };
                let group_version = group_version(group.name, version.name);
                let document = resource_list(&group_version, kinds);
                resources.insert(group_version, document);
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

/// What is answered elsewhere hides what is answered here.
fn groups<'a>(registry: &'a Registry, remotes: &'a Remotes) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for remote in remotes.iter() {
        let (name, priority) = (remote.version.as_str(), remote.priority);
        let version = Version { name, priority, content: Content::Elsewhere(remote) };
        of_name(&mut groups, &remote.group).versions.push(version);
    }
    for kind in registry.entries().iter().map(|entry| &*entry.kind) {
        let group = of_name(&mut groups, kind.group);
        match group.versions.iter_mut().find(|version| version.name == kind.version) {
            Some(Version { content: Content::Here(kinds), .. }) => kinds.push(kind),
            Some(_) => {}
            None => group.versions.push(Version {
                name: kind.version,
                priority: priority(kind.group, kind.version),
                content: Content::Here(vec![kind]),
            }),
        }
    }
    for group in &mut groups {
        group.versions.sort_by_key(|version| std::cmp::Reverse((version.priority.version, Age::of(version.name))));
    }
    groups.sort_by_key(|group| (std::cmp::Reverse(group.priority()), group.name));
    groups
}

fn of_name<'g, 'a>(groups: &'g mut Vec<Group<'a>>, name: &'a str) -> &'g mut Group<'a> {
    let at = groups.iter().position(|group| group.name == name).unwrap_or_else(|| {
        groups.push(Group { name, versions: Vec::new() });
        groups.len() - 1
    });
    &mut groups[at]
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
    fn priority(&self) -> i64 {
        self.versions.iter().map(|version| version.priority.group).max().unwrap_or(0)
    }

    fn object(&self) -> Value {
        let version = |version: &str| json!({ "groupVersion": group_version(self.name, version), "version": version });
        let versions: Vec<Value> = self.versions.iter().map(|one| version(one.name)).collect();
        json!({ "name": self.name, "versions": versions, "preferredVersion": versions[0] })
    }

    fn discovery(&self) -> Value {
        let versions = self.versions.iter().map(Version::discovery);
        let metadata = if self.name.is_empty() {
            json!({ "creationTimestamp": null })
        } else {
            json!({ "name": self.name, "creationTimestamp": null })
        };
        json!({ "metadata": metadata, "versions": versions.collect::<Vec<_>>() })
    }
}

impl Version<'_> {
    /// What could not be asked last time is shown as it was, and said to be stale.
    fn discovery(&self) -> Value {
        let (resources, freshness) = match &self.content {
            Content::Here(kinds) => (kinds.iter().map(|kind| aggregated_resource(kind)).collect(), "Current"),
            Content::Elsewhere(remote) => {
                let freshness = if remote.served.is_fresh { "Current" } else { "Stale" };
                (remote.served.resources.clone(), freshness)
            }
        };
        let mut version = json!({ "version": self.name, "freshness": freshness });
        if !resources.is_empty() {
            version["resources"] = resources.into();
        }
        version
    }
}

fn paths(groups: &[Group<'_>]) -> Value {
    let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).to_vec();
    for group in groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{}", group.name, version.name)));
    }
    paths.extend(PAGES.map(str::to_owned));
    json!({ "paths": paths })
}

/// Members stand in upstream's order: people and scripts search these documents as text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceList<'a> {
    kind: &'static str,
    api_version: &'static str,
    group_version: &'a str,
    resources: Vec<Resource<'a>>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource<'a> {
    name: Cow<'a, str>,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    kind: &'a str,
    verbs: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_version_hash: Option<String>,
}

fn resource_list(group_version: &str, kinds: &[&Kind]) -> Bytes {
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    let list = ResourceList { kind: "APIResourceList", api_version: "v1", group_version, resources };
    serde_json::to_vec(&list).expect("plain members have a JSON form").into()
}

fn resource(kind: &Kind) -> Resource<'_> {
    let hash = || short_hash(&format!("{}/{}", kind.storage, kind.version));
    Resource {
        name: kind.plural.into(),
        singular_name: kind.singular,
        namespaced: kind.scope == Scope::Namespaced,
        kind: kind.kind,
        verbs: kind.verbs,
        short_names: kind.short_names,
        categories: kind.categories,
        storage_version_hash: (kind.verbs.contains(&"list") && !reviews::is_virtual(kind)).then(hash),
        ..Resource::default()
    }
}

fn subresource<'a>(kind: &'a Kind, sub: &'a Subresource) -> Resource<'a> {
    Resource {
        name: format!("{}/{}", kind.plural, sub.name).into(),
        namespaced: kind.scope == Scope::Namespaced,
        group: sub.kind.map(|(group, ..)| group),
        version: sub.kind.map(|(_, version, _)| version),
        kind: sub.kind.map_or(kind.kind, |(.., name)| name),
        verbs: sub.verbs,
        ..Resource::default()
    }
}

fn aggregated(groups: &[&Group<'_>]) -> (Bytes, String) {
    let items: Vec<Value> = groups.iter().map(|group| group.discovery()).collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let text = document.to_string();
    let hash = hash(text.as_bytes());
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
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

fn short_hash(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(text.as_bytes())[..8])
}
