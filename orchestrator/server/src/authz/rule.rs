//! One rule against one request, and one rule against another. Kubernetes' matching, nothing else.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::seams::Attributes;

/// The rule allows the request.
pub fn matches(rule: &PolicyRule, attributes: &Attributes) -> bool {
    if !has(&rule.verbs, &attributes.verb) {
        return false;
    }
    match &attributes.path {
        Some(path) => list(&rule.non_resource_urls).iter().any(|pattern| path_matches(pattern, path)),
        None => {
            has(list(&rule.api_groups), &attributes.group)
                && list(&rule.resources)
                    .iter()
                    .any(|pattern| resource_matches(pattern, &attributes.resource, &attributes.subresource))
                && name_matches(list(&rule.resource_names), &attributes.name)
        }
    }
}

/// `wanted`, which has one verb, one group and resource and at most one name, or one verb and one path, is part of `held`.
pub(super) fn covers(held: &PolicyRule, wanted: &PolicyRule) -> bool {
    if !has(&held.verbs, &wanted.verbs[0]) {
        return false;
    }
    if let [path] = list(&wanted.non_resource_urls) {
        return list(&held.non_resource_urls).iter().any(|pattern| path_matches(pattern, path));
    }
    let (resource, subresource) = match list(&wanted.resources) {
        [one] => one.split_once('/').unwrap_or((one, "")),
        _ => return false,
    };
    let named = list(&held.resource_names);
    list(&wanted.api_groups).first().is_some_and(|group| has(list(&held.api_groups), group))
        && list(&held.resources).iter().any(|pattern| resource_matches(pattern, resource, subresource))
        && (named.is_empty() || list(&wanted.resource_names).first().is_some_and(|name| named.contains(name)))
}

pub(super) fn list(values: &Option<Vec<String>>) -> &[String] {
    values.as_deref().unwrap_or_default()
}

fn has(patterns: &[String], value: &str) -> bool {
    patterns.iter().any(|pattern| pattern == "*" || pattern == value)
}

/// `*` is every resource and subresource, `pods/log` one subresource, `*/scale` that subresource of all.
fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    match pattern.split_once('/') {
        _ if pattern == "*" => true,
        None => subresource.is_empty() && pattern == resource,
        Some((parent, child)) => {
            !subresource.is_empty() && child == subresource && (parent == "*" || parent == resource)
        }
    }
}

fn name_matches(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|known| known == name)
}

fn path_matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}
