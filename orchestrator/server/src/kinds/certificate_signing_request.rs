//! CertificateSigningRequest: asked by anyone, approved at `/approval`, signed at `/status`.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use x509_parser::error::X509Error;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use super::json::{fill, is_empty, items, keep, set, text};
use super::table::{AGE, NAME, age, duration, name, string};
use super::{
    Kind, PLAIN, Problem, STATUS, Scope, Subresource, UpdateRules, drop_status, keep_status, metadata, signer_name,
};

const APPROVAL: Subresource = Subresource { name: "approval", verbs: &["get", "patch", "update"], kind: None };
const EXPIRATION_SECONDS_MIN: i64 = 600;
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// Conditions that are true or not there, and never go again.
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

pub static CERTIFICATE_SIGNING_REQUEST: Kind = Kind {
    group: "certificates.k8s.io",
    kind: "CertificateSigningRequest",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    scope: Scope::Cluster,
    subresources: &[APPROVAL, STATUS],
    schema: "io.k8s.api.certificates.v1.CertificateSigningRequest",
    storage: "certificates.k8s.io/certificatesigningrequests",
    update: UpdateRules { unconditional: true, creates: false, generation: false },
    prepare_create: drop_status,
    prepare_update: |new, old| {
        keep(new, "spec", old);
        keep_status(new, old);
    },
    validate,
    validate_update,
    fields: |request| vec![("spec.signerName", text(&request["spec"]["signerName"]).to_owned())],
    field_labels: &["spec.signerName"],
    columns: &[
        NAME,
        AGE,
        string("SignerName", "signerName indicates the requested signer, and is a qualified name."),
        string("Requestor", "username contains the name of the user that created the CertificateSigningRequest."),
        string(
            "RequestedDuration",
            "expirationSeconds is the requested duration of validity of the issued certificate.",
        ),
        string("Condition", "Current Certificate Signing Request State."),
    ],
    row: |request, now| {
        let spec = &request["spec"];
        let signer = if is_empty(&spec["signerName"]) { "<none>" } else { text(&spec["signerName"]) };
        let lasting = spec["expirationSeconds"].as_i64().map_or("<none>".to_owned(), duration);
        let requestor = text(&spec["username"]);
        vec![name(request), age(request, now), signer.into(), requestor.into(), lasting.into(), state(request).into()]
    },
    ..PLAIN
};

/// Who asks is written down by the server, whatever the request says: `spec.username`, `uid`, `groups`, `extra`.
pub fn stamp_requestor(request: &mut Value, identity: &crate::seams::Identity) {
    let Some(spec) = request.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    set(spec, "username", identity.user.as_str().into());
    set(spec, "uid", identity.uid.as_deref().unwrap_or_default().into());
    set(spec, "groups", json!(identity.groups));
    set(spec, "extra", json!(identity.extra));
}

/// Writers of the status leave the approval as it was.
pub fn keep_approval(new: &mut Value, old: &Value) {
    let decided = |one: &&Value| matches!(text(&one["type"]), "Approved" | "Denied");
    let given = items(&new["status"]["conditions"]);
    let kept = items(&old["status"]["conditions"]).iter().filter(decided);
    let conditions: Vec<Value> = kept.chain(given.iter().filter(|one| !decided(one))).cloned().collect();
    if let Some(status) = new.get_mut("status").filter(|status| status.is_object()) {
        set(status, "conditions", conditions.into());
    }
}

/// Since when each condition is as it is, where its writer did not say.
pub fn stamp_conditions(conditions: &mut Value, old: &Value, now: &str) {
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let same = |one: &&Value| one["type"] == condition["type"] && one["status"] == condition["status"];
        let before = items(&old["status"]["conditions"]).iter().find(same);
        let since = before.map_or(Value::Null, |one| one["lastTransitionTime"].clone());
        fill(condition, "lastUpdateTime", now);
        fill(condition, "lastTransitionTime", if since.is_null() { now.into() } else { since });
    }
}

fn state(request: &Value) -> String {
    let status = &request["status"];
    let has = |kind: &str| items(&status["conditions"]).iter().any(|condition| condition["type"] == kind);
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !is_empty(&status["certificate"]) {
        state.push_str(",Issued");
    }
    state
}

