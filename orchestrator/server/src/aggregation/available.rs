//! Whether the server behind an APIService may be asked: its Service must stand there with endpoints, and one of them
//! must answer for the group and version. Reasons and messages are kube-aggregator's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::backend::Service;
use super::relay::name_caller;
use super::{Served, documents};
use crate::kinds::json::{items, set, text};
use crate::seams::{Cluster, Identity};
use crate::service_reference::{self, ServiceReference};
use crate::webhook_client::{self, Target, Trust};

const ASK_MAX: Duration = Duration::from_secs(5);
/// Of several endpoints one may be ill.
const ATTEMPTS: usize = 5;

/// What a look at an APIService's backend gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub status: &'static str,
    pub reason: &'static str,
    pub message: String,
}

impl Verdict {
    fn not(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }

    fn passed() -> Self {
        Self { status: "True", reason: "Passed", message: "all checks passed".to_owned() }
    }

    pub fn is_available(&self) -> bool {
        self.status == "True"
    }

    /// The APIService with this condition; `None` when it says so already. `time` in RFC 3339.
    pub fn told(&self, service: &Value, time: &str) -> Option<Value> {
        let mut conditions = items(&service["status"]["conditions"]).to_vec();
        let at = conditions.iter().position(|condition| condition["type"] == "Available");
        let before = at.map(|at| &conditions[at]);
        let since = before.filter(|before| before["status"] == self.status);
        let since = since.map_or_else(|| time.into(), |before| before["lastTransitionTime"].clone());
        let condition = json!({
            "type": "Available", "status": self.status, "reason": self.reason, "message": self.message,
            "lastTransitionTime": since,
        });
        if before == Some(&condition) {
            return None;
        }
        match at {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
        let mut told = service.clone();
        set(&mut told, "status", json!({ "conditions": conditions }));
        Some(told)
    }
}

/// Whose condition it is, and who asks.
pub struct Question {
    pub group: String,
    pub version: String,
    pub service: Service,
    pub front_proxy: Option<(String, String)>,
}

/// What was found: the verdict, and what the server serves when it told.
pub struct Found {
    pub verdict: Verdict,
    pub served: Option<Served>,
}

/// Looks, and asks up to a few times.
pub async fn look(question: Question, cluster: Arc<Cluster>) -> Found {
    let reference = question.service.reference();
    if let Some(verdict) = obstacle(reference, &cluster) {
        return Found { verdict, served: None };
    }
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        match question.ask(reference, &cluster).await {
            Ok(served) => return Found { verdict: Verdict::passed(), served: Some(served) },
            Err(error) => why = error,
        }
    }
    Found { verdict: Verdict::not("FailedDiscoveryCheck", why), served: None }
}

/// What of Service and endpoints stands in the way.
fn obstacle(reference: ServiceReference<'_>, cluster: &Cluster) -> Option<Verdict> {
    let ServiceReference { namespace, name, port } = reference;
    let Some(service) = cluster.get("services", namespace, name) else {
        return Some(Verdict::not("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
    };
    if !matches!(text(&service["spec"]["type"]), "" | "ClusterIP") {
        return None;
    }
    let ports = items(&service["spec"]["ports"]);
    let Some(found) = ports.iter().find(|one| one["port"].as_i64() == Some(port)) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Some(Verdict::not("ServicePortError", message));
    };
    let slices = service_reference::slices(cluster, namespace, name);
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Some(Verdict::not("EndpointsNotFound", message));
    }
    let port_name = text(&found["name"]);
    if slices.iter().any(|slice| has_ready(slice, port_name)) {
        return None;
    }
    let message =
        format!("endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}");
    Some(Verdict::not("MissingEndpoints", message))
}

fn has_ready(slice: &Value, port_name: &str) -> bool {
    let is_ready = |endpoint: &Value| endpoint["conditions"]["ready"] != false;
    let is_meant = |port: &Value| text(&port["name"]) == port_name && port["port"].is_number();
    items(&slice["endpoints"]).iter().any(is_ready) && items(&slice["ports"]).iter().any(is_meant)
}

impl Question {
    /// The error is the condition's message.
    async fn ask(&self, reference: ServiceReference<'_>, cluster: &Cluster) -> Result<Served, String> {
        let addresses = reference.addresses(cluster).await.map_err(|error| error.to_string())?;
        let address = addresses[0];
        let path = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        let url = format!("https://{address}{path}");
        let answered = tokio::time::timeout(ASK_MAX, self.get(address, &path)).await;
        let failed = |why: String| format!("failing or missing response from {url}: {why}");
        let deadline =
            || format!("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
        let answer = answered.unwrap_or_else(|_| Err(deadline()));
        let answer = answer.map_err(|why| if why.starts_with("Get ") { why } else { format!("Get {url:?}: {why}") });
        let answer = answer.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(failed(format!("bad status from {url}: {}", answer.status().as_u16())));
        }
        let list: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let group_version = (self.group.as_str(), self.version.as_str());
        // A server without OpenAPI v3 is well, too.
        let index = tokio::time::timeout(ASK_MAX, self.get(address, "/openapi/v3")).await;
        let index = index.ok().and_then(Result::ok).filter(|index| index.status().is_success());
        let index: Value = index.and_then(|index| serde_json::from_slice(index.body()).ok()).unwrap_or_default();
        Ok(Served {
            resources: documents::resources(&list, group_version),
            is_fresh: list["resources"].is_array(),
            document: documents::address(&index, group_version),
        })
    }

    /// Nobody is asked to prove who it is: all that is learned is whether somebody answers.
    async fn get(&self, address: SocketAddr, path: &str) -> Result<http::Response<Bytes>, String> {
        let server_name = self.service.reference().server_name();
        let target = Target { url: String::new(), server_name, addresses: vec![address], path: path.to_owned() };
        let trust = Trust { skip_verification: true, identity: self.front_proxy.clone(), ..Trust::default() };
        let stream = webhook_client::connect(&target, &trust).await?;
        let mut request = Request::get(path)
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        name_caller(&mut headers, &Identity::new("system:kube-aggregator", &["system:masters"]));
        request.headers_mut().extend(headers);
        webhook_client::exchange(stream, request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_told_once_and_keeps_its_time() {
        let passed = Verdict::passed();
        let first = passed.told(&json!({ "metadata": { "name": "x" } }), "T1").unwrap();
        assert_eq!(first["status"]["conditions"][0]["lastTransitionTime"], "T1");
        assert_eq!(passed.told(&first, "T2"), None);
        let failed = Verdict::not("ServiceNotFound", "gone".to_owned()).told(&first, "T2").unwrap();
        assert_eq!(failed["status"]["conditions"][0]["lastTransitionTime"], "T2");
        let other = Verdict::not("MissingEndpoints", "none".to_owned()).told(&failed, "T3").unwrap();
        let condition = &other["status"]["conditions"][0];
        assert_eq!(
            (condition["lastTransitionTime"].as_str(), condition["reason"].as_str()),
            (Some("T2"), Some("MissingEndpoints"))
        );
    }
}
