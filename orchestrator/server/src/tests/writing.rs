//! Create, update, patch, delete.

use expect_test::expect;
use serde_json::json;

use super::*;

const CMS: &str = "/api/v1/namespaces/d/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/d/deployments";
const PODS: &str = "/api/v1/namespaces/d/pods";

#[tokio::test]
async fn a_created_object_has_its_identity_from_the_server() {
    let server = server().await;
    let body = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "a", "uid": "mine" }, "data": { "k": "v" } });
    let (status, reply) = send(&server, &format!("POST {CMS}"), body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(reply["metadata"]["creationTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(reply["metadata"]["namespace"], "d");
    assert_eq!(reply["metadata"]["resourceVersion"], "2");
    assert_eq!(reply["metadata"]["uid"].as_str().unwrap().len(), 36);
    let (_, again) = send(&server, &format!("GET {CMS}/a"), Value::Null).await;
    assert_eq!(again, reply);
}

#[tokio::test]
async fn refusals_of_a_create() {
    let server = server().await;
    let post = format!("POST {CMS}");
    let named = |name: &str| json!({ "metadata": { "name": name } });
    check(&server, &post, named("a"), expect![[r#"201 ConfigMap/a"#]]).await;
    check(&server, &post, named("a"), expect![[r#"409 AlreadyExists configmaps "a" already exists"#]]).await;
    check(
        &server,
        &post,
        json!({ "metadata": {} }),
        expect![[
            r#"422 Invalid ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#
        ]],
    )
    .await;
    check(
        &server,
        "POST /api/v1/namespaces/gone/configmaps",
        named("a"),
        expect![[r#"404 NotFound namespaces "gone" not found"#]],
    )
    .await;
    check(
        &server,
        &post,
        json!({ "metadata": { "name": "b", "namespace": "e" } }),
        expect![[
            r#"400 BadRequest the namespace of the provided object does not match the namespace sent on the request"#
        ]],
    )
    .await;
    check(&server, &post, json!({ "kind": "Pod", "apiVersion": "v1" }), expect![[r#"400 BadRequest Pod in version "v1" cannot be handled as a ConfigMap: converting (unrecognized kind) to (ConfigMap): unknown conversion"#]]).await;
    check(
        &server,
        &post,
        json!({ "kind": "ConfigMap", "apiVersion": "v2" }),
        expect![[r#"400 BadRequest the API version in the data (v2) does not match the expected API version (v1)"#]],
    )
    .await;
    check(
        &server,
        "POST /api/v1/configmaps",
        named("a"),
        expect![[r#"405 MethodNotAllowed the server does not allow this method on the requested resource"#]],
    )
    .await;
    check(
        &server,
        "POST /api/v1/namespaces/d/widgets",
        named("a"),
        expect![[r#"404 NotFound the server could not find the requested resource"#]],
    )
    .await;
    check(&server, &format!("{post}?dryRun=Some"), named("z"), expect![[r#"422 Invalid CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "Some": supported values: "All""#]]).await;
    check(&server, &format!("POST {DEPLOYMENTS}"), named("a"), expect![[r#"422 Invalid Deployment.apps "a" is invalid: [spec.selector: Required value, spec.template.spec.containers: Required value, spec.template.spec.restartPolicy: Required value, spec.template.spec.dnsPolicy: Required value, spec.template.spec.restartPolicy: Unsupported value: "": supported values: "Always"]"#]]).await;
    let too_large = request(&post, vec![b' '; 3 * 1024 * 1024 + 1]);
    let (status, reply) = read(raw(&server, too_large).await).await;
    assert_eq!((status.as_u16(), reply["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
    let mut cbor = request(&post, b"{}".to_vec());
    cbor.headers_mut().insert("content-type", "application/cbor".parse().unwrap());
    assert_eq!(raw(&server, cbor).await.status(), 415);
}

#[tokio::test]
async fn generated_names_and_dry_runs() {
    let server = server().await;
    let (_, reply) = send(&server, &format!("POST {CMS}"), json!({ "metadata": { "generateName": "x-" } })).await;
    let name = reply["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    check(
        &server,
        &format!("POST {CMS}?dryRun=All"),
        json!({ "metadata": { "name": "dry" } }),
        expect![[r#"201 ConfigMap/dry"#]],
    )
    .await;
    check(&server, &format!("GET {CMS}/dry"), Value::Null, expect![[r#"404 NotFound configmaps "dry" not found"#]])
        .await;
    let again = brief(&server, &format!("POST {CMS}?dryRun=All"), json!({ "metadata": { "name": name } })).await;
    assert_eq!(again, format!("409 AlreadyExists configmaps \"{name}\" already exists"));
}

#[tokio::test]
async fn updates_are_guarded_counted_and_skipped_when_nothing_changes() {
    let server = server().await;
    let spec = |replicas: i64| {
        let mut body = deployment("a", replicas);
        body["status"]["replicas"] = 9.into();
        body
    };
    send(&server, &format!("POST {DEPLOYMENTS}"), spec(1)).await;
    let state = async || {
        let (_, reply) = send(&server, &format!("GET {DEPLOYMENTS}/a"), Value::Null).await;
        let metadata = &reply["metadata"];
        format!(
            "rv {} generation {} spec {} status {}",
            metadata["resourceVersion"], metadata["generation"], reply["spec"]["replicas"], reply["status"]
        )
    };
    expect![[r#"rv "2" generation 1 spec 1 status {}"#]].assert_eq(&state().await);
    let put = format!("PUT {DEPLOYMENTS}/a");
    check(&server, &put, spec(1), expect!["200 Deployment/a"]).await;
    expect![[r#"rv "2" generation 1 spec 1 status {}"#]].assert_eq(&state().await);
    check(&server, &put, spec(2), expect!["200 Deployment/a"]).await;
    expect![[r#"rv "3" generation 2 spec 2 status {}"#]].assert_eq(&state().await);
    let mut stale = spec(3);
    stale["metadata"]["resourceVersion"] = "2".into();
    check(&server, &put, stale, expect![[r#"409 Conflict Operation cannot be fulfilled on deployments.apps "a": the object has been modified; please apply your changes to the latest version and try again"#]]).await;
    let mut other = spec(3);
    other["metadata"]["uid"] = "u".into();
    let (status, _) = send(&server, &put, other).await;
    assert_eq!(status, StatusCode::CONFLICT);
    check(
        &server,
        &format!("PUT {DEPLOYMENTS}/a/status"),
        json!({ "metadata": {}, "spec": { "replicas": 7 }, "status": { "replicas": 4 } }),
        expect!["200 Deployment/a"],
    )
    .await;
    expect![[r#"rv "4" generation 2 spec 2 status {"replicas":4}"#]].assert_eq(&state().await);
    check(
        &server,
        &format!("PUT {DEPLOYMENTS}/gone"),
        deployment("gone", 1),
        expect![[r#"404 NotFound deployments.apps "gone" not found"#]],
    )
    .await;
    check(
        &server,
        &format!("PUT {DEPLOYMENTS}/b"),
        json!({ "metadata": { "name": "a" } }),
        expect!["400 BadRequest the name of the object (a) does not match the name on the URL (b)"],
    )
    .await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/d/leases";
    check(&server, &format!("PUT {leases}/l"), json!({ "metadata": { "name": "l" } }), expect!["201 Lease/l"]).await;
    check(&server, &format!("PUT {leases}/l"), json!({ "metadata": { "name": "l" } }), expect![[r#"422 Invalid Lease.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"#]]).await;
}

#[tokio::test]
async fn deletion_waits_for_finalizers_and_grace() {
    let server = server().await;
    send(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": "a" } })).await;
    check(&server, &format!("DELETE {CMS}/a"), json!({ "preconditions": { "resourceVersion": "99" } }), expect![[r#"409 Conflict Operation cannot be fulfilled on configmaps "a": Precondition failed: ResourceVersion in precondition: 99, ResourceVersion in object meta: 2"#]]).await;
    check(&server, &format!("DELETE {CMS}/a"), Value::Null, expect!["200 Status/-"]).await;
    check(&server, &format!("DELETE {CMS}/a"), Value::Null, expect![[r#"404 NotFound configmaps "a" not found"#]])
        .await;
    send(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": "f", "finalizers": ["x/y"] } })).await;
    check(&server, &format!("DELETE {CMS}/f?propagationPolicy=Foreground"), Value::Null, expect!["200 ConfigMap/f"])
        .await;
    let (_, held) = send(&server, &format!("GET {CMS}/f"), Value::Null).await;
    expect![[r#"["x/y","foregroundDeletion"] "2026-01-02T03:04:05Z""#]]
        .assert_eq(&format!("{} {}", held["metadata"]["finalizers"], held["metadata"]["deletionTimestamp"]));
    check(&server, &format!("PATCH {CMS}/f"), json!({ "metadata": { "finalizers": ["x/y", "new/one"] } }), expect![[r#"422 Invalid ConfigMap "f" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"new/one"}"#]]).await;
    check(
        &server,
        &format!("PATCH {CMS}/f"),
        json!({ "metadata": { "finalizers": null } }),
        expect!["200 ConfigMap/f"],
    )
    .await;
    check(&server, &format!("GET {CMS}/f"), Value::Null, expect![[r#"404 NotFound configmaps "f" not found"#]]).await;
}

#[tokio::test]
async fn a_bound_pod_goes_when_its_node_says_so() {
    let server = server().await;
    send(&server, &format!("POST {PODS}"), pod("p")).await;
    let binding = json!({ "kind": "Binding", "apiVersion": "v1", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } });
    check(&server, &format!("POST {PODS}/p/binding"), binding.clone(), expect!["201 Status/-"]).await;
    check(
        &server,
        &format!("POST {PODS}/p/binding"),
        binding.clone(),
        expect![[
            r#"409 Conflict Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n""#
        ]],
    )
    .await;
    check(
        &server,
        "POST /api/v1/namespaces/d/bindings",
        binding,
        expect![[
            r#"409 Conflict Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n""#
        ]],
    )
    .await;
    check(&server, &format!("DELETE {PODS}/p"), Value::Null, expect!["200 Pod/p"]).await;
    let (_, pod) = send(&server, &format!("GET {PODS}/p"), Value::Null).await;
    let metadata = &pod["metadata"];
    expect![[r#""2026-01-02T03:04:35Z" 30 {"conditions":[{"lastTransitionTime":"2026-01-02T03:04:05Z","status":"True","type":"PodScheduled"}],"phase":"Pending","qosClass":"BestEffort"}"#]].assert_eq(&format!("{} {} {}", metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"], pod["status"]));
    check(&server, &format!("DELETE {PODS}/p"), json!({ "gracePeriodSeconds": 0 }), expect!["200 Pod/p"]).await;
    check(&server, &format!("GET {PODS}/p"), Value::Null, expect![[r#"404 NotFound pods "p" not found"#]]).await;
}

#[tokio::test]
async fn a_terminating_namespace_takes_nothing_new_and_goes_when_finalized() {
    let server = server().await;
    check(&server, "DELETE /api/v1/namespaces/d", Value::Null, expect!["200 Namespace/d"]).await;
    check(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": "late" } }), expect![[r#"403 Forbidden configmaps "late" is forbidden: unable to create new content in namespace d because it is being terminated"#]]).await;
    let (status, _) = send(&server, "DELETE /api/v1/namespaces/d", Value::Null).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, mut namespace) = send(&server, "GET /api/v1/namespaces/d", Value::Null).await;
    assert_eq!(namespace["status"]["phase"], "Terminating");
    namespace["spec"]["finalizers"] = json!([]);
    check(&server, "PUT /api/v1/namespaces/d/finalize", namespace, expect!["200 Namespace/d"]).await;
    check(&server, "GET /api/v1/namespaces/d", Value::Null, expect![[r#"404 NotFound namespaces "d" not found"#]])
        .await;
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let server = server().await;
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        send(&server, &format!("POST {CMS}"), json!({ "metadata": { "name": name, "labels": { "l": label } } })).await;
    }
    let (_, gone) = send(&server, &format!("DELETE {CMS}?labelSelector=l%3Dx"), Value::Null).await;
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    let (_, left) = send(&server, &format!("GET {CMS}"), Value::Null).await;
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn scale_moves_replicas_alone() {
    let server = server().await;
    send(&server, &format!("POST {DEPLOYMENTS}"), deployment("a", 1)).await;
    let (_, scale) = send(&server, &format!("PATCH {DEPLOYMENTS}/a/scale"), json!({ "spec": { "replicas": 3 } })).await;
    expect![[r#""Scale" {"replicas":3} {"replicas":0,"selector":"app=a"}"#]]
        .assert_eq(&format!("{} {} {}", scale["kind"], scale["spec"], scale["status"]));
    let (_, deployment) = send(&server, &format!("GET {DEPLOYMENTS}/a"), Value::Null).await;
    assert_eq!(
        (deployment["spec"]["replicas"].as_i64(), deployment["metadata"]["generation"].as_i64()),
        (Some(3), Some(2))
    );
}

#[tokio::test]
async fn a_scale_is_shown_as_a_table_with_its_own_columns() {
    let server = server().await;
    send(&server, &format!("POST {DEPLOYMENTS}"), deployment("a", 2)).await;
    let mut request = request(&format!("GET {DEPLOYMENTS}/a/scale"), Vec::new());
    request.headers_mut().insert("accept", "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap());
    let (_, table) = read(raw(&server, request).await).await;
    let columns = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].clone());
    expect![[r#"[String("Name"), String("Desired"), String("Available"), String("Age")] ["a",2,0,"0s"]"#]]
        .assert_eq(&format!("{:?} {}", columns.collect::<Vec<_>>(), table["rows"][0]["cells"]));
}

#[tokio::test]
async fn endpoints_are_told_to_be_outdated() {
    let server = server().await;
    let response = raw(&server, request("GET /api/v1/namespaces/d/endpoints", Vec::new())).await;
    expect![[r#"299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice""#]]
        .assert_eq(response.headers()["warning"].to_str().unwrap());
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_ignored() {
    let server = server().await;
    let body = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "a" }, "dtaa": {} });
    let post = async |validation: &str| {
        let line = format!("POST {CMS}?dryRun=All&fieldValidation={validation}");
        let response = raw(&server, request(&line, body.to_string().into_bytes())).await;
        let warning = response.headers().get("warning").map(|value| value.to_str().unwrap().to_owned());
        let (status, reply) = read(response).await;
        format!("{} {} {}", status.as_u16(), warning.unwrap_or_default(), reply["message"].as_str().unwrap_or_default())
    };
    expect![[r#"400  ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dtaa""#]].assert_eq(&post("Strict").await);
    expect![[r#"201 299 - "unknown field \"dtaa\"" "#]].assert_eq(&post("Warn").await);
    expect!["201  "].assert_eq(&post("Ignore").await);
    expect![[r#"422  CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "Maybe": supported values: "Ignore", "Strict", "Warn""#]].assert_eq(&post("Maybe").await);
}

#[tokio::test]
async fn a_typed_go_clients_body_is_decoded() {
    // runtime.Unknown { typeMeta { apiVersion: "v1", kind: "ConfigMap" }, raw: ConfigMap { metadata { name: "pb" }, data { k: v } } }
    let raw_object = b"\x0a\x04\x0a\x02pb\x12\x06\x0a\x01k\x12\x01v";
    let mut body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12".to_vec();
    body.push(u8::try_from(raw_object.len()).unwrap());
    body.extend_from_slice(raw_object);
    let server = server().await;
    let mut request = request(&format!("POST {CMS}"), body);
    request.headers_mut().insert("content-type", "application/vnd.kubernetes.protobuf".parse().unwrap());
    let (status, reply) = read(raw(&server, request).await).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    assert_eq!((reply["metadata"]["name"].as_str(), reply["data"]["k"].as_str()), (Some("pb"), Some("v")));
}

#[tokio::test]
async fn every_writer_is_remembered_with_its_fields() {
    let server = server().await;
    send(
        &server,
        &format!("POST {CMS}?fieldManager=maker"),
        json!({ "metadata": { "name": "a" }, "data": { "k": "v" } }),
    )
    .await;
    send(&server, &format!("PATCH {CMS}/a"), json!({ "data": { "l": "w" } })).await;
    let (_, reply) = send(&server, &format!("GET {CMS}/a"), Value::Null).await;
    let entries = reply["metadata"]["managedFields"].as_array().unwrap().iter();
    let brief: Vec<_> =
        entries.map(|entry| format!("{} {} {}", entry["manager"], entry["operation"], entry["fieldsV1"])).collect();
    expect![[r#"
        "maker" "Update" {"f:data":{".":{},"f:k":{}}}
        "test" "Update" {"f:data":{"f:l":{}}}"#]]
    .assert_eq(&brief.join("\n"));
    let (_, cleared) = send(&server, &format!("PATCH {CMS}/a"), json!({ "metadata": { "managedFields": [{}] } })).await;
    assert_eq!(cleared["metadata"]["managedFields"], Value::Null);
}

#[tokio::test]
async fn secrets_are_sealed_in_the_store_and_plain_to_readers() {
    use amphipod_store::Store;
    let store = Arc::new(MemoryStore::new());
    let mut options = Options::new(store.clone(), Arc::new(AllButMallory));
    options.sealer = Some(Arc::new(crate::sealer::Keyring::new(&[(1, [7; 32])]).unwrap()));
    let server = Server::new(options).await.unwrap();
    send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
    let secrets = "/api/v1/namespaces/d/secrets";
    let body = json!({ "metadata": { "name": "s" }, "data": { "k": "c2VjcmV0" } });
    let (_, created) = send(&server, &format!("POST {secrets}"), body).await;
    assert_eq!(created["data"]["k"], "c2VjcmV0", "{created}");
    let id = store.resource("secrets").await.unwrap();
    let object = store.snapshot().get(&amphipod_store::Key::new(id, "d", "s")).unwrap();
    assert_eq!(object.payload().codec, 1);
    assert!(!object.payload().body.windows(8).any(|window| window == b"c2VjcmV0"));
    let (_, listed) = send(&server, &format!("GET {secrets}"), Value::Null).await;
    assert_eq!(listed["items"][0], created);
}

#[tokio::test]
async fn applied_configurations_create_merge_and_conflict() {
    let server = server().await;
    let apply = async |manager: &str, data: &str| {
        let line = format!("PATCH {CMS}/a?fieldManager={manager}");
        let yaml = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata: {data}\n");
        let mut request = request(&line, yaml.into_bytes());
        request.headers_mut().insert("content-type", "application/apply-patch+yaml".parse().unwrap());
        let (status, reply) = read(raw(&server, request).await).await;
        let revision = reply["metadata"]["resourceVersion"].as_str().unwrap_or("-");
        let message = reply["message"].as_str().unwrap_or_default();
        format!("{} {} rv {revision} {message}", status.as_u16(), reply["data"])
    };
    expect![[r#"201 {"k":"v","l":"w"} rv 2 "#]].assert_eq(&apply("one", "{k: v, l: w}").await);
    expect![[r#"200 {"k":"v","l":"w"} rv 2 "#]].assert_eq(&apply("one", "{k: v, l: w}").await);
    expect![[r#"409 null rv - Apply failed with 1 conflict: conflict with "one": .data.k"#]]
        .assert_eq(&apply("two", "{k: other}").await);
    expect![[r#"200 {"k":"v","l":"w","m":"x"} rv 3 "#]].assert_eq(&apply("two", "{m: x}").await);
    expect![[r#"200 {"k":"v","m":"x"} rv 4 "#]].assert_eq(&apply("one", "{k: v}").await);
    expect![[r#"200 {"k":"other"} rv 5 "#]].assert_eq(&apply("two&force=true", "{k: other}").await);
    expect![[r#"422 null rv - PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#]].assert_eq(&apply("", "{}").await);
}

#[tokio::test]
async fn a_configuration_names_its_type() {
    let server = server().await;
    for (yaml, expected) in [
        ("kind: ConfigMap", "Incorrect version specified in apply patch. Specified patch version: , expected: v1"),
        (
            "{apiVersion: v2, kind: ConfigMap}",
            "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        ("apiVersion: v1", "invalid object type: v1, Kind="),
    ] {
        let mut request = request(&format!("PATCH {CMS}/a?fieldManager=one"), yaml.as_bytes().to_vec());
        request.headers_mut().insert("content-type", "application/apply-patch+yaml".parse().unwrap());
        let (status, reply) = read(raw(&server, request).await).await;
        assert_eq!((status.as_u16(), reply["message"].as_str()), (400, Some(expected)), "{yaml}");
    }
}

fn parts() -> crate::admission::Parts {
    let ranges = crate::admission::ServiceRanges {
        network: [127, 43, 0, 0].into(),
        prefix_length: 16,
        node_ports: 30_000..=32_767,
    };
    crate::admission::Parts {
        ranges,
        quotas: crate::admission::QuotaNews::default(),
        rbac: Arc::default(),
        authorizer: Arc::new(AllButMallory),
        tokens: Arc::new(crate::tokens::tests::issuer().1),
        root_ca: String::new(),
    }
}

#[tokio::test]
async fn a_plug_in_that_is_left_out_says_nothing() {
    let all = crate::admission::chain(parts(), &[]).len();
    for name in crate::admission::OPTIONAL {
        assert_eq!(crate::admission::chain(parts(), &[(*name).to_owned()]).len(), all - 1, "{name}");
    }
    let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
    options.admission = crate::admission::chain(parts(), &["ServiceAccount".to_owned()]);
    let server = Server::new(options).await.unwrap();
    send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
    let (status, reply) = send(&server, &format!("POST {PODS}"), pod("p")).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    assert!(reply["spec"].get("serviceAccountName").is_none(), "{reply}");
}

#[tokio::test]
async fn plug_ins_complete_a_pod_and_defaults_survive_an_update() {
    let mut options = Options::new(Arc::new(MemoryStore::new()), Arc::new(AllButMallory));
    options.admission = crate::admission::chain(parts(), &[]);
    let server = Server::new(options).await.unwrap();
    send(&server, "POST /api/v1/namespaces", json!({ "metadata": { "name": "d" } })).await;
    let (status, reply) = send(&server, &format!("POST {PODS}"), pod("early")).await;
    assert_eq!((status.as_u16(), reply["reason"].as_str()), (403, Some("Forbidden")), "{reply}");
    send(&server, "POST /api/v1/namespaces/d/serviceaccounts", json!({ "metadata": { "name": "default" } })).await;
    let (status, reply) = send(&server, &format!("POST {PODS}"), pod("p")).await;
    assert_eq!(status, StatusCode::CREATED, "{reply}");
    assert_eq!(reply["spec"]["serviceAccountName"], "default");
    let owned = &reply["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!((owned.get("f:schedulerName"), owned.get("f:serviceAccountName")), (Some(&json!({})), None), "{owned}");
    assert_eq!(reply["spec"]["securityContext"], json!({}));
    let (status, again) = send(&server, &format!("PUT {PODS}/p"), reply.clone()).await;
    assert_eq!((status, &again), (StatusCode::OK, &reply));
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    let (status, labelled) = send(&server, &format!("PATCH {PODS}/p"), label).await;
    assert_eq!((status, labelled["metadata"]["labels"]["a"].as_str()), (StatusCode::OK, Some("b")), "{labelled}");
}
