//! What nothing ordinary needs: host access, privileges, ways around the isolation of containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Pod, Violation, found, named, plural, quoted, setters};
use crate::kinds::json::{entries, is_empty, is_set, items, text};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// In the order in which they came to be allowed.
pub const SE_LINUX_TYPES: [&str; 4] = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
pub const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub fn app_armor_profile(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let (is_pod, containers) = wrong_types(pod, "appArmorProfile", &mut values);
    let mut values: Vec<String> = values.into_iter().map(str::to_owned).collect();
    let mut who: Vec<String> = setters(is_pod, &containers).into_iter().collect();
    let is_allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = entries(&pod.metadata["annotations"])
        .filter(|(name, value)| name.starts_with(APP_ARMOR) && !is_allowed(text(value)))
        .map(|(name, value)| format!("{name}={:?}", text(value)));
    let annotations: Vec<String> = annotations.collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", annotations.len()));
        values.extend(annotations);
    }
    if who.is_empty() {
        return None;
    }
    let reason = if values.len() == 1 { "forbidden AppArmor profile" } else { "forbidden AppArmor profiles" };
    found(reason, format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(values)))
}

pub fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let (containers, added) = added_capabilities(pod, &CAPABILITIES);
    if containers.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not include {} in securityContext.capabilities.add", named(&containers), quoted(added));
    found("non-default capabilities", detail)
}

/// Containers that add capabilities beyond these, and which.
pub fn added_capabilities<'a>(pod: &Pod<'a>, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let (mut containers, mut added) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let add = items(&container["securityContext"]["capabilities"]["add"]).iter().map(text);
        let wrong: Vec<&str> = add.filter(|capability| !allowed.contains(capability)).collect();
        if !wrong.is_empty() {
            containers.push(text(&container["name"]));
            added.extend(wrong);
        }
    }
    (containers, added)
}

pub fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| pod.spec[*field] == true);
    let shared: Vec<String> = shared.map(|field| format!("{field}=true")).collect();
    if shared.is_empty() { None } else { found("host namespaces", shared.join(", ")) }
}

pub fn host_path_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = items(&pod.spec["volumes"]).iter().filter(|volume| is_set(&volume["hostPath"]));
    let volumes: Vec<&str> = volumes.map(|volume| text(&volume["name"])).collect();
    if volumes.is_empty() {
        return None;
    }
    found("hostPath volumes", format!("{} {}", plural("volume", volumes.len()), quoted(volumes)))
}

pub fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports_of = |container: &Value| -> Vec<String> {
        let ports = items(&container["ports"]).iter().filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let containers = pod.wrong(|container| !ports_of(container).is_empty());
    if containers.is_empty() {
        return None;
    }
    let ports: BTreeSet<String> = pod.containers().flat_map(ports_of).collect();
    let uses = if containers.len() == 1 { "uses" } else { "use" };
    let listed = ports.iter().cloned().collect::<Vec<_>>().join(", ");
    found("hostPort", format!("{} {uses} {} {listed}", named(&containers), plural("hostPort", ports.len())))
}

