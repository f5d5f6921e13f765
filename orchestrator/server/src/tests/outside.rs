//! Who decides from outside: a webhook over TLS that changes and refuses, and policies in CEL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amphipod_store::MemoryStore;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{AllButMallory, brief, deployment, pod, send};
use crate::admission::policies::mutating::MutatingPolicies;
use crate::admission::policies::validating::ValidatingPolicies;
use crate::admission::webhooks::{MutatingWebhooks, ValidatingWebhooks};
use crate::{Options, Server};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const MAPS: &str = "POST /api/v1/namespaces/d/configmaps";

async fn judging() -> Server {
    let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
    options.admission = vec![
        Arc::new(MutatingPolicies::default()),
        Arc::new(MutatingWebhooks::default()),
        Arc::new(ValidatingPolicies::default()),
        Arc::new(ValidatingWebhooks::default()),
    ];
    let server = Server::new(options).await.unwrap();
    send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d", "labels": { "judged": "yes" } } }))
        .await;
    server
}

/// A TLS server that answers reviews by `judge`; its URL and the PEM that vouches for it. It ends with the tasks.
async fn webhook(judge: fn(&Value) -> Value) -> (String, String, JoinSet<()>) {
    counted(judge, Arc::default()).await
}

/// The same, which counts the connections that it takes.
async fn counted(judge: fn(&Value) -> Value, taken: Arc<AtomicUsize>) -> (String, String, JoinSet<()>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/judge", listener.local_addr().unwrap().port());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            taken.fetch_add(1, Ordering::SeqCst);
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let review: Value = serde_json::from_slice(&body).unwrap();
                let mut response = judge(&review["request"]);
                response["uid"] = review["request"]["uid"].clone();
                let answer =
                    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(bytes::Bytes::from(
                    answer.to_string(),
                ))))
            });
            let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move { drop(served.await) });
        }
    });
    (url, made.cert.pem(), tasks)
}

fn configuration(kind: &str, (url, pem): (&str, &str), more: Value) -> Value {
    let mut hook = json!({
        "name": "hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 5,
        "clientConfig": { "url": url, "caBundle": STANDARD.encode(pem) },
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"] }],
    });
    for (name, value) in more.as_object().unwrap() {
        hook[name] = value.clone();
    }
    json!({ "kind": kind, "metadata": { "name": "test" }, "webhooks": [hook] })
}

#[tokio::test]
async fn a_webhook_changes_and_another_refuses() {
    let server = judging().await;
    let (url, pem, _changing) = webhook(|_| {
        let patch = json!([{ "op": "add", "path": "/data", "value": { "by": "hook" } }]).to_string();
        json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch), "warnings": ["changed"] })
    })
    .await;
    let body = configuration("MutatingWebhookConfiguration", (&url, &pem), json!({}));
    let (status, reply) = send(&server, &format!("POST {GROUP}/mutatingwebhookconfigurations"), body).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    let (_, made) = send(&server, MAPS, json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(made["data"], json!({ "by": "hook" }), "{made}");

    let (url, pem, _refusing) = webhook(|request| {
        let bad = request["object"]["metadata"]["name"] == "bad" && request["object"]["data"]["by"] == "hook";
        json!({ "allowed": !bad, "status": { "message": "no bad ones", "code": 403, "reason": "Forbidden" } })
    })
    .await;
    let body = configuration("ValidatingWebhookConfiguration", (&url, &pem), json!({}));
    send(&server, &format!("POST {GROUP}/validatingwebhookconfigurations"), body).await;
    expect![[r#"403 Forbidden admission webhook "hook.example.com" denied the request: no bad ones"#]]
        .assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "bad" } })).await);
    expect!["201 ConfigMap/good"].assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "good" } })).await);
}

#[tokio::test]
async fn who_cannot_be_asked_refuses_unless_it_may_fail() {
    let server = judging().await;
    let nobody = ("https://localhost:1/x", "");
    let line = format!("POST {GROUP}/validatingwebhookconfigurations");
    let conditions = json!([{ "name": "not-free", "expression": "object.metadata.name != 'free'" }]);
    let body = configuration("ValidatingWebhookConfiguration", nobody, json!({ "matchConditions": conditions }));
    let (status, reply) = send(&server, &line, body).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    let refused = brief(&server, MAPS, json!({ "metadata": { "name": "a" } })).await;
    assert!(refused.starts_with("500 InternalError Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://localhost:1/x?timeout=5s\""), "{refused}");
    expect!["201 ConfigMap/free"].assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "free" } })).await);
    send(&server, &format!("DELETE {GROUP}/validatingwebhookconfigurations/test"), Value::Null).await;
    let body = configuration("ValidatingWebhookConfiguration", nobody, json!({ "failurePolicy": "Ignore" }));
    send(&server, &line, body).await;
    expect!["201 ConfigMap/a"].assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "a" } })).await);
}

