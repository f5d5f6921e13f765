//! The kinds of dynamic resource allocation.

use expect_test::expect;
use serde_json::json;

use super::checks::{refused as check, refused_update as check_update, row as check_row, shown};
use super::created;

#[test]
fn classes_and_taint_rules() {
    check(
        "{kind: DeviceClass, metadata: {name: gpu}, spec: {selectors: [{cel: {expression: 'true'}}]}}",
        expect![[""]],
    );
    check(
        "{kind: DeviceClass, metadata: {name: Gpu}, spec: {selectors: [{}], config: [{}, {opaque: {driver: a.b, parameters: 3}}], extendedResourceName: kubernetes.io/x}}",
        expect![[r#"
            metadata.name: Invalid value: "Gpu": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.selectors[0].cel: Required value
            spec.config[0].opaque: Required value
            spec.config[1].opaque.parameters: Invalid value: "<value omitted>": parameters must be a valid JSON object
            spec.extendedResourceName: Invalid value: "kubernetes.io/x": must be a valid extended resource name
        "#]],
    );
    check(
        "{kind: DeviceTaintRule, metadata: {name: t}, spec: {deviceSelector: {driver: '', pool: A, device: b.c}, taint: {key: '', effect: Now}}}",
        expect![[r#"
            spec.deviceSelector.driver: Required value
            spec.deviceSelector.pool: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.deviceSelector.device: Invalid value: "b.c": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.taint.key: Invalid value: "": name part must be non-empty
            spec.taint.key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.taint.effect: Unsupported value: "Now": supported values: "NoExecute", "NoSchedule", "None"
        "#]],
    );
    let rule = "{kind: DeviceTaintRule, metadata: {name: t, creationTimestamp: '2026-01-01T11:00:00Z'}, spec: {taint: {key: a, effect: NoExecute}}}";
    expect![[r#"{"taint":{"effect":"NoExecute","key":"a","timeAdded":"2026-01-01T11:00:00Z"}}"#]]
        .assert_eq(&created(rule).1["spec"].to_string());
    check_row("{kind: DeviceClass, metadata: {name: gpu}}", expect!["gpu | <unknown>"]);
}

fn claim(devices: &str) -> String {
    format!("{{kind: ResourceClaim, metadata: {{name: a, namespace: b}}, spec: {{devices: {{{devices}}}}}}}")
}

#[test]
fn claims() {
    let good = claim(
        "requests: [{name: r, exactly: {deviceClassName: gpu}}, {name: s, firstAvailable: [{name: x, deviceClassName: gpu, allocationMode: All}]}], constraints: [{requests: [r, s/x], matchAttribute: a.b/c}]",
    );
    check(&good, expect![[""]]);
    expect![[r#"{"devices":{"constraints":[{"matchAttribute":"a.b/c","requests":["r","s/x"]}],"requests":[{"exactly":{"allocationMode":"ExactCount","count":1,"deviceClassName":"gpu"},"name":"r"},{"firstAvailable":[{"allocationMode":"All","deviceClassName":"gpu","name":"x"}],"name":"s"}]}}"#]].assert_eq(&created(&good).1["spec"].to_string());
    check(
        &claim(
            "requests: [{}, {name: r, exactly: {count: 2, allocationMode: All}, firstAvailable: [{}]}, {name: r, exactly: {deviceClassName: x, allocationMode: Some, selectors: [{}], tolerations: [{operator: Exists, value: v}, {operator: Has, effect: Now}]}}], constraints: [{requests: [q], matchAttribute: a}, {}], config: [{requests: [r/x]}]",
        ),
        expect![[r#"
            spec.devices.requests[0].name: Required value
            spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required
            spec.devices.requests[1]: Invalid value: "null": exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set
            spec.devices.requests[2].exactly.selectors[0].cel: Required value
            spec.devices.requests[2].exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"
            spec.devices.requests[2].exactly.tolerations[0].value: Invalid value: "v": must be empty for operator `Exists`
            spec.devices.requests[2].exactly.tolerations[1].operator: Unsupported value: "Has": supported values: "Equal", "Exists"
            spec.devices.requests[2].exactly.tolerations[1].effect: Unsupported value: "Now": supported values: "NoExecute", "NoSchedule", "None"
            spec.devices.requests[2]: Duplicate value: "r"
            spec.devices.constraints[0].requests[0]: Invalid value: "q": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
            spec.devices.constraints[0].matchAttribute: Invalid value: "a": must include a domain
            spec.devices.constraints[1].matchAttribute: Required value
            spec.devices.config[0].requests[0]: Invalid value: "r/x": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
            spec.devices.config[0].opaque: Required value
        "#]],
    );
    check_update(
        &good,
        "{spec: {devices: {requests: []}}}",
        expect![[r#"
        spec: Invalid value: {"devices":{"constraints":[{"matchAttribute":"a.b/c","requests":["r","s/x"]}],"requests":[]}}: field is immutable
    "#]],
    );
    check_row(&good, expect!["a | pending | <unknown>"]);
    check_row(
        "{kind: ResourceClaim, metadata: {name: a, deletionTimestamp: '2026-01-01T11:00:00Z'}, status: {allocation: {}, reservedFor: [{}]}}",
        expect!["a | deleted,allocated,reserved | <unknown>"],
    );
}

#[test]
fn the_status_of_a_claim() {
    let (kind, old) = created(&claim("requests: [{name: r, exactly: {deviceClassName: gpu}}]"));
    let mut new = old.clone();
    new["status"] = json!({ "reservedFor": [{ "resource": "pods", "name": "p", "uid": "u" }, { "uid": "u" }] });
    expect![[r#"
        status.reservedFor[1].resource: Required value
        status.reservedFor[1].name: Required value
        status.reservedFor[1]: Duplicate value: "u"
        status.reservedFor: Forbidden: may not be specified when `allocated` is not set
    "#]]
    .assert_eq(&shown(&(kind.validate)(&new)));
    let result = |request: &str| json!({ "request": request, "driver": "a.b", "pool": "p", "device": "d" });
    new["status"] = json!({ "allocation": { "devices": { "results": [result("r"), result("x")], "config": [{ "source": "Nowhere" }] } } });
    expect![[r#"
        status.allocation.devices.results[1].request: Invalid value: "x": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
        status.allocation.devices.config[0].source: Unsupported value: "Nowhere": supported values: "FromClaim", "FromClass"
        status.allocation.devices.config[0].opaque: Required value
    "#]].assert_eq(&shown(&(kind.validate)(&new)));
    let mut moved = new.clone();
    moved["status"]["allocation"]["devices"] = json!({ "results": [result("r")] });
    let problems = (kind.validate_update)(&moved, &new);
    assert_eq!(problems[0].field, "status.allocation");
}

#[test]
fn templates() {
    let template = "{kind: ResourceClaimTemplate, metadata: {name: a, namespace: b}, spec: {metadata: {labels: {'-': x}}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu}}, {}]}}}}";
    check(
        template,
        expect![[r#"
        spec.metadata.labels: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.spec.devices.requests[1].name: Required value
        spec.spec.devices.requests[1]: Required value: exactly one of `exactly` or `firstAvailable` is required
    "#]],
    );
    check_update(
        template,
        "{spec: {spec: null}}",
        expect![[r#"
        spec: Invalid value: {"metadata":{"labels":{"-":"x"}}}: field is immutable
    "#]],
    );
}

#[test]
fn slices() {
    let slice = |spec: &str| format!("{{kind: ResourceSlice, metadata: {{name: s}}, spec: {{{spec}}}}}");
    let good = slice(
        "driver: a.b, pool: {name: p, resourceSliceCount: 1}, nodeName: n, devices: [{name: d, attributes: {x: {int: 1}}}]",
    );
    check(&good, expect![[""]]);
    check(
        &slice(""),
        expect![[r#"
        spec.driver: Required value
        spec.pool.name: Required value
        spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero
        spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required
    "#]],
    );
    check(
        &slice(
            "driver: A_b, pool: {name: p/Q, generation: -1, resourceSliceCount: 1}, nodeName: '', allNodes: false, perDeviceNodeSelection: true, nodeSelector: {nodeSelectorTerms: []}, sharedCounters: [{name: c}], devices: [{name: d, attributes: {x: {}, y: {int: 1, bool: true}}, taints: [{key: k}]}, {name: d}]",
        ),
        expect![[r#"
            spec.driver: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.pool.name: Invalid value: "Q": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.pool.generation: Invalid value: -1: must be greater than or equal to zero
            spec.nodeName: Invalid value: "": must be either unset or set to a non-empty string
            spec.nodeSelector.nodeSelectorTerms: Invalid value: []: must have exactly one node selector term
            spec.allNodes: Invalid value: false: must be either unset or set to true
            spec: Invalid value: "{`nodeSelector`, `perDeviceNodeSelection`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set
            spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed
            spec.devices[0].attributes[x]: Required value: exactly one value must be specified
            spec.devices[0].attributes[y]: Invalid value: {"bool":true,"int":1}: exactly one value must be specified
            spec.devices[0].taints[0].effect: Required value
            spec.devices[1]: Duplicate value: "d"
            spec.sharedCounters[0].counters: Required value
        "#]],
    );
    check_update(
        &good,
        "{spec: {driver: c.d, nodeName: m, pool: {name: q}}}",
        expect![[r#"
        spec.pool.name: Invalid value: "q": field is immutable
        spec.driver: Invalid value: "c.d": field is immutable
        spec.nodeName: Invalid value: "m": field is immutable
    "#]],
    );
    check_row(&good, expect!["s | n | a.b | p | <unknown>"]);
}
