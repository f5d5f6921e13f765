//! The control plane's parts: API server, registry, bootstrap objects, scheduler and controllers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use amphipod_net::{Cidrs, Network};
use amphipod_server::authn::{Authenticators, ServiceAccountTokens, StaticTokens};
use amphipod_server::authz::{Rbac, follow};
use amphipod_server::certificates::Certificates;
use amphipod_server::seams::Identity;
use amphipod_server::serve::{self, Transport};
use amphipod_server::tokens::{BoundInStore, TokenIssuer};
use amphipod_server::{Options, Server, admission, bootstrap};
use amphipod_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Settings, address};
use crate::keyring::Keyring;
use crate::relay::LocalRelay;

/// Who issues this cluster's service account tokens.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const DEFAULT_REGISTRY_PORT: u16 = 5_000;
const GRACE: Duration = Duration::from_secs(2);

pub type Parts = JoinSet<anyhow::Result<()>>;

/// What the server is made from.
pub struct Parent<'a> {
    pub settings: &'a Settings,
    pub store: Arc<dyn Store>,
    pub certificates: Arc<Certificates>,
    pub relay: Arc<LocalRelay>,
}

pub struct Control {
    pub server: Server,
    pub rbac: Arc<Rbac>,
}

/// The API server over the store, with every way to authenticate, RBAC, and the chain of admission.
pub async fn server(parent: Parent<'_>, networks: &Cidrs) -> anyhow::Result<Control> {
    let bound = Arc::new(BoundInStore::new(parent.store.clone()).await?);
    let issuer = TokenIssuer::new(parent.certificates.service_account_key_pem(), ISSUER, Vec::new(), bound)?;
    let issuer = Arc::new(issuer);
    let authenticators = Authenticators {
        static_tokens: StaticTokens::default(),
        service_accounts: ServiceAccountTokens::new(issuer.clone()),
        bootstrap_tokens: None,
    };
    let rbac = Arc::new(Rbac::default());
    let mut options = Options::new(parent.store.clone(), rbac.clone());
    options.authenticators = vec![Arc::new(authenticators)];
    options.admission = admission::chain(admission::Settings {
        service_cidr: (networks.service.nth(0).expect("a network has addresses"), networks.service.size()),
        node_ports: parent.settings.node_ports,
    });
    options.sealer = Some(Arc::new(Keyring::open(&parent.settings.data.folder("server/cred")?)?));
    options.relay = Some(parent.relay);
    options.tokens = Some(issuer);
    Ok(Control { server: Server::new(options).await?, rbac })
}
