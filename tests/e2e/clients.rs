//! Clients that nobody of us wrote, unmodified: each file of `clients/python` and `clients/node` is a program that uses one
//! as its own examples do, and fails where the server is not what the client takes it for. `tests/run.sh` installs them.
//! The Rust client is in `clients/kube_rs.rs`.

mod kube_rs;

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::cluster::{Cluster, checked, probe_wasm, root};

/// A program and what runs it.
struct Client {
    name: String,
    interpreter: PathBuf,
    file: PathBuf,
}

fn clients() -> Vec<Client> {
    let folder = root().join("tests/e2e/clients");
    let node = installed("bin/node");
    let interpreters = [("python", PathBuf::from("python3"), "py"), ("node", node, "mjs")];
    let mut found = Vec::new();
    for (language, interpreter, ending) in interpreters {
        for file in std::fs::read_dir(folder.join(language)).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|extension| extension == ending) {
                let name = file.file_stem().unwrap().to_string_lossy().replace('_', "-");
                found.push(Client { name, interpreter: interpreter.clone(), file });
            }
        }
    }
    found
}

/// What `tests/run.sh` put into `target/tools`.
fn installed(path: &str) -> PathBuf {
    let path = root().join("target/tools").join(path);
    assert!(path.exists(), "{} is missing: tests/run.sh installs it", path.display());
    path
}

/// Runs it in a namespace of its own.
fn run(client: &Client, cluster: &Cluster, (image, probe): (&str, &str)) -> Output {
    cluster.kubectl(&format!("create namespace {}", client.name));
    cluster.kubectl(&format!("wait --for=create sa/default cm/kube-root-ca.crt -n {} --timeout=30s", client.name));
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "300"]).arg(&client.interpreter).arg(&client.file);
    command.env("KUBECONFIG", cluster.kubeconfig()).env("HOME", cluster.directory.path());
    command.env("NAMESPACE", &client.name).env("IMAGE", image).env("PROBE", probe);
    command.env("PYTHONPATH", installed("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("CLIENT_NODE", installed("node/node_modules/@kubernetes/client-node"));
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command.output().expect("it runs")
}

#[test]
fn foreign_clients_find_what_they_expect() {
    let cluster = Cluster::start();
    let (image, probe) = (cluster.push_hello("hello:v1"), cluster.push("probe:v1", &probe_wasm()));
    let clients = clients();
    assert!(clients.len() >= 4, "the walk must find them");
    std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter()
            .map(|client| (&client.name, scope.spawn(|| run(client, &cluster, (&image, &probe)))))
            .collect();
        for (name, running) in running {
            println!("{name}\n{}", checked(name, running.join().expect("it was started")));
        }
    });
}
