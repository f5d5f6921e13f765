//! Gives Services their cluster IPs and node ports. The store's pools `clusterIPs` and `nodePorts` decide at commit;
//! here free values are picked at random among those that no stored Service has.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use amphipod_store::{Error, Found, Op};
use async_trait::async_trait;
use rand::RngExt;
use serde_json::{Value, json};

use super::writes;
use crate::kinds::Problem;
use crate::kinds::json::{is_empty, items, items_mut, present, set, text};
use crate::kinds::service::{has_cluster_ip, has_node_ports};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Cluster, Operation};

/// Pool of cluster IPs, each as the number of its 32 bits.
pub const CLUSTER_IPS: &str = "clusterIPs";
/// Pool of node ports.
pub const NODE_PORTS: &str = "nodePorts";

const PICKS_MAX: usize = 64;
/// Names what is taken: pool and value.
pub type Taken<'a> = &'a dyn Fn(&str, u64) -> bool;

/// Where addresses and ports of Services come from.
#[derive(Debug, Clone)]
pub struct ServiceRanges {
    pub network: Ipv4Addr,
    pub prefix_length: u8,
    pub node_ports: RangeInclusive<u16>,
}

impl ServiceRanges {
    /// The network itself.
    fn base(&self) -> Ipv4Addr {
        let bits = u32::from(self.prefix_length.min(32));
        Ipv4Addr::from(u32::from(self.network) & u32::MAX.checked_shl(32 - bits).unwrap_or(0))
    }

    fn addresses(&self) -> RangeInclusive<u64> {
        let size = 1_u64 << (32 - u32::from(self.prefix_length.min(32)));
        let first = u64::from(u32::from(self.base()));
        // Without the address of the network itself and the last one.
        first + 1..=(first + size).saturating_sub(2).max(first + 1)
    }

    /// What is picked from: the low addresses are left to those who ask for one.
    fn picked_addresses(&self) -> RangeInclusive<u64> {
        let all = self.addresses();
        let size = all.end() - all.start() + 1;
        let reserved = (size / 16).clamp(16, 256).min(size / 2);
        all.start() + reserved..=*all.end()
    }
}

/// The plug-in.
pub struct ServiceAddresses(pub ServiceRanges);

#[async_trait]
impl Admit for ServiceAddresses {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        let written = [Operation::Create, Operation::Update];
        if !written.into_iter().any(|operation| writes(request, operation, "services")) {
            return Ok(());
        }
        let held: BTreeSet<_> = request.old.map(holdings).unwrap_or_default().into_iter().collect();
        let Some(service) = request.object.as_mut() else { return Ok(()) };
        let asked = holdings(service);
        let used = Used::of(request.cluster, has_node_ports(&service["spec"]));
        let taken = |pool: &str, value: u64| !held.contains(&(pool_name(pool), value)) && used.contains(pool, value);
        let wanted = match allocations(service, &self.0, &taken) {
            Ok(wanted) => wanted,
            Err(problem) => return Err(Status::invalid(request.kind, request.name, &[problem])),
        };
        let Some(owner) = request.cluster.key("services", request.namespace, request.name) else { return Ok(()) };
        for (pool, value) in wanted.iter().filter(|slot| !held.contains(slot)) {
            request.ops.push(Op::Allocate { pool: (*pool).to_owned(), value: *value, owner: owner.clone() });
        }
        for (pool, value) in held.iter().filter(|slot| !wanted.contains(slot)) {
            request.ops.push(Op::Release { pool: (*pool).to_owned(), value: *value });
        }
        let asked = asked.into_iter().find(|slot| !held.contains(slot));
        if let Some((pool, value)) = asked {
            let (kind, name) = (request.entry.kind.clone(), request.name.to_owned());
            let problem = in_use(service, pool, value);
            request.explain.push(Box::new(move |error| match error {
                Error::Guard { found: Found::Allocated, .. } => {
                    Some(Status::invalid(&kind, &name, std::slice::from_ref(&problem)))
                }
                _ => None,
            }));
        }
        Ok(())
    }

    fn removed(&self, request: &mut AdmissionRequest<'_>) {
        if !request.kind.group.is_empty() || request.kind.plural != "services" {
            return;
        }
        let held = request.old.map(holdings).unwrap_or_default().into_iter();
        request.ops.extend(held.map(|(pool, value)| Op::Release { pool: pool.to_owned(), value }));
    }
}

