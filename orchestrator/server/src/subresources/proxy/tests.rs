//! Names, targets and redirects; the road itself is walked in `tests/proxies.rs`.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn check(target: Result<Target, Status>, expect: Expect) {
    let shown = match target {
        Ok(Target::Agent(node)) => format!("agent of {node}"),
        Ok(Target::Address { is_tls, .. }) if is_tls => format!("tls {}", target.unwrap().authority()),
        Ok(target) => target.authority(),
        Err(status) => format!("{} {}", status.code, status.message),
    };
    expect.assert_eq(&shown);
}

fn asked(id: &str) -> Asked<'_> {
    Asked::parse(id).unwrap()
}

#[test]
fn names_carry_scheme_and_port() {
    for (id, scheme, name, port) in [
        ("a", "", "a", ""),
        ("a:b", "", "a", "b"),
        ("https:a:8", "https", "a", "8"),
        (":a:8", "", "a", "8"),
        ("http:a:", "http", "a", ""),
    ] {
        assert_eq!(Asked::parse(id), Some(Asked { scheme, name, port }), "{id}");
    }
    for wrong in ["", "ftp:a:1", "a:b:c:d", ":"] {
        assert_eq!(Asked::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn pods_and_nodes_are_found_by_their_addresses() {
    let pod = json!({
        "spec": { "containers": [{}, { "ports": [{ "containerPort": 8080 }] }] }, "status": { "podIP": "127.42.0.9" },
    });
    check(target::of_pod(&pod, &asked("p")), expect!["127.42.0.9:8080"]);
    check(target::of_pod(&pod, &asked("https:p:8443")), expect!["tls 127.42.0.9:8443"]);
    check(target::of_pod(&pod, &asked("p:web")), expect![[r#"400 invalid port number "web""#]]);
    check(
        target::of_pod(&json!({ "status": { "podIP": "127.0.0.1" } }), &asked("p")),
        expect!["400 address not allowed"],
    );
    check(target::of_pod(&json!({}), &asked("p")), expect!["400 address not allowed"]);
    let node = json!({ "metadata": { "name": "n" }, "status": {
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
        "addresses": [{ "type": "Hostname", "address": "n" }, { "type": "InternalIP", "address": "10.1.0.1" }],
    } });
    check(target::of_node(&node, &asked("n")), expect!["agent of n"]);
    check(target::of_node(&node, &asked("https:n:10250")), expect!["agent of n"]);
    check(target::of_node(&node, &asked("n:9100")), expect!["10.1.0.1:9100"]);
}

#[test]
fn services_lead_to_one_of_their_endpoints() {
    let service = json!({ "spec": { "ports": [{ "name": "web", "port": 80 }, { "name": "admin", "port": 81 }] } });
    let endpoints = json!({ "subsets": [{
        "addresses": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }],
        "ports": [{ "name": "web", "port": 8080 }],
    }] });
    let of = |id: &str, endpoints: Option<&Value>, pick: usize| {
        target::of_service(&service, endpoints, (&asked(id), id), pick)
    };
    check(of("s:web", Some(&endpoints), 1), expect!["10.0.0.2:8080"]);
    check(of("https:s:80", Some(&endpoints), 2), expect!["tls 10.0.0.1:8080"]);
    check(of("s:82", Some(&endpoints), 0), expect![[r#"503 no service port 82 found for service "s""#]]);
    check(of("s:admin", Some(&endpoints), 0), expect![[r#"503 no endpoints available for service "s:admin""#]]);
    check(of("s", Some(&json!({})), 0), expect![[r#"503 no endpoints available for service "s""#]]);
    check(of("s", None, 0), expect![[r#"404 endpoints "s" not found"#]]);
}

#[test]
fn redirects_lead_back_through_the_proxy() {
    let uri: http::Uri = "/api/v1/namespaces/d/pods/p:80/proxy/a%20b/c?x=1".parse().unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("host", "api:6443".parse().unwrap());
    let prefix = Prefix::of(&uri, &headers);
    assert_eq!(prefix.rest(&uri), "/a%20b/c");
    for (given, wanted) in [
        ("/login?next=1", "/api/v1/namespaces/d/pods/p:80/proxy/login?next=1"),
        ("http://10.0.0.1:80/x/", "/api/v1/namespaces/d/pods/p:80/proxy/x/"),
        ("http://10.0.0.1:80", "/api/v1/namespaces/d/pods/p:80/proxy/"),
        ("https://api:6443/x", "https://api:6443/api/v1/namespaces/d/pods/p:80/proxy/x"),
        (
            "http://api:6443/api/v1/namespaces/d/pods/p:80/proxy/x",
            "http://api:6443/api/v1/namespaces/d/pods/p:80/proxy/x",
        ),
        ("https://elsewhere/x", "https://elsewhere/x"),
        ("//elsewhere/x", "//elsewhere/x"),
        ("next", "next"),
    ] {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("location", given.parse().unwrap());
        let response = prefix.rewrite(response, "10.0.0.1:80");
        assert_eq!(response.headers()["location"], wanted, "{given}");
    }
    let node: http::Uri = "/api/v1/nodes/n/proxy".parse().unwrap();
    assert_eq!(Prefix::of(&node, &headers).with_slash(&node), "/api/v1/nodes/n/proxy/");
    assert_eq!(Prefix::of(&node, &headers).rest(&node), "");
}
