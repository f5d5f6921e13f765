//! Secret: `stringData` is folded into `data`; some types ask for certain keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::config_map::{BYTES_MAX, decoded_bytes, frozen};
use super::json::{child, entries, fill_text, is_empty, map, remove, set, text};
use super::problem::{immutable, invalid_each};
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Problem, Scope, descriptions, metadata, names};

pub static SECRET: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    schema: "io.k8s.api.core.v1.Secret",
    storage: "secrets",
    defaults: |secret| {
        fold(secret);
        fill_text(secret, "type", "Opaque");
    },
    validate,
    validate_update: |new, old| {
        let mut problems = metadata::validate_update(new, old);
        problems.extend(immutable("type", &new["type"], &old["type"]));
        problems.extend(frozen(new, old, &["data"]));
        problems
    },
    fields: |secret| vec![("type", text(&secret["type"]).to_owned())],
    field_labels: &["type"],
    columns: &[NAME, string("Type", descriptions::SECRET_TYPE), string("Data", descriptions::SECRET_DATA), AGE],
    row: |secret, now| {
        let count = secret["data"].as_object().map_or(0, |data| data.len());
        vec![name(secret), secret["type"].clone(), json!(count), age(secret, now)]
    },
    ..PLAIN
};

/// `stringData` is for writing only: its values win and go into `data`.
fn fold(secret: &mut Value) {
    let plain = map(&remove(secret, "stringData").unwrap_or_default());
    if plain.is_empty() {
        return;
    }
    if let Some(data) = child(secret, "data") {
        for (key, value) in plain {
            set(data, &key, STANDARD.encode(text(&value)).into());
        }
    }
}

fn validate(secret: &Value) -> Vec<Problem> {
    let mut problems = metadata::validate(secret, Scope::Namespaced, names::subdomain);
    let data = &secret["data"];
    let mut bytes = 0;
    for (key, value) in entries(data) {
        problems.extend(invalid_each(&format!("data[{key}]"), key, names::config_key(key)));
        bytes += decoded_bytes(text(value));
    }
    if bytes > BYTES_MAX {
        problems.push(Problem::too_long("data", BYTES_MAX));
    }
    let mut need = |key: &str| {
        let missing = data.get(key).is_none();
        if missing {
            problems.push(Problem::required(format!("data[{key}]"), ""));
        }
        !missing
    };
    match text(&secret["type"]) {
        "kubernetes.io/service-account-token"
            if is_empty(&secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]) =>
        {
            problems.push(Problem::required("metadata.annotations[kubernetes.io/service-account.name]", ""));
        }
        "kubernetes.io/dockercfg" if need(".dockercfg") => problems.extend(validate_json(data, ".dockercfg")),
        "kubernetes.io/dockerconfigjson" if need(".dockerconfigjson") => {
            problems.extend(validate_json(data, ".dockerconfigjson"));
        }
        "kubernetes.io/basic-auth" if data.get("username").is_none() && data.get("password").is_none() => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" => {
            need("ssh-privatekey");
        }
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        _ => {}
    }
    problems
}

fn validate_json(data: &Value, key: &str) -> Option<Problem> {
    let bytes = STANDARD.decode(text(&data[key])).unwrap_or_default();
    let error = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).err()?;
    Some(Problem::invalid(format!("data[{key}]"), "<secret contents redacted>", &error.to_string()))
}
