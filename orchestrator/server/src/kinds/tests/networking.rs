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
    check("", expect![[""]]);
    check(
        &format!(
            "rules: [{{host: 10.0.0.1, http: {{paths: [{{path: a//b/.., pathType: Exact, {backend}}}, {{{backend}}}, {{pathType: Odd, path: /, {backend}}}]}}}}, {{host: '*.*', http: {{}}}}]"
        ),
        expect![[""]],
    );
    check(
        "defaultBackend: {}, tls: [{hosts: ['*.A'], secretName: S}], ingressClassName: 'A/b', rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: Web, port: {}}}}, {path: /, pathType: Prefix, backend: {resource: {kind: K}}}]}}]",
        expect![[""]],
    );
    refused(
        "{kind: Ingress, metadata: {name: x, namespace: n, annotations: {kubernetes.io/ingress.class: old}}, spec: {ingressClassName: new, defaultBackend: {service: {name: web, port: {name: http}}}}}",
        expect![[""]],
    );
}

#[test]
fn classes_of_ingresses() {
    becomes(
        "{kind: IngressClass, metadata: {name: x}, spec: {controller: a.b/c, parameters: {kind: K, name: p}}}",
        expect![[""]],
    );
    let check = |spec: &str, expect| refused(&format!("{{kind: IngressClass, {CLUSTER}, spec: {{{spec}}}}}"), expect);
    check("controller: a.b/c", expect![[""]]);
    check("controller: a, parameters: {scope: Namespace}", expect![[""]]);
    check("controller: 'A.b/c d', parameters: {scope: Odd, kind: K, name: p}", expect![[""]]);
    refused_update(
        &format!("{{kind: IngressClass, {CLUSTER}, spec: {{controller: a.b/c}}}}"),
        "{spec: {controller: a.b/d}}",
        expect![[""]],
    );
}

#[test]
fn policies() {
    becomes(
        "{kind: NetworkPolicy, metadata: {name: x}, spec: {podSelector: {}, egress: [{ports: [{port: 53}]}]}}",
        expect![[""]],
    );
    let check = |spec: &str, expect| refused(&format!("{{kind: NetworkPolicy, {METADATA}, spec: {{{spec}}}}}"), expect);
    check(
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {}, namespaceSelector: {}}]}]",
        expect![[""]],
    );
    check(
        "ingress: [{ports: [{protocol: ICMP, port: 0}, {port: 80, endPort: 70}, {port: http, endPort: 1}, {endPort: 1}], from: [{}, {podSelector: {}, ipBlock: {cidr: odd}}, {ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}], policyTypes: [Odd]",
        expect![[""]],
    );
}

#[test]
fn addresses_and_their_ranges() {
    let check = |spec: &str, expect| refused(&format!("{{kind: ServiceCIDR, {CLUSTER}, spec: {{{spec}}}}}"), expect);
    check("cidrs: [10.0.0.0/24, '2001:db8::/64']", expect![[""]]);
    check("cidrs: []", expect![[""]]);
    check("cidrs: [10.0.0.1/24]", expect![[""]]);
    check("cidrs: [10.0.0.0/24, 10.0.1.0/24]", expect![[""]]);
    refused_update(
        &format!("{{kind: ServiceCIDR, {CLUSTER}, spec: {{cidrs: [10.0.0.0/24]}}}}"),
        "{spec: {cidrs: [10.0.1.0/24]}}",
        expect![[""]],
    );
    refused(
        "{kind: IPAddress, metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services, namespace: n, name: web}}}",
        expect![[""]],
    );
    refused("{kind: IPAddress, metadata: {name: web}, spec: {parentRef: {group: A}}}", expect![[""]]);
    refused("{kind: IPAddress, metadata: {name: '2001:DB8::1'}}", expect![[""]]);
}

#[test]
fn rows() {
    row(
        &format!(
            "{{kind: Ingress, {METADATA}, spec: {{ingressClassName: c, rules: [{{host: a.b}}, {{host: c.d}}], tls: [{{}}]}}, status: {{loadBalancer: {{ingress: [{{ip: 10.0.0.1}}, {{hostname: x.y}}]}}}}}}"
        ),
        expect![[""]],
    );
    row(&format!("{{kind: Ingress, {METADATA}, spec: {{}}}}"), expect![[""]]);
    row(
        &format!(
            "{{kind: IngressClass, {CLUSTER}, spec: {{controller: a.b/c, parameters: {{apiGroup: g, kind: K, name: p}}}}}}"
        ),
        expect![[""]],
    );
    row(&format!("{{kind: NetworkPolicy, {METADATA}, spec: {{podSelector: {{}}}}}}"), expect![[""]]);
    row(&format!("{{kind: ServiceCIDR, {CLUSTER}, spec: {{cidrs: [10.0.0.0/24]}}}}"), expect![[""]]);
    row(
        "{kind: IPAddress, metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services, namespace: n, name: web}}}",
        expect![[""]],
    );
}
