//! Requests and limits: their rules, sums, and the quality-of-service class that follows from them.

use amphipod_api::quantity;
use serde_json::Value;

use crate::kinds::json::{entries, is_set, items, scalar};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, names};

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const MALFORMED: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

pub fn validate(resources: &Value, path: &str) -> Vec<Problem> {
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    let mut problems = Vec::new();
    for (name, quantity) in entries(limits) {
        problems.extend(validate_quantity(name, quantity, &format!("{path}.limits")));
    }
    for (name, quantity) in entries(requests) {
        problems.extend(validate_quantity(name, quantity, &format!("{path}.requests")));
        let (asked, limit) = (milli(quantity), milli(&limits[name]));
        let fixed = !overcommits(name);
        let field = format!("{path}.requests");
        if !is_set(&limits[name]) {
            if fixed {
                let detail = "Limit must be set for non overcommitable resources";
                problems.push(Problem::required(format!("{path}.limits"), detail));
            }
        } else if fixed && asked != limit {
            let detail = format!("must be equal to {name} limit of {}", scalar(&limits[name]));
            problems.push(Problem::invalid(field, scalar(quantity), &detail));
        } else if asked > limit {
            let detail = format!("must be less than or equal to {name} limit of {}", scalar(&limits[name]));
            problems.push(Problem::invalid(field, scalar(quantity), &detail));
        }
    }
    problems
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by cpu and memory of all containers.
pub fn qos_class(spec: &Value) -> &'static str {
    let containers = || items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
    let amount = |container: &Value, list: &str, name: &str| milli(&container["resources"][list][name]).unwrap_or(0);
    let compute = ["cpu", "memory"];
    let any = containers()
        .any(|c| compute.iter().any(|name| amount(c, "requests", name) > 0 || amount(c, "limits", name) > 0));
    if !any {
        return "BestEffort";
    }
    let fixed = containers().all(|c| {
        compute.iter().all(|name| {
            let limit = amount(c, "limits", name);
            let request = if is_set(&c["resources"]["requests"][*name]) { amount(c, "requests", name) } else { limit };
            limit > 0 && request == limit
        })
    });
    if fixed { "Guaranteed" } else { "Burstable" }
}

/// What a pod asks for in `list` (`requests`, `limits`) of one resource, in thousandths: the containers and sidecars
/// together, or the largest init container with the sidecars started before it, plus overhead.
pub fn totals(spec: &Value, list: &str, name: &str) -> i64 {
    let amount = |container: &Value| milli(&container["resources"][list][name]).unwrap_or(0);
    let mut sidecars = 0;
    let mut starting = 0;
    for container in items(&spec["initContainers"]) {
        if container["restartPolicy"] == "Always" {
            sidecars += amount(container);
            starting = starting.max(sidecars);
        } else {
            starting = starting.max(sidecars + amount(container));
        }
    }
    let running: i64 = items(&spec["containers"]).iter().map(amount).sum();
    starting.max(running + sidecars) + milli(&spec["overhead"][name]).unwrap_or(0)
}

fn milli(quantity: &Value) -> Option<i64> {
    quantity::milli(&scalar(quantity))
}

fn overcommits(name: &str) -> bool {
    STANDARD.contains(&name)
}

fn validate_quantity(name: &str, value: &Value, list: &str) -> Vec<Problem> {
    let path = format!("{list}[{name}]");
    let mut problems = invalid_each(&path, name, names::qualified(name));
    if !name.contains('/') && !STANDARD.contains(&name) && !name.starts_with("hugepages-") {
        problems.push(Problem::invalid(path.clone(), name, "must be a standard resource for containers"));
    }
    let shown = scalar(value);
    match quantity::milli(&shown) {
        None => problems.push(Problem::invalid(path, shown, MALFORMED)),
        Some(..0) => problems.push(Problem::invalid(path, shown, "must be greater than or equal to 0")),
        Some(milli) if name.contains('/') && milli % 1_000 != 0 => {
            problems.push(Problem::invalid(path, shown, "must be an integer"));
        }
        Some(_) => {}
    }
    problems
}
