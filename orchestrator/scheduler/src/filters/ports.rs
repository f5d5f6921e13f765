//! NodePorts: two pods of a node cannot have one host port.

use crate::need::{HostPort, Need};
use crate::snapshot::NodeState;

pub fn filter(need: &Need, node: &NodeState) -> Vec<String> {
    let taken = need.host_ports.iter().any(|wanted| node.host_ports.iter().any(|used| collide(wanted, used)));
    if taken { vec!["node(s) didn't have free ports for the requested pod ports".to_owned()] } else { Vec::new() }
}

fn collide((ip, protocol, port): &HostPort, (other_ip, other_protocol, other_port): &HostPort) -> bool {
    let same_address = ip == other_ip || ip == "0.0.0.0" || other_ip == "0.0.0.0";
    same_address && protocol == other_protocol && port == other_port
}