fn constraints() -> Value {
    json!({ "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"] }] })
}

#[tokio::test]
async fn policies_refuse_by_their_bindings_and_parameters() {
    let server = judging().await;
    let spec = json!({
        "matchConstraints": constraints(), "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
        "variables": [{ "name": "length", "expression": "object.metadata.name.size()" }],
        "validations": [{
            "expression": "variables.length <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max + ' letters'",
        }],
    });
    send(&server, MAPS, json!({ "metadata": { "name": "limits" }, "data": { "max": "8" } })).await;
    let policy = json!({ "metadata": { "name": "short" }, "spec": spec });
    let (status, reply) = send(&server, &format!("POST {GROUP}/validatingadmissionpolicies"), policy).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    expect!["201 ConfigMap/nobody-binds-it"]
        .assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "nobody-binds-it" } })).await);
    let binding = json!({ "metadata": { "name": "everywhere" }, "spec": {
        "policyName": "short", "validationActions": ["Deny"],
        "paramRef": { "name": "limits", "namespace": "d", "parameterNotFoundAction": "Deny" },
        "matchResources": { "namespaceSelector": { "matchLabels": { "judged": "yes" } } },
    } });
    let (status, reply) = send(&server, &format!("POST {GROUP}/validatingadmissionpolicybindings"), binding).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    expect![[r#"422 Invalid configmaps "far-too-long" is forbidden: ValidatingAdmissionPolicy 'short' with binding 'everywhere' denied request: at most 8 letters"#]]
        .assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "far-too-long" } })).await);
    expect!["201 ConfigMap/short"].assert_eq(&brief(&server, MAPS, json!({ "metadata": { "name": "short" } })).await);
    let bad = json!({ "metadata": { "name": "bad" }, "spec": { "matchConstraints": constraints(), "validations": [{ "expression": "object." }] } });
    let refused = brief(&server, &format!("POST {GROUP}/validatingadmissionpolicies"), bad).await;
    assert!(
        refused.contains("spec.validations[0].expression: Invalid value: \"object.\": compilation failed: ERROR"),
        "{refused}"
    );
}

