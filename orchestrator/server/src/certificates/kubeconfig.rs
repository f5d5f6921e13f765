//! Writes kubeconfigs, and merges a context into the user's own file as `kubectl config` would: other entries stay,
//! the file is locked by `FILE.lock` while it is changed, and replaced in one step.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::files::{failed, private_directory, read, write_private};
use super::{CertificateError, Pair};

/// One way into one cluster. `name` names its cluster, user and context.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    pub name: &'a str,
    /// `https://host:port`
    pub server: &'a str,
    /// PEM.
    pub authority: &'a str,
    pub client: &'a Pair,
}

/// The text of a kubeconfig with this one context, current.
pub fn kubeconfig(context: &Context<'_>) -> String {
    let mut config = json!({"apiVersion": "v1", "kind": "Config", "preferences": {}});
    put(&mut config, context);
    text(&config)
}

/// Writes [`kubeconfig`] to a file of its own, mode 0600.
pub fn write_kubeconfig(path: &Path, context: &Context<'_>) -> Result<(), CertificateError> {
    write_private(path, kubeconfig(context).as_bytes())
}

/// Puts the context into an existing file (or a new one, mode 0600), replacing entries of the same name, and makes it current.
pub fn merge_kubeconfig(path: &Path, context: &Context<'_>) -> Result<(), CertificateError> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned()); // a symlink stays one
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        private_directory(parent)?;
    }
    let _lock = Lock::take(&path)?;
    let mut config = match read(&path)?.filter(|text| !text.trim().is_empty()) {
        None => json!({"apiVersion": "v1", "kind": "Config", "preferences": {}}),
        Some(text) => parse(&path, &text)?,
    };
    put(&mut config, context);
    write_private(&path, text(&config).as_bytes())
}

/// Which file kubectl would write: of `$KUBECONFIG`'s list the first that exists, else its last; else `~/.kube/config`.
pub fn kubeconfig_path(environment: Option<&str>, home: Option<&Path>) -> Option<PathBuf> {
    let listed: Vec<PathBuf> =
        std::env::split_paths(environment.unwrap_or_default()).filter(|path| !path.as_os_str().is_empty()).collect();
    let existing = listed.iter().find(|path| path.exists());
    existing.or(listed.last()).cloned().or_else(|| Some(home?.join(".kube/config")))
}

fn parse(path: &Path, text: &str) -> Result<Value, CertificateError> {
    let malformed = |problem: String| CertificateError::Malformed { path: path.to_owned(), problem };
    let config: Value = serde_yaml_ng::from_str(text).map_err(|error| malformed(error.to_string()))?;
    for list in ["clusters", "users", "contexts"] {
        if !matches!(config.get(list), None | Some(Value::Null | Value::Array(_))) {
            return Err(malformed(format!("{list} is not a list")));
        }
    }
    if config.is_object() { Ok(config) } else { Err(malformed("it is not a kubeconfig".to_owned())) }
}

fn put(config: &mut Value, context: &Context<'_>) {
    let encode = |pem: &str| STANDARD.encode(pem);
    let name = context.name;
    let cluster = json!({"server": context.server, "certificate-authority-data": encode(context.authority)});
    let user = json!({
        "client-certificate-data": encode(&context.client.certificate),
        "client-key-data": encode(&context.client.key),
    });
    upsert(config, "clusters", json!({"name": name, "cluster": cluster}));
    upsert(config, "users", json!({"name": name, "user": user}));
    upsert(config, "contexts", json!({"name": name, "context": {"cluster": name, "user": name}}));
    config["current-context"] = json!(name);
}

fn upsert(config: &mut Value, list: &str, entry: Value) {
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let entries = config[list].as_array_mut().expect("it was just made a list");
    match entries.iter_mut().find(|old| old["name"] == entry["name"]) {
        Some(old) => *old = entry,
        None => entries.push(entry),
    }
}

fn text(config: &Value) -> String {
    serde_yaml_ng::to_string(config).expect("JSON values are YAML")
}

/// client-go's lock of a kubeconfig: a file made exclusively beside it.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, CertificateError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(CertificateError::Locked(lock)),
            Err(source) => Err(failed("create", &lock)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}
