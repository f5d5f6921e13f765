//! What names may look like, with upstream's texts. Each check gives its complaints, none for a good name.
//! Neighbour: `metadata.rs` applies them to objects.

use super::Problem;
use super::problem::invalid_each;

/// How the names of a kind are checked.
pub type Rule = fn(&str) -> Vec<String>;

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;
const PORT_NAME_MAX: usize = 15;

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
    and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
    regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', \
    regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', \
    start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', \
    regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
    regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
    regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY_TEXT: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
    (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_TEXT: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

const WILDCARD_TEXT: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, \
    which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character \
    (e.g. '*.example.com', regex used for validation is \
    '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const PATH_TEXT: &str = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

/// RFC 1123 label.
pub fn label(name: &str) -> Vec<String> {
    check(name, LABEL_MAX, is_label(name), LABEL_TEXT)
}

/// RFC 1123 subdomain, the rule of most kinds.
pub fn subdomain(name: &str) -> Vec<String> {
    check(name, SUBDOMAIN_MAX, name.split('.').all(is_label), SUBDOMAIN_TEXT)
}

/// RFC 1035 label: Services.
pub fn dns_1035(name: &str) -> Vec<String> {
    let fits = is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase());
    check(name, LABEL_MAX, fits, DNS_1035_TEXT)
}

/// RBAC names: anything that is one segment of a path.
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let found = ["/", "%"].into_iter().filter(|part| name.contains(part));
    found.map(|part| format!("may not contain '{part}'")).collect()
}

/// A label key, an annotation key, a taint key, a finalizer.
pub fn qualified(name: &str) -> Vec<String> {
    let (prefix, part) = match name.split_once('/') {
        None => (None, name),
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a qualified name {QUALIFIED_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, part)) => (Some(prefix), part),
    };
    let mut complaints = Vec::new();
    match prefix {
        Some("") => complaints.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => complaints.extend(subdomain(prefix).into_iter().map(|text| format!("prefix part {text}"))),
        None => {}
    }
    if part.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if part.len() > LABEL_MAX {
        complaints.push(format!("name part must be no more than {LABEL_MAX} bytes"));
    }
    if !is_word(part) {
        complaints.push(format!("name part {QUALIFIED_TEXT}"));
    }
    complaints
}

pub fn label_value(value: &str) -> Vec<String> {
    check(value, LABEL_MAX, value.is_empty() || is_word(value), LABEL_VALUE_TEXT)
}

/// A key of a ConfigMap or Secret.
pub fn config_key(key: &str) -> Vec<String> {
    let fits = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let mut complaints = check(key, SUBDOMAIN_MAX, fits, CONFIG_KEY_TEXT);
    match key {
        "." | ".." => complaints.push(format!("must not be '{key}'")),
        _ if key.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

/// The name of an environment variable; emptiness is the caller's affair.
pub fn env(name: &str) -> Vec<String> {
    let fits = name.bytes().all(|b| (0x20..=0x7e).contains(&b) && b != b'=');
    if fits { Vec::new() } else { vec![ENV_TEXT.to_owned()] }
}

/// A subdomain, a slash and a path: `example.com/controller`. Problems, for its complaints are of several kinds.
pub fn domain_prefixed_path(path: &str, field: &str) -> Vec<Problem> {
    if path.is_empty() {
        return vec![Problem::required(field, "")];
    }
    let Some((domain, rest)) = path.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty())
    else {
        let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return vec![Problem::invalid(field, path, detail)];
    };
    let mut problems = invalid_each(field, domain, subdomain(domain));
    let fits = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b));
    if !fits {
        problems.push(Problem::invalid(field, rest, PATH_TEXT));
    }
    problems
}

/// A host, which may begin with `*.`.
pub fn wildcard(name: &str) -> Vec<String> {
    let fits = name.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_label));
    check(name, SUBDOMAIN_MAX, fits, WILDCARD_TEXT)
}

/// The name of a container's port, or of a Service's target port.
pub fn port(name: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if name.len() > PORT_NAME_MAX {
        complaints.push(format!("must be no more than {PORT_NAME_MAX} bytes"));
    }
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        complaints.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.bytes().any(|b| b.is_ascii_lowercase()) {
        complaints.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        complaints.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        complaints.push("must not begin or end with a hyphen".to_owned());
    }
    complaints
}

pub fn port_number(number: i64) -> Vec<String> {
    between(number, 1, 65_535)
}

pub fn between(number: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&number) {
        Vec::new()
    } else {
        vec![format!("must be between {low} and {high}, inclusive")]
    }
}

fn check(name: &str, longest: usize, fits: bool, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if name.len() > longest {
        complaints.push(format!("must be no more than {longest} bytes"));
    }
    if !fits {
        complaints.push(text.to_owned());
    }
    complaints
}

fn is_label(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    inner && !name.is_empty() && !name.starts_with('-') && !name.ends_with('-')
}

fn is_word(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    inner && first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_takes_good_names_and_refuses_bad_ones() {
        let table: [(Rule, &[&str], &[&str]); 7] = [
            (label, &["a", "1-b"], &["", "A", "a.b", "-a", "a-"]),
            (subdomain, &["a.b-c.d"], &["", "a..b", "A", "a_b"]),
            (dns_1035, &["a1"], &["1a", "a."]),
            (path_segment, &["system:node", "a b"], &[".", "..", "a/b", "50%"]),
            (qualified, &["a", "A_b.c", "example.com/x"], &["", "/x", "x/", "a/b/c", "-a", "Ex.com/x"]),
            (config_key, &["a.B_c-d"], &["", "a/b", ".", "..x"]),
            (port, &["http", "h2-1"], &["", "123", "a--b", "-a", "Http", "sixteen-letters-x"]),
        ];
        for (rule, good, bad) in table {
            for name in good {
                assert!(rule(name).is_empty(), "{name}: {:?}", rule(name));
            }
            for name in bad {
                assert!(!rule(name).is_empty(), "{name} passed");
            }
        }
    }

    #[test]
    fn too_long_is_said_before_malformed() {
        let long = "A".repeat(64);
        assert_eq!(label(&long)[0], "must be no more than 63 bytes");
        assert!(label(&long)[1].starts_with("a lowercase RFC 1123 label"));
    }
}
