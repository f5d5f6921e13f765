//! Kernel parameters that a pod asks for. Source: core's validateSysctls.

use std::collections::HashSet;

use serde_json::Value;

use super::super::Problem;
use super::super::json::{items, text};

const NAME_BYTES_MAX: usize = 253;
const EXPECTED: &str = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub fn validate(sysctls: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = HashSet::new();
    for (index, sysctl) in items(sysctls).iter().enumerate() {
        let (name, path) = (text(&sysctl["name"]), format!("{path}[{index}].name"));
        if name.is_empty() {
            problems.push(Problem::required(path, ""));
        } else if !is_name(name) {
            problems.push(Problem::invalid(path, name, EXPECTED));
        } else if !seen.insert(name) {
            problems.push(Problem::duplicate(path, name));
        }
    }
    problems
}

/// Segments parted by dots or slashes, each beginning and ending with a letter or digit.
fn is_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let is_end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(|b| is_inner(*b))
    };
    name.len() <= NAME_BYTES_MAX && name.split(['.', '/']).all(is_segment)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_segments_of_letters() {
        let given = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar..", "net/ipv4", "kernel.shmmax", ""];
        let given: Vec<Value> = given.iter().map(|name| json!({ "name": name, "value": "1" })).collect();
        let found: Vec<String> = validate(&given.into(), "s").into_iter().map(|problem| problem.field).collect();
        assert_eq!(found, ["s[0].name", "s[3].name", "s[5].name", "s[6].name"]);
    }
}
