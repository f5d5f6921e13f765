//! Who decides from outside: a webhook over TLS that changes and refuses, and policies in CEL.

use std::sync::Arc;

use amphipod_store::MemoryStore;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{AllButMallory, brief, send};
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
        loop {
            let (stream, _) = listener.accept().await.unwrap();
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
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
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
