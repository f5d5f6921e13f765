//! What a namespace's quotas, limits and labels allow, and the keys of its secrets, through kubectl.

use std::process::Output;

use crate::cluster::{Cluster, checked};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const PAUSE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: team}
spec:
  nodeName: nowhere
  containers: [{name: c, image: none}]
";

#[test]
fn quotas_limits_and_levels_hold() {
    let cluster = Cluster::start();
    cluster.kubectl("create namespace team");
    cluster.kubectl("-n team wait serviceaccount/default --for=create --timeout=30s");
    cluster.kubectl("-n team create quota few --hard=pods=1,configmaps=3,requests.memory=1Gi");
    cluster.kubectl("-n team wait quota/few --for=jsonpath={.status.used.configmaps}=1 --timeout=30s");
    cluster.apply(
        "
apiVersion: v1
kind: LimitRange
metadata: {name: usual, namespace: team}
spec:
  limits:
  - {type: Container, default: {memory: 200Mi}, max: {memory: 512Mi}}
",
    );
    cluster.apply(&PAUSE.replace("NAME", "a"));
    let told = cluster.kubectl("-n team get pod a -o jsonpath={.metadata.annotations}{.spec.containers[0].resources}");
    assert!(
        told.contains("LimitRanger plugin set: memory request for container c; memory limit for container c"),
        "{told}"
    );
    assert!(told.contains(r#"{"limits":{"memory":"200Mi"},"requests":{"memory":"200Mi"}}"#), "{told}");
    cluster.kubectl("-n team wait quota/few --for=jsonpath={.status.used.requests\\.memory}=200Mi --timeout=30s");
    let second = cluster.kubectl_in("create -f -", &PAUSE.replace("NAME", "b"));
    let expected = r#"pods "b" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"#;
    assert!(said(&second).contains(expected), "{}", said(&second));
    let large = PAUSE.replace("NAME", "l").replace("image: none", "image: none, resources: {limits: {memory: 1Gi}}");
    let large = cluster.kubectl_in("create -f -", &large);
    let expected = "maximum memory usage per Container is 512Mi, but limit is 1Gi";
    assert!(said(&large).contains(expected), "{}", said(&large));
    cluster.kubectl("-n team delete pod a --grace-period=0 --force");
    cluster.apply(&PAUSE.replace("NAME", "b"));

    cluster.kubectl("label namespace team pod-security.kubernetes.io/enforce=restricted");
    cluster.kubectl("-n team delete pod b --grace-period=0 --force");
    let plain = cluster.kubectl_in("create -f -", &PAUSE.replace("NAME", "c"));
    let expected = r#"pods "c" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities"#;
    assert!(said(&plain).contains(expected), "{}", said(&plain));
    cluster.kubectl("label namespace team pod-security.kubernetes.io/warn=restricted");
    let deployment = cluster.try_kubectl(&["-n", "team", "create", "deployment", "d", "--image=none", "--replicas=0"]);
    assert!(
        said(&deployment).contains("Warning: would violate PodSecurity \"restricted:latest\""),
        "{}",
        said(&deployment)
    );
    checked("a template is only warned of", deployment);
}

#[test]
fn claims_get_the_default_class_and_stay_while_they_are_used() {
    let cluster = Cluster::start();
    cluster.apply(
        "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: usual, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}
provisioner: example.com/none
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  nodeName: nowhere
  containers: [{name: c, image: none}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]
",
    );
    assert_eq!(cluster.kubectl("get pvc data -o jsonpath={.spec.storageClassName}"), "usual");
    let grown = ["patch", "pvc", "data", "-p", r#"{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}"#];
    assert!(!cluster.try_kubectl(&grown).status.success(), "an unbound claim does not grow");
    cluster.kubectl("delete pvc data --wait=false");
    let held = cluster.kubectl("get pvc data -o jsonpath={.metadata.finalizers}");
    assert_eq!(held, r#"["kubernetes.io/pvc-protection"]"#);
    cluster.kubectl("delete pod user --grace-period=0 --force");
    cluster.kubectl("wait pvc/data --for=delete --timeout=30s");
}

#[test]
fn rotated_keys_seal_every_secret() {
    let cluster = Cluster::start();
    cluster.kubectl("create secret generic word --from-literal=user=alice");
    let status = checked("status", cluster.amphipod(&["secrets", "status"]));
    assert!(status.lines().any(|line| line.starts_with("1     Primary")), "{status}");
    let rotated = checked("rotate", cluster.amphipod(&["secrets", "rotate", "-o", "json"]));
    let rotated: serde_json::Value = serde_json::from_str(&rotated).unwrap();
    assert_eq!((&rotated["keys"][0]["id"], &rotated["keys"][0]["state"]), (&2.into(), &"Primary".into()));
    assert_eq!((&rotated["keys"][1]["objects"], &rotated["keys"][1]["state"]), (&0.into(), &"Retired".into()));
    assert_eq!(cluster.kubectl("get secret word -o jsonpath={.data.user}"), "YWxpY2U=");
    let directory = cluster.end(rustix::process::Signal::TERM);
    let again = Cluster::start_in(directory, &[]);
    assert_eq!(again.kubectl("get secret word -o jsonpath={.data.user}"), "YWxpY2U=");
    again.kubectl("create serviceaccount guest");
    let token = again.kubectl("create token guest");
    let server = format!("--server={}", again.told("API server"));
    let token = format!("--token={}", token.trim());
    let words =
        ["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", &server, &token, "get", "--raw", "/amphipod/secrets"];
    let stranger = again.try_kubectl(&words);
    assert!(said(&stranger).contains("cannot get path \"/amphipod/secrets\""), "{}", said(&stranger));
}

#[test]
fn names_lead_through_the_proxy() {
    let cluster = Cluster::start();
    let info = cluster.kubectl("cluster-info");
    assert!(info.contains("/api/v1/namespaces/kube-system/services/kube-dns:dns/proxy"), "{info}");
    let image = cluster.push_hello("hello");
    cluster.kubectl(&format!("run hello --image={image} --port=8080"));
    cluster.kubectl("wait pod/hello --for=condition=Ready --timeout=60s");
    cluster.kubectl("expose pod hello --port=80 --target-port=8080");
    cluster.kubectl("wait endpoints/hello --for=jsonpath={.subsets[0].addresses[0].ip} --timeout=30s");
    let direct = cluster.kubectl("get --raw /api/v1/namespaces/default/pods/hello:8080/proxy/");
    let service = cluster.kubectl("get --raw /api/v1/namespaces/default/services/hello:80/proxy/");
    assert!(!direct.is_empty() && direct == service, "{direct} {service}");
    let node = cluster.kubectl("get nodes -o jsonpath={.items[0].metadata.name}");
    assert_eq!(cluster.kubectl(&format!("get --raw /api/v1/nodes/{node}/proxy/healthz")).trim(), "ok");
}
