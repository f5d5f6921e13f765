//! PodCertificateRequest: a node asks for a certificate of one of its pods.

use serde_json::Value;

use super::json::{is_empty, items, keep, text};
use super::problem::{immutable, invalid_each};
use super::{
    Kind, PLAIN, Problem, STATUS, Scope, WITH_SPEC, conditions, drop_status, keep_status, metadata, names, signer_name,
};

const UID_BYTES_MAX: usize = 128;
const EXPIRATION_SECONDS_MIN: i64 = 3_600;
const EXPIRATION_SECONDS_MAX: i64 = 91 * 86_400;
/// For signers that the project keeps for itself.
const KUBERNETES_SECONDS_MAX: i64 = 86_400;
const OUTCOMES: &[&str] = &["Issued", "Denied", "Failed"];

pub static POD_CERTIFICATE_REQUEST: Kind = Kind {
    group: "certificates.k8s.io",
    kind: "PodCertificateRequest",
    plural: "podcertificaterequests",
    singular: "podcertificaterequest",
    subresources: &[STATUS],
    schema: "io.k8s.api.certificates.v1.PodCertificateRequest",
    storage: "certificates.k8s.io/podcertificaterequests",
    update: super::UpdateRules { unconditional: false, ..WITH_SPEC },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("spec", &new["spec"], &old["spec"]));
        problems.extend(validate_outcome(new, old));
        problems
    },
    fields: |request| FIELDS.iter().map(|(label, field)| (*label, text(&request["spec"][*field]).to_owned())).collect(),
    field_labels: &["spec.signerName", "spec.podName", "spec.nodeName"],
    ..PLAIN
};

const FIELDS: [(&str, &str); 3] =
    [("spec.signerName", "signerName"), ("spec.podName", "podName"), ("spec.nodeName", "nodeName")];

fn validate(request: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(request, Scope::Namespaced, names::subdomain);
    let spec = &request["spec"];
    let signer = text(&spec["signerName"]);
    problems.extend(signer_name::validate(signer, "spec.signerName"));
    problems
        .extend(metadata::validate_annotations(&spec["unverifiedUserAnnotations"], "spec.unverifiedUserAnnotations"));
    for (name, uid) in [("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID")] {
        let given = text(&spec[name]);
        problems.extend(invalid_each(&format!("spec.{name}"), given, names::subdomain(given)));
        let given = text(&spec[uid]);
        if given.is_empty() {
            problems.push(Problem::invalid(format!("spec.{uid}"), "", "must not be empty"));
        }
        if given.len() > UID_BYTES_MAX {
            problems.push(Problem::too_long(format!("spec.{uid}"), UID_BYTES_MAX));
        }
    }
    let most = if signer_name::is_kubernetes(signer) { KUBERNETES_SECONDS_MAX } else { EXPIRATION_SECONDS_MAX };
    match spec["maxExpirationSeconds"].as_i64() {
        None => problems.push(Problem::required("spec.maxExpirationSeconds", "must be set")),
        Some(seconds) if !(EXPIRATION_SECONDS_MIN..=most).contains(&seconds) => {
            let detail = format!("must be in the range [{EXPIRATION_SECONDS_MIN}, {most}]");
            problems.push(Problem::invalid("spec.maxExpirationSeconds", seconds, &detail));
        }
        Some(_) => {}
    }
    if is_empty(&spec["stubPKCS10Request"]) {
        problems.push(Problem::required("spec.stubPKCS10Request", ""));
    }
    problems.extend(validate_conditions(&request["status"]["conditions"]));
    problems
}

/// At most one outcome, and it is true.
fn validate_conditions(list: &Value) -> Vec<Problem> {
    const PATH: &str = "status.conditions";
    let mut problems = Vec::new();
    let mut known = 0;
    for (index, condition) in items(list).iter().enumerate() {
        let (kind, status) = (text(&condition["type"]), text(&condition["status"]));
        if !OUTCOMES.contains(&kind) {
            problems.push(Problem::not_supported(format!("{PATH}[{index}].type"), kind, OUTCOMES));
            continue;
        }
        known += 1;
        if known > 1 {
            let detail = r#"There may be at most one condition with type "Issued", "Denied", or "Failed""#;
            problems.push(Problem::invalid(format!("{PATH}[{index}].type"), kind, detail));
        }
        if status != "True" {
            problems.push(Problem::not_supported(format!("{PATH}[{index}].status"), status, &["True"]));
        }
    }
    problems.extend(conditions::validate(list, PATH));
    problems
}

/// After its outcome a request stays as it is; one that was refused carries nothing else.
fn validate_outcome(new: &Value, old: &Value) -> Vec<Problem> {
    let decided = |request: &Value| OUTCOMES.iter().find(|kind| conditions::is_true(&request["status"], kind)).copied();
    let (now, before) = (&new["status"], &old["status"]);
    if decided(old).is_some() && now != before {
        let detail = "immutable after PodCertificateRequest is issued, denied, or failed";
        return vec![Problem::invalid("status", now.clone(), detail)];
    }
    let mut bare = serde_json::json!({});
    keep(&mut bare, "conditions", now);
    if matches!(decided(new), Some("Denied" | "Failed")) && now != &bare {
        let detail = "non-condition status fields must be empty when denying or failing the PodCertificateRequest";
        return vec![Problem::invalid("status", now.clone(), detail)];
    }
    if decided(new) == Some("Issued") && is_empty(&now["certificateChain"]) {
        let detail = "issued certificate chain must contain at least one certificate";
        return vec![Problem::invalid("status.certificateChain", "", detail)];
    }
    Vec::new()
}
