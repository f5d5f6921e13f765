//! The proxy subresources over the whole road, to a server behind that tells what it got.

use std::net::SocketAddr;

use axum::extract::Request as AxumRequest;
use axum::response::IntoResponse;
use expect_test::expect;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

/// An address of this machine that pods may have.
const POD_IP: &str = "127.42.7.9";

/// Answers with method, address and some headers; `/away` redirects, `/echo` upgrades and sends back what it gets.
async fn behind(tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind((POD_IP, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(|request: AxumRequest| async move {
        let header =
            |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        let told = format!(
            "{} {} host={} uri={} authorization={}",
            request.method(),
            request.uri(),
            header("host"),
            header("x-forwarded-uri"),
            header("authorization")
        );
        match request.uri().path() {
            "/away" => (StatusCode::FOUND, [("location", "/login".to_owned())], told).into_response(),
            "/page" => ([("content-type", "text/html")], "<a href=\"/next\">next</a>").into_response(),
            _ => told.into_response(),
        }
    });
    tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn pod_at(server: &Server, port: u16) {
    let mut pod = pod("p");
    pod["spec"]["containers"][0]["ports"] = json!([{ "containerPort": port }]);
    send(server, "POST /api/v1/namespaces/d/pods", pod).await;
    let status = json!({ "status": { "podIP": POD_IP, "podIPs": [{ "ip": POD_IP }] } });
    check(server, "PATCH /api/v1/namespaces/d/pods/p/status", status, expect!["200 Pod/p"]).await;
}

#[tokio::test]
async fn a_request_goes_through_to_a_pod_and_a_redirect_comes_back() {
    let mut tasks = JoinSet::new();
    let address = behind(&mut tasks).await;
    let server = server().await;
    pod_at(&server, address.port()).await;
    let ask = async |line: &str| {
        let mut request = request(line, b"body".to_vec());
        request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
        request.headers_mut().insert("host", "api".parse().unwrap());
        let response = raw(&server, request).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let (_, text) = read(response).await;
        let location = headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        format!(
            "{status} {location} {}",
            text.as_str().unwrap_or_default().replace(&address.port().to_string(), "PORT")
        )
    };
    let proxy = "/api/v1/namespaces/d/pods/p/proxy";
    assert_eq!(
        ask(&format!("POST {proxy}/a%20b?x=1")).await,
        format!("200 - POST /a%20b?x=1 host={POD_IP}:PORT uri={proxy}/a%20b authorization=-")
    );
    assert_eq!(ask(&format!("GET {proxy}?x=1")).await, format!("301 {proxy}/?x=1 "));
    let away = ask(&format!("GET {proxy}/away")).await;
    assert!(away.starts_with(&format!("302 {proxy}/login GET /away")), "{away}");
    let page = ask(&format!("GET {proxy}/page")).await;
    assert_eq!(page, format!("200 - <a href=\"{proxy}/next\">next</a>"));
    let closed = TcpListener::bind((POD_IP, 0)).await.unwrap().local_addr().unwrap().port();
    let (status, refused) =
        send(&server, &format!("GET /api/v1/namespaces/d/pods/p:{closed}/proxy/"), Value::Null).await;
    let said = format!("error trying to reach service: dial tcp {POD_IP}:{closed}: connect: connection refused");
    assert_eq!((status.as_u16(), refused["message"].as_str()), (503, Some(said.as_str())));
    check(
        &server,
        "GET /api/v1/namespaces/d/pods/none/proxy/",
        Value::Null,
        expect![[r#"404 NotFound pods "none" not found"#]],
    )
    .await;
    check(
        &server,
        "GET /api/v1/namespaces/d/services/ftp:s:1/proxy/",
        Value::Null,
        expect![[r#"400 BadRequest invalid service request "ftp:s:1""#]],
    )
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_is_carried_both_ways() {
    let listener = TcpListener::bind((POD_IP, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let asked = String::from_utf8(head).unwrap().to_lowercase();
        assert!(asked.contains("upgrade: websocket") && asked.contains("connection: upgrade"), "{asked}");
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello ";
        stream.write_all(answer).await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    });
    let server = server().await;
    pod_at(&server, port).await;
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let router =
        server.router().layer(axum::middleware::from_fn(|mut request: AxumRequest, next: axum::middleware::Next| {
            request.extensions_mut().insert(Identity::system_masters());
            next.run(request)
        }));
    tasks.spawn(async move { axum::serve(front, router).await.unwrap() });
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = b"GET /api/v1/namespaces/d/pods/p/proxy/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    client.write_all(b"word").await.unwrap();
    let mut got = [0; 10];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello word");
}
