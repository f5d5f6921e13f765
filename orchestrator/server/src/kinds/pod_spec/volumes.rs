//! The rules of volumes and of the mounts that name them.

use std::collections::HashSet;

use amphipod_api::quantity;
use serde_json::Value;

use super::env::{VOLUME_FIELDS, validate_field_ref, validate_resource_ref};
use crate::kinds::json::{entries, is_empty, is_set, items, scalar, text};
use crate::kinds::problem::invalid_each;
use crate::kinds::{Problem, names};

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const TOKEN_SECONDS_MIN: i64 = 600;

pub fn names(volumes: &Value) -> HashSet<&str> {
    items(volumes).iter().map(|volume| text(&volume["name"])).collect()
}

pub fn validate(volumes: &Value, path: &str) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, volume) in items(volumes).iter().enumerate() {
        let path = format!("{path}[{index}]");
        problems.extend(validate_source(volume, &path));
        let field = format!("{path}.name");
        let name = text(&volume["name"]);
        if name.is_empty() {
            problems.push(Problem::required(field, ""));
            continue;
        }
        problems.extend(invalid_each(&field, name, names::label(name)));
        if !seen.insert(name) {
            problems.push(Problem::duplicate(field, name));
        }
    }
    problems
}

pub fn validate_mounts(mounts: &Value, volumes: &HashSet<&str>, path: &str) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (index, mount) in items(mounts).iter().enumerate() {
        let at = |field: &str| format!("{path}[{index}].{field}");
        match text(&mount["name"]) {
            "" => problems.push(Problem::required(at("name"), "")),
            name if !volumes.contains(name) => problems.push(Problem::not_found(at("name"), name)),
            _ => {}
        }
        let target = text(&mount["mountPath"]);
        if target.is_empty() {
            problems.push(Problem::required(at("mountPath"), ""));
        } else if !seen.insert(target) {
            problems.push(Problem::invalid(at("mountPath"), target, "must be unique"));
        }
        let (sub, expression) = (text(&mount["subPath"]), text(&mount["subPathExpr"]));
        problems.extend(validate_descending(sub, &at("subPath")));
        if !expression.is_empty() && !sub.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            problems.push(Problem::invalid(at("subPathExpr"), expression, detail));
        }
        problems.extend(validate_descending(expression, &at("subPathExpr")));
    }
    problems
}

fn validate_source(volume: &Value, path: &str) -> Vec<Problem> {
    let sources: Vec<(&String, &Value)> =
        entries(volume).filter(|(key, value)| *key != "name" && is_set(value)).collect();
    let mut problems = Vec::new();
    if sources.is_empty() {
        problems.push(Problem::required(path, "must specify a volume type"));
    }
    for (index, (kind, source)) in sources.into_iter().enumerate() {
        let path = format!("{path}.{kind}");
        if index > 0 {
            problems.push(Problem::forbidden(path, "may not specify more than 1 volume type"));
        } else {
            problems.extend(validate_kind(kind, source, &path));
        }
    }
    problems
}

fn validate_kind(kind: &str, source: &Value, path: &str) -> Vec<Problem> {
    let need = |field: &str| -> Vec<Problem> {
        if is_empty(&source[field]) { vec![Problem::required(format!("{path}.{field}"), "")] } else { Vec::new() }
    };
    match kind {
        "emptyDir" => validate_size(&source["sizeLimit"], path),
        "hostPath" => {
            let mut problems = need("path");
            let given = text(&source["path"]);
            if given.split('/').any(|part| part == "..") {
                problems.push(Problem::invalid(format!("{path}.path"), given, "must not contain '..'"));
            }
            let kind = text(&source["type"]);
            if !HOST_PATH_TYPES.contains(&kind) {
                problems.push(Problem::not_supported(format!("{path}.type"), kind, &HOST_PATH_TYPES));
            }
            problems
        }
        "secret" => [
            need("secretName"),
            validate_items(source, path),
            validate_mode(&source["defaultMode"], &format!("{path}.defaultMode")),
        ]
        .concat(),
        "configMap" => [
            need("name"),
            validate_items(source, path),
            validate_mode(&source["defaultMode"], &format!("{path}.defaultMode")),
        ]
        .concat(),
        "persistentVolumeClaim" => need("claimName"),
        "image" => need("reference"),
        "nfs" => [need("server"), need("path")].concat(),
        "csi" => need("driver"),
        "downwardAPI" => {
            let mut problems = validate_mode(&source["defaultMode"], &format!("{path}.defaultMode"));
            problems.extend(validate_downward(source, path));
            problems
        }
        "projected" => validate_projected(source, path),
        _ => Vec::new(),
    }
}

