//! NodeMetrics and PodMetrics: what is used, as metrics-server shows it. Said and never stored; `usage.rs` says it.

use amphipod_api::quantity::Quantity;
use serde_json::Value;

use super::json::{items, text};
use super::table::{NAME, name};
use super::{Column, Kind, PLAIN, Scope};

pub const GROUP: &str = "metrics.k8s.io";

const fn amount(name: &'static str) -> Column {
    Column { name, r#type: "string", format: "quantity", description: "", priority: 0 }
}

const COLUMNS: &[Column] = &[
    Column { description: "Name of the resource", ..NAME },
    amount("cpu"),
    amount("memory"),
    Column { format: "duration", ..amount("Window") },
];

const NODE: Kind = Kind {
    kind: "NodeMetrics",
    plural: "nodes",
    scope: Scope::Cluster,
    storage: "metrics.k8s.io/nodes",
    row: |node, _| {
        let usage = |resource: &str| text(&node["usage"][resource]).into();
        vec![name(node), usage("cpu"), usage("memory"), text(&node["window"]).into()]
    },
    ..METRICS
};

const POD: Kind = Kind {
    kind: "PodMetrics",
    plural: "pods",
    storage: "metrics.k8s.io/pods",
    row: |pod, _| {
        let usage = |resource: &str| -> Value {
            let amounts = items(&pod["containers"]).iter();
            let amounts = amounts.filter_map(|container| Quantity::parse(text(&container["usage"][resource])));
            amounts.fold(Quantity::ZERO, |sum, amount| sum + amount).to_string().into()
        };
        vec![name(pod), usage("cpu"), usage("memory"), text(&pod["window"]).into()]
    },
    ..METRICS
};

const METRICS: Kind = Kind { group: GROUP, verbs: &["get", "list"], columns: COLUMNS, ..PLAIN };

pub static NODE_V1: Kind = Kind { schema: "io.k8s.metrics.pkg.apis.metrics.v1.NodeMetrics", ..NODE };
pub static POD_V1: Kind = Kind { schema: "io.k8s.metrics.pkg.apis.metrics.v1.PodMetrics", ..POD };
pub static NODE_V1BETA1: Kind =
    Kind { version: "v1beta1", schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.NodeMetrics", ..NODE };
pub static POD_V1BETA1: Kind =
    Kind { version: "v1beta1", schema: "io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics", ..POD };
