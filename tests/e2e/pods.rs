//! What a pod may count on: its volumes, its last words, a status that is its node's own, and clear refusals.

use crate::cluster::{Cluster, checked, probe_wasm};

/// A pod that runs the probe once. `more` goes into its container, `volumes` into its spec; both in flow style.
fn pod(name: &str, image: &str, (arguments, more, volumes): (&str, &str, &str)) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  volumes: [{volumes}]\n  \
         containers: [{{name: c, image: '{image}', args: [{arguments}], {more}}}]\n---\n"
    )
}

fn ended(cluster: &Cluster, name: &str, phase: &str) {
    cluster.kubectl(&format!("wait pod/{name} --for=jsonpath={{.status.phase}}={phase} --timeout=60s"));
}

#[test]
fn a_pod_reads_its_volumes_and_leaves_a_message() {
    let cluster = Cluster::start();
    let image = cluster.push("probe:v1", &probe_wasm());
    cluster.kubectl("create configmap settings --from-literal=colour=blue");
    let mount = "volumeMounts: [{name: v, mountPath: /config}]";
    let fallback = "terminationMessagePolicy: FallbackToLogsOnError";
    let account = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    cluster.apply(
        &[
            pod("settings", &image, ("read, /config/colour", mount, "{name: v, configMap: {name: settings}}")),
            pod(
                "settings-stay",
                &image,
                ("write, /config/colour, red", mount, "{name: v, configMap: {name: settings}}"),
            ),
            pod("scratch", &image, ("write, /config/a, b", mount, "{name: v, emptyDir: {}}")),
            pod("account", &image, (&format!("read, {account}"), "", "")),
            pod("message", &image, ("write, /dev/termination-log, all is well", "", "")),
            pod("log", &image, ("unheard-of", fallback, "")),
        ]
        .concat(),
    );
    for name in ["settings", "scratch", "account", "message"] {
        ended(&cluster, name, "Succeeded");
    }
    assert_eq!(cluster.kubectl("logs settings").trim_end(), "blue");
    assert_eq!(cluster.kubectl("logs account").trim_end(), "default");
    ended(&cluster, "settings-stay", "Failed");
    ended(&cluster, "log", "Failed");
    let message = |name: &str| {
        cluster
            .kubectl(&format!("get pod {name} -o jsonpath={{.status.containerStatuses[0].state.terminated.message}}"))
    };
    assert_eq!(message("message"), "all is well");
    let said = message("log");
    assert!(said.contains("wasm trap") && said.contains("no such behaviour: \"unheard-of\""), "{said}");
}

#[test]
fn a_status_that_somebody_overwrote_is_said_again() {
    let cluster = Cluster::start();
    let image = cluster.push_hello("hello:v1");
    cluster.kubectl(&format!("run hello --image={image}"));
    cluster.kubectl("wait pod/hello --for=condition=Ready --timeout=60s");
    let node = cluster.kubectl("get nodes -o name");
    let patch = r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Overwritten"}]}}"#;
    for object in [node.trim(), "pod/hello"] {
        let output = cluster.try_kubectl(&["patch", object, "--subresource=status", "-p", patch]);
        checked(&format!("kubectl patch {object}"), output);
        cluster.kubectl(&format!("wait {object} --for=condition=Ready --timeout=60s"));
        let reason = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}";
        assert_ne!(cluster.kubectl(&format!("get {object} -o {reason}")), "Overwritten");
    }
}

#[test]
fn a_refused_log_says_why() {
    let cluster = Cluster::start();
    let image = cluster.push_hello("hello:v1");
    cluster.kubectl(&format!("run hello --image={image}"));
    cluster.kubectl("wait pod/hello --for=condition=Ready --timeout=60s");
    let output = cluster.try_kubectl(&["logs", "hello", "--previous"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(r#"previous terminated container "hello" in pod "hello" not found"#), "{said}");
}

#[test]
fn a_list_of_objects_is_applied_as_its_objects_are() {
    let cluster = Cluster::start();
    let map = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}"#;
    cluster.apply(&format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{map}]}}"#));
    cluster.kubectl("get configmap one");
}

#[test]
fn a_linux_image_gets_one_event_that_says_what_to_do() {
    let cluster = Cluster::start();
    let repository = format!("http://{}/v2/linux", cluster.told("Registry"));
    let config = r#"{"os":"linux","architecture":"amd64","config":{"Cmd":["/bin/sh"]}}"#;
    let digest = put_blob(&repository, config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{}}},"layers":[]}}"#,
        config.len()
    );
    let client = reqwest_client();
    let asked = client.1.put(format!("{repository}/manifests/v1")).header("content-type", MANIFEST).body(manifest);
    assert_eq!(client.0.block_on(asked.send()).unwrap().status().as_u16(), 201);
    cluster.kubectl(&format!("run linux --image={}/linux:v1", cluster.told("Registry")));
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    cluster.kubectl(&format!("wait pod/linux --for={waiting}=UnsupportedImage --timeout=60s"));
    let events = cluster.kubectl("events --for pod/linux");
    let told: Vec<&str> = events.lines().filter(|line| line.contains("Warning")).collect();
    assert!(told.len() == 1 && told[0].contains("linux/amd64") && told[0].contains("amphipod push"), "{events}");
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn reqwest_client() -> (tokio::runtime::Runtime, reqwest::Client) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (runtime, reqwest::Client::new())
}

/// Uploads a blob in one request; its digest.
fn put_blob(repository: &str, text: &str) -> String {
    let (runtime, client) = reqwest_client();
    let digest = sha256(text);
    let begun = runtime.block_on(client.post(format!("{repository}/blobs/uploads/")).send()).unwrap();
    let place = begun.headers()["location"].to_str().unwrap().to_owned();
    let base = repository.split("/v2/").next().unwrap();
    let place = if place.starts_with("http") { place } else { format!("{base}{place}") };
    let mark = if place.contains('?') { '&' } else { '?' };
    let put = client.put(format!("{place}{mark}digest={digest}")).body(text.to_owned());
    assert_eq!(runtime.block_on(put.send()).unwrap().status().as_u16(), 201);
    digest
}

fn sha256(text: &str) -> String {
    let mut child = std::process::Command::new("sha256sum");
    let mut child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    format!("sha256:{}", String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap())
}