fn validate_size(size: &Value, path: &str) -> Vec<Problem> {
    let valid = !is_set(size) || quantity::whole(&scalar(size)).is_some_and(|bytes| bytes >= 0);
    if valid {
        return Vec::new();
    }
    vec![Problem::forbidden(format!("{path}.sizeLimit"), "SizeLimit field must be a valid resource quantity")]
}

fn validate_mode(mode: &Value, path: &str) -> Vec<Problem> {
    match mode.as_i64() {
        Some(bits) if !(0..=0o777).contains(&bits) => {
            vec![Problem::invalid(path, bits, "must be a number between 0 and 0777 (octal), both inclusive")]
        }
        _ => Vec::new(),
    }
}

/// Keys of a Secret or ConfigMap and the files that they become.
fn validate_items(source: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, item) in items(&source["items"]).iter().enumerate() {
        let at = |field: &str| format!("{path}.items[{index}].{field}");
        if is_empty(&item["key"]) {
            problems.push(Problem::required(at("key"), ""));
        }
        match text(&item["path"]) {
            "" => problems.push(Problem::required(at("path"), "")),
            file => problems.extend(validate_file(file, &at("path"))),
        }
        problems.extend(validate_mode(&item["mode"], &at("mode")));
    }
    problems
}

fn validate_downward(source: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, item) in items(&source["items"]).iter().enumerate() {
        let path = format!("{path}.items[{index}]");
        match text(&item["path"]) {
            "" => problems.push(Problem::required(format!("{path}.path"), "")),
            file => problems.extend(validate_file(file, &format!("{path}.path"))),
        }
        match (is_set(&item["fieldRef"]), is_set(&item["resourceFieldRef"])) {
            (true, true) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                problems.push(Problem::invalid(path, "resource", detail));
            }
            (true, false) => {
                problems.extend(validate_field_ref(&item["fieldRef"], &VOLUME_FIELDS, &format!("{path}.fieldRef")));
            }
            (false, true) => {
                if is_empty(&item["resourceFieldRef"]["containerName"]) {
                    problems.push(Problem::required(format!("{path}.resourceFieldRef.containerName"), ""));
                }
                problems.extend(validate_resource_ref(&item["resourceFieldRef"], &format!("{path}.resourceFieldRef")));
            }
            (false, false) => {
                problems.push(Problem::required(path, "one of fieldRef and resourceFieldRef is required"))
            }
        }
    }
    problems
}

fn validate_projected(source: &Value, path: &str) -> Vec<Problem> {
    let mut problems = validate_mode(&source["defaultMode"], &format!("{path}.defaultMode"));
    for (index, projection) in items(&source["sources"]).iter().enumerate() {
        let path = format!("{path}.sources[{index}]");
        let mut kinds = 0;
        for (kind, source) in entries(projection).filter(|(_, source)| is_set(source)) {
            let path = format!("{path}.{kind}");
            kinds += 1;
            if kinds > 1 {
                problems.push(Problem::forbidden(path, "may not specify more than 1 volume type per source"));
                continue;
            }
            problems.extend(match kind.as_str() {
                "secret" | "configMap" if is_empty(&source["name"]) => {
                    vec![Problem::required(format!("{path}.name"), "")]
                }
                "secret" | "configMap" => validate_items(source, &path),
                "downwardAPI" => validate_downward(source, &path),
                "serviceAccountToken" => validate_token(source, &path),
                _ => Vec::new(),
            });
        }
        if kinds == 0 {
            problems.push(Problem::required(path, "must specify a volume type"));
        }
    }
    problems
}

fn validate_token(source: &Value, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let field = format!("{path}.expirationSeconds");
    match source["expirationSeconds"].as_i64() {
        Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
            problems.push(Problem::invalid(field, seconds, "may not specify a duration less than 10 minutes"));
        }
        Some(seconds) if seconds > 1 << 32 => {
            problems.push(Problem::invalid(field, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
        _ => {}
    }
    if is_empty(&source["path"]) {
        problems.push(Problem::required(format!("{path}.path"), ""));
    }
    problems
}

/// A file inside a volume: relative, not upwards, not starting with two dots.
fn validate_file(file: &str, path: &str) -> Vec<Problem> {
    let mut problems = validate_descending(file, path);
    if file.starts_with("..") && !file.split('/').any(|part| part == "..") {
        problems.push(Problem::invalid(path, file, "must not start with '..'"));
    }
    problems
}

fn validate_descending(file: &str, path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if file.starts_with('/') {
        problems.push(Problem::invalid(path, file, "must be a relative path"));
    }
    if file.split('/').any(|part| part == "..") {
        problems.push(Problem::invalid(path, file, "must not contain '..'"));
    }
    problems
}
