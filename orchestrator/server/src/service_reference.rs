//! Where a reference to a Service leads: the ready addresses behind one of its ports. Webhooks, conversions and
//! aggregated APIs name whom they mean this way. Source: apiserver's util/proxy, `ResolveEndpoint`.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::kinds::json::{is_set, items, text};
use crate::seams::Cluster;

/// The port of a reference that names none.
const PORT: i64 = 443;
const SLICES: &str = "discovery.k8s.io/endpointslices";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// `{namespace, name, port}` of a `clientConfig.service` or an APIService's `spec.service`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceReference<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub port: i64,
}

/// Why nobody is there. The texts are upstream's.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Unresolved {
    #[error("service {0:?} not found")]
    NotFound(String),
    #[error("no service port {port} found for service {name:?}")]
    NoPort { name: String, port: i64 },
    /// Nobody is ready; this passes.
    #[error("no endpoints available for service {0:?}")]
    NoEndpoints(String),
    #[error("dial tcp: lookup {name}: {why}")]
    Lookup { name: String, why: String },
}

impl<'a> ServiceReference<'a> {
    /// `None` when the value is no reference.
    pub fn of(reference: &'a Value) -> Option<Self> {
        let port = reference["port"].as_i64().unwrap_or(PORT);
        let (namespace, name) = (text(&reference["namespace"]), text(&reference["name"]));
        is_set(reference).then_some(Self { namespace, name, port })
    }

    /// What the certificate of whoever answers must be for.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The addresses to try, in an order that spreads callers. Never empty.
    pub async fn addresses(&self, cluster: &Cluster) -> Result<Vec<SocketAddr>, Unresolved> {
        let mut addresses = match self.place(cluster)? {
            Place::Addresses(addresses) => addresses,
            Place::Name(name, port) => looked_up(&name, port).await?,
        };
        let first = rand::random::<u32>() as usize % addresses.len().max(1);
        addresses.rotate_left(first);
        match addresses.is_empty() {
            true => Err(Unresolved::NoEndpoints(self.name.to_owned())),
            false => Ok(addresses),
        }
    }

    fn place(&self, cluster: &Cluster) -> Result<Place, Unresolved> {
        let service = cluster.get("services", self.namespace, self.name);
        let service = service.ok_or_else(|| Unresolved::NotFound(self.name.to_owned()))?;
        if text(&service["spec"]["type"]) == "ExternalName" {
            return Ok(Place::Name(text(&service["spec"]["externalName"]).to_owned(), port_number(self.port)));
        }
        let ports = items(&service["spec"]["ports"]).iter();
        let port = ports.clone().find(|one| one["port"].as_i64() == Some(self.port));
        let none = || Unresolved::NoPort { name: self.name.to_owned(), port: self.port };
        let port_name = text(&port.ok_or_else(none)?["name"]);
        let slices = slices(cluster, self.namespace, self.name);
        // Endpoints written by hand have no slices until they are mirrored.
        let endpoints = if slices.is_empty() { cluster.get("endpoints", self.namespace, self.name) } else { None };
        let mut addresses: Vec<SocketAddr> = slices.iter().flat_map(|slice| of_slice(slice, port_name)).collect();
        addresses.extend(endpoints.iter().flat_map(|endpoints| of_endpoints(endpoints, port_name)));
        Ok(Place::Addresses(addresses))
    }
}

/// The EndpointSlices of a Service.
pub fn slices(cluster: &Cluster, namespace: &str, name: &str) -> Vec<Value> {
    cluster.labelled(SLICES, namespace, (SERVICE_NAME, name))
}

/// What a Service stands for.
enum Place {
    Addresses(Vec<SocketAddr>),
    Name(String, u16),
}

fn port_number(port: i64) -> u16 {
    u16::try_from(port).unwrap_or(0)
}

async fn looked_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
    let found = tokio::net::lookup_host((name, port)).await;
    let failed = |error: std::io::Error| Unresolved::Lookup { name: name.to_owned(), why: error.to_string() };
    Ok(found.map_err(failed)?.collect())
}

