//! Addresses of what is not there: out of 240.0.0.0/4, which leads nowhere on any network. Each is given once.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::{Node, Pod};

const FIRST: u32 = 240 << 24;
/// More than any cluster has pods in its life here; then it begins again.
const COUNT: u32 = 15 << 24;

#[derive(Default)]
pub struct Addresses {
    given: AtomicU32,
}

impl Addresses {
    pub fn next(&self) -> Ipv4Addr {
        let number = self.given.fetch_add(1, Ordering::Relaxed) % (COUNT - 1) + 1;
        Ipv4Addr::from_bits(FIRST + number)
    }

    /// What was given before the program began is not given again.
    pub fn keep_clear_of(&self, nodes: &[Arc<Node>], pods: &[Arc<Pod>]) {
        let of_pods = pods.iter().filter_map(|pod| pod.status.as_ref()?.pod_ip.as_deref());
        let of_nodes = nodes.iter().filter_map(|node| of_node(node));
        let numbers =
            of_pods.chain(of_nodes).filter_map(|text| text.parse::<Ipv4Addr>().ok()?.to_bits().checked_sub(FIRST));
        let highest = numbers.filter(|number| *number < COUNT).max().unwrap_or(0);
        self.given.fetch_max(highest, Ordering::Relaxed);
    }
}

pub fn of_node(node: &Node) -> Option<&str> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP").map(|address| address.address.as_str())
}

#[test]
fn no_address_is_given_twice() {
    let addresses = Addresses::default();
    assert_eq!(addresses.next().to_string(), "240.0.0.1");
    let pod = |ip: &str| -> Arc<Pod> {
        Arc::new(serde_json::from_value(serde_json::json!({ "metadata": {}, "status": { "podIP": ip } })).unwrap())
    };
    addresses.keep_clear_of(&[], &[pod("10.0.0.9"), pod("240.0.1.2"), pod("255.255.255.255")]);
    assert_eq!(addresses.next().to_string(), "240.0.1.3");
}
