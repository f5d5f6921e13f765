//! `imagePullSecrets`: which of them fits the registry of an image.

use amphipod_runtime::Credentials;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde::Deserialize;
use std::collections::HashMap;

use crate::env::secret_data;

#[derive(Deserialize)]
struct DockerConfig {
    auths: HashMap<String, Auth>,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

/// The credentials of the first secret that knows the image's registry.
///
/// # Errors
/// The names of secrets that could not be read, with what the others gave.
pub async fn of_pod(client: &Client, pod: &Pod, reference: &str) -> Result<Credentials, (String, Credentials)> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (mut missing, mut found) = (Vec::new(), Credentials::Anonymous);
    for secret in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        let Ok(Some(data)) = secret_data(client, namespace, &secret.name).await else {
            missing.push(secret.name.clone());
            continue;
        };
        let config = data.get(".dockerconfigjson").and_then(|json| serde_json::from_slice::<DockerConfig>(json).ok());
        if let (Credentials::Anonymous, Some(config)) = (&found, config) {
            found = fitting(config, reference);
        }
    }
    if missing.is_empty() { Ok(found) } else { Err((missing.join(", "), found)) }
}

fn fitting(config: DockerConfig, reference: &str) -> Credentials {
    let registry = registry_of(reference);
    let same = |known: &str| {
        let bare = known.trim_start_matches("https://").trim_start_matches("http://");
        let host = bare.split('/').next().unwrap_or_default();
        host == registry || (registry == "docker.io" && host == "index.docker.io")
    };
    let auth = config.auths.into_iter().find(|(known, _)| same(known)).map(|(_, auth)| auth).unwrap_or_default();
    let pair = match auth.username.is_empty() {
        false => Some((auth.username, auth.password)),
        true => decode(&auth.auth),
    };
    pair.map_or(Credentials::Anonymous, |(username, password)| Credentials::Basic { username, password })
}

fn decode(base64: &str) -> Option<(String, String)> {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(serde_json::Value::String(base64.to_owned())).ok()?;
    let text = String::from_utf8(bytes.0).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

fn registry_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_of_the_same_registry_fits() {
        let fits = |json: &str, reference: &str| match fitting(serde_json::from_str(json).unwrap(), reference) {
            Credentials::Basic { username, password } => format!("{username}:{password}"),
            other => format!("{other:?}"),
        };
        let config = r#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}, "https://index.docker.io/v1/": {"username": "u", "password": "p"}}}"#;
        assert_eq!(fits(config, "ghcr.io/a/b:1"), "me:secret");
        assert_eq!(fits(config, "library/busybox"), "u:p");
        assert_eq!(fits(config, "quay.io/a/b"), "Anonymous");
    }
}
