//! The client's side: which cluster a command talks to (kubectl's rules), and how a manifest's kind becomes a URL.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::discovery::{self, Scope};

use crate::failure::refuse;

/// Flags that every client command has.
#[derive(Args, Clone)]
pub struct Target {
    /// Kubeconfig file (else $KUBECONFIG, else ~/.kube/config)
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Namespace (else the context's, else `default`)
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
}

/// A connected client and the namespace it works in.
pub struct Connection {
    pub client: kube::Client,
    pub namespace: String,
}

impl Target {
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let kubeconfig = kubeconfig.map_err(|error| refuse(format!("cannot read the kubeconfig: {error}")))?;
        let options = KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| refuse(format!("the kubeconfig names no usable cluster: {error}")))?;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = kube::Client::try_from(config).context("cannot make a client of the kubeconfig")?;
        Ok(Connection { client, namespace })
    }
}

/// A kind as the server names it.
pub struct Resource {
    pub api: ApiResource,
    pub scope: Scope,
}

impl Connection {
    /// The resource of a manifest's `apiVersion` and `kind`.
    pub async fn by_kind(&self, kind: &GroupVersionKind) -> anyhow::Result<Resource> {
        let found = discovery::pinned_kind(&self.client, kind).await;
        let (api, capabilities) = found.map_err(|error| {
            let version = kind.api_version();
            let unknown = format!("no matches for kind {:?} in version {version:?}", kind.kind);
            anyhow::Error::new(error).context(unknown)
        })?;
        Ok(Resource { api, scope: capabilities.scope })
    }

    /// The resource that a word on the command line means: plural, singular, short name or kind.
    pub async fn by_word(&self, word: &str) -> anyhow::Result<Resource> {
        let groups = self.client.list_core_api_versions().await.context("cannot ask the server")?;
        let mut lists = Vec::new();
        for version in groups.versions {
            lists.push((String::new(), version.clone(), self.client.list_core_api_resources(&version).await?));
        }
        for group in self.client.list_api_groups().await?.groups {
            let Some(version) = group.preferred_version.or_else(|| group.versions.first().cloned()) else { continue };
            let resources = self.client.list_api_group_resources(&version.group_version).await?;
            lists.push((group.name, version.version, resources));
        }
        let word = word.to_lowercase();
        for (group, version, list) in lists {
            let named =
                list.resources.iter().find(|resource| !resource.name.contains('/') && answers_to(resource, &word));
            let Some(resource) = named else { continue };
            let kind = GroupVersionKind::gvk(&group, &version, &resource.kind);
            let api = ApiResource::from_gvk_with_plural(&kind, &resource.name);
            let scope = if resource.namespaced { Scope::Namespaced } else { Scope::Cluster };
            return Ok(Resource { api, scope });
        }
        anyhow::bail!("the server doesn't have a resource type {word:?}")
    }

    /// The API of a resource; `namespace` counts only for namespaced ones.
    pub fn api(&self, resource: &Resource, namespace: Option<&str>) -> kube::Api<DynamicObject> {
        match resource.scope {
            Scope::Cluster => kube::Api::all_with(self.client.clone(), &resource.api),
            Scope::Namespaced => {
                let namespace = namespace.unwrap_or(&self.namespace);
                kube::Api::namespaced_with(self.client.clone(), namespace, &resource.api)
            }
        }
    }
}

fn answers_to(resource: &k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource, word: &str) -> bool {
    resource.name == word
        || resource.singular_name == word
        || resource.kind.to_lowercase() == word
        || resource.short_names.iter().flatten().any(|short| short == word)
}
