//! Real guests in real worker processes: this program starts itself in the hidden roles. Guests are built once, from
//! `tests/guests` and `examples`.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amphipod_runtime::{
    Connect, Container, ContainerId, Error, Exit, Image, ImageKind, Limits, Mount, PodName, Runtime, Sandbox, State,
};
use amphipod_worker::{Options, WasmRuntime};
use async_trait::async_trait;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("wasm-worker") => amphipod_worker::worker_main(),
        Some("wasm-compile") => amphipod_worker::compile_main(),
        Some("--list") => ExitCode::SUCCESS,
        filter => {
            let filter = filter.unwrap_or_default().to_owned();
            tokio::runtime::Runtime::new().expect("a runtime").block_on(tests(&filter));
            ExitCode::SUCCESS
        }
    }
}

macro_rules! run {
    ($filter:expr, $world:expr, $($test:ident),* $(,)?) => {
        $(if stringify!($test).contains($filter) {
            let start = Instant::now();
            $test($world).await;
            println!("test {} ... ok ({:?})", stringify!($test), start.elapsed());
        })*
    };
}

async fn tests(filter: &str) {
    let world = World::new();
    run!(
        filter,
        &world,
        ends_have_their_codes,
        output_and_environment_reach_the_guest_and_its_log,
        a_mounted_directory_is_all_it_sees,
        what_cannot_run_says_why,
        a_loop_is_stopped,
        requests_are_served_and_drained,
        sockets_can_be_handed_over,
        guests_reach_others_through_the_host,
        a_cpu_limit_holds,
        a_killed_worker_takes_its_containers_and_another_comes,
        many_idle_servers_are_cheap,
        a_hostile_cache_is_not_loaded,
    );
}

struct World {
    directory: tempfile::TempDir,
    runtime: WasmRuntime,
    hello: Image,
    probe: Image,
}

/// Plain sockets of this machine.
struct Direct;

#[async_trait]
impl Connect for Direct {
    async fn connect(&self, pod: &PodName, host: &str, port: u16) -> std::io::Result<OwnedFd> {
        assert_eq!(pod.namespace, "default");
        if host == "forbidden" {
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "by policy"));
        }
        Ok(tokio::net::TcpStream::connect((host, port)).await?.into_std()?.into())
    }
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = runtime(directory.path());
        Self {
            runtime,
            directory,
            hello: guest("examples/hello", "hello"),
            probe: guest("tests/guests/probe", "probe"),
        }
    }

    fn container(&self, image: &Image, args: &[&str]) -> Container {
        Container {
            name: "main".into(),
            image: image.clone(),
            command: Vec::new(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: Vec::new(),
            working_directory: None,
            mounts: Vec::new(),
            limits: Limits::default(),
            ports: Vec::new(),
            restart_count: 0,
            log_path: tempfile::Builder::new()
                .tempfile_in(self.directory.path())
                .unwrap()
                .into_temp_path()
                .keep()
                .unwrap(),
            trust_domain: "default".into(),
        }
    }

    async fn exit(&self, id: &ContainerId) -> Exit {
        let mut changed = self.runtime.changed();
        loop {
            let all = self.runtime.list().await.unwrap();
            if let State::Exited(exit) = &all.iter().find(|seen| seen.id == *id).unwrap().state {
                return exit.clone();
            }
            tokio::time::timeout(Duration::from_secs(60), changed.changed()).await.expect("an end in time").unwrap();
        }
    }

    /// Runs a probe to its end; its exit and its log without times.
    async fn run(&self, container: &Container) -> (Exit, String) {
        let id = self.runtime.start(&sandbox(&[]), container).await.unwrap();
        let exit = self.exit(&id).await;
        self.runtime.remove(&id).await.unwrap();
        (exit, log(container))
    }
}

fn runtime(directory: &Path) -> WasmRuntime {
    let (data, volumes) = (directory.join("data"), directory.join("volumes"));
    let options = Options::new(data, volumes, std::env::current_exe().unwrap(), Arc::new(Direct));
    WasmRuntime::new(options).unwrap()
}

fn log(container: &Container) -> String {
    let text = std::fs::read_to_string(&container.log_path).unwrap();
    text.lines().map(|line| format!("{}\n", line.split_once(' ').unwrap().1)).collect()
}

fn sandbox(listeners: &[&Arc<TcpListener>]) -> Sandbox {
    let listeners: BTreeMap<u16, Arc<TcpListener>> =
        listeners.iter().map(|listener| (listener.local_addr().unwrap().port(), (*listener).clone())).collect();
    Sandbox {
        pod: PodName { namespace: "default".into(), name: "pod".into(), uid: "1".into() },
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        hostname: "pod".into(),
        log_directory: PathBuf::new(),
        listeners,
    }
}

fn guest(folder: &str, name: &str) -> Image {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--target", "wasm32-wasip2"])
        .current_dir(root.join(folder))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert!(status.success());
    image(target.join(format!("wasm32-wasip2/release/{name}.wasm")), name)
}