fn of_slice(slice: &Value, port_name: &str) -> Vec<SocketAddr> {
    let Some(port) = named_port(&slice["ports"], port_name) else { return Vec::new() };
    let ready = items(&slice["endpoints"]).iter().filter(|one| one["conditions"]["ready"] != false);
    let ips = ready.flat_map(|one| items(&one["addresses"])).filter_map(|ip| text(ip).parse::<IpAddr>().ok());
    ips.map(|ip| SocketAddr::new(ip, port)).collect()
}

fn of_endpoints(endpoints: &Value, port_name: &str) -> Vec<SocketAddr> {
    let of_subset = |subset: &Value| {
        let port = named_port(&subset["ports"], port_name);
        let ips = items(&subset["addresses"]).iter().filter_map(|one| text(&one["ip"]).parse::<IpAddr>().ok());
        ips.filter_map(|ip| Some(SocketAddr::new(ip, port?))).collect::<Vec<_>>()
    };
    items(&endpoints["subsets"]).iter().flat_map(of_subset).collect()
}

fn named_port(ports: &Value, name: &str) -> Option<u16> {
    let port = items(ports).iter().find(|one| text(&one["name"]) == name)?;
    u16::try_from(port["port"].as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::tests::{send, server};

    async fn check(port: i64, name: &str, cluster: &Cluster, expect: Expect) {
        let reference = ServiceReference { namespace: "d", name, port };
        let shown = match reference.addresses(cluster).await {
            Ok(mut addresses) => {
                addresses.sort();
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&shown);
    }

    #[tokio::test]
    async fn references_lead_to_ready_endpoints() {
        let server = server().await;
        let ports = json!([{ "name": "web", "port": 443, "targetPort": 8443 }, { "name": "other", "port": 80 }]);
        for name in ["a", "by-hand", "empty"] {
            let service = json!({ "metadata": { "name": name }, "spec": { "ports": ports } });
            let (status, reply) = send(&server, "POST /api/v1/namespaces/d/services", service).await;
            assert_eq!(status, 201, "{reply}");
        }
        let away =
            json!({ "metadata": { "name": "away" }, "spec": { "type": "ExternalName", "externalName": "localhost" } });
        send(&server, "POST /api/v1/namespaces/d/services", away).await;
        let slice = json!({
            "metadata": { "name": "a-1", "labels": { "kubernetes.io/service-name": "a" } }, "addressType": "IPv4",
            "endpoints": [
                { "addresses": ["10.0.0.1"] },
                { "addresses": ["10.0.0.2"], "conditions": { "ready": true } },
                { "addresses": ["10.0.0.3"], "conditions": { "ready": false } },
            ],
            "ports": [{ "name": "web", "port": 8443 }],
        });
        let (status, reply) = send(&server, "POST /apis/discovery.k8s.io/v1/namespaces/d/endpointslices", slice).await;
        assert_eq!(status, 201, "{reply}");
        let endpoints = json!({ "metadata": { "name": "by-hand" }, "subsets": [
            { "addresses": [{ "ip": "10.0.0.9" }], "ports": [{ "name": "web", "port": 9443 }] },
        ] });
        send(&server, "POST /api/v1/namespaces/d/endpoints", endpoints).await;
        let cluster = server.cluster(server.store.snapshot());
        check(443, "a", &cluster, expect!["10.0.0.1:8443 10.0.0.2:8443"]).await;
        check(80, "a", &cluster, expect![[r#"no endpoints available for service "a""#]]).await;
        check(81, "a", &cluster, expect![[r#"no service port 81 found for service "a""#]]).await;
        check(443, "by-hand", &cluster, expect!["10.0.0.9:9443"]).await;
        check(443, "empty", &cluster, expect![[r#"no endpoints available for service "empty""#]]).await;
        check(443, "none", &cluster, expect![[r#"service "none" not found"#]]).await;
        let away = ServiceReference { namespace: "d", name: "away", port: 443 };
        let addresses = away.addresses(&cluster).await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 443), "{addresses:?}");
    }
}
