//! NodePorts: two pods of a node cannot have one host port.

use super::Refusal;
use crate::need::{HostPort, Need};
use crate::plugins::Plugin;
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Option<Refusal> {
    meet(&need.host_ports, &node.host_ports)
        .then(|| Refusal::for_now(Plugin::NodePorts, "node(s) didn't have free ports for the requested pod ports"))
}

/// Whether any of one are taken by the others.
pub fn meet(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|wanted| used.iter().any(|used| collide(wanted, used)))
}

fn collide((ip, protocol, port): &HostPort, (other_ip, other_protocol, other_port): &HostPort) -> bool {
    let same_address = ip == other_ip || ip == "0.0.0.0" || other_ip == "0.0.0.0";
    same_address && protocol == other_protocol && port == other_port
}
