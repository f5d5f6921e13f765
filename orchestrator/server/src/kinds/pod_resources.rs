//! What a whole pod asks for and may use: the sum over containers and sidecars, or the largest init container where
//! that is more; amounts given for the pod as a whole overrule both. Source: component-helpers `resource`.

use std::collections::BTreeMap;

use amphipod_api::quantity::Quantity;
use serde_json::Value;

use super::json::{entries, items, scalar};

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Resources that a pod may have as a whole.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];

/// `requests` or `limits` of a container or a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Requests,
    Limits,
}

impl Side {
    pub fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// A list of amounts as the API has it; what is no quantity is left to validation.
pub fn amounts(list: &Value) -> Amounts {
    entries(list).filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(&scalar(amount))?))).collect()
}

/// Of a pod's spec, without its overhead.
pub fn of_spec(spec: &Value, side: Side) -> Amounts {
    of_containers(spec, side, &|container| amounts(&container["resources"][side.field()]))
}

/// As [`of_spec`]; `one` says what a single container counts for.
pub fn of_containers(spec: &Value, side: Side, one: &dyn Fn(&Value) -> Amounts) -> Amounts {
    let mut running = Amounts::new();
    for container in items(&spec["containers"]) {
        add(&mut running, &one(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in items(&spec["initContainers"]) {
        let mut own = one(container);
        if container["restartPolicy"] == "Always" {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut starting, &own);
    }
    raise(&mut running, &starting);
    let whole = amounts(&spec["resources"][side.field()]);
    running.extend(whole.into_iter().filter(|(name, _)| POD_LEVEL.contains(&name.as_str())));
    running
}

pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        sum.entry(name.clone()).and_modify(|sum| *sum = *sum + *amount).or_insert(*amount);
    }
}

/// Each amount becomes the greater of both.
pub fn raise(most: &mut Amounts, others: &Amounts) {
    for (name, amount) in others {
        let slot = most.entry(name.clone()).or_insert(*amount);
        if *amount > *slot {
            *slot = *amount;
        }
    }
}

/// `cpu=1,memory=2Gi`, as refusals show amounts.
pub fn shown(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(cpu: &str) -> Value {
        json!({ "resources": { "requests": { "cpu": cpu } } })
    }

    fn sidecar(cpu: &str) -> Value {
        json!({ "restartPolicy": "Always", "resources": { "requests": { "cpu": cpu } } })
    }

    fn check(spec: Value, expected: &str) {
        assert_eq!(shown(&of_spec(&spec, Side::Requests)), expected, "{spec}");
    }

    #[test]
    fn running_containers_add_up_and_init_containers_count_where_they_are_more() {
        check(json!({ "containers": [container("1"), container("500m")] }), "cpu=1500m");
        check(json!({ "containers": [container("1")], "initContainers": [container("3")] }), "cpu=3");
        check(json!({ "containers": [container("1")], "initContainers": [sidecar("1"), container("3")] }), "cpu=4");
        check(json!({ "containers": [container("1")], "initContainers": [container("1"), sidecar("1")] }), "cpu=2");
        check(json!({ "containers": [{}] }), "");
    }

    #[test]
    fn the_pod_as_a_whole_overrules_its_containers() {
        let whole = json!({ "requests": { "cpu": "5", "hugepages-2Mi": "2Mi" } });
        check(json!({ "containers": [container("1")], "resources": whole }), "cpu=5");
    }
}
