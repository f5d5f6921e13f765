//! Namespaces, the Service `kubernetes` and where it leads, priority and runtime classes, flow control, and an
//! APIService for every group and version that is built in.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::{Desired, Repair, Settings};
use crate::certificates::FRONT_PROXY_USER;
use crate::discovery::PRIORITIES;
use crate::kinds::{KINDS, flow_defaults, resource_metrics};

pub(super) const NAMESPACES: &str = "/api/v1/namespaces";

const NAMES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// `wasm` is ours; under the other names manifests written for other runtimes run unchanged.
pub const RUNTIME_CLASSES: [&str; 9] =
    ["wasm", "wasmtime", "wasmtime-spin-v2", "spin", "wws", "slight", "lunatic", "wasmedge", "wasmer"];

pub(super) fn objects(settings: &Settings) -> Vec<Desired> {
    let mut all: Vec<Desired> = NAMES
        .iter()
        .map(|name| cluster(NAMESPACES, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})))
        .collect();
    all.extend(priority_classes());
    all.extend(RUNTIME_CLASSES.iter().map(|name| runtime_class(name)));
    all.extend(api_services());
    all.extend(flow_control());
    all.extend([service_cidr(settings), service(settings), endpoints(settings)]);
    all.extend(dns(settings));
    all.extend(endpoint_slices(settings));
    all.push(authentication(settings));
    all
}

fn cluster(list: &'static str, object: Value) -> Desired {
    Desired { list, collection: list.to_owned(), object, repair: Repair::Never }
}

fn priority_classes() -> [Desired; 2] {
    let class = |name: &str, value: u32, description: &str| {
        let object = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        });
        cluster("/apis/scheduling.k8s.io/v1/priorityclasses", object)
    };
    [
        class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ]
}

fn runtime_class(name: &str) -> Desired {
    let object =
        json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "wasm"});
    cluster("/apis/node.k8s.io/v1/runtimeclasses", object)
}

/// One for every built-in group and version but the one that they themselves are of.
fn api_services() -> Vec<Desired> {
    let is_served =
        |group: &str, version: &str| KINDS.iter().any(|kind| (kind.group, kind.version) == (group, version));
    let served = PRIORITIES.iter().filter(|(group, version, ..)| is_served(group, version));
    let service = |(group, version, group_priority, version_priority): &(&str, &str, i64, i64)| {
        let mut spec = json!({
            "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
        });
        if !group.is_empty() {
            spec["group"] = json!(group);
        }
        let labels = json!({"kube-aggregator.kubernetes.io/automanaged": "onstart"});
        let object = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{version}.{group}"), "labels": labels}, "spec": spec,
        });
        // Who installs a metrics server means it to answer.
        let is_replaceable = *group == resource_metrics::GROUP;
        let repair = if is_replaceable { Repair::Never } else { Repair::Members(&["spec"]) };
        Desired { repair, ..cluster("/apis/apiregistration.k8s.io/v1/apiservices", object) }
    };
    served.map(service).collect()
}

/// Priority levels and flow schemas; an operator may change all but the mandatory ones.
fn flow_control() -> Vec<Desired> {
    let object = |(kind, list): (&str, &'static str), (name, spec): (&str, Value)| {
        let metadata = json!({"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}});
        let version = "flowcontrol.apiserver.k8s.io/v1";
        cluster(list, json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}))
    };
    let levels = ("PriorityLevelConfiguration", "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations");
    let schemas = ("FlowSchema", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas");
    let levels = flow_defaults::levels().into_iter().map(|level| object(levels, level));
    levels.chain(flow_defaults::schemas().into_iter().map(|schema| object(schemas, schema))).collect()
}

/// The range that addresses of Services come from, as clients look it up.
fn service_cidr(settings: &Settings) -> Desired {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [settings.service_network]},
    });
    cluster("/apis/networking.k8s.io/v1/servicecidrs", object)
}

fn service(settings: &Settings) -> Desired {
    let address = settings.service_address;
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
            "ipFamilies": [family(&address)], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": settings.api_port}],
        },
    });
    Desired {
        list: "/api/v1/services",
        collection: "/api/v1/namespaces/default/services".to_owned(),
        object,
        repair: Repair::Never,
    }
}

/// The tenth address answers for names; `kubectl cluster-info` finds it by its labels.
const DNS_OFFSET: u32 = 9;

fn dns(settings: &Settings) -> Option<Desired> {
    let IpAddr::V4(first) = settings.service_address else { return None };
    let address = IpAddr::V4(Ipv4Addr::from(u32::from(first) + DNS_OFFSET));
    let labels =
        json!({"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"});
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
            "ipFamilies": [family(&address)], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "selector": {"k8s-app": "kube-dns"},
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    });
    let collection = "/api/v1/namespaces/kube-system/services".to_owned();
    Some(Desired { list: "/api/v1/services", collection, object, repair: Repair::Never })
}

fn endpoints(settings: &Settings) -> Desired {
    let addresses: Vec<Value> = settings.api_addresses.iter().map(|address| json!({"ip": address})).collect();
    let object = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": addresses, "ports": [{"name": "https", "port": settings.api_port, "protocol": "TCP"}]}],
    });
    Desired {
        list: "/api/v1/endpoints",
        collection: "/api/v1/namespaces/default/endpoints".to_owned(),
        object,
        repair: Repair::Members(&["subsets"]),
    }
}

/// One slice for each family of address that there is.
fn endpoint_slices(settings: &Settings) -> Vec<Desired> {
    let slice = |(name, kind): (&str, &str)| {
        let addresses = settings.api_addresses.iter().filter(|address| family(address) == kind);
        let endpoints: Vec<Value> =
            addresses.map(|address| json!({"addresses": [address], "conditions": {"ready": true}})).collect();
        if endpoints.is_empty() {
            return None;
        }
        let object = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
            "endpoints": endpoints, "ports": [{"name": "https", "port": settings.api_port, "protocol": "TCP"}],
        });
        Some(Desired {
            list: "/apis/discovery.k8s.io/v1/endpointslices",
            collection: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices".to_owned(),
            object,
            repair: Repair::Members(&["endpoints", "ports"]),
        })
    };
    [("kubernetes", "IPv4"), ("kubernetes-ipv6", "IPv6")].into_iter().filter_map(slice).collect()
}

/// What aggregated API servers authenticate callers by: clients of their own, and this server speaking for its callers.
fn authentication(settings: &Settings) -> Desired {
    let data = json!({
        "client-ca-file": settings.client_authority,
        "requestheader-client-ca-file": settings.front_proxy_authority,
        "requestheader-allowed-names": json!([FRONT_PROXY_USER]).to_string(),
        "requestheader-username-headers": r#"["X-Remote-User"]"#,
        "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
        "requestheader-group-headers": r#"["X-Remote-Group"]"#,
        "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
    });
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"}, "data": data,
    });
    let collection = "/api/v1/namespaces/kube-system/configmaps".to_owned();
    Desired { list: "/api/v1/configmaps", collection, object, repair: Repair::Members(&["data"]) }
}

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
