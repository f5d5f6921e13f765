//! Kinds of several forms, and subresources that ask other objects: autoscalers, events, evictions, resizes, component statuses.

use expect_test::expect;
use serde_json::json;

use super::{brief, check, pod, send, server};

#[tokio::test]
async fn an_autoscaler_is_one_object_in_two_versions() {
    let server = server().await;
    let v1 = "/apis/autoscaling/v1/namespaces/d/horizontalpodautoscalers";
    let v2 = "/apis/autoscaling/v2/namespaces/d/horizontalpodautoscalers";
    let target = json!({ "kind": "Deployment", "name": "web" });
    let body = json!({ "metadata": { "name": "a" }, "spec": { "maxReplicas": 3, "scaleTargetRef": target } });
    let (_, made) = send(&server, &format!("POST {v1}"), body).await;
    assert_eq!(made["apiVersion"], "autoscaling/v1");
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 80);
    assert_eq!(made["status"], json!({ "currentReplicas": 0, "desiredReplicas": 0 }));
    let (_, seen) = send(&server, &format!("GET {v2}/a"), json!(null)).await;
    assert_eq!(seen["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    let pods = json!({ "type": "Pods", "pods": { "metric": { "name": "hits" },
        "target": { "type": "AverageValue", "averageValue": "3" } } });
    let (_, changed) = send(&server, &format!("PATCH {v2}/a"), json!({ "spec": { "metrics": [pods] } })).await;
    assert_eq!(changed["spec"]["metrics"], json!([pods]));
    let (_, seen) = send(&server, &format!("GET {v1}/a"), json!(null)).await;
    expect![[r#"[{"pods":{"metricName":"hits","targetAverageValue":"3"},"type":"Pods"}]"#]]
        .assert_eq(seen["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str().unwrap());
    let (_, relabelled) =
        send(&server, &format!("PATCH {v1}/a"), json!({ "metadata": { "labels": { "a": "b" } } })).await;
    assert_eq!(relabelled["metadata"]["labels"]["a"], "b");
    let (_, kept) = send(&server, &format!("GET {v2}/a"), json!(null)).await;
    assert_eq!(kept["spec"]["metrics"], json!([pods]));
    assert!(kept["metadata"].get("annotations").is_none());
}

#[tokio::test]
async fn an_older_event_has_a_time_where_one_is_required() {
    let server = server().await;
    let core = "/api/v1/namespaces/d/events";
    let newer = "/apis/events.k8s.io/v1/namespaces/d/events";
    let body = json!({ "metadata": { "name": "e" }, "reason": "Started", "message": "hello",
        "involvedObject": { "kind": "Pod", "name": "p", "namespace": "d" }, "firstTimestamp": "2026-01-01T11:59:00Z" });
    check(&server, &format!("POST {core}"), body, expect!["201 Event/e"]).await;
    let (_, seen) = send(&server, &format!("GET {newer}/e"), json!(null)).await;
    assert_eq!(seen["eventTime"], "2026-01-01T11:59:00.000000Z");
    let (_, seen) = send(&server, &format!("PATCH {newer}/e"), json!({ "metadata": { "labels": { "a": "b" } } })).await;
    assert_eq!(seen["metadata"]["labels"]["a"], "b");
    let (_, seen) = send(&server, &format!("GET {core}/e"), json!(null)).await;
    assert_eq!((&seen["eventTime"], &seen["metadata"]["labels"]["a"]), (&json!(null), &json!("b")));
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let server = server().await;
    let newer = "/apis/events.k8s.io/v1/namespaces/d/events";
    let body = json!({
        "metadata": { "name": "e" }, "type": "Normal", "action": "Start", "reason": "Started", "note": "hello",
        "regarding": { "kind": "Pod", "name": "p", "namespace": "d" }, "reportingController": "c", "reportingInstance": "i",
        "eventTime": "2026-01-01T11:59:00.000000Z",
    });
    check(&server, &format!("POST {newer}"), body, expect!["201 Event/e"]).await;
    let (_, core) = send(&server, "GET /api/v1/namespaces/d/events/e", json!(null)).await;
    assert_eq!((core["message"].as_str(), core["involvedObject"]["name"].as_str()), (Some("hello"), Some("p")));
    let (_, list) = send(&server, &format!("GET {newer}?fieldSelector=regarding.name%3Dp"), json!(null)).await;
    assert_eq!(list["items"][0]["note"], "hello");
    let (_, none) = send(&server, &format!("GET {newer}?fieldSelector=regarding.name%3Dq"), json!(null)).await;
    assert_eq!(none["items"], json!([]));
    check(&server, &format!("PATCH {newer}/e"), json!({ "note": "other" }), expect!["200 Event/e"]).await;
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let server = server().await;
    let (pods, budgets) = ("/api/v1/namespaces/d/pods", "/apis/policy/v1/namespaces/d/poddisruptionbudgets");
    for name in ["p", "q"] {
        let mut body = pod(name);
        body["metadata"]["labels"] = json!({ "app": "a" });
        send(&server, &format!("POST {pods}"), body).await;
        let status = json!({ "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] } });
        send(&server, &format!("PATCH {pods}/{name}/status"), status).await;
    }
    let spec = json!({ "minAvailable": 1, "selector": { "matchLabels": { "app": "a" } } });
    check(
        &server,
        &format!("POST {budgets}"),
        json!({ "metadata": { "name": "b" }, "spec": spec }),
        expect!["201 PodDisruptionBudget/b"],
    )
    .await;
    let evict = |name: &str| {
        let body =
            json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name, "namespace": "d" } });
        (format!("POST {pods}/{name}/eviction"), body)
    };
    let (line, body) = evict("p");
    let (code, stale) = send(&server, &line, body.clone()).await;
    assert_eq!(code.as_u16(), 429);
    assert_eq!(
        stale["details"],
        json!({ "retryAfterSeconds": 10, "causes": [{ "reason": "DisruptionBudget",
            "message": "The disruption budget b is still being processed by the server." }] })
    );
    let counts = |allowed: i64| {
        json!({ "status": { "observedGeneration": 1, "disruptionsAllowed": allowed,
        "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2 } })
    };
    send(&server, &format!("PATCH {budgets}/b/status"), counts(1)).await;
    let mut dry = body.clone();
    dry["deleteOptions"] = json!({ "dryRun": ["All"] });
    send(&server, &line, dry).await;
    assert_eq!(brief(&server, &format!("GET {pods}/p"), json!(null)).await, "200 Pod/p");
    let (code, done) = send(&server, &line, body).await;
    assert_eq!((code.as_u16(), done["status"].as_str()), (201, Some("Success")));
    let (_, budget) = send(&server, &format!("GET {budgets}/b"), json!(null)).await;
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert_eq!(budget["status"]["disruptedPods"]["p"], "2026-01-02T03:04:05Z");
    let (line, body) = evict("q");
    let (code, refused) = send(&server, &line, body).await;
    assert_eq!(code.as_u16(), 429);
    expect![[r#"{"causes":[{"message":"The disruption budget b needs 1 healthy pods and has 2 currently","reason":"DisruptionBudget"}]}"#]]
        .assert_eq(&refused["details"].to_string());
}

#[tokio::test]
async fn a_pod_is_resized_and_looked_into_by_subresources() {
    let server = server().await;
    let pods = "/api/v1/namespaces/d/pods";
    let mut body = pod("p");
    body["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "100m" } });
    send(&server, &format!("POST {pods}"), body.clone()).await;
    let resized = |cpu: &str| {
        json!([{ "name": "c", "image": "i", "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "resources": { "requests": { "cpu": cpu } } }])
    };
    let (_, bigger) =
        send(&server, &format!("PATCH {pods}/p/resize"), json!({ "spec": { "containers": resized("200m") } })).await;
    assert_eq!(bigger["spec"]["containers"][0]["resources"]["requests"]["cpu"], "200m");
    assert_eq!(bigger["metadata"]["generation"], 2);
    let looking = json!([{ "name": "debug", "image": "i", "targetContainerName": "c" }]);
    let (_, looked) = send(
        &server,
        &format!("PATCH {pods}/p/ephemeralcontainers"),
        json!({ "spec": { "ephemeralContainers": looking, "nodeName": "elsewhere" } }),
    )
    .await;
    assert_eq!(looked["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    assert!(looked["spec"].get("nodeName").is_none());
    let line = format!("PATCH {pods}/p/ephemeralcontainers");
    check(&server, &line, json!({ "spec": { "ephemeralContainers": null } }), expect![[r#"
        422 Invalid Pod "p" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers "debug" may not be removed
    "#]]).await;
}

#[tokio::test]
async fn the_parts_of_the_control_plane_are_well() {
    let server = server().await;
    let (_, list) = send(&server, "GET /api/v1/componentstatuses", json!(null)).await;
    assert_eq!(list["kind"], "ComponentStatusList");
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["scheduler", "controller-manager", "etcd-0"]);
    check(&server, "GET /api/v1/componentstatuses/etcd-0", json!(null), expect!["200 ComponentStatus/etcd-0"]).await;
    check(
        &server,
        "GET /api/v1/componentstatuses/x",
        json!(null),
        expect![[r#"404 NotFound componentstatuses "x" not found"#]],
    )
    .await;
}

#[tokio::test]
async fn a_job_is_replaced_by_the_manifest_it_was_made_from() {
    let server = server().await;
    let jobs = "/apis/batch/v1/namespaces/d/jobs";
    let mut spec = pod("x")["spec"].clone();
    spec["restartPolicy"] = json!("Never");
    let body = json!({ "metadata": { "name": "j" }, "spec": { "template": { "spec": spec } } });
    let (_, made) = send(&server, &format!("POST {jobs}"), body.clone()).await;
    let uid = &made["metadata"]["uid"];
    assert_eq!(made["spec"]["selector"], json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }));
    assert_eq!(made["metadata"]["labels"]["job-name"], "j");
    check(&server, &format!("PUT {jobs}/j"), body, expect!["200 Job/j"]).await;
    let (_, orphaned) = send(&server, &format!("DELETE {jobs}/j"), json!(null)).await;
    assert_eq!(orphaned["metadata"]["finalizers"], json!(["orphan"]));
}
