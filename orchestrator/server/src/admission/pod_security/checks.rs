//! The checks of the Pod Security Standards: one table, baseline in `checks/baseline.rs`, restricted in
//! `checks/restricted.rs`. A check is a pure function of a pod; it belongs to the versions from `since` to `until`.

mod baseline;
mod restricted;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::policy::{Level, Standard};
use crate::kinds::json::{items, text};

/// A pod, or what pods are made from.
pub struct Pod<'a> {
    pub metadata: &'a Value,
    pub spec: &'a Value,
}

/// What a check found. The reason goes alone where many pods are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub reason: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => to.write_str(self.reason),
            detail => write!(to, "{} ({detail})", self.reason),
        }
    }
}

struct Check {
    id: &'static str,
    level: Level,
    /// Minor version of Kubernetes 1; `until` is the first that has it no more.
    since: u32,
    until: u32,
    /// Checks of the lower level that this one takes the place of.
    replaces: &'static str,
    run: fn(&Pod<'_>) -> Option<Violation>,
}

const LATEST: u32 = u32::MAX;

const fn baseline(id: &'static str, versions: (u32, u32), run: fn(&Pod<'_>) -> Option<Violation>) -> Check {
    Check { id, level: Level::Baseline, since: versions.0, until: versions.1, replaces: "", run }
}

const fn restricted(
    id: &'static str,
    versions: (u32, u32),
    replaces: &'static str,
    run: fn(&Pod<'_>) -> Option<Violation>,
) -> Check {
    Check { id, level: Level::Restricted, since: versions.0, until: versions.1, replaces, run }
}

/// In the order in which violations are told: by level, then by id.
static CHECKS: &[Check] = &[
    baseline("appArmorProfile", (0, LATEST), baseline::app_armor_profile),
    baseline("capabilities_baseline", (0, LATEST), baseline::capabilities),
    baseline("hostNamespaces", (0, LATEST), baseline::host_namespaces),
    baseline("hostPathVolumes", (0, LATEST), baseline::host_path_volumes),
    baseline("hostPorts", (0, LATEST), baseline::host_ports),
    baseline("hostProbesAndHostLifecycle", (34, LATEST), baseline::host_probes),
    baseline("privileged", (0, LATEST), baseline::privileged),
    baseline("procMount", (0, 35), baseline::proc_mount),
    baseline("procMount", (35, LATEST), |pod| unless_own_users(pod, baseline::proc_mount)),
    baseline("seLinuxOptions", (0, 31), |pod| baseline::se_linux_options(pod, &baseline::SE_LINUX_TYPES[..3])),
    baseline("seLinuxOptions", (31, LATEST), |pod| baseline::se_linux_options(pod, &baseline::SE_LINUX_TYPES)),
    baseline("seccompProfile_baseline", (0, 19), baseline::seccomp_annotations),
    baseline("seccompProfile_baseline", (19, LATEST), baseline::seccomp_profile),
    baseline("sysctls", (0, 27), |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..5])),
    baseline("sysctls", (27, 29), |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..6])),
    baseline("sysctls", (29, 32), |pod| baseline::sysctls(pod, &baseline::SYSCTLS[..10])),
    baseline("sysctls", (32, LATEST), |pod| baseline::sysctls(pod, &baseline::SYSCTLS)),
    baseline("windowsHostProcess", (0, LATEST), baseline::windows_host_process),
    restricted("allowPrivilegeEscalation", (8, 25), "", restricted::allow_privilege_escalation),
    restricted("allowPrivilegeEscalation", (25, LATEST), "", |pod| {
        unless_windows(pod, restricted::allow_privilege_escalation)
    }),
    restricted("capabilities_restricted", (22, 25), "capabilities_baseline", restricted::capabilities),
    restricted("capabilities_restricted", (25, LATEST), "capabilities_baseline", |pod| {
        unless_windows(pod, restricted::capabilities)
    }),
    restricted("restrictedVolumes", (0, LATEST), "hostPathVolumes", restricted::volumes),
    restricted("runAsNonRoot", (0, 35), "", restricted::run_as_non_root),
    restricted("runAsNonRoot", (35, LATEST), "", |pod| unless_own_users(pod, restricted::run_as_non_root)),
    restricted("runAsUser", (23, 35), "", restricted::run_as_user),
    restricted("runAsUser", (35, LATEST), "", |pod| unless_own_users(pod, restricted::run_as_user)),
    restricted("seccompProfile_restricted", (19, 25), "seccompProfile_baseline", restricted::seccomp_profile),
    restricted("seccompProfile_restricted", (25, LATEST), "seccompProfile_baseline", |pod| {
        unless_windows(pod, restricted::seccomp_profile)
    }),
];

/// Everything about a pod that a standard does not allow.
pub fn violations(standard: Standard, pod: &Pod<'_>) -> Vec<Violation> {
    let minor = standard.version.unwrap_or(LATEST - 1);
    let applies = |check: &&Check| check.level <= standard.level && (check.since..check.until).contains(&minor);
    let replaced: BTreeSet<&str> = CHECKS.iter().filter(applies).map(|check| check.replaces).collect();
    let mut found = Vec::new();
    for check in CHECKS.iter().filter(applies).filter(|check| !replaced.contains(check.id)) {
        found.extend((check.run)(pod));
    }
    found
}

impl<'a> Pod<'a> {
    /// Of a pod or a pod template.
    pub fn of(object: &'a Value) -> Self {
        Self { metadata: &object["metadata"], spec: &object["spec"] }
    }

    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |list| items(&spec[list]))
    }

    /// Names of the containers that something is wrong with.
    fn wrong(&self, is_wrong: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| is_wrong(container)).map(|container| text(&container["name"])).collect()
    }
}

/// Pods for Windows have no such thing.
fn unless_windows(pod: &Pod<'_>, check: fn(&Pod<'_>) -> Option<Violation>) -> Option<Violation> {
    if pod.spec["os"]["name"] == "windows" { None } else { check(pod) }
}

/// In a user namespace of its own a pod's root is nobody outside.
fn unless_own_users(pod: &Pod<'_>, check: fn(&Pod<'_>) -> Option<Violation>) -> Option<Violation> {
    if pod.spec["hostUsers"] == false { None } else { check(pod) }
}

fn found(reason: &'static str, detail: String) -> Option<Violation> {
    Some(Violation { reason, detail })
}

/// `container "a"`, `containers "a", "b"`
fn named(containers: &[&str]) -> String {
    format!("{} {}", plural("container", containers.len()), quoted(containers))
}

/// Who set something wrong: `pod and container "a"`. `None`: nobody.
fn setters(is_pod: bool, containers: &[&str]) -> Option<String> {
    match (is_pod, containers) {
        (false, []) => None,
        (true, []) => Some("pod".to_owned()),
        (false, _) => Some(named(containers)),
        (true, _) => Some(format!("pod and {}", named(containers))),
    }
}

fn quoted<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().map(|word| format!("\"{}\"", word.as_ref())).collect::<Vec<_>>().join(", ")
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

#[cfg(test)]
mod tests;