pub fn host_probes(pod: &Pod<'_>) -> Option<Violation> {
    let hosts_of = |container: &Value| -> Vec<String> {
        let lifecycle = &container["lifecycle"];
        let handlers = [
            &container["livenessProbe"],
            &container["readinessProbe"],
            &container["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        let hosts =
            handlers.into_iter().flat_map(|handler| [&handler["httpGet"]["host"], &handler["tcpSocket"]["host"]]);
        hosts.map(text).filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let containers: BTreeSet<&str> = pod.wrong(|container| !hosts_of(container).is_empty()).into_iter().collect();
    let containers: Vec<&str> = containers.into_iter().collect();
    if containers.is_empty() {
        return None;
    }
    let hosts: BTreeSet<String> = pod.containers().flat_map(hosts_of).collect();
    let uses = if containers.len() == 1 { "uses" } else { "use" };
    let what = plural("probe or lifecycle host", hosts.len());
    found("probe or lifecycle host", format!("{} {uses} {what} {}", named(&containers), quoted(hosts)))
}

pub fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.wrong(|container| container["securityContext"]["privileged"] == true);
    if containers.is_empty() {
        return None;
    }
    found("privileged", format!("{} must not set securityContext.privileged=true", named(&containers)))
}

pub fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let mount = |container: &Value| text(&container["securityContext"]["procMount"]).to_owned();
    let is_wrong = |mount: &str| !mount.is_empty() && mount != "Default";
    let containers = pod.wrong(|container| is_wrong(&mount(container)));
    if containers.is_empty() {
        return None;
    }
    let mounts: BTreeSet<String> = pod.containers().map(mount).filter(|mount| is_wrong(mount)).collect();
    found("procMount", format!("{} must not set securityContext.procMount to {}", named(&containers), quoted(mounts)))
}

pub fn se_linux_options(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let options = |object: &Value| object["securityContext"]["seLinuxOptions"].clone();
    let is_type = |options: &Value| is_empty(&options["type"]) || allowed.contains(&text(&options["type"]));
    let is_wrong = |options: &Value| !is_type(options) || !is_empty(&options["user"]) || !is_empty(&options["role"]);
    let containers = pod.wrong(|container| is_wrong(&options(container)));
    let who = setters(is_wrong(&options(pod.spec)), &containers)?;
    let all: Vec<Value> = std::iter::once(pod.spec).chain(pod.containers()).map(options).collect();
    let types: BTreeSet<&str> = all.iter().filter(|one| !is_type(one)).map(|one| text(&one["type"])).collect();
    let mut wrong = Vec::new();
    if !types.is_empty() {
        wrong.push(format!("{} {}", plural("type", types.len()), quoted(types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|one| !is_empty(&one[field])) {
            wrong.push(format!("{field} may not be set"));
        }
    }
    found("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {}", wrong.join("; ")))
}

/// As it was before seccomp profiles were fields.
pub fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let is_allowed =
        |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let names = std::iter::once(SECCOMP_POD.to_owned())
        .chain(pod.containers().map(|container| format!("{SECCOMP_CONTAINER}{}", text(&container["name"]))));
    let set = names.filter_map(|name| {
        let value = text(pod.metadata["annotations"].get(&name)?);
        (!is_allowed(value)).then(|| format!("{name}={value:?}"))
    });
    let set: BTreeSet<String> = set.collect();
    if set.is_empty() {
        return None;
    }
    let listed = set.iter().cloned().collect::<Vec<_>>().join(", ");
    found("seccompProfile", format!("forbidden {} {listed}", plural("annotation", set.len())))
}

pub fn seccomp_profile(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let (is_pod, containers) = wrong_types(pod, "seccompProfile", &mut values);
    let who = setters(is_pod, &containers)?;
    found("seccompProfile", format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(values)))
}

/// Whether the pod, and which containers, set a profile of another type than these two; which types goes to `values`.
fn wrong_types<'a>(pod: &Pod<'a>, field: &str, values: &mut BTreeSet<&'a str>) -> (bool, Vec<&'a str>) {
    let mut is_wrong = |object: &'a Value| {
        let profile = &object["securityContext"][field];
        let wrong = is_set(profile) && !is_own_profile(profile);
        if wrong {
            values.insert(text(&profile["type"]));
        }
        wrong
    };
    let is_pod = is_wrong(pod.spec);
    let containers = pod.containers().filter(|container| is_wrong(container)).map(|container| text(&container["name"]));
    (is_pod, containers.collect())
}

/// Of the runtime, or one that the node's operator gave.
pub fn is_own_profile(profile: &Value) -> bool {
    matches!(text(&profile["type"]), "RuntimeDefault" | "Localhost")
}

pub fn sysctls(pod: &Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let set = items(&pod.spec["securityContext"]["sysctls"]).iter().map(|sysctl| text(&sysctl["name"]));
    let forbidden: Vec<&str> = set.filter(|name| !allowed.contains(name)).collect();
    if forbidden.is_empty() { None } else { found("forbidden sysctls", forbidden.join(", ")) }
}

pub fn windows_host_process(pod: &Pod<'_>) -> Option<Violation> {
    let is_wrong = |object: &Value| object["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let who = setters(is_wrong(pod.spec), &pod.wrong(is_wrong))?;
    found("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}
