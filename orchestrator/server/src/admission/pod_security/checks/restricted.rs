//! What a hardened pod has to say about itself.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{added_capabilities, is_own_profile, seccomp_profile as explicit_profile};
use super::{Pod, Violation, found, named, plural, quoted, setters};
use crate::kinds::json::{is_set, items, text};

const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
/// Volumes that can be called by name in a refusal.
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub fn allow_privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.wrong(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    if containers.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&containers));
    found("allowPrivilegeEscalation != false", detail)
}

pub fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let keeping = pod.wrong(|container| {
        items(&container["securityContext"]["capabilities"]["drop"]).iter().all(|capability| capability != "ALL")
    });
    let (adding, added) = added_capabilities(pod, &["NET_BIND_SERVICE"]);
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&keeping)));
    }
    if !adding.is_empty() {
        let who = named(&adding);
        details.push(format!("{who} must not include {} in securityContext.capabilities.add", quoted(added)));
    }
    if details.is_empty() { None } else { found("unrestricted capabilities", details.join("; ")) }
}

pub fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let is_restricted = |volume: &&Value| VOLUMES.iter().all(|kind| !is_set(&volume[*kind]));
    let restricted: Vec<&Value> = items(&pod.spec["volumes"]).iter().filter(is_restricted).collect();
    if restricted.is_empty() {
        return None;
    }
    let kind = |volume: &&Value| OTHER_VOLUMES.into_iter().find(|kind| is_set(&volume[*kind])).unwrap_or("unknown");
    let kinds: BTreeSet<&str> = restricted.iter().map(kind).collect();
    let count = restricted.len();
    let names = restricted.into_iter().map(|volume| text(&volume["name"]));
    let uses = if count == 1 { "uses" } else { "use" };
    let what = plural("restricted volume type", kinds.len());
    let detail = format!("{} {} {uses} {what} {}", plural("volume", count), quoted(names), quoted(kinds));
    found("restricted volume types", detail)
}

pub fn run_as_non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let field = |object: &Value| object["securityContext"]["runAsNonRoot"].as_bool();
    let refusing = pod.wrong(|container| field(container) == Some(false));
    if let Some(who) = setters(field(pod.spec) == Some(false), &refusing) {
        return found(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let silent = pod.wrong(|container| field(container).is_none() && field(pod.spec) != Some(true));
    if silent.is_empty() {
        return None;
    }
    found(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", named(&silent)))
}

pub fn run_as_user(pod: &Pod<'_>) -> Option<Violation> {
    let is_root = |object: &Value| object["securityContext"]["runAsUser"].as_i64() == Some(0);
    let who = setters(is_root(pod.spec), &pod.wrong(is_root))?;
    found("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub fn seccomp_profile(pod: &Pod<'_>) -> Option<Violation> {
    if let Some(violation) = explicit_profile(pod) {
        return Some(violation);
    }
    let profile = |object: &Value| object["securityContext"]["seccompProfile"].clone();
    let covered = is_own_profile(&profile(pod.spec));
    let silent = pod.wrong(|container| !covered && !is_set(&profile(container)));
    if silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        named(&silent)
    );
    found("seccompProfile", detail)
}
