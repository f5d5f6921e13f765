//! Names of signers, `example.com/signer`, in `certificate_signing_request.rs` and its neighbours.

use super::{Problem, names};

const DOMAIN_BYTES_MAX: usize = 253;
const WHOLE_BYTES_MAX: usize = 571;

pub(super) fn validate(name: &str, path: &str) -> Vec<Problem> {
    if name.is_empty() {
        return vec![Problem::required(path, "")];
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![Problem::invalid(path, name, detail)];
    };
    let mut problems = Vec::new();
    if domain.len() > DOMAIN_BYTES_MAX {
        problems.push(Problem::too_long(path, DOMAIN_BYTES_MAX));
    }
    let labels: Vec<&str> = domain.split('.').collect();
    problems.extend(first_bad(labels.iter().copied(), names::label).map(|(label, complaints)| {
        let detail = format!("validating label {label:?}: {}", complaints.join(","));
        Problem::invalid(path, domain, &detail)
    }));
    if labels.len() < 2 {
        let detail = "should be a domain with at least two segments separated by dots";
        problems.push(Problem::invalid(path, domain, detail));
    }
    if let Some((label, complaints)) = first_bad(rest.split('.'), names::subdomain) {
        for complaint in complaints {
            problems.push(Problem::invalid(path, rest, &format!("validating label {label:?}: {complaint}")));
        }
    }
    if name.len() > WHOLE_BYTES_MAX {
        problems.push(Problem::too_long(path, WHOLE_BYTES_MAX));
    }
    problems
}

/// Whether the project keeps this signer for itself.
pub(super) fn is_kubernetes(name: &str) -> bool {
    let host = name.split('/').next().unwrap_or_default();
    host == "kubernetes.io" || host.ends_with(".kubernetes.io")
}

fn first_bad<'a>(mut labels: impl Iterator<Item = &'a str>, rule: names::Rule) -> Option<(&'a str, Vec<String>)> {
    labels.find_map(|label| Some((label, rule(label))).filter(|(_, complaints)| !complaints.is_empty()))
}
