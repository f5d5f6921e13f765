//! Namespaces, the Service `kubernetes` and where it leads, priority and runtime classes.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Desired, Repair, Settings};

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
    all.extend([service(settings), endpoints(settings)]);
    all.extend(endpoint_slices(settings));
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

fn family(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
