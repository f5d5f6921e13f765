//! Gives each namespace its `default` ServiceAccount and the ConfigMap with the cluster's root certificate.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};

use crate::context::{Context, follow, found};
use crate::pods::is_terminating;
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 4;
const ROOT_CA: &str = "kube-root-ca.crt";

struct Furniture {
    context: Context,
    root_ca: String,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
    maps: Informer<ConfigMap>,
}

/// `root_ca` is the PEM text that pods trust the API by.
pub async fn run(context: Context, root_ca: String) {
    let namespaces = context.informers.of::<Namespace>();
    let accounts = context.informers.of::<ServiceAccount>();
    let maps = context.informers.named::<ConfigMap>(ROOT_CA);
    tokio::join!(namespaces.synced(), accounts.synced(), maps.synced());
    let this = Arc::new(Furniture {
        context,
        root_ca,
        namespaces: namespaces.clone(),
        accounts: accounts.clone(),
        maps: maps.clone(),
    });
    let queue = Queue::new("serviceaccount");
    let of_account = |account: &ServiceAccount| {
        if account.name_any() == "default" {
            queue.add(account.namespace().unwrap_or_default());
        }
    };
    tokio::join!(
        follow(namespaces, |namespace| queue.add(namespace.name_any())),
        follow(accounts, of_account),
        follow(maps, |map| queue.add(map.namespace().unwrap_or_default())),
        queue.clone().work(WORKERS, this),
    );
}

impl Reconcile<String> for Furniture {
    type Error = kube::Error;

    async fn reconcile(&self, namespace: &String) -> kube::Result<Option<Duration>> {
        let live = self.namespaces.get("", namespace).filter(|live| !is_terminating(&live.metadata));
        if live.is_none() {
            return Ok(None);
        }
        let meta = |name: &str| ObjectMeta {
            name: Some(name.into()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        };
        if self.accounts.get(namespace, "default").is_none() {
            let api: Api<ServiceAccount> = self.context.namespaced(namespace);
            let account = ServiceAccount { metadata: meta("default"), ..ServiceAccount::default() };
            created(api.create(&PostParams::default(), &account).await)?;
        }
        let data = [("ca.crt".to_owned(), self.root_ca.clone())].into();
        let api: Api<ConfigMap> = self.context.namespaced(namespace);
        match self.maps.get(namespace, ROOT_CA) {
            Some(map) if map.data.as_ref() == Some(&data) => {}
            Some(_) => {
                let patch = Patch::Merge(serde_json::json!({ "data": data }));
                found(api.patch(ROOT_CA, &PatchParams::default(), &patch).await)?;
            }
            None => {
                let map = ConfigMap { metadata: meta(ROOT_CA), data: Some(data), ..ConfigMap::default() };
                created(api.create(&PostParams::default(), &map).await)?;
            }
        }
        Ok(None)
    }
}

/// Being there already is as good as being created.
fn created<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}
