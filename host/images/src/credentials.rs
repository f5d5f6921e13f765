//! Who to be at a registry, from a docker config: `~/.docker/config.json` and the data of `kubernetes.io/dockerconfigjson`
//! secrets. Credential helpers are not run.

use std::collections::BTreeMap;

use amphipod_runtime::Credentials;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    registrytoken: String,
}

/// The credentials for the registry of `reference`; the longest matching path wins, as the kubelet does.
/// `None`: the config names none, or is no docker config.
pub fn credentials_for(reference: &str, docker_config: &str) -> Option<Credentials> {
    let parsed = crate::registry::parse(reference).ok()?;
    let config: DockerConfig = serde_json::from_str(docker_config).ok()?;
    let target = format!("{}/{}", parsed.registry(), parsed.repository());
    let matching = config.auths.iter().filter(|(key, _)| matches(key, &target));
    matching.max_by_key(|(key, _)| key.len()).and_then(|(_, entry)| entry.credentials())
}

fn matches(key: &str, target: &str) -> bool {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.trim_end_matches("/v1").trim_end_matches("/v2");
    let key = if key == "index.docker.io" { "docker.io" } else { key };
    target.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Entry {
    fn credentials(&self) -> Option<Credentials> {
        if !self.registrytoken.is_empty() {
            return Some(Credentials::Bearer(self.registrytoken.clone()));
        }
        if !self.username.is_empty() {
            return Some(Credentials::Basic { username: self.username.clone(), password: self.password.clone() });
        }
        let decoded = String::from_utf8(STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some(Credentials::Basic { username: username.into(), password: password.trim_end_matches('\0').into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reference: &str, expected: Option<&str>) {
        let config = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"aHViOnNlY3JldA=="},
            "ghcr.io":{"username":"wide","password":"p"},
            "ghcr.io/team":{"username":"narrow","password":"p"}}}"#;
        let seen = credentials_for(reference, config).map(|credentials| match credentials {
            Credentials::Basic { username, .. } => username,
            other => format!("{other:?}"),
        });
        assert_eq!(seen.as_deref(), expected, "{reference}");
    }

    #[test]
    fn the_closest_entry_speaks_for_a_reference() {
        check("nginx", Some("hub"));
        check("ghcr.io/other/app:v1", Some("wide"));
        check("ghcr.io/team/app", Some("narrow"));
        check("ghcr.io.evil.example/team/app", None);
        check("localhost:5000/hello", None);
    }
}
