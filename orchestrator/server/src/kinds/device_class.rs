//! DeviceClass and DeviceTaintRule: what an administrator says about devices.

use serde_json::Value;

use super::json::{keep, present, text};
use super::table::{AGE, NAME, age, name};
use super::{
    Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, conditions, device, drop_status, keep_status, metadata, names,
};

const CONFIGURATIONS_MAX: usize = 32;

pub static DEVICE_CLASS: Kind = Kind {
    group: "resource.k8s.io",
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    scope: Scope::Cluster,
    schema: "io.k8s.api.resource.v1.DeviceClass",
    storage: "resource.k8s.io/deviceclasses",
    update: WITH_SPEC,
    validate: |class| {
        let mut problems = metadata::validate(class, Scope::Cluster, names::subdomain);
        let spec = &class["spec"];
        problems.extend(device::validate_selectors(&spec["selectors"], "spec.selectors"));
        problems.extend(device::each(
            &spec["config"],
            "spec.config",
            CONFIGURATIONS_MAX,
            device::validate_configuration,
        ));
        if let Some(resource) = spec["extendedResourceName"].as_str().filter(|name| !is_extended(name)) {
            let detail = "must be a valid extended resource name";
            problems.push(Problem::invalid("spec.extendedResourceName", resource, detail));
        }
        problems
    },
    columns: &[NAME, AGE],
    row: |class, now| vec![name(class), age(class, now)],
    ..PLAIN
};

pub static DEVICE_TAINT_RULE: Kind = Kind {
    group: "resource.k8s.io",
    kind: "DeviceTaintRule",
    plural: "devicetaintrules",
    singular: "devicetaintrule",
    scope: Scope::Cluster,
    subresources: &[STATUS],
    schema: "io.k8s.api.resource.v1.DeviceTaintRule",
    storage: "resource.k8s.io/devicetaintrules",
    update: WITH_SPEC,
    defaults: |rule| {
        let since = rule["metadata"]["creationTimestamp"].clone();
        if let Some(taint) = present(rule, "spec").and_then(|spec| present(spec, "taint")) {
            device::default_taint(taint, &since);
        }
    },
    prepare_create: drop_status,
    prepare_update: |new, old| {
        keep_status(new, old);
        let before = &old["spec"]["taint"];
        if let Some(taint) = present(new, "spec").and_then(|spec| present(spec, "taint"))
            && taint["timeAdded"].is_null()
            && taint["effect"] == before["effect"]
        {
            keep(taint, "timeAdded", before);
        }
    },
    validate: |rule| {
        let mut problems = metadata::validate(rule, Scope::Cluster, names::subdomain);
        problems.extend(validate_selector(&rule["spec"]["deviceSelector"]));
        problems.extend(device::validate_taint(&rule["spec"]["taint"], "spec.taint"));
        problems.extend(conditions::validate(&rule["status"]["conditions"], "status.conditions"));
        problems
    },
    ..PLAIN
};

fn validate_selector(selector: &Value) -> Vec<Problem> {
    const PATH: &str = "spec.deviceSelector";
    type Rule = fn(&str, &str) -> Vec<Problem>;
    let rules: [(&str, Rule); 3] = [
        ("driver", device::validate_driver),
        ("pool", device::validate_pool),
        ("device", device::validate_device_name),
    ];
    let given = rules.into_iter().filter(|(field, _)| selector[*field].is_string());
    given.flat_map(|(field, rule)| rule(text(&selector[field]), &format!("{PATH}.{field}"))).collect()
}

/// `domain/name` outside of the project's own domains.
fn is_extended(resource: &str) -> bool {
    let Some((domain, _)) = resource.split_once('/') else { return false };
    let own = domain == "kubernetes.io" || domain.ends_with(".kubernetes.io");
    !own && !resource.starts_with("requests.") && names::qualified(&format!("requests.{resource}")).is_empty()
}
