//! Requests through a Service to a Wasm pod, against the same component served plainly by wasmtime's own handler.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt as _;

use super::measured::Latencies;
use super::subject::Subject;

const CONNECTIONS: [usize; 2] = [1, 32];

pub async fn measure(subject: &Subject, component: &Path, seconds: u64) -> anyhow::Result<Value> {
    let mut reference = tokio::process::Command::new(std::env::current_exe()?)
        .args(["bench", "--serve-reference", "--component"])
        .arg(component)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = reference.stdout.take().context("stdout is piped")?;
    let told = tokio::io::BufReader::new(stdout).lines().next_line().await?;
    let plain: SocketAddr = told.context("the reference server said nothing")?.parse()?;
    let service = deploy(subject, component).await?;
    let mut figures = json!({});
    for connections in CONNECTIONS {
        // Turn about, so that a noisy moment meets both.
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..2 {
            theirs.push(load(plain, connections, Duration::from_secs(seconds)).await?);
            ours.push(load(service, connections, Duration::from_secs(seconds)).await?);
        }
        let best = |runs: &[(Latencies, Duration)]| {
            runs.iter().map(|(l, wall)| l.count() as f64 / wall.as_secs_f64()).fold(0.0, f64::max)
        };
        let (we, they) = (best(&ours), best(&theirs));
        figures[format!("connections{connections}")] = json!({
            "throughService": ours[0].0.rate(ours[0].1), "reference": theirs[0].0.rate(theirs[0].1), "ratio": we / they,
        });
    }
    reference.kill().await?;
    remove(subject).await?;
    Ok(figures)
}

/// Serves the component on a free port of 127.0.0.1, prints the address, and runs until it is killed.
pub async fn serve_reference(component: Option<&Path>) -> anyhow::Result<()> {
    let component = component.ok_or_else(|| crate::failure::refuse("--component FILE is missing"))?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let output = tempfile::tempfile()?;
    amphipod_worker::reference_server(component, output, listener, amphipod_worker::HttpOptions::default()).await?;
    Ok(())
}

async fn deploy(subject: &Subject, component: &Path) -> anyhow::Result<SocketAddr> {
    let image = format!("{}/bench:v1", subject.registry);
    amphipod_images::push(&image, component, &amphipod_runtime::Credentials::Anonymous).await?;
    let labels = json!({"app": "bench-function"});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "bench-function"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"enableServiceLinks": false, "containers": [{"name": "main", "image": image, "ports": [{"containerPort": 8080}]}]}}},
    }))?;
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "bench-function"}, "spec": {"selector": labels, "ports": [{"port": 8080}]},
    }))?;
    let deployments: Api<Deployment> = Api::default_namespaced(subject.client.clone());
    let services: Api<Service> = Api::default_namespaced(subject.client.clone());
    deployments.create(&PostParams::default(), &deployment).await?;
    let service = services.create(&PostParams::default(), &service).await?;
    let ip = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
    let available = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status.is_some_and(|status| status.ready_replicas == Some(1))
    };
    kube::runtime::wait::await_condition(deployments, "bench-function", available).await?;
    let address = SocketAddr::new(ip.parse()?, 8080);
    let deadline = Instant::now() + Duration::from_secs(10);
    while load(address, 1, Duration::ZERO).await.is_err() {
        anyhow::ensure!(Instant::now() < deadline, "{address} does not answer");
    }
    Ok(address)
}

async fn remove(subject: &Subject) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::default_namespaced(subject.client.clone());
    let services: Api<Service> = Api::default_namespaced(subject.client.clone());
    deployments.delete("bench-function", &DeleteParams::background()).await?;
    services.delete("bench-function", &DeleteParams::default()).await?;
    Ok(())
}

/// Keep-alive connections that each request as fast as they are answered; at least one request each.
async fn load(address: SocketAddr, connections: usize, length: Duration) -> anyhow::Result<(Latencies, Duration)> {
    let started = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..connections {
        lanes.spawn(lane(address, started + length));
    }
    let mut all = Latencies::new();
    while let Some(lane) = lanes.join_next().await {
        all.merge(&lane??);
    }
    Ok((all, started.elapsed()))
}

async fn lane(address: SocketAddr, until: Instant) -> anyhow::Result<Latencies> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let mut connection = std::pin::pin!(connection);
    let mut latencies = Latencies::new();
    loop {
        let began = Instant::now();
        let request = http::Request::get("/").header(http::header::HOST, "bench").body(Empty::<bytes::Bytes>::new())?;
        let answered = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            response.into_body().collect().await?;
            anyhow::ensure!(status.is_success(), "{address}: {status}");
            anyhow::Ok(())
        };
        tokio::select! {
            answered = answered => answered?,
            ended = &mut connection => anyhow::bail!("{address} closed the connection: {ended:?}"),
        }
        latencies.record(began.elapsed());
        if Instant::now() >= until {
            return Ok(latencies);
        }
    }
}
