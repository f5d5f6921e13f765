//! Webhooks, admission policies, API services, certificates, flow control, storage migrations.

// tidy: long because it is one table of refusals

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::{Expect, expect};

use super::checks::{refused as check, refused_update as check_update, row as check_row, shown};
use super::created;

fn check_defaults(manifest: &str, field: &str, expect: Expect) {
    let (_, object) = created(manifest);
    expect.assert_eq(&object[field].to_string());
}

const HOOK: &str = "name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {service: {name: s, namespace: n}}";

// tidy: long because it is a table of refusals
#[test]
fn webhooks() {
    let configuration =
        |hooks: &str| format!("{{kind: MutatingWebhookConfiguration, metadata: {{name: w}}, webhooks: [{hooks}]}}");
    let rule = "rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods, pods/log]}]";
    check_defaults(
        &configuration(&format!("{{{HOOK}, {rule}}}")),
        "webhooks",
        expect![[
            r#"[{"admissionReviewVersions":["v1"],"clientConfig":{"service":{"name":"s","namespace":"n","port":443}},"failurePolicy":"Fail","matchPolicy":"Equivalent","name":"a.example.com","namespaceSelector":{},"objectSelector":{},"reinvocationPolicy":"Never","rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods","pods/log"],"scope":"*"}],"sideEffects":"None","timeoutSeconds":10}]"#
        ]],
    );
    check(&configuration(&format!("{{{HOOK}, {rule}}}")), expect![[""]]);
    check(
        &configuration("{name: a, clientConfig: {}}, {name: a.b}"),
        expect![[r#"
        webhooks[0].name: Invalid value: "a": should be a domain with at least three segments separated by dots
        webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun
        webhooks[0].clientConfig: Required value: exactly one of url or service is required
        webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1
        webhooks[1].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots
        webhooks[1].sideEffects: Required value: must specify one of None, NoneOnDryRun
        webhooks[1].clientConfig: Required value: exactly one of url or service is required
        webhooks[1].admissionReviewVersions: Required value: must specify one of v1, v1beta1
    "#]],
    );
    check(
        &configuration(&format!(
            "{{{HOOK}, failurePolicy: Never, matchPolicy: No, timeoutSeconds: 31, reinvocationPolicy: Once}}, {{{HOOK}, rules: [{{operations: ['*', CREATE, GET], apiGroups: ['*', a], apiVersions: [''], resources: ['*/*', a, 'a/*', a/b], scope: Here}}, {{}}]}}"
        )),
        expect![[r#"
            webhooks[0].failurePolicy: Unsupported value: "Never": supported values: "Fail", "Ignore"
            webhooks[0].matchPolicy: Unsupported value: "No": supported values: "Equivalent", "Exact"
            webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds
            webhooks[0].reinvocationPolicy: Unsupported value: "Once": supported values: "IfNeeded", "Never"
            webhooks[1].rules[0].operations: Invalid value: ["*","CREATE","GET"]: if '*' is present, must not specify other operations
            webhooks[1].rules[0].operations[2]: Unsupported value: "GET": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
            webhooks[1].rules[0].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other API groups
            webhooks[1].rules[0].apiVersions[0]: Required value
            webhooks[1].rules[0].resources[2]: Invalid value: "a/*": if '*/*' is present, must not specify a/*
            webhooks[1].rules[0].resources[3]: Invalid value: "a/b": if 'a/*' is present, must not specify a/b
            webhooks[1].rules[0].resources: Invalid value: ["*/*","a","a/*","a/b"]: if '*/*' is present, must not specify other resources
            webhooks[1].rules[0].scope: Unsupported value: "Here": supported values: "*", "Cluster", "Namespaced"
            webhooks[1].rules[1].operations: Required value
            webhooks[1].rules[1].apiGroups: Required value
            webhooks[1].rules[1].apiVersions: Required value
            webhooks[1].rules[1].resources: Required value
            webhooks[1].name: Duplicate value: "a.example.com"
        "#]],
    );
    check(
        &configuration(
            "{name: a.b.c, sideEffects: Some, admissionReviewVersions: [v2, v2], clientConfig: {url: 'http://u@h/p?q=1#f'}}, {name: b.c.d, sideEffects: None, admissionReviewVersions: [v1beta1], clientConfig: {service: {port: 0, path: a//b}}, matchConditions: [{name: x, expression: ' '}, {name: x, expression: request}, {}]}",
        ),
        expect![[r#"
            webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"
            webhooks[0].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
            webhooks[0].clientConfig.url: Invalid value: "u": user information is not permitted in the URL; desired format: https://host[/path]
            webhooks[0].clientConfig.url: Invalid value: "f": fragments are not permitted in the URL; desired format: https://host[/path]
            webhooks[0].clientConfig.url: Invalid value: "q=1": query parameters are not permitted in the URL; desired format: https://host[/path]
            webhooks[0].admissionReviewVersions[1]: Invalid value: "v2": duplicate version
            webhooks[0].admissionReviewVersions: Invalid value: ["v2","v2"]: must include at least one of v1, v1beta1
            webhooks[1].clientConfig.service.name: Required value: service name is required
            webhooks[1].clientConfig.service.namespace: Required value: service namespace is required
            webhooks[1].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive
            webhooks[1].clientConfig.service.path: Invalid value: "a//b": must start with a '/'
            webhooks[1].clientConfig.service.path: Invalid value: "a//b": segment[1] may not be empty
            webhooks[1].matchConditions[0].expression: Required value
            webhooks[1].matchConditions[1].name: Duplicate value: "x"
            webhooks[1].matchConditions[2].expression: Required value
            webhooks[1].matchConditions[2].name: Required value
        "#]],
    );
    check_row(&configuration("{}, {}"), expect!["w | 2 | <unknown>"]);
}

const CONSTRAINTS: &str = "matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [apps], apiVersions: [v1], resources: [deployments]}]}";

#[test]
fn validating_policies() {
    let policy = |spec: &str| format!("{{kind: ValidatingAdmissionPolicy, metadata: {{name: p}}, spec: {{{spec}}}}}");
    check_defaults(
        &policy(&format!("{CONSTRAINTS}, validations: [{{expression: 'true'}}]")),
        "spec",
        expect![[
            r#"{"failurePolicy":"Fail","matchConstraints":{"matchPolicy":"Equivalent","namespaceSelector":{},"objectSelector":{},"resourceRules":[{"apiGroups":["apps"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["deployments"],"scope":"*"}]},"validations":[{"expression":"true"}]}"#
        ]],
    );
    check(&policy(&format!("{CONSTRAINTS}, validations: [{{expression: 'true'}}]")), expect![[""]]);
    check(
        &policy("paramKind: {}"),
        expect![[r#"
        spec.paramKind.apiVersion: Required value
        spec.paramKind.kind: Required value
        spec.matchConstraints: Required value
        spec.validations: Required value: validations or auditAnnotations must contain at least one item
        spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item
    "#]],
    );
    check(
        &policy(&format!(
            "{CONSTRAINTS}, failurePolicy: No, paramKind: {{apiVersion: A/b/c, kind: 1x}}, variables: [{{name: in}}, {{}}], validations: [{{message: 'a\nb', reason: Bad}}, {{expression: object.x, message: ' ', messageExpression: ' '}}], auditAnnotations: [{{key: a, valueExpression: x}}, {{key: a}}]"
        )),
        expect![[r#"
            spec.failurePolicy: Unsupported value: "No": supported values: "Fail", "Ignore"
            spec.paramKind.apiVersion: Invalid value: "A/b/c": unexpected GroupVersion string: A/b/c
            spec.paramKind.kind: Invalid value: "1x": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier
            spec.variables[0].expression: Required value: expression is not specified
            spec.variables[1].name: Required value: name is not specified
            spec.variables[1].expression: Required value: expression is not specified
            spec.validations[0].expression: Required value: expression is not specified
            spec.validations[0].reason: Unsupported value: "Bad": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"
            spec.validations[1].messageExpression: Invalid value: " ": must be non-empty if specified
            spec.validations[1].message: Invalid value: " ": message must be non-empty if specified
            spec.auditAnnotations[1].valueExpression: Required value: valueExpression is not specified
            spec.auditAnnotations[1].key: Duplicate value: "a"
        "#]],
    );
    check_row(
        &policy("paramKind: {apiVersion: v1, kind: ConfigMap}, validations: [{}]"),
        expect!["p | 1 | v1/ConfigMap | <unknown>"],
    );
    check_row(&policy(""), expect!["p | 0 | <unset> | <unknown>"]);
}

#[test]
fn mutating_policies() {
    let policy = |spec: &str| format!("{{kind: MutatingAdmissionPolicy, metadata: {{name: p}}, spec: {{{spec}}}}}");
    check(
        &policy(&format!(
            "{CONSTRAINTS}, reinvocationPolicy: Never, mutations: [{{patchType: JSONPatch, jsonPatch: {{expression: '[]'}}}}]"
        )),
        expect![[""]],
    );
    check(
        &policy(CONSTRAINTS),
        expect![[r#"
        spec.mutations: Required value: mutations must contain at least one item
        spec.reinvocationPolicy: Required value
    "#]],
    );
    check(
        &policy(&format!(
            "{CONSTRAINTS}, reinvocationPolicy: Often, mutations: [{{}}, {{patchType: JSONPatch, applyConfiguration: {{expression: object.x}}}}, {{patchType: ApplyConfiguration, applyConfiguration: {{}}}}, {{patchType: Merge}}]"
        )),
        expect![[r#"
            spec.mutations[0].patchType: Required value
            spec.mutations[1].jsonPatch: Required value: must be specified when patchType is JSONPatch
            spec.mutations[1].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch
            spec.mutations[2].applyConfiguration.expression: Required value: expression is not specified
            spec.mutations[3].patchType: Unsupported value: "Merge": supported values: "ApplyConfiguration", "JSONPatch"
            spec.reinvocationPolicy: Unsupported value: "Often": supported values: "IfNeeded", "Never"
        "#]],
    );
    check_row(&policy("mutations: [{}, {}]"), expect!["p | 2 | <unset> | <unknown>"]);
}

#[test]
fn policy_bindings() {
    let binding =
        |spec: &str| format!("{{kind: ValidatingAdmissionPolicyBinding, metadata: {{name: b}}, spec: {{{spec}}}}}");
    check_defaults(
        &binding("policyName: p, paramRef: {name: x}, matchResources: {}"),
        "spec",
        expect![[
            r#"{"matchResources":{"matchPolicy":"Equivalent","namespaceSelector":{},"objectSelector":{}},"paramRef":{"name":"x","parameterNotFoundAction":"Deny"},"policyName":"p"}"#
        ]],
    );
    check(&binding("policyName: p, validationActions: [Deny, Audit], paramRef: {name: x}"), expect![[""]]);
    check(
        &binding(""),
        expect![[r#"
        spec.policyName: Required value
        spec.validationActions: Required value: at least one validation action is required
    "#]],
    );
    check(
        &binding(
            "policyName: P, validationActions: [Deny, Warn, Deny, Log], paramRef: {name: a/b, selector: {}, parameterNotFoundAction: Maybe}, matchResources: {resourceRules: [{}]}",
        ),
        expect![[r#"
            spec.policyName: Invalid value: "P": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.paramRef.name: Invalid value: "a/b": may not contain '/'
            spec.paramRef.name: Forbidden: name and selector are mutually exclusive
            spec.paramRef.selector: Forbidden: name and selector are mutually exclusive
            spec.paramRef.parameterNotFoundAction: Unsupported value: "Maybe": supported values: "Deny", "Allow"
            spec.matchResouces.resourceRules[0].operations: Required value
            spec.matchResouces.resourceRules[0].apiGroups: Required value
            spec.matchResouces.resourceRules[0].apiVersions: Required value
            spec.matchResouces.resourceRules[0].resources: Required value
            spec.validationActions[2]: Duplicate value: "Deny"
            spec.validationActions[3]: Unsupported value: "Log": supported values: "Audit", "Deny", "Warn"
            spec.validationActions: Invalid value: ["Deny","Warn","Deny","Log"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)
        "#]],
    );
    check_row(&binding("policyName: p, paramRef: {name: x, namespace: n}"), expect!["b | p | n/x | <unknown>"]);
    check_row(&binding("policyName: p, paramRef: {name: x}"), expect!["b | p | */x | <unknown>"]);
    check_row(&binding("policyName: p"), expect!["b | p | <unset> | <unknown>"]);
    check(
        "{kind: MutatingAdmissionPolicyBinding, metadata: {name: b}, spec: {policyName: p, paramRef: {}}}",
        expect![[r#"
            spec.paramRef: Required value: one of name or selector must be specified
        "#]],
    );
}

#[test]
fn api_services() {
    let service = |name: &str, spec: &str| {
        format!(
            "{{kind: APIService, metadata: {{name: {name}, creationTimestamp: '2026-01-01T11:00:00Z'}}, spec: {{{spec}}}}}"
        )
    };
    let local =
        service("v1.a.example.com", "group: a.example.com, version: v1, groupPriorityMinimum: 1, versionPriority: 1");
    check(&local, expect![[""]]);
    check_defaults(
        &local,
        "status",
        expect![[
            r#"{"conditions":[{"lastTransitionTime":"2026-01-01T11:00:00Z","message":"Local APIServices are always available","reason":"Local","status":"True","type":"Available"}]}"#
        ]],
    );
    check(
        &service("x", "version: v2, caBundle: AAAA, insecureSkipTLSVerify: true"),
        expect![[r#"
        metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v2."
        spec.group: Required value: only v1 may have an empty group and it better be legacy kube
        spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000
        spec.versionPriority: Invalid value: 0: must be positive and less than 1000
        spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle
        spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify
    "#]],
    );
    check(
        &service(
            "v1.",
            "version: v1, groupPriorityMinimum: 20001, versionPriority: 1, service: {}, caBundle: AAAA, insecureSkipTLSVerify: true",
        ),
        expect![[r#"
            spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000
            spec.service.namespace: Required value
            spec.service.name: Required value
            spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present
        "#]],
    );
    check_row(&service("v1.", "version: v1"), expect!["v1. | Local | Unknown | 60m"]);
    check_row(
        "{kind: APIService, metadata: {name: a}, spec: {service: {namespace: n, name: s}}, status: {conditions: [{type: Available, status: 'False', reason: MissingEndpoints}]}}",
        expect!["a | n/s | False (MissingEndpoints) | <unknown>"],
    );
}

/// A request that is signed by its own key, as `spec.request` holds it.
fn request() -> String {
    let params = rcgen::CertificateParams::default();
    STANDARD.encode(params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap())
}

#[test]
fn certificate_requests() {
    let csr = |request: &str, spec: &str| {
        format!(
            "{{kind: CertificateSigningRequest, metadata: {{name: 'any:name'}}, spec: {{request: '{request}', {spec}}}}}"
        )
    };
    let good = csr(&request(), "signerName: example.com/s, usages: [client auth]");
    check(&good, expect![[""]]);
    check(
        &csr("AAAA", "signerName: example.com, usages: [client auth, client auth, fly], expirationSeconds: 599"),
        expect![[r#"
            spec.request: Invalid value: "AAAA": PEM block type must be CERTIFICATE REQUEST
            spec.usages[1]: Duplicate value: "client auth"
            spec.usages[2]: Unsupported value: "fly": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
            spec.signerName: Invalid value: "example.com": must be a fully qualified domain and path of the form 'example.com/signer-name'
            spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)
        "#]],
    );
    check(
        &csr(&request(), "signerName: kubernetes.io/legacy-unknown"),
        expect![[r#"
        spec.usages: Required value
        spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version
    "#]],
    );
    check_update(&good, "{spec: {usages: [server auth]}}", expect![[""]]);
    let (kind, mut approved) = created(&good);
    approved["status"] =
        serde_json::json!({ "conditions": [{ "type": "Approved", "status": "True" }], "certificate": "AA==" });
    let mut changed = approved.clone();
    changed["status"] =
        serde_json::json!({ "conditions": [{ "type": "Denied", "status": "False" }], "certificate": "" });
    let problems = [(kind.validate)(&changed), (kind.validate_update)(&changed, &approved)].concat();
    expect![[r#"
        status.conditions[0].status: Unsupported value: "False": supported values: "True"
        status.conditions: Forbidden: updates may not remove a condition of type "Approved"
        status.certificate: Forbidden: updates may not modify existing certificate content
    "#]]
    .assert_eq(&shown(&problems));
    crate::kinds::certificate_signing_request::keep_approval(&mut changed, &approved);
    expect![[r#"{"certificate":"","conditions":[{"status":"True","type":"Approved"}]}"#]]
        .assert_eq(&changed["status"].to_string());
    approved["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T11:00:00Z".into();
    let mut list =
        serde_json::json!([{ "type": "Approved", "status": "True" }, { "type": "Failed", "status": "True" }]);
    crate::kinds::certificate_signing_request::stamp_conditions(&mut list, &approved, "2026-01-02T00:00:00Z");
    let since: Vec<_> = list.as_array().unwrap().iter().map(|one| one["lastTransitionTime"].clone()).collect();
    assert_eq!(since, ["2026-01-01T11:00:00Z", "2026-01-02T00:00:00Z"]);
    check_row(
        "{kind: CertificateSigningRequest, metadata: {name: c, creationTimestamp: '2026-01-01T11:00:00Z'}, spec: {signerName: example.com/s, username: me, expirationSeconds: 3600}, status: {conditions: [{type: Approved}], certificate: AA==}}",
        expect!["c | 60m | example.com/s | me | 60m | Approved,Issued"],
    );
    check_row(
        "{kind: CertificateSigningRequest, metadata: {name: c}, spec: {}}",
        expect!["c | <unknown> | <none> |  | <none> | Pending"],
    );
}

/// A certificate in PEM, indented as YAML wants it.
fn certificate(is_ca: rcgen::IsCa) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = is_ca;
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().replace('\n', "\\n").replace('\r', "")
}

#[test]
fn trust_bundles() {
    let bundle = |name: &str, signer: &str, text: &str| {
        format!(
            "{{kind: ClusterTrustBundle, metadata: {{name: '{name}'}}, spec: {{signerName: '{signer}', trustBundle: \"{text}\"}}}}"
        )
    };
    let anchor = certificate(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    check(&bundle("example.com:s:x", "example.com/s", &anchor), expect![[""]]);
    check(
        &bundle("x", "", &certificate(rcgen::IsCa::NoCa)),
        expect![[r#"
        spec.trustBundle: Invalid value: "<value omitted>": entry 0 does not have the CA bit set
    "#]],
    );
    check(
        &bundle("a:b", "", &format!("{anchor}{anchor}")),
        expect![[r#"
        metadata.name: Invalid value: "a:b": ClusterTrustBundle without signer name must not have ":" in its name
        spec.trustBundle: Invalid value: "<value omitted>": duplicate trust anchor (indices [0 1])
    "#]],
    );
    check(
        &bundle("x", "example.com/s", ""),
        expect![[r#"
        metadata.name: Invalid value: "x": ClusterTrustBundle for signerName example.com/s must be named with prefix example.com:s:
        spec.trustBundle: Invalid value: "<value omitted>": at least one trust anchor must be provided
    "#]],
    );
    check_update(
        &bundle("x", "", &anchor),
        "{spec: {signerName: example.com/s}}",
        expect![[r#"
        spec.signerName: Invalid value: "example.com/s": field is immutable
    "#]],
    );
}

#[test]
fn pod_certificate_requests() {
    let pcr =
        |spec: &str| format!("{{kind: PodCertificateRequest, metadata: {{name: a, namespace: b}}, spec: {{{spec}}}}}");
    let good = pcr(
        "signerName: example.com/s, podName: p, podUID: u, serviceAccountName: s, serviceAccountUID: u, nodeName: n, nodeUID: u, maxExpirationSeconds: 86400, stubPKCS10Request: AAAA",
    );
    check(&good, expect![[""]]);
    check(
        &pcr("signerName: kubernetes.io/x, maxExpirationSeconds: 86401"),
        expect![[r#"
        spec.podName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.podUID: Invalid value: "": must not be empty
        spec.serviceAccountName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.serviceAccountUID: Invalid value: "": must not be empty
        spec.nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.nodeUID: Invalid value: "": must not be empty
        spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]
        spec.stubPKCS10Request: Required value
    "#]],
    );
    check_update(
        &good,
        "{spec: {podName: q}}",
        expect![[r#"
        spec: Invalid value: {"maxExpirationSeconds":86400,"nodeName":"n","nodeUID":"u","podName":"q","podUID":"u","serviceAccountName":"s","serviceAccountUID":"u","signerName":"example.com/s","stubPKCS10Request":"AAAA"}: field is immutable
    "#]],
    );
}

#[test]
fn flow_schemas() {
    let schema = |name: &str, spec: &str| format!("{{kind: FlowSchema, metadata: {{name: {name}}}, spec: {{{spec}}}}}");
    check_defaults(
        &schema("f", "priorityLevelConfiguration: {name: x}"),
        "spec",
        expect![[r#"{"matchingPrecedence":1000,"priorityLevelConfiguration":{"name":"x"}}"#]],
    );
    check(
        &schema("f", "matchingPrecedence: 1, distinguisherMethod: {type: ByDay}, rules: [{}]"),
        expect![[r#"
        spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1
        spec.distinguisherMethod.type: Unsupported value: "ByDay": supported values: "ByNamespace", "ByUser"
        spec.priorityLevelConfiguration.name: Required value: must reference a priority level
        spec.rules[0].subjects: Required value: subjects must contain at least one value
        spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty
    "#]],
    );
    check(
        &schema(
            "f",
            "priorityLevelConfiguration: {name: x}, rules: [{subjects: [{kind: User}, {kind: Group, user: {}, group: {}}, {kind: ServiceAccount, serviceAccount: {name: '*'}}, {kind: Other}], resourceRules: [{verbs: ['*', get], apiGroups: [], resources: [], namespaces: [A]}, {verbs: [fly], apiGroups: [''], resources: [pods], clusterScope: true}], nonResourceRules: [{verbs: [get], nonResourceURLs: [a, /a//b, '/*/a', /ok/*]}]}]",
        ),
        expect![[r#"
            spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'
            spec.rules[0].subjects[1].user: Forbidden: user is forbidden when subject kind is not 'User'
            spec.rules[0].subjects[1].group.name: Required value
            spec.rules[0].subjects[2].serviceAccount.namespace: Required value: must specify namespace for service account
            spec.rules[0].subjects[3].kind: Unsupported value: "Other": supported values: "Group", "ServiceAccount", "User"
            spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs
            spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group
            spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource
            spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: "A": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.rules[0].resourceRules[1].verbs: Unsupported value: ["fly"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"
            spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash
            spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a//b": must not contain double slash
            spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/*/a": wildcard can only do suffix matching
        "#]],
    );
    check(
        &schema("catch-all", "matchingPrecedence: 5, priorityLevelConfiguration: {name: x}"),
        expect![[r#"
        spec: Invalid value: {"matchingPrecedence":5,"priorityLevelConfiguration":{"name":"x"}}: spec of 'catch-all' must equal the fixed value
    "#]],
    );
    check_row(
        &schema(
            "f",
            "matchingPrecedence: 5, priorityLevelConfiguration: {name: x}, distinguisherMethod: {type: ByUser}",
        ),
        expect!["f | x | 5 | ByUser | <unknown> | ?"],
    );
    check_row(
        "{kind: FlowSchema, metadata: {name: f}, spec: {}, status: {conditions: [{type: Dangling, status: 'False'}]}}",
        expect!["f |  | 0 | <none> | <unknown> | False"],
    );
}

#[test]
fn priority_levels() {
    let level = |name: &str, spec: &str| {
        format!("{{kind: PriorityLevelConfiguration, metadata: {{name: {name}}}, spec: {{{spec}}}}}")
    };
    let queue = "type: Limited, limited: {limitResponse: {type: Queue, queuing: {}}}";
    check_defaults(
        &level("l", queue),
        "spec",
        expect![[
            r#"{"limited":{"lendablePercent":0,"limitResponse":{"queuing":{"handSize":8,"queueLengthLimit":50,"queues":64},"type":"Queue"},"nominalConcurrencyShares":30},"type":"Limited"}"#
        ]],
    );
    check(&level("l", queue), expect![[""]]);
    check(
        &level("l", "type: Exempt, limited: {}"),
        expect![[r#"
        spec.type: Invalid value: "Exempt": type must be 'Exempt' if and only if name is 'exempt'
        spec.limited: Forbidden: must be nil if the type is not Limited
    "#]],
    );
    check(
        &level("exempt", "type: Exempt, exempt: {nominalConcurrencyShares: 5, lendablePercent: 101}"),
        expect![[r#"
        spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive
    "#]],
    );
    check(
        &level("catch-all", queue),
        expect![[r#"
        spec: Invalid value: {"limited":{"lendablePercent":0,"limitResponse":{"queuing":{"handSize":8,"queueLengthLimit":50,"queues":64},"type":"Queue"},"nominalConcurrencyShares":30},"type":"Limited"}: spec of 'catch-all' must equal the fixed value
    "#]],
    );
    check(
        &level(
            "l",
            "type: Limited, limited: {nominalConcurrencyShares: -1, borrowingLimitPercent: -1, limitResponse: {type: Queue, queuing: {queues: 100000, handSize: 10, queueLengthLimit: -1}}}",
        ),
        expect![[r#"
            spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer
            spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer
            spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive
            spec.limited.limitResponse.queuing.handSize: Invalid value: 10: required entropy bits of deckSize 100000 and handSize 10 should not be greater than 60
        "#]],
    );
    check(
        &level("l", "type: Limited, limited: {limitResponse: {type: Reject, queuing: {queues: 1, handSize: 2}}}"),
        expect![[r#"
            spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited
        "#]],
    );
    check_row(
        &level(
            "l",
            "type: Limited, limited: {nominalConcurrencyShares: 5, limitResponse: {queuing: {queues: 1, handSize: 2, queueLengthLimit: 3}}}",
        ),
        expect!["l | Limited | 5 | 1 | 2 | 3 | <unknown>"],
    );
    check_row(
        &level("exempt", "type: Exempt"),
        expect!["exempt | Exempt | <none> | <none> | <none> | <none> | <unknown>"],
    );
}

#[test]
fn storage_migrations() {
    let migration =
        "{kind: StorageVersionMigration, metadata: {name: m}, spec: {resource: {group: apps, resource: deployments}}}";
    check(migration, expect![[""]]);
    check(
        "{kind: StorageVersionMigration, metadata: {name: m}}",
        expect![[r#"
        spec.resource.resource: Required value: resource is required
    "#]],
    );
    check_update(
        migration,
        "{spec: {resource: {group: batch, resource: jobs}}}",
        expect![[r#"
        group: Invalid value: "batch": field is immutable
        resource: Invalid value: "jobs": field is immutable
    "#]],
    );
    check_row(migration, expect!["m | deployments.apps"]);
    let (kind, old) = created(migration);
    let mut new = old.clone();
    let condition = |kind: &str| serde_json::json!({ "type": kind, "status": "True", "reason": "R" });
    new["status"] = serde_json::json!({ "resourceVersion": "x", "conditions": [condition("Succeeded"), condition("Failed"), condition("Running")] });
    let problems = [(kind.validate)(&new), (kind.validate_update)(&new, &old)].concat();
    expect![[r#"
        status.conditions[0].lastTransitionTime: Required value: must be set
        status.conditions[1].lastTransitionTime: Required value: must be set
        status.conditions[2].lastTransitionTime: Required value: must be set
        status.resourceVersion: Invalid value: "x": failed to parse resource version "x": invalid syntax
        status.conditions: Invalid value: [{"reason":"R","status":"True","type":"Succeeded"},{"reason":"R","status":"True","type":"Failed"},{"reason":"R","status":"True","type":"Running"}]: Both success and failed conditions cannot be true at the same time
        status.conditions: Invalid value: [{"reason":"R","status":"True","type":"Succeeded"},{"reason":"R","status":"True","type":"Failed"},{"reason":"R","status":"True","type":"Running"}]: Running condition cannot be true when success condition is true
        status.conditions: Invalid value: [{"reason":"R","status":"True","type":"Succeeded"},{"reason":"R","status":"True","type":"Failed"},{"reason":"R","status":"True","type":"Running"}]: Running condition cannot be true when failed condition is true
    "#]].assert_eq(&shown(&problems));
}
