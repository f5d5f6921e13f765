//! Images come from any registry: Debian's docker-registry stands for the world's.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::cluster::{Cluster, checked, hello_wasm};

struct DockerRegistry {
    process: Child,
    address: String,
    /// The registry ends when nobody holds the other end of its log.
    _log: Box<dyn Send>,
    _folder: tempfile::TempDir,
}

impl DockerRegistry {
    /// Serves on a free port of 127.0.0.1 and returns once it says that it listens.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let storage = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed by tests/run.sh");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let rest = line.split("listening on ").nth(1)?;
            Some(rest.split(['"', ' ', ',']).next().unwrap_or_default().to_owned())
        });
        let address = listening.expect("it says where it listens");
        Self { process, address, _log: Box::new(lines), _folder: folder }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_component_travels_through_debians_registry() {
    let registry = DockerRegistry::start();
    let cluster = Cluster::start();
    let reference = format!("{}/team/hello:v1", registry.address);
    let wasm = hello_wasm();
    let digest = checked("push", cluster.amphipod(&["push", wasm.to_str().unwrap(), &reference]));
    assert!(digest.starts_with("sha256:"), "{digest}");
    cluster.kubectl(&format!("run far --image={reference} --port=8080"));
    cluster.kubectl("wait pod/far --for=condition=Ready --timeout=60s");
    let id = cluster.kubectl("get pod far -o jsonpath={.status.containerStatuses[0].imageID}");
    assert!(id.ends_with(digest.trim()), "{id} is not of {digest}");
}
