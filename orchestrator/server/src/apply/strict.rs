//! What is said of a configuration that does not fit: fields that nobody declared cannot be merged, whatever
//! `fieldValidation` says; keys that stand twice are told by their line, as upstream's YAML reader tells them.

use crate::call::{Call, FieldValidation};
use crate::reply::Status;
use crate::seams::api_version;

/// The warnings, or why the configuration is refused.
pub fn verdict(call: &Call, yaml: &[u8], problems: &[String], options: FieldValidation) -> Result<Vec<String>, Status> {
    let unknown: Vec<&str> = problems.iter().filter_map(|problem| path(problem, "unknown")).collect();
    if !unknown.is_empty() {
        return Err(undeclared(call, &unknown));
    }
    let twice: Vec<&str> = problems.iter().filter_map(|problem| path(problem, "duplicate")).collect();
    let lines = lines_of_repeated_keys(&String::from_utf8_lossy(yaml));
    let told = twice.iter().map(|path| {
        let key = path.rsplit('.').next().unwrap_or(path);
        let line = lines.iter().find(|(_, found)| found == key).map_or(1, |(line, _)| *line);
        format!("line {line}: key {key:?} already set in map")
    });
    let told: Vec<String> = told.collect();
    match options {
        FieldValidation::Strict if !told.is_empty() => {
            let why = told.join("\n  ");
            Err(Status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {why}"
            )))
        }
        FieldValidation::Ignore => Ok(Vec::new()),
        _ => Ok(told),
    }
}

/// `unknown field "spec.foo"` names `spec.foo`.
fn path<'p>(problem: &'p str, what: &str) -> Option<&'p str> {
    problem.strip_prefix(what)?.strip_prefix(" field \"")?.strip_suffix('"')
}

fn undeclared(call: &Call, paths: &[&str]) -> Status {
    let one = |path: &&str| format!(".{path}: field not declared in schema");
    let faults = match paths {
        [path] => one(path),
        many => format!("errors:\n  {}", many.iter().map(one).collect::<Vec<_>>().join("\n  ")),
    };
    let kind = call.kind();
    let (place, version) = (format!("{}/{}", call.namespace(), call.name()), api_version(kind.group, kind.version));
    let message = format!("failed to create typed patch object ({place}; {version}, Kind={}): {faults}", kind.kind);
    Status::unexplained(message)
}

/// Lines (from one) on which a key of a block mapping stands again, with the key. What is written in flow style has no
/// lines of its own.
fn lines_of_repeated_keys(yaml: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Open mappings: how far each is indented, and its keys so far.
    let mut open: Vec<(usize, Vec<String>)> = Vec::new();
    for (index, line) in yaml.lines().enumerate() {
        let content = line.trim_start_matches([' ', '-']);
        let indent = line.len() - content.len();
        let Some((key, _)) = content.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '))
        else {
            continue;
        };
        let key = key.trim_matches(['"', '\'']).to_owned();
        let begins_item = line.trim_start().starts_with('-');
        open.retain(|(at, _)| *at < indent || (*at == indent && !begins_item));
        match open.last_mut().filter(|(at, _)| *at == indent) {
            Some((_, keys)) if keys.contains(&key) => found.push((index + 1, key)),
            Some((_, keys)) => keys.push(key),
            None => open.push((indent, vec![key])),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_stand_again_are_found_by_their_line() {
        let yaml = "\na: 1\nspec:\n  foo: 1\n  foo: 2\n  ports:\n  - name: x\n    port: 1\n  - name: y\n    port: 2\nother:\n  foo: 1\n";
        assert_eq!(lines_of_repeated_keys(yaml), [(5, "foo".to_owned())]);
        assert_eq!(path("unknown field \"spec.foo\"", "unknown"), Some("spec.foo"));
    }
}
