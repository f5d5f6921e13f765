//! Names of resources that quotas, limits and volumes count, and the amounts they may have.

use amphipod_api::quantity;
use serde_json::Value;

use super::json::scalar;
use super::problem::invalid_each;
use super::{Problem, names};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Counted in whole objects.
const OBJECTS: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const HUGE_PAGES: &str = "hugepages-";

/// A resource of a quota.
pub fn validate_quota_name(name: &str, path: &str) -> Vec<Problem> {
    let mut problems = validate_name(name, path);
    if problems.is_empty() && !name.contains('/') && !is_quota(name) {
        problems.push(Problem::invalid(path, name, "must be a standard resource for quota"));
    }
    problems
}

/// A resource of a limit of this type; pods and containers have only what containers can use.
pub fn validate_limit_name(limit: &str, name: &str, path: &str) -> Vec<Problem> {
    let mut problems = validate_name(name, path);
    if !problems.is_empty() || !matches!(limit, "Pod" | "Container") {
        return problems;
    }
    if !name.contains('/') && !COMPUTE.contains(&name) && !name.starts_with(HUGE_PAGES) {
        problems.push(Problem::invalid(path, name, "must be a standard resource for containers"));
    } else if !is_native(name) && !is_extended(name) {
        problems.push(Problem::invalid(path, name, "doesn't follow extended resource name standard"));
    }
    problems
}

/// Not negative, and whole when the resource cannot be parted.
pub fn validate_amount(name: &str, amount: &Value, path: &str) -> Vec<Problem> {
    let shown = scalar(amount);
    let milli = quantity::milli(&shown).unwrap_or(0);
    let mut problems = Vec::new();
    if milli < 0 {
        problems.push(Problem::invalid(path, shown.as_str(), "must be greater than or equal to 0"));
    }
    if milli % 1_000 != 0 && (OBJECTS.contains(&name) || is_extended(name)) {
        problems.push(Problem::invalid(path, shown, "must be an integer"));
    }
    problems
}

/// More than nothing.
pub fn validate_positive(amount: &Value, path: &str) -> Option<Problem> {
    let shown = scalar(amount);
    let is_positive = quantity::milli(&shown).is_none_or(|milli| milli > 0);
    (!is_positive).then(|| Problem::invalid(path, shown, "must be greater than zero"))
}

/// Whether more of it may be promised than there is.
pub fn overcommits(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE_PAGES)
}

/// A resource that a quota can count by itself, and not by its group.
pub fn is_quota(name: &str) -> bool {
    let part = name.strip_prefix("requests.").unwrap_or(name);
    let limit = name.strip_prefix("limits.").unwrap_or(part);
    COMPUTE.contains(&limit) || OBJECTS.contains(&name) || name == "requests.storage" || part.starts_with(HUGE_PAGES)
}

fn validate_name(name: &str, path: &str) -> Vec<Problem> {
    let mut problems = invalid_each(path, name, names::qualified(name));
    if problems.is_empty() && !name.contains('/') && !is_quota(name) && name != "storage" {
        let detail = "must be a standard resource type or fully qualified";
        problems.push(Problem::invalid(path, name, detail));
    }
    problems
}

pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified(&format!("requests.{name}")).is_empty()
}