fn image(path: PathBuf, name: &str) -> Image {
    Image {
        reference: name.into(),
        id: name.into(),
        digest: name.into(),
        kind: ImageKind::Wasm { path, layer_digest: format!("sha256:{name}") },
        size_bytes: 0,
        entrypoint: Vec::new(),
        env: Vec::new(),
    }
}

fn listener() -> Arc<TcpListener> {
    Arc::new(TcpListener::bind("127.0.0.1:0").unwrap())
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

async fn get(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> String {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let request = hyper::Request::get("/").header("host", "hello").body(Empty::<bytes::Bytes>::new()).unwrap();
    let answered = async {
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        format!("{status} {}", String::from_utf8_lossy(&body))
    };
    tokio::select! { text = answered => text, _ = connection => panic!("closed") }
}

async fn ends_have_their_codes(world: &World) {
    let table: [(&[&str], i32, &str, &str); 6] = [
        (&["print", "x"], 0, "Completed", ""),
        (&["exit", "42"], 42, "Error", ""),
        (&["fail"], 1, "Error", ""),
        (&["trap"], 134, "Error", "wasm trap"),
        (&["trap"], 134, "Error", "probe"),
        (&["allocate"], 137, "OOMKilled", ""),
    ];
    for (args, code, reason, message) in table {
        let mut container = world.container(&world.probe, args);
        container.limits.memory_bytes = Some(32 << 20);
        let (exit, _) = world.run(&container).await;
        assert_eq!((exit.code, exit.reason.as_str()), (code, reason), "{args:?}: {}", exit.message);
        assert!(exit.message.contains(message), "{args:?}: {}", exit.message);
    }
}

async fn output_and_environment_reach_the_guest_and_its_log(world: &World) {
    let container = world.container(&world.probe, &["print", "hello", "there"]);
    assert_eq!(world.run(&container).await.1, "stdout F hello there\n");
    let mut container = world.container(&world.probe, &["environment"]);
    container.env = vec![("COLOUR".into(), "blue".into())];
    assert_eq!(world.run(&container).await.1, "stdout F COLOUR=blue\nstdout F HOSTNAME=pod\n");
}

async fn a_mounted_directory_is_all_it_sees(world: &World) {
    let volume = world.directory.path().join("volumes/one");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::write(volume.join("key"), "value\n").unwrap();
    let mut container = world.container(&world.probe, &["read", "/config/key"]);
    container.mounts = vec![Mount { host_path: volume, container_path: "/config".into(), read_only: true }];
    assert_eq!(world.run(&container).await.1, "stdout F value\n");
    let container = world.container(&world.probe, &["read", "/etc/passwd"]);
    assert!(!world.run(&container).await.1.contains("root"));
    // The worker itself cannot open what lies elsewhere.
    let mut container = world.container(&world.probe, &["read", "/etc/passwd"]);
    container.mounts = vec![Mount { host_path: "/etc".into(), container_path: "/etc".into(), read_only: true }];
    assert!(!world.run(&container).await.1.contains("root"));
}

async fn what_cannot_run_says_why(world: &World) {
    let text = world.directory.path().join("text.wasm");
    std::fs::write(&text, "no module").unwrap();
    let refused = world.runtime.prepare(&image(text, "text")).await;
    assert!(matches!(&refused, Err(Error::Image(message)) if message.contains("not a Wasm component")), "{refused:?}");
    // A component that imports an unknown instance, by hand: `my:own/thing@1.0.0` with one function.
    let wat = [
        b"\0asm\x0d\0\x01\0".as_slice(),
        b"\x07\x0e\x01\x42\x02\x01\x40\0\x01\0\x04\0\x01f\x01\0",
        b"\x0a\x17\x01\0\x12my:own/thing@1.0.0\x05\0",
    ]
    .concat();
    let path = world.directory.path().join("import.wasm");
    std::fs::write(&path, wat).unwrap();
    let container = world.container(&image(path, "import"), &[]);
    let refused = world.runtime.start(&sandbox(&[]), &container).await;
    assert!(matches!(&refused, Err(Error::Config(message)) if message.contains("my:own/thing@1.0.0")), "{refused:?}");
}

async fn a_loop_is_stopped(world: &World) {
    for args in [["loop", ""], ["sleep", "100000"]] {
        let id = world.runtime.start(&sandbox(&[]), &world.container(&world.probe, &args)).await.unwrap();
        world.runtime.stop(&id, Duration::from_secs(5)).await.unwrap();
        assert_eq!(world.exit(&id).await.code, 143);
    }
}

async fn requests_are_served_and_drained(world: &World) {
    let listener = listener();
    let mut container = world.container(&world.hello, &[]);
    container.ports = vec![port(&listener)];
    container.env = vec![("POD_NAME".into(), "hello-1".into())];
    let id = world.runtime.start(&sandbox(&[&listener]), &container).await.unwrap();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(get(stream).await, "200 Hello from Amphipod, pod hello-1! (v1)\n");
    }
    let stats = world.runtime.stats().await.unwrap()[&id];
    assert!(stats.cpu_nanoseconds > 0, "{stats:?}");
    world.runtime.stop(&id, Duration::from_secs(5)).await.unwrap();
    let exit = world.exit(&id).await;
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
    assert_eq!(log(&container), "stdout F request for /\n".repeat(3));
}

async fn sockets_can_be_handed_over(world: &World) {
    let container = world.container(&world.hello, &[]);
    let id = world.runtime.start(&sandbox(&[]), &container).await.unwrap();
    assert!(get(world.runtime.dial(&id, 8080).await.unwrap()).await.starts_with("200 "));
    assert!(world.runtime.dial(&id, 9).await.is_err());
    world.runtime.stop(&id, Duration::ZERO).await.unwrap();
}

async fn guests_reach_others_through_the_host(world: &World) {
    let listener = listener();
    let mut server = world.container(&world.hello, &[]);
    server.ports = vec![port(&listener)];
    let id = world.runtime.start(&sandbox(&[&listener]), &server).await.unwrap();
    let container = world.container(&world.probe, &["get", &format!("localhost:{}", port(&listener)), "/x"]);
    assert_eq!(world.run(&container).await.1, "stdout F status 200\n");
    let container = world.container(&world.probe, &["get", "forbidden", "/"]);
    assert!(world.run(&container).await.1.contains("HttpRequestDenied"));
    world.runtime.stop(&id, Duration::ZERO).await.unwrap();
}

async fn a_cpu_limit_holds(world: &World) {
    let mut container = world.container(&world.probe, &["loop"]);
    container.limits.cpu_millicores = Some(200);
    let id = world.runtime.start(&sandbox(&[]), &container).await.unwrap();
    let used = async || world.runtime.stats().await.unwrap()[&id];
    let before = (Instant::now(), used().await.cpu_nanoseconds);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = used().await;
    assert!(after.memory_bytes >= 64 << 10, "it has a linear memory: {after:?}");
    let used = after.cpu_nanoseconds - before.1;
    let share = used as f64 / before.0.elapsed().as_nanos() as f64;
    println!("a fifth of a core, measured: {share:.3}");
    assert!((0.05..0.3).contains(&share), "{share}");
    world.runtime.stop(&id, Duration::ZERO).await.unwrap();
}

async fn a_killed_worker_takes_its_containers_and_another_comes(world: &World) {
    let id = world.runtime.start(&sandbox(&[]), &world.container(&world.probe, &["loop"])).await.unwrap();
    for process in world.runtime.worker_processes().await {
        Command::new("kill").args(["-9", &process.to_string()]).status().unwrap();
    }
    let exit = world.exit(&id).await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "Error"));
    assert!(exit.message.contains("signal: 9"), "{}", exit.message);
    let container = world.container(&world.probe, &["print", "again"]);
    assert_eq!(world.run(&container).await.1, "stdout F again\n");
}

