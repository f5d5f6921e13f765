//! The rules of containers and init containers.

use std::collections::HashSet;

use serde_json::Value;

use super::{env, handlers, one_of, resources, volumes};
use crate::kinds::json::{is_empty, is_set, items, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, names};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: [&str; 2] = ["FallbackToLogsOnError", "File"];
const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// Both lists of a pod spec; names are unique over them.
pub fn validate(spec: &Value, path: &str) -> Vec<Problem> {
    let volumes = volumes::names(&spec["volumes"]);
    let mut names = HashSet::new();
    let mut host_ports = HashSet::new();
    let mut problems = Vec::new();
    let containers = items(&spec["containers"]);
    if containers.is_empty() {
        problems.push(Problem::required(format!("{path}.containers"), ""));
    }
    for (list, group) in [("containers", containers), ("initContainers", items(&spec["initContainers"]))] {
        for (index, container) in group.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            problems.extend(validate_container(container, &volumes, &path));
            let name = text(&container["name"]);
            if !name.is_empty() && !names.insert(name) {
                problems.push(Problem::duplicate(format!("{path}.name"), name));
            }
            let sidecar = text(&container["restartPolicy"]) == "Always";
            if list == "initContainers" && !sidecar {
                problems.extend(refuse_hooks(container, &path));
            } else {
                problems.extend(handlers::validate_hooks(container, &path));
                problems.extend(host_port_conflicts(container, &mut host_ports, &path));
            }
            problems.extend(host_network_ports(spec, container, &path));
        }
    }
    problems
}

fn validate_container(container: &Value, volumes: &HashSet<&str>, path: &str) -> Vec<Problem> {
    let at = |field: &str| format!("{path}.{field}");
    let mut problems = Vec::new();
    match text(&container["name"]) {
        "" => problems.push(Problem::required(at("name"), "")),
        name => problems.extend(invalid_each(&at("name"), name, names::label(name))),
    }
    match text(&container["image"]) {
        "" => problems.push(Problem::required(at("image"), "")),
        image if image.trim() != image => {
            problems.push(Problem::invalid(at("image"), image, "must not have leading or trailing whitespace"));
        }
        _ => {}
    }
    problems.extend(one_of(&container["terminationMessagePolicy"], &at("terminationMessagePolicy"), &MESSAGE_POLICIES));
    problems.extend(validate_ports(&container["ports"], &at("ports")));
    problems.extend(env::validate(&container["env"], &at("env")));
    problems.extend(env::validate_from(&container["envFrom"], &at("envFrom")));
    problems.extend(volumes::validate_mounts(&container["volumeMounts"], volumes, &at("volumeMounts")));
    problems.extend(one_of(&container["imagePullPolicy"], &at("imagePullPolicy"), &PULL_POLICIES));
    problems.extend(resources::validate(&container["resources"], &at("resources")));
    if !is_empty(&container["restartPolicy"]) {
        problems.extend(one_of(&container["restartPolicy"], &at("restartPolicy"), &RESTART_POLICIES));
    }
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = container["securityContext"][field].as_i64() {
            for message in names::between(id, 0, i64::from(i32::MAX)) {
                problems.push(Problem::invalid(format!("{path}.securityContext.{field}"), id, &message));
            }
        }
    }
    problems
}

fn validate_ports(ports: &Value, path: &str) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, port) in items(ports).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        let name = text(&port["name"]);
        if !name.is_empty() {
            let complaints = names::port(name);
            if complaints.is_empty() && !seen.insert(name) {
                problems.push(Problem::duplicate(at("name"), name));
            }
            problems.extend(invalid_each(&at("name"), name, complaints));
        }
        match port["containerPort"].as_i64().unwrap_or(0) {
            0 => problems.push(Problem::required(at("containerPort"), "")),
            number => problems.extend(number_problems(number, &at("containerPort"))),
        }
        match port["hostPort"].as_i64().unwrap_or(0) {
            0 => {}
            number => problems.extend(number_problems(number, &at("hostPort"))),
        }
        problems.extend(one_of(&port["protocol"], &at("protocol"), &PROTOCOLS));
    }
    problems
}

fn number_problems(number: i64, path: &str) -> Vec<Problem> {
    names::port_number(number).iter().map(|message| Problem::invalid(path, number, message)).collect()
}

fn host_port_conflicts(container: &Value, taken: &mut HashSet<String>, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, port) in items(&container["ports"]).iter().enumerate() {
        let number = port["hostPort"].as_i64().unwrap_or(0);
        if number == 0 {
            continue;
        }
        let claim = format!("{}/{}/{number}", text(&port["protocol"]), text(&port["hostIP"]));
        if !taken.insert(claim.clone()) {
            problems.push(Problem::duplicate(format!("{path}.ports[{index}].hostPort"), claim));
        }
    }
    problems
}

fn host_network_ports(spec: &Value, container: &Value, path: &str) -> Vec<Problem> {
    if spec["hostNetwork"] != true {
        return Vec::new();
    }
    let ports = items(&container["ports"]).iter().enumerate();
    let differing = ports.filter(|(_, port)| {
        let host = port["hostPort"].as_i64().unwrap_or(0);
        host != 0 && Some(host) != port["containerPort"].as_i64()
    });
    differing
        .map(|(index, port)| {
            let detail = "must match `hostPort` when `hostNetwork` is true";
            Problem::invalid(format!("{path}.ports[{index}].containerPort"), port["containerPort"].clone(), detail)
        })
        .collect()
}

fn refuse_hooks(container: &Value, path: &str) -> Vec<Problem> {
    let fields = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
    let given = fields.into_iter().filter(|field| is_set(&container[*field]));
    given
        .map(|field| {
            let detail = "may not be set for init containers without restartPolicy=Always";
            Problem::forbidden(format!("{path}.{field}"), detail)
        })
        .collect()
}
