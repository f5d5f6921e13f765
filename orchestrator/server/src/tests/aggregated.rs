//! Aggregated APIs over the whole road, up to where a backend would be asked; the relay itself is walked end to end.

use expect_test::expect;

use super::*;
use crate::aggregation::follow::follow;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

fn service(version: &str) -> Value {
    json!({
        "metadata": { "name": format!("{version}.wardle.example.com") },
        "spec": {
            "group": "wardle.example.com", "version": version, "groupPriorityMinimum": 2000, "versionPriority": 200,
            "insecureSkipTLSVerify": true, "service": { "namespace": "d", "name": "wardle" },
        },
    })
}

async fn followed() -> (Server, tokio::task::JoinSet<()>) {
    let server = server().await;
    let (ready, mut is_ready) = tokio::sync::watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(follow(server.clone(), ready));
    is_ready.wait_for(|ready| *ready).await.unwrap();
    (server, tasks)
}

/// Asks until the answer begins like this; every change goes through tasks that must be let run.
async fn until(server: &Server, line: &str, wanted: &str) -> String {
    let asking = async {
        loop {
            let (status, reply) = send(server, line, Value::Null).await;
            let shown = format!("{} {reply}", status.as_u16());
            if shown.contains(wanted) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asking)
        .await
        .unwrap_or_else(|_| panic!("{line}: no {wanted}"))
}

#[tokio::test]
async fn a_version_without_a_backend_says_why_and_is_unavailable() {
    let (server, _tasks) = followed().await;
    check(&server, &format!("POST {SERVICES}"), service("v1"), expect!["201 APIService/v1.wardle.example.com"]).await;
    let one = format!("GET {SERVICES}/v1.wardle.example.com");
    let told = until(&server, &one, "ServiceNotFound").await;
    assert!(told.contains(r#"service/wardle in \"d\" is not present"#), "{told}");
    let list = "GET /apis/wardle.example.com/v1/namespaces/d/flunders";
    assert_eq!(until(&server, list, "503").await, "503 \"service unavailable\\n\"");
    assert_eq!(until(&server, "GET /apis/wardle.example.com/v1", "503").await, "503 \"service unavailable\\n\"");
    check(&server, "GET /apis/wardle.example.com", Value::Null, expect!["200 APIGroup/-"]).await;
    let mut discovery = request("GET /apis", Vec::new());
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    discovery.headers_mut().insert("accept", accept.parse().unwrap());
    let (_, groups) = read(raw(&server, discovery).await).await;
    let group = groups["items"].as_array().unwrap().iter().find(|one| one["metadata"]["name"] == "wardle.example.com");
    assert_eq!(group.unwrap()["versions"], json!([{ "version": "v1", "freshness": "Stale" }]));

    let body = json!({ "metadata": { "name": "wardle" }, "spec": { "ports": [{ "port": 444 }] } });
    send(&server, "POST /api/v1/namespaces/d/services", body).await;
    let told = until(&server, &one, "ServicePortError").await;
    assert!(told.contains(r#"service/wardle in \"d\" is not listening on port 443"#), "{told}");
    let patch = json!({ "spec": { "ports": [{ "name": "api", "port": 443 }] } });
    send(&server, "PATCH /api/v1/namespaces/d/services/wardle", patch).await;
    until(&server, &one, "EndpointsNotFound").await;
    let mut slice = json!({
        "metadata": { "name": "s", "labels": { "kubernetes.io/service-name": "wardle" } }, "addressType": "IPv4",
        "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": false } }], "ports": [{ "name": "api", "port": 1 }],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/d/endpointslices";
    send(&server, &format!("POST {slices}"), slice.clone()).await;
    let told = until(&server, &one, "MissingEndpoints").await;
    assert!(told.contains(r#"have no addresses with port name \"api\""#), "{told}");
    let closed = tokio::net::TcpListener::bind("127.42.7.8:0").await.unwrap().local_addr().unwrap();
    slice["endpoints"] = json!([{ "addresses": [closed.ip().to_string()] }]);
    slice["ports"][0]["port"] = closed.port().into();
    send(&server, &format!("PATCH {slices}/s"), slice).await;
    let told = until(&server, &one, "FailedDiscoveryCheck").await;
    let url = format!("https://{closed}/apis/wardle.example.com/v1");
    let wanted = format!(
        r#"failing or missing response from {url}: Get \"{url}\": dial tcp {closed}: connect: connection refused"#
    );
    assert!(told.contains(&wanted), "{told}");

    send(&server, &format!("DELETE {SERVICES}/v1.wardle.example.com"), Value::Null).await;
    until(&server, list, "404").await;
    check(
        &server,
        "GET /apis/wardle.example.com",
        Value::Null,
        expect!["404 NotFound the server could not find the requested resource"],
    )
    .await;
}

#[tokio::test]
async fn groups_and_versions_stand_in_the_order_of_their_priorities() {
    let (server, _tasks) = followed().await;
    send(&server, &format!("POST {SERVICES}"), service("v1")).await;
    let mut later = service("v2alpha1");
    later["spec"]["versionPriority"] = 300.into();
    send(&server, &format!("POST {SERVICES}"), later).await;
    until(&server, "GET /apis/wardle.example.com", "v2alpha1").await;
    let (_, groups) = send(&server, "GET /apis", Value::Null).await;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names[1], names[names.len() - 1]), ("apiregistration.k8s.io", "apps", "wardle.example.com"));
    let group = groups["groups"].as_array().unwrap().last().unwrap();
    assert_eq!(group["preferredVersion"]["version"], "v2alpha1");
    let forbidden = send(&server, "GET /apis/autoscaling", Value::Null).await.1;
    assert_eq!(forbidden["preferredVersion"]["version"], "v2");
}