async fn many_idle_servers_are_cheap(world: &World) {
    const PODS: u64 = 1_000;
    let mut container = world.container(&world.hello, &[]);
    container.trust_domain = "many".into();
    let first = world.runtime.start(&sandbox(&[]), &container).await.unwrap();
    let resident = async || -> u64 {
        let mut sum = 0;
        for process in world.runtime.worker_processes().await {
            let Ok(rollup) = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else { continue };
            let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap();
            sum += line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        }
        sum
    };
    let before = resident().await;
    let start = Instant::now();
    let mut ids = vec![first];
    for _ in 0..PODS {
        let listener = listener();
        container.ports = vec![port(&listener)];
        ids.push(world.runtime.start(&sandbox(&[&listener]), &container).await.unwrap());
    }
    let grown = resident().await.saturating_sub(before) / PODS;
    println!("{PODS} idle servers: {:?} and {grown} KiB each", start.elapsed() / u32::try_from(PODS).unwrap());
    assert!(grown < 256, "{grown} KiB");
    for id in ids {
        world.runtime.stop(&id, Duration::ZERO).await.unwrap();
        world.runtime.remove(&id).await.unwrap();
    }
}

async fn a_hostile_cache_is_not_loaded(world: &World) {
    let compiled = world.directory.path().join("data/wasm/compiled");
    for file in std::fs::read_dir(&compiled).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "cwasm") {
            std::fs::write(path, "foreign").unwrap();
        }
    }
    // A process that starts anew compiles again what is not sealed.
    let again = runtime(world.directory.path());
    again.prepare(&world.hello).await.unwrap();
    let container = world.container(&world.hello, &[]);
    let id = again.start(&sandbox(&[]), &container).await.unwrap();
    assert!(get(again.dial(&id, 8080).await.unwrap()).await.starts_with("200 "));
}
