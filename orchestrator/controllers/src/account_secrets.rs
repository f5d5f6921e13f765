//! When a ServiceAccount goes, the Secrets that carry its tokens go too. They are filled by the server's admission.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::{Change, Informer};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, ListParams};

use crate::context::{Context, delete};
use crate::queue::{Queue, Reconcile};

const WORKERS: usize = 2;
const TYPE: &str = "type=kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// An account that is gone: namespace, name, uid.
type Gone = (String, String, String);

struct Secrets {
    context: Context,
    accounts: Informer<ServiceAccount>,
}

pub async fn run(context: Context) {
    let accounts = context.informers.of::<ServiceAccount>();
    let queue: Queue<Gone> = Queue::new("serviceaccount_tokens_secret");
    let this = Arc::new(Secrets { context, accounts: accounts.clone() });
    let watch = async {
        let mut changes = accounts.subscribe();
        while let Some(change) = changes.next().await {
            if let Change::Deleted(account) = change {
                let uid = account.uid().unwrap_or_default();
                queue.add((account.namespace().unwrap_or_default(), account.name_any(), uid));
            }
        }
    };
    tokio::join!(watch, queue.clone().work(WORKERS, this));
}

impl Reconcile<Gone> for Secrets {
    type Error = kube::Error;

    async fn reconcile(&self, (namespace, name, uid): &Gone) -> kube::Result<Option<Duration>> {
        if self.accounts.get(namespace, name).is_some_and(|account| account.uid().as_deref() == Some(uid.as_str())) {
            return Ok(None);
        }
        let api: Api<Secret> = self.context.namespaced(namespace);
        for secret in api.list(&ListParams::default().fields(TYPE)).await? {
            let of = |annotation: &str| secret.annotations().get(annotation).map(String::as_str);
            if of(NAME) == Some(name.as_str()) && of(UID) == Some(uid.as_str()) {
                delete(&api, &secret.name_any(), secret.uid()).await?;
            }
        }
        Ok(None)
    }
}