fn validate(request: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(request, Scope::Cluster, |_| Vec::new());
    let spec = &request["spec"];
    if let Err(why) = parse_request(text(&spec["request"])) {
        problems.push(Problem::invalid("spec.request", spec["request"].clone(), &why));
    }
    let usages: Vec<&str> = items(&spec["usages"]).iter().map(text).collect();
    if usages.is_empty() {
        problems.push(Problem::required("spec.usages", ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{index}]");
        if !USAGES.contains(usage) {
            problems.push(Problem::not_supported(field, usage, USAGES));
        } else if usages[..index].contains(usage) {
            problems.push(Problem::duplicate(field, *usage));
        }
    }
    match text(&spec["signerName"]) {
        LEGACY_SIGNER => {
            let detail = "the legacy signerName is not allowed via this API version";
            problems.push(Problem::invalid("spec.signerName", LEGACY_SIGNER, detail));
        }
        signer => problems.extend(signer_name::validate(signer, "spec.signerName")),
    }
    if let Some(seconds) = spec["expirationSeconds"].as_i64().filter(|seconds| *seconds < EXPIRATION_SECONDS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        problems.push(Problem::invalid("spec.expirationSeconds", seconds, detail));
    }
    problems.extend(validate_conditions(&request["status"]["conditions"]));
    if let Err(why) = check_certificate(text(&request["status"]["certificate"])) {
        problems.push(Problem::invalid("status.certificate", "<certificate data>", &why));
    }
    problems
}

/// A PKCS#10 request in PEM whose signature holds.
fn parse_request(encoded: &str) -> Result<(), String> {
    const SHAPE: &str = "PEM block type must be CERTIFICATE REQUEST";
    let bytes = STANDARD.decode(encoded).map_err(|_| SHAPE.to_owned())?;
    let pem = Pem::iter_from_buffer(&bytes).next().and_then(Result::ok);
    let pem = pem.filter(|pem| pem.label == "CERTIFICATE REQUEST").ok_or(SHAPE)?;
    let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).map_err(|error| error.to_string())?;
    match parsed.verify_signature() {
        // Curves that we cannot check are the signer's to refuse.
        Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => Ok(()),
        Err(_) => Err("x509: signature verification failure".to_owned()),
    }
}

fn check_certificate(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let bytes = STANDARD.decode(encoded).map_err(|error| error.to_string())?;
    let blocks: Vec<Pem> = Pem::iter_from_buffer(&bytes).map_while(Result::ok).collect();
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in blocks {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        block.parse_x509().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn validate_conditions(conditions: &Value) -> Vec<Problem> {
    const PATH: &str = "status.conditions";
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (index, condition) in items(conditions).iter().enumerate() {
        let (kind, status) = (text(&condition["type"]), text(&condition["status"]));
        if kind.is_empty() {
            problems.push(Problem::required(format!("{PATH}[{index}].type"), ""));
        }
        let allowed = if FINAL.contains(&kind) { &["True"][..] } else { super::conditions::STATUSES };
        match status {
            "" => problems.push(Problem::required(format!("{PATH}[{index}].status"), "")),
            known if allowed.contains(&known) => {}
            other => problems.push(Problem::not_supported(format!("{PATH}[{index}].status"), other, allowed)),
        }
        let rival = match kind {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !rival.is_empty() && seen.contains(rival) {
            problems.push(Problem::invalid(PATH, kind, "Approved and Denied conditions are mutually exclusive"));
        }
        if !seen.insert(kind) {
            problems.push(Problem::duplicate(format!("{PATH}[{index}].type"), kind));
        }
    }
    problems
}

fn validate_update(new: &Value, old: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let count = |request: &Value, kind: &str| {
        items(&request["status"]["conditions"]).iter().filter(|condition| condition["type"] == kind).count()
    };
    for kind in FINAL {
        if count(new, kind) < count(old, kind) {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            problems.push(Problem::forbidden("status.conditions", &detail));
        }
    }
    let issued = &old["status"]["certificate"];
    if !is_empty(issued) && &new["status"]["certificate"] != issued {
        let detail = "updates may not modify existing certificate content";
        problems.push(Problem::forbidden("status.certificate", detail));
    }
    problems.extend(metadata::validate_update(new, old));
    problems
}