#[tokio::test]
async fn policies_change_by_configuration_and_by_patch() {
    let server = judging().await;
    let policy = json!({ "metadata": { "name": "mark" }, "spec": {
        "matchConstraints": constraints(), "reinvocationPolicy": "Never",
        "mutations": [
            { "patchType": "ApplyConfiguration", "applyConfiguration": { "expression":
                "Object{metadata: Object.metadata{labels: Object.metadata.labels{marked: 'yes'}}}" } },
            { "patchType": "JSONPatch", "jsonPatch": { "expression":
                "[JSONPatch{op: 'add', path: '/metadata/labels/patched', value: object.metadata.labels.marked}]" } },
        ],
    } });
    let (status, reply) = send(&server, &format!("POST {GROUP}/mutatingadmissionpolicies"), policy).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    let binding = json!({ "metadata": { "name": "mark" }, "spec": { "policyName": "mark" } });
    let (status, reply) = send(&server, &format!("POST {GROUP}/mutatingadmissionpolicybindings"), binding).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    let (_, made) = send(&server, MAPS, json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(made["metadata"]["labels"], json!({ "marked": "yes", "patched": "yes" }), "{made}");
}

/// What a webhook is shown of a subresource, told by its refusal.
#[tokio::test]
async fn subresources_are_shown_as_what_they_take() {
    let server = judging().await;
    let (url, pem, _tasks) = webhook(|request| {
        let (object, old) = (&request["object"], &request["oldObject"]["spec"]["replicas"]);
        let shown = json!([request["operation"], request["kind"]["kind"], object, old]);
        json!({ "allowed": false, "status": { "message": shown.to_string() } })
    })
    .await;
    send(&server, "POST /apis/apps/v1/namespaces/d/deployments", deployment("web", 1)).await;
    send(&server, "POST /api/v1/namespaces/d/pods", pod("p")).await;
    let rules = json!([{
        "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
        "resources": ["deployments/scale", "pods/binding", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"],
    }]);
    let body = configuration("ValidatingWebhookConfiguration", (&url, &pem), json!({ "rules": rules }));
    send(&server, &format!("POST {GROUP}/validatingwebhookconfigurations"), body).await;
    let binding = json!({ "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } });
    for (line, body, shown) in [
        (
            "POST /api/v1/namespaces/d/pods/p/binding",
            binding,
            expect![[
                r#"["CREATE","Binding",{"apiVersion":"v1","kind":"Binding","metadata":{"name":"p"},"target":{"kind":"Node","name":"n"}},null]"#
            ]],
        ),
        (
            "POST /api/v1/namespaces/d/pods/p/attach?container=c&stdin=true&stderr=false",
            Value::Null,
            expect![[
                r#"["CONNECT","PodAttachOptions",{"apiVersion":"v1","container":"c","kind":"PodAttachOptions","stdin":true,"stdout":true},null]"#
            ]],
        ),
        (
            "GET /api/v1/namespaces/d/pods/p/exec?command=ls&command=-l",
            Value::Null,
            expect![[
                r#"["CONNECT","PodExecOptions",{"apiVersion":"v1","command":["ls","-l"],"kind":"PodExecOptions","stderr":true,"stdout":true},null]"#
            ]],
        ),
        (
            "GET /api/v1/namespaces/d/pods/p/portforward?ports=80,81",
            Value::Null,
            expect![[
                r#"["CONNECT","PodPortForwardOptions",{"apiVersion":"v1","kind":"PodPortForwardOptions","ports":[80,81]},null]"#
            ]],
        ),
        (
            "GET /api/v1/namespaces/d/pods/p/proxy/a/b?c=d",
            Value::Null,
            expect![[
                r#"["CONNECT","PodProxyOptions",{"apiVersion":"v1","kind":"PodProxyOptions","path":"/a/b"},null]"#
            ]],
        ),
    ] {
        let told = brief(&server, line, body).await;
        let told = told.split("denied the request: ").nth(1).unwrap_or(&told).to_owned();
        shown.assert_eq(&told);
    }
    let line = "PATCH /apis/apps/v1/namespaces/d/deployments/web/scale";
    let (_, refused) = send(&server, line, json!({ "spec": { "replicas": 4 } })).await;
    let message = refused["message"].as_str().unwrap();
    let shown: Value = serde_json::from_str(message.split("denied the request: ").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&shown[1], &shown[2]["kind"], &shown[2]["spec"]),
        (&json!("Scale"), &json!("Scale"), &json!({ "replicas": 4 }))
    );
    assert_eq!(shown[3], 1);
}

#[tokio::test]
async fn what_a_webhook_makes_of_a_scale_is_stored() {
    let server = judging().await;
    let (url, pem, _tasks) = webhook(|_| {
        let patch = json!([{ "op": "replace", "path": "/spec/replicas", "value": 2 }]).to_string();
        json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch) })
    })
    .await;
    send(&server, "POST /apis/apps/v1/namespaces/d/deployments", deployment("web", 1)).await;
    let rules = json!([{ "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"] }]);
    let body = configuration("MutatingWebhookConfiguration", (&url, &pem), json!({ "rules": rules }));
    send(&server, &format!("POST {GROUP}/mutatingwebhookconfigurations"), body).await;
    let line = "PATCH /apis/apps/v1/namespaces/d/deployments/web/scale";
    let (_, scale) = send(&server, line, json!({ "spec": { "replicas": 9 } })).await;
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    let (_, found) = send(&server, "GET /apis/apps/v1/namespaces/d/deployments/web", Value::Null).await;
    assert_eq!(found["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_webhook_is_asked_over_one_connection() {
    let server = judging().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let (url, pem, _tasks) = counted(|_| json!({ "allowed": true }), taken.clone()).await;
    let body = configuration("ValidatingWebhookConfiguration", (&url, &pem), json!({}));
    send(&server, &format!("POST {GROUP}/validatingwebhookconfigurations"), body).await;
    for name in ["a", "b", "c"] {
        let made = brief(&server, MAPS, json!({ "metadata": { "name": name } })).await;
        assert_eq!(made, format!("201 ConfigMap/{name}"));
    }
    assert_eq!(taken.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn expressions_that_do_not_fit_their_types_are_told_in_the_status() {
    let server = judging().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(crate::admission::policies::typing::keep(server.clone()));
    let spec = json!({
        "matchConstraints": { "resourceRules": [{ "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE"] }] },
        "validations": [
            { "expression": "object.spec.replicas > 1" },
            { "expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + object.spec.replicas" },
        ],
    });
    send(
        &server,
        &format!("POST {GROUP}/validatingadmissionpolicies"),
        json!({ "metadata": { "name": "p" }, "spec": spec }),
    )
    .await;
    let status = loop {
        let (_, policy) = send(&server, &format!("GET {GROUP}/validatingadmissionpolicies/p"), Value::Null).await;
        if policy["status"]["observedGeneration"] == 1 {
            break policy["status"].clone();
        }
        tokio::task::yield_now().await;
    };
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().unwrap();
    let told: Vec<String> = warnings
        .iter()
        .map(|one| {
            format!(
                "{}: {}",
                one["fieldRef"].as_str().unwrap(),
                one["warning"].as_str().unwrap().lines().next().unwrap()
            )
        })
        .collect();
    expect![[r#"
        spec.validations[1].expression: apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'
        spec.validations[1].messageExpression: apps/v1, Kind=Deployment: ERROR: <input>:1:8: found no matching overload for '_+_' applied to '(string, int)'"#]]
    .assert_eq(&told.join("\n"));
}
