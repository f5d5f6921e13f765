//! The kinds of networking.k8s.io.

use expect_test::expect;

use super::checks::{becomes, refused, refused_update, row};

const METADATA: &str = "metadata: {name: x, namespace: n, creationTimestamp: '2026-01-01T11:00:00Z'}";
const CLUSTER: &str = "metadata: {name: x, creationTimestamp: '2026-01-01T11:00:00Z'}";

#[test]
fn rules_of_ingresses() {
    let check = |spec: &str, expect| refused(&format!("{{kind: Ingress, {METADATA}, spec: {{{spec}}}}}"), expect);
    let backend = "backend: {service: {name: web, port: {number: 80}}}";
    check(
        &format!("rules: [{{host: a.b, http: {{paths: [{{path: /, pathType: Prefix, {backend}}}]}}}}]"),
        expect![[""]],
    );
    check(
        "",
        expect![[r#"
        spec: Invalid value: "null": either `defaultBackend` or `rules` must be specified
    "#]],
    );
    check(
        &format!(
            "rules: [{{host: 10.0.0.1, http: {{paths: [{{path: a//b/.., pathType: Exact, {backend}}}, {{{backend}}}, {{pathType: Odd, path: /, {backend}}}]}}}}, {{host: '*.*', http: {{}}}}]"
        ),
        expect![[r#"
            spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address
            spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": must be an absolute path
            spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": must not contain '//'
            spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": cannot end with '/..'
            spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified
            spec.rules[0].http.paths[2].pathType: Unsupported value: "Odd": supported values: "Exact", "ImplementationSpecific", "Prefix"
            spec.rules[1].host: Invalid value: "*.*": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.rules[1].http.paths: Required value
        "#]],
    );
    check(
        "defaultBackend: {}, tls: [{hosts: ['*.A'], secretName: S}], ingressClassName: 'A/b', rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: Web, port: {}}}}, {path: /, pathType: Prefix, backend: {resource: {kind: K}}}]}}]",
        expect![[r#"
            spec.defaultBackend: Invalid value: "": resource or service backend is required
            spec.rules[0].http.paths[0].backend.service.name: Invalid value: "Web": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.rules[0].http.paths[0].backend: Required value: port name or number is required
            spec.rules[0].http.paths[1].backend.resource.name: Required value: name is required
            spec.tls[0].hosts[0]: Invalid value: "*.A": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.tls[0].secretName: Invalid value: "S": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.ingressClassName: Invalid value: "A/b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
    refused(
        "{kind: Ingress, metadata: {name: x, namespace: n, annotations: {kubernetes.io/ingress.class: old}}, spec: {ingressClassName: new, defaultBackend: {service: {name: web, port: {name: http}}}}}",
        expect![[r#"
            annotations.kubernetes.io/ingress.class: Invalid value: "old": must match `ingressClassName` when both are specified
        "#]],
    );
}

#[test]
fn classes_of_ingresses() {
    becomes(
        "{kind: IngressClass, metadata: {name: x}, spec: {controller: a.b/c, parameters: {kind: K, name: p}}}",
        expect![[r#"
            metadata:
              name: x
            spec:
              controller: a.b/c
              parameters:
                kind: K
                name: p
                scope: Cluster
        "#]],
    );
    let check = |spec: &str, expect| refused(&format!("{{kind: IngressClass, {CLUSTER}, spec: {{{spec}}}}}"), expect);
    check("controller: a.b/c", expect![[""]]);
    check(
        "controller: a, parameters: {scope: Namespace}",
        expect![[r#"
        spec.controller: Invalid value: "a": must be a domain-prefixed path (such as "acme.io/foo")
        spec.parameters.kind: Required value: kind is required
        spec.parameters.name: Required value: name is required
        spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'
    "#]],
    );
    check(
        "controller: 'A.b/c d', parameters: {scope: Odd, kind: K, name: p}",
        expect![[r#"
        spec.controller: Invalid value: "A.b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.controller: Invalid value: "c d": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')
        spec.parameters.scope: Unsupported value: "Odd": supported values: "Cluster", "Namespace"
    "#]],
    );
    refused_update(
        &format!("{{kind: IngressClass, {CLUSTER}, spec: {{controller: a.b/c}}}}"),
        "{spec: {controller: a.b/d}}",
        expect![[r#"
            spec.controller: Invalid value: "a.b/d": field is immutable
        "#]],
    );
}

#[test]
fn policies() {
    becomes(
        "{kind: NetworkPolicy, metadata: {name: x}, spec: {podSelector: {}, egress: [{ports: [{port: 53}]}]}}",
        expect![[r#"
            metadata:
              name: x
            spec:
              egress:
              - ports:
                - port: 53
                  protocol: TCP
              podSelector: {}
              policyTypes:
              - Ingress
              - Egress
        "#]],
    );
    let check = |spec: &str, expect| refused(&format!("{{kind: NetworkPolicy, {METADATA}, spec: {{{spec}}}}}"), expect);
    check(
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}, namespaceSelector: {}}]}]",
        expect![[""]],
    );
    check(
        "ingress: [{ports: [{protocol: ICMP, port: 0}, {port: 80, endPort: 70}, {port: http, endPort: 1}, {endPort: 1}], from: [{}, {podSelector: {}, ipBlock: {cidr: odd}}, {ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}], policyTypes: [Odd]",
        expect![[r#"
            spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"
            spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ingress[0].ports[1].endPort: Invalid value: 80: must be greater than or equal to `port`
            spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is non-numeric
            spec.ingress[0].ports[3].endPort: Invalid value: 1: may not be specified when `port` is not specified
            spec.ingress[0].from[0]: Required value: must specify a peer
            spec.ingress[0].from[1].ipBlock.cidr: Invalid value: "odd": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
            spec.ingress[0].from[2].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
            spec.policyTypes[0]: Unsupported value: "Odd": supported values: "Ingress", "Egress"
        "#]],
    );
}

#[test]
fn addresses_and_their_ranges() {
    let check = |spec: &str, expect| refused(&format!("{{kind: ServiceCIDR, {CLUSTER}, spec: {{{spec}}}}}"), expect);
    check("cidrs: [10.0.0.0/24, '2001:db8::/64']", expect![[""]]);
    check(
        "cidrs: []",
        expect![[r#"
        spec.cidrs: Required value: at least one CIDR required
    "#]],
    );
    check(
        "cidrs: [10.0.0.1/24]",
        expect![[r#"
        spec.cidrs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length
    "#]],
    );
    check(
        "cidrs: [10.0.0.0/24, 10.0.1.0/24]",
        expect![[r#"
        spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/24","10.0.1.0/24"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64
    "#]],
    );
    refused_update(
        &format!("{{kind: ServiceCIDR, {CLUSTER}, spec: {{cidrs: [10.0.0.0/24]}}}}"),
        "{spec: {cidrs: [10.0.1.0/24]}}",
        expect![[r#"
            spec.cidrs: Invalid value: ["10.0.1.0/24"]: field is immutable
        "#]],
    );
    refused(
        "{kind: IPAddress, metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services, namespace: n, name: web}}}",
        expect![[""]],
    );
    refused(
        "{kind: IPAddress, metadata: {name: web}, spec: {parentRef: {group: A}}}",
        expect![[r#"
        metadata.name: Invalid value: "web": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.parentRef.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.parentRef.resource: Required value
        spec.parentRef.name: Required value
    "#]],
    );
    refused(
        "{kind: IPAddress, metadata: {name: '2001:DB8::1'}}",
        expect![[r#"
        metadata.name: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")
        spec.parentRef: Required value
    "#]],
    );
}

#[test]
fn rows() {
    row(
        &format!(
            "{{kind: Ingress, {METADATA}, spec: {{ingressClassName: c, rules: [{{host: a.b}}, {{host: c.d}}], tls: [{{}}]}}, status: {{loadBalancer: {{ingress: [{{ip: 10.0.0.1}}, {{hostname: x.y}}]}}}}}}"
        ),
        expect!["x | c | a.b,c.d | 10.0.0.1,x.y | 80, 443 | 60m"],
    );
    row(&format!("{{kind: Ingress, {METADATA}, spec: {{}}}}"), expect!["x | <none> | * |  | 80 | 60m"]);
    row(
        &format!(
            "{{kind: IngressClass, {CLUSTER}, spec: {{controller: a.b/c, parameters: {{apiGroup: g, kind: K, name: p}}}}}}"
        ),
        expect!["x | a.b/c | K.g/p | 60m"],
    );
    row(&format!("{{kind: NetworkPolicy, {METADATA}, spec: {{podSelector: {{}}}}}}"), expect!["x | <none> | 60m"]);
    row(&format!("{{kind: ServiceCIDR, {CLUSTER}, spec: {{cidrs: [10.0.0.0/24]}}}}"), expect!["x | 10.0.0.0/24 | 60m"]);
    row(
        "{kind: IPAddress, metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services, namespace: n, name: web}}}",
        expect!["10.0.0.1 | services/n/web"],
    );
}