/// Fills in the cluster IP and node ports that a Service needs and lists all that it then holds. Values that the
/// client chose must lie in range and be free; `taken` is not asked about more.
pub fn allocations(
    service: &mut Value,
    ranges: &ServiceRanges,
    taken: Taken<'_>,
) -> Result<Vec<(&'static str, u64)>, Problem> {
    let Some(spec) = present(service, "spec") else { return Ok(Vec::new()) };
    if has_cluster_ip(spec) && text(&spec["clusterIP"]) != "None" {
        give_address(spec, ranges, taken)?;
    }
    give_ports(spec, ranges, taken)?;
    Ok(holdings(service))
}

/// What a Service holds of the pools.
pub fn holdings(service: &Value) -> Vec<(&'static str, u64)> {
    let spec = &service["spec"];
    let address = text(&spec["clusterIP"]).parse::<Ipv4Addr>().ok().filter(|_| has_cluster_ip(spec));
    let mut held: Vec<_> = address.map(|ip| (CLUSTER_IPS, u64::from(u32::from(ip)))).into_iter().collect();
    let ports: BTreeSet<u64> = items(&spec["ports"]).iter().map(node_port).filter(|port| *port != 0).collect();
    held.extend(ports.into_iter().map(|port| (NODE_PORTS, port)));
    held
}

fn give_address(spec: &mut Value, ranges: &ServiceRanges, taken: Taken<'_>) -> Result<(), Problem> {
    if is_empty(&spec["clusterIP"]) {
        let free = pick(ranges.picked_addresses(), &|value| taken(CLUSTER_IPS, value))
            .or_else(|| pick(ranges.addresses(), &|value| taken(CLUSTER_IPS, value)));
        let Some(value) = free else {
            return Err(address_problem(spec, "failed to allocate a serviceIP: range is full"));
        };
        let address = Ipv4Addr::from(u32::try_from(value).expect("addresses have 32 bits")).to_string();
        set(spec, "clusterIP", address.as_str().into());
        set(spec, "clusterIPs", json!([address]));
        return Ok(());
    }
    let given = text(&spec["clusterIP"]).to_owned();
    // What is no address is left to validation.
    let Ok(address) = given.parse::<Ipv4Addr>() else { return Ok(()) };
    let value = u64::from(u32::from(address));
    if !ranges.addresses().contains(&value) {
        let detail = format!("failed to allocate IP {given}: the provided network does not match the current range");
        return Err(address_problem(spec, &detail));
    }
    if taken(CLUSTER_IPS, value) {
        return Err(address_problem(spec, &format!("failed to allocate IP {given}: provided IP is already allocated")));
    }
    Ok(())
}

fn give_ports(spec: &mut Value, ranges: &ServiceRanges, taken: Taken<'_>) -> Result<(), Problem> {
    let all = u64::from(*ranges.node_ports.start())..=u64::from(*ranges.node_ports.end());
    let mut own: BTreeSet<u64> = BTreeSet::new();
    for (index, port) in items(&spec["ports"]).iter().enumerate() {
        let number = node_port(port);
        if number == 0 {
            continue;
        }
        let path = format!("spec.ports[{index}].nodePort");
        if !all.contains(&number) {
            let detail = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                all.start(),
                all.end()
            );
            return Err(Problem::invalid(path, number, &detail));
        }
        if taken(NODE_PORTS, number) {
            return Err(Problem::invalid(path, number, "provided port is already allocated"));
        }
        own.insert(number);
    }
    if !has_node_ports(spec) {
        return Ok(());
    }
    for (index, port) in items_mut(spec, "ports").enumerate().filter(|(_, port)| node_port(port) == 0) {
        let Some(free) = pick(all.clone(), &|value| own.contains(&value) || taken(NODE_PORTS, value)) else {
            let path = format!("spec.ports[{index}].nodePort");
            return Err(Problem::invalid(path, 0, "failed to allocate a nodePort: range is full"));
        };
        own.insert(free);
        set(port, "nodePort", free.into());
    }
    Ok(())
}

/// A free value at random; when luck fails, the first one after a random start.
fn pick(range: RangeInclusive<u64>, taken: &dyn Fn(u64) -> bool) -> Option<u64> {
    let (first, last) = (*range.start(), *range.end());
    let mut random = rand::rng();
    let lucky = (0..PICKS_MAX).map(|_| random.random_range(first..=last)).find(|value| !taken(*value));
    lucky.or_else(|| {
        let start = random.random_range(first..=last);
        (start..=last).chain(first..start).find(|value| !taken(*value))
    })
}

/// What stored Services hold. Addresses come from their selectable fields, so nothing is decoded for them.
struct Used {
    addresses: BTreeSet<u64>,
    ports: BTreeSet<u64>,
}

