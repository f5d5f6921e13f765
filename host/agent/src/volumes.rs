//! The volumes of a pod as directories of this host. `start.rs` asks for the mounts of one container.

use std::fs;
use std::path::{Path, PathBuf};

use amphipod_runtime::{Mount, Sandbox};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    Container, KeyToPath, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use kube::Api;
use kube::api::PostParams;

use crate::env::{Sources, config_map_data, field_value, resource_value, secret_data};
use crate::host::Host;

/// Everything that a container mounts; volumes are made when first asked for.
///
/// # Errors
/// What is missing or not supported, in words for the pod's author.
pub async fn mounts(host: &Host, pod: &Pod, container: &Container, sandbox: &Sandbox) -> Result<Vec<Mount>, String> {
    let volumes: Vec<&Volume> = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).collect();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| format!("volume {:?} not found", mount.name))?;
        let mut path = Maker { host, pod, sandbox }.make(volume).await?;
        if let Some(below) = mount.sub_path.as_deref().filter(|below| !below.is_empty()) {
            path = beneath(path, below)?;
        }
        mounts.push(Mount {
            host_path: path,
            container_path: mount.mount_path.clone(),
            // What the agent writes, it alone writes: a guest could put links there.
            read_only: volume.empty_dir.is_none() || mount.read_only.unwrap_or(false),
        });
    }
    Ok(mounts)
}

/// The tokens that a pod mounts.
pub fn tokens(pod: &Pod) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    projected(pod).filter_map(|(_, source)| source.service_account_token.as_ref())
}

/// Asks for every mounted token again and puts it in place of the old one.
///
/// # Errors
/// The first refusal, in words for the log.
pub async fn renew_tokens(host: &Host, pod: &Pod, sandbox: &Sandbox) -> Result<(), String> {
    let maker = Maker { host, pod, sandbox };
    for (volume, source) in projected(pod).filter(|(_, source)| source.service_account_token.is_some()) {
        let path = directory(&host.options.data_dir, &sandbox.pod.uid).join(&volume.name);
        if path.is_dir() {
            maker.project(source, &path).await?;
        }
    }
    Ok(())
}

fn projected(pod: &Pod) -> impl Iterator<Item = (&Volume, &VolumeProjection)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.flat_map(|volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.map(move |source| (volume, source))
    })
}

/// The directory below which all volumes of an agent's pods lie.
pub fn root(data_dir: &Path) -> PathBuf {
    data_dir.join("volumes")
}

/// Where the volumes of a pod lie.
pub fn directory(data_dir: &Path, uid: &str) -> PathBuf {
    root(data_dir).join(uid)
}

/// A directory inside a volume, made when it is missing. Another container of the pod may have put links there: none
/// is followed.
fn beneath(mut path: PathBuf, below: &str) -> Result<PathBuf, String> {
    for part in Path::new(below).components() {
        let std::path::Component::Normal(part) = part else {
            return Err(format!("subPath {below:?} must stay inside the volume"));
        };
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(known) if known.is_symlink() => return Err(format!("subPath {below:?} must not lead over a link")),
            Ok(_) => {}
            Err(_) => fs::create_dir(&path).map_err(|error| format!("subPath {below:?}: {error}"))?,
        }
    }
    Ok(path)
}

struct Maker<'a> {
    host: &'a Host,
    pod: &'a Pod,
    sandbox: &'a Sandbox,
}

