//! ClusterTrustBundle: trust anchors for pods, as a bundle of certificates in PEM.

use std::collections::HashMap;

use serde_json::Value;
use x509_parser::pem::Pem;

use super::json::text;
use super::problem::{immutable, invalid_each};
use super::table::{NAME, name, string};
use super::{Kind, PLAIN, Problem, Scope, UpdateRules, metadata, names, signer_name};

const BUNDLE_BYTES_MAX: usize = 1024 * 1024;
const HIDDEN: &str = "<value omitted>";

pub static CLUSTER_TRUST_BUNDLE: Kind = Kind {
    group: "certificates.k8s.io",
    kind: "ClusterTrustBundle",
    plural: "clustertrustbundles",
    singular: "clustertrustbundle",
    scope: Scope::Cluster,
    schema: "io.k8s.api.certificates.v1.ClusterTrustBundle",
    storage: "certificates.k8s.io/clustertrustbundles",
    update: UpdateRules { unconditional: false, creates: false, generation: false },
    validate: |bundle| {
        let signer = text(&bundle["spec"]["signerName"]);
        let mut problems = metadata::validate(bundle, Scope::Cluster, |_| Vec::new());
        let given = text(&bundle["metadata"]["name"]);
        if !given.is_empty() {
            problems.extend(invalid_each("metadata.name", given, check_name(given, signer)));
        }
        if !signer.is_empty() {
            problems.extend(signer_name::validate(signer, "spec.signerName"));
        }
        problems.extend(validate_bundle(text(&bundle["spec"]["trustBundle"])));
        problems
    },
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        let signer = |bundle: &Value| bundle["spec"]["signerName"].clone();
        problems.extend(immutable("spec.signerName", &signer(new), &signer(old)));
        problems
    },
    fields: |bundle| vec![("spec.signerName", text(&bundle["spec"]["signerName"]).to_owned())],
    field_labels: &["spec.signerName"],
    columns: &[NAME, string("SignerName", "signerName indicates the associated signer, if any.")],
    row: |bundle, _| {
        let signer = text(&bundle["spec"]["signerName"]);
        vec![name(bundle), if signer.is_empty() { "<none>" } else { signer }.into()]
    },
    ..PLAIN
};

/// A bundle of a signer is named after it: `example.com:signer:name`.
fn check_name(name: &str, signer: &str) -> Vec<String> {
    if signer.is_empty() {
        if name.contains(':') {
            return vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()];
        }
        return names::subdomain(name);
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => names::subdomain(rest),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}

fn validate_bundle(bundle: &str) -> Vec<Problem> {
    const PATH: &str = "spec.trustBundle";
    if bundle.len() > BUNDLE_BYTES_MAX {
        return vec![Problem::too_long(PATH, BUNDLE_BYTES_MAX)];
    }
    let mut problems = Vec::new();
    let mut seen: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
    for (index, block) in Pem::iter_from_buffer(bundle.as_bytes()).map_while(Result::ok).enumerate() {
        match check_block(&block) {
            Some(complaint) => problems.push(Problem::invalid(PATH, HIDDEN, &format!("entry {index} {complaint}"))),
            None => seen.entry(block.contents).or_default().push(index),
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    if seen.is_empty() {
        problems.push(Problem::invalid(PATH, HIDDEN, "at least one trust anchor must be provided"));
    }
    for indices in seen.values().filter(|indices| indices.len() > 1) {
        let shown: Vec<String> = indices.iter().map(usize::to_string).collect();
        let detail = format!("duplicate trust anchor (indices [{}])", shown.join(" "));
        problems.push(Problem::invalid(PATH, HIDDEN, &detail));
    }
    problems
}

fn check_block(block: &Pem) -> Option<String> {
    if block.label != "CERTIFICATE" {
        return Some(format!("has bad block type: {}", block.label));
    }
    let Ok(certificate) = block.parse_x509() else { return Some("does not parse as X.509".to_owned()) };
    (!certificate.is_ca()).then(|| "does not have the CA bit set".to_owned())
}