impl Used {
    fn of(cluster: &Cluster, with_ports: bool) -> Self {
        let resource = cluster.key("services", "", "").map(|key| key.resource());
        let stored = resource.map_or(Vec::new(), |resource| cluster.snapshot.list(resource, None, None, 0));
        let address = |text: &str| text.parse::<Ipv4Addr>().ok().map(|ip| u64::from(u32::from(ip)));
        let addresses = stored.iter().filter_map(|one| address(one.meta.field("spec.clusterIP")?)).collect();
        let ports = match with_ports {
            false => BTreeSet::new(),
            true => cluster
                .list("services", None)
                .iter()
                .flat_map(|one| items(&one["spec"]["ports"]).to_vec())
                .map(|port| node_port(&port))
                .filter(|port| *port != 0)
                .collect(),
        };
        Self { addresses, ports }
    }

    fn contains(&self, pool: &str, value: u64) -> bool {
        if pool == CLUSTER_IPS { &self.addresses } else { &self.ports }.contains(&value)
    }
}

fn pool_name(pool: &str) -> &'static str {
    if pool == CLUSTER_IPS { CLUSTER_IPS } else { NODE_PORTS }
}

fn in_use(service: &Value, pool: &str, value: u64) -> Problem {
    let spec = &service["spec"];
    if pool == CLUSTER_IPS {
        let given = text(&spec["clusterIP"]);
        return address_problem(spec, &format!("failed to allocate IP {given}: provided IP is already allocated"));
    }
    let index = items(&spec["ports"]).iter().position(|port| node_port(port) == value).unwrap_or(0);
    Problem::invalid(format!("spec.ports[{index}].nodePort"), value, "provided port is already allocated")
}

fn address_problem(spec: &Value, detail: &str) -> Problem {
    Problem::invalid("spec.clusterIPs", json!([spec["clusterIP"]]), detail)
}

fn node_port(port: &Value) -> u64 {
    port["nodePort"].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn ranges() -> ServiceRanges {
        ServiceRanges { network: Ipv4Addr::new(10, 0, 0, 1), prefix_length: 29, node_ports: 30_000..=30_001 }
    }

    fn check(spec: Value, taken: &[(&str, u64)], expect: Expect) {
        let mut service = json!({ "spec": spec });
        let taken = |pool: &str, value: u64| taken.contains(&(pool, value));
        let shown = match allocations(&mut service, &ranges(), &taken) {
            Ok(held) => format!("{held:?}"),
            Err(problem) => format!("{}: {}", problem.field, problem.message),
        };
        expect.assert_eq(&shown);
    }

    const BASE: u64 = 0x0a00_0000;

    #[test]
    fn free_values_are_found_and_chosen_ones_checked() {
        let others: Vec<_> = (1..=5).map(|n| (CLUSTER_IPS, BASE + n)).collect();
        check(json!({ "type": "ClusterIP" }), &others, expect![[r#"[("clusterIPs", 167772166)]"#]]);
        let all: Vec<_> = (1..=6).map(|n| (CLUSTER_IPS, BASE + n)).collect();
        check(
            json!({ "type": "ClusterIP" }),
            &all,
            expect![[r#"spec.clusterIPs: Invalid value: [null]: failed to allocate a serviceIP: range is full"#]],
        );
        check(
            json!({ "type": "ClusterIP", "clusterIP": "10.0.0.3" }),
            &all,
            expect![[
                r#"spec.clusterIPs: Invalid value: ["10.0.0.3"]: failed to allocate IP 10.0.0.3: provided IP is already allocated"#
            ]],
        );
        check(
            json!({ "type": "ClusterIP", "clusterIP": "10.9.0.3" }),
            &[],
            expect![[
                r#"spec.clusterIPs: Invalid value: ["10.9.0.3"]: failed to allocate IP 10.9.0.3: the provided network does not match the current range"#
            ]],
        );
        check(json!({ "type": "ClusterIP", "clusterIP": "None" }), &[], expect!["[]"]);
        check(json!({ "type": "ExternalName" }), &[], expect!["[]"]);
    }

    #[test]
    fn node_ports_are_unique_in_range_and_free() {
        let node_port = |ports: Value| json!({ "type": "NodePort", "clusterIP": "None", "ports": ports });
        check(
            node_port(json!([{}, { "nodePort": 30_000 }])),
            &[],
            expect![[r#"[("nodePorts", 30000), ("nodePorts", 30001)]"#]],
        );
        check(
            node_port(json!([{ "nodePort": 80 }])),
            &[],
            expect![
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30001"
            ],
        );
        check(
            node_port(json!([{}, { "nodePort": 30_000 }])),
            &[(NODE_PORTS, 30_000)],
            expect!["spec.ports[1].nodePort: Invalid value: 30000: provided port is already allocated"],
        );
        check(
            node_port(json!([{}, {}, {}])),
            &[],
            expect!["spec.ports[2].nodePort: Invalid value: 0: failed to allocate a nodePort: range is full"],
        );
    }
}
