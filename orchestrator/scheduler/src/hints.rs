//! Which changes may help a pod that waits: upstream's queueing hints. A change that helps nobody wakes nobody.

use crate::filters::fit::fits_alone;
use crate::filters::{passes, ports};
use crate::need::{Group, Kin, Need};
use crate::plugins::{Plugin, Plugins};
use crate::snapshot::{NodeState, Placed};
use crate::volumes::ClaimKey;
use amphipod_api::selector::Labels;

/// Something that happened in the cluster.
#[derive(Debug)]
pub enum Event<'a> {
    NodeAdded(&'a NodeState),
    /// What of it differs.
    NodeChanged {
        node: &'a NodeState,
        amounts: bool,
        labels: bool,
        taints: bool,
    },
    NodeGone(&'a NodeState),
    /// A pod got a node, or other labels.
    PodPlaced(&'a Need),
    /// A pod left its node, or takes less of it, or has other labels.
    PodGone(&'a Placed),
    Claim(&'a ClaimKey),
    Volume,
    StorageClass,
    /// A driver on a node, or what it has room for.
    Driver,
    Namespace,
}

impl Event<'_> {
    /// The label under which metrics count it, as upstream's.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NodeAdded(_) => "NodeAdd",
            Self::NodeChanged { amounts: true, .. } => "NodeUpdateAllocatable",
            Self::NodeChanged { labels: true, .. } => "NodeUpdateLabel",
            Self::NodeChanged { .. } => "NodeUpdateTaint",
            Self::NodeGone(_) => "NodeDelete",
            Self::PodPlaced(_) => "AssignedPodAdd",
            Self::PodGone(_) => "AssignedPodDelete",
            Self::Claim(_) => "PersistentVolumeClaimUpdate",
            Self::Volume => "PersistentVolumeUpdate",
            Self::StorageClass => "StorageClassAdd",
            Self::Driver => "CSINodeUpdate",
            Self::Namespace => "NamespaceUpdate",
        }
    }

    /// The node, and whether it is new or one of these differ.
    fn node(&self, cares: impl Fn(bool, bool, bool) -> bool) -> Option<&NodeState> {
        match self {
            Self::NodeAdded(node) => Some(node),
            Self::NodeChanged { node, amounts, labels, taints } if cares(*amounts, *labels, *taints) => Some(node),
            _ => None,
        }
    }
}

/// Whether any of the plugins that refused the pod may think otherwise now. A pod that nobody refused was unlucky.
pub fn may_help(refused_by: Plugins, need: &Need, event: &Event) -> bool {
    let mut plugins = refused_by.iter().peekable();
    plugins.peek().is_none() || plugins.any(|plugin| helps(plugin, need, event))
}

fn helps(plugin: Plugin, need: &Need, event: &Event) -> bool {
    match plugin {
        Plugin::SchedulingGates => false,
        Plugin::NodeUnschedulable | Plugin::TaintToleration => {
            event.node(|_, _, taints| taints).is_some_and(|node| passes(plugin, need, node))
        }
        Plugin::NodeName | Plugin::NodeAffinity => {
            event.node(|_, labels, _| labels).is_some_and(|node| passes(plugin, need, node))
        }
        Plugin::NodePorts => match event {
            Event::PodGone(pod) => ports::meet(&need.host_ports, &pod.need.host_ports),
            _ => event.node(|_, _, _| false).is_some(),
        },
        Plugin::NodeResourcesFit => match event {
            Event::PodGone(_) => true,
            _ => event.node(|amounts, _, _| amounts).is_some_and(|node| fits_alone(need, node)),
        },
        Plugin::VolumeRestrictions | Plugin::NodeVolumeLimits | Plugin::VolumeBinding | Plugin::VolumeZone => {
            helps_volumes(plugin, need, event)
        }
        Plugin::PodTopologySpread => helps_spread(need, event),
        Plugin::InterPodAffinity => helps_affinity(need, event),
    }
}

fn helps_volumes(plugin: Plugin, need: &Need, event: &Event) -> bool {
    let uses = |(namespace, name): &ClaimKey| {
        *namespace == need.kin.namespace && need.mounts.claims.iter().any(|claim| claim.name == *name)
    };
    match (plugin, event) {
        (_, Event::Claim(claim)) => uses(claim),
        (Plugin::VolumeRestrictions, Event::PodGone(pod)) => {
            let theirs = pod.need.mounts.claims.iter();
            let shared = theirs.map(|claim| (pod.need.kin.namespace.clone(), claim.name.clone())).any(|key| uses(&key));
            shared || !pod.need.mounts.disks.is_empty()
        }
        (Plugin::VolumeRestrictions, _) => event.node(|_, _, _| false).is_some(),
        (Plugin::NodeVolumeLimits, Event::PodGone(pod)) => !pod.need.mounts.claims.is_empty(),
        (Plugin::NodeVolumeLimits, Event::Driver | Event::Volume) => true,
        (Plugin::NodeVolumeLimits, _) => event.node(|_, _, _| false).is_some(),
        (_, Event::Volume | Event::StorageClass | Event::Driver) => !need.mounts.claims.is_empty(),
        _ => event.node(|_, labels, _| labels).is_some(),
    }
}

fn helps_spread(need: &Need, event: &Event) -> bool {
    let constraints = &need.relations.even;
    let counts = |kin: &Kin| constraints.iter().any(|spread| may_hold(&spread.group, kin));
    match event {
        Event::PodPlaced(other) => counts(&other.kin),
        Event::PodGone(pod) => counts(&pod.need.kin),
        Event::NodeGone(node) => constraints.iter().any(|spread| node.labels.contains_key(&spread.key)),
        _ => event.node(|_, labels, taints| labels || taints).is_some(),
    }
}

fn helps_affinity(need: &Need, event: &Event) -> bool {
    let relations = &need.relations;
    match event {
        Event::PodPlaced(other) => relations.near.iter().any(|term| may_hold(&term.group, &other.kin)),
        Event::PodGone(pod) => {
            let apart = relations.apart.iter().any(|term| may_hold(&term.group, &pod.need.kin));
            apart || pod.need.relations.apart.iter().any(|term| may_hold(&term.group, &need.kin))
        }
        Event::Namespace => relations.near.iter().chain(&relations.apart).any(|term| term.group.by_labels.is_some()),
        _ => event.node(|_, labels, _| labels).is_some(),
    }
}

/// Where namespaces are chosen by labels, any may be.
fn may_hold(group: &Group, kin: &Kin) -> bool {
    let anywhere = group.by_labels.is_some();
    let labels: &Labels = &kin.labels;
    let selected = group.selector.as_ref().is_some_and(|selector| selector.matches(labels));
    selected && (anywhere || group.namespaces.contains(&kin.namespace))
}