impl Maker<'_> {
    async fn make(&self, volume: &Volume) -> Result<PathBuf, String> {
        let path = directory(&self.host.options.data_dir, &self.sandbox.pod.uid).join(&volume.name);
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if volume.empty_dir.is_some() {
            return Ok(path);
        }
        for projection in projections(volume)? {
            self.project(&projection, &path).await?;
        }
        Ok(path)
    }

    async fn project(&self, from: &VolumeProjection, into: &Path) -> Result<(), String> {
        let (client, namespace) = (&self.host.options.client, &self.sandbox.pod.namespace);
        if let Some(map) = &from.config_map {
            let data = config_map_data(client, namespace, &map.name).await.map_err(|error| error.to_string())?;
            let what = ("configmap", map.name.as_str(), map.optional.unwrap_or(false));
            return write_keys(into, data, map.items.as_deref(), what);
        }
        if let Some(secret) = &from.secret {
            let data = secret_data(client, namespace, &secret.name).await.map_err(|error| error.to_string())?;
            let what = ("secret", secret.name.as_str(), secret.optional.unwrap_or(false));
            return write_keys(into, data, secret.items.as_deref(), what);
        }
        if let Some(token) = &from.service_account_token {
            let text = self.token(token.audience.clone(), token.expiration_seconds).await?;
            return write(into, &token.path, text.as_bytes());
        }
        for item in from.downward_api.iter().flat_map(|api| api.items.iter().flatten()) {
            let sources = Sources {
                client,
                pod: self.pod,
                pod_ip: self.sandbox.ip.to_string(),
                host_ip: self.host.node_ip().to_string(),
                services: Vec::new(),
                node: &self.host.resources,
            };
            let value = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => field_value(&field.field_path, &sources)?,
                (_, Some(resource)) => resource_value(&sources, None, resource)?,
                _ => continue,
            };
            write(into, &item.path, value.as_bytes())?;
        }
        Ok(())
    }

    async fn token(&self, audience: Option<String>, expiration_seconds: Option<i64>) -> Result<String, String> {
        let account = self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let bound = k8s_openapi::api::authentication::v1::BoundObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(self.sandbox.pod.name.clone()),
            uid: Some(self.sandbox.pod.uid.clone()),
        };
        let spec = TokenRequestSpec {
            audiences: Some(audience.into_iter().collect()),
            bound_object_ref: Some(bound),
            expiration_seconds,
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let accounts = Api::<ServiceAccount>::namespaced(self.host.options.client.clone(), &self.sandbox.pod.namespace);
        let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
        let made = made.map_err(|error| format!("failed to fetch token: {error}"))?;
        Ok(made.status.and_then(|status| status.token).unwrap_or_default())
    }
}

/// ConfigMap, Secret and downward API volumes are projections of one source.
fn projections(volume: &Volume) -> Result<Vec<VolumeProjection>, String> {
    let value = serde_json::to_value(volume).unwrap_or_default();
    if let Some(projected) = &volume.projected {
        return Ok(projected.sources.clone().unwrap_or_default());
    }
    let mut source = serde_json::Map::new();
    if let Some(map) = value.get("configMap") {
        source.insert("configMap".into(), map.clone());
    } else if let Some(secret) = value.get("secret") {
        let mut secret = secret.clone();
        secret["name"] = secret.get("secretName").cloned().unwrap_or_default();
        source.insert("secret".into(), secret);
    } else if let Some(downward) = value.get("downwardAPI") {
        source.insert("downwardAPI".into(), downward.clone());
    } else {
        let kind = value.as_object().and_then(|all| all.keys().find(|key| *key != "name").cloned()).unwrap_or_default();
        return Err(format!("volume {:?}: {kind} volumes are not supported on this node", volume.name));
    }
    serde_json::from_value(source.into()).map(|one| vec![one]).map_err(|error| error.to_string())
}

type Data = std::collections::BTreeMap<String, Vec<u8>>;

fn write_keys(
    into: &Path,
    data: Option<Data>,
    items: Option<&[KeyToPath]>,
    what: (&str, &str, bool),
) -> Result<(), String> {
    let (kind, name, optional) = what;
    let Some(data) = data else {
        return if optional { Ok(()) } else { Err(format!("{kind} {name:?} not found")) };
    };
    match items {
        None => data.iter().try_for_each(|(key, value)| write(into, key, value)),
        Some(items) => items.iter().try_for_each(|item| match data.get(&item.key) {
            Some(value) => write(into, &item.path, value),
            None if optional => Ok(()),
            None => Err(format!("{kind} references non-existent config key: {}", item.key)),
        }),
    }
}

fn write(into: &Path, path: &str, bytes: &[u8]) -> Result<(), String> {
    if Path::new(path).components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(format!("path {path:?} must stay inside the volume"));
    }
    let path = into.join(path);
    let parent = path.parent().unwrap_or(into);
    // A reader sees the old content or the new, never a part.
    let mut name = std::ffi::OsString::from("..");
    name.push(path.file_name().unwrap_or_default());
    let fresh = path.with_file_name(name);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(&fresh, bytes));
    let written = written.and_then(|()| fs::rename(&fresh, &path));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_is_made_and_never_leads_out_of_its_volume() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("link")).unwrap();
        assert!(beneath(volume.clone(), "a/b").unwrap().is_dir());
        assert!(beneath(volume.clone(), "a/b").is_ok(), "it is there already");
        for below in ["..", "a/../../x", "/etc", "link", "link/x"] {
            assert!(beneath(volume.clone(), below).is_err(), "{below}");
        }
    }
}
