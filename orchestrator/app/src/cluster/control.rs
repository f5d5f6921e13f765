//! The control plane's parts: API server, registry, bootstrap objects, scheduler and controllers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use amphipod_api::events::{Recorder, Reporter};
use amphipod_server::admission::resource_quota::keeper;
use amphipod_server::admission::{self, QuotaNews, ServiceRanges};
use amphipod_server::authn::{Authenticators, ServiceAccountTokens, StaticTokens};
use amphipod_server::authz::{Rbac, follow};
use amphipod_server::certificates::Certificates;
use amphipod_server::seams::Identity;
use amphipod_server::serve::{self, Transport};
use amphipod_server::tokens::{BoundInStore, DEFAULT_ISSUER, TokenIssuer};
use amphipod_server::{Options, Server, bootstrap};
use amphipod_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::address::{self, Networks};
use crate::keyring::KeyFile;
use crate::relay::LocalRelay;

pub const DEFAULT_REGISTRY_PORT: u16 = 5_000;
/// How long running requests may go on once the cluster ends.
const GRACE: Duration = Duration::from_secs(1);

/// Tasks that live as long as the cluster.
pub struct Parts {
    pub tasks: JoinSet<anyhow::Result<()>>,
    pub shutdown: CancellationToken,
}

impl Parts {
    /// Runs a part until it ends or the cluster does.
    pub fn run(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = part => anyhow::ensure!(shutdown.is_cancelled(), "a part of the cluster ended by itself"),
                () = shutdown.cancelled() => {}
            }
            Ok(())
        });
    }
}

/// What the server is made from.
pub struct Parent<'a> {
    pub settings: &'a Settings,
    pub store: Arc<dyn Store>,
    pub certificates: Arc<Certificates>,
    pub relay: Arc<LocalRelay>,
    pub networks: &'a Networks,
}

/// The API server over the store, with every way to authenticate, RBAC, and the chain of admission.
pub async fn server(parent: Parent<'_>, parts: &mut Parts) -> anyhow::Result<(Server, Arc<Rbac>)> {
    let bound = Arc::new(BoundInStore::new(parent.store.clone()).await?);
    let key = parent.certificates.service_account_key_pem();
    let issuer = Arc::new(TokenIssuer::new(key, DEFAULT_ISSUER, Vec::new(), bound)?);
    let authenticators = Authenticators {
        static_tokens: StaticTokens::default(),
        service_accounts: ServiceAccountTokens::new(issuer.clone()),
        bootstrap_tokens: None,
    };
    let rbac = Arc::new(Rbac::default());
    let quotas = QuotaNews::default();
    let mut options = Options::new(parent.store.clone(), rbac.clone());
    options.authenticators = vec![Arc::new(authenticators)];
    options.admission = admission::chain(ranges(&parent), quotas.clone());
    let keys = Arc::new(KeyFile::open(&parent.settings.data.folder("server/cred")?, jiff::Timestamp::now())?);
    parts.run(keys.clone().keep());
    options.sealer = Some(keys.ring.clone());
    options.keys = Some(keys);
    options.relay = Some(parent.relay);
    options.tokens = Some(issuer);
    options.metrics = Some(metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?);
    let server = Server::new(options).await?;
    parts.run(keeper::keep(server.clone(), quotas));
    Ok((server, rbac))
}

/// Makes what exists in a fresh cluster (namespaces, roles, the Service of the API itself), then reads the policy and
/// the custom kinds: nobody but this program is served before.
pub async fn bootstrap(
    (server, rbac): (&Server, Arc<Rbac>),
    store: Arc<dyn Store>,
    settings: &bootstrap::Settings,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    bootstrap::ensure(&server.client(Identity::system_masters()), settings).await?;
    let (ready, mut is_ready) = watch::channel(false);
    let frames = server.clone();
    parts.run(follow::follow(rbac, store, Arc::new(move |object| frames.frame(object)), ready));
    is_ready.wait_for(|ready| *ready).await?;
    let (ready, mut is_ready) = watch::channel(false);
    parts.run(amphipod_server::custom::follow::follow(server.clone(), ready));
    is_ready.wait_for(|ready| *ready).await?;
    Ok(())
}

fn ranges(parent: &Parent<'_>) -> ServiceRanges {
    let (low, high) = parent.settings.node_ports;
    ServiceRanges {
        network: parent.networks.service.first(),
        prefix_length: parent.networks.service.prefix(),
        node_ports: low..=high,
    }
}

/// Answers on every listener until the cluster ends.
pub fn serve(
    server: &Server,
    listeners: Vec<TcpListener>,
    certificates: &Certificates,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    let tls = certificates.server_config()?;
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let limits = serve::Limits { grace: GRACE, ..serve::Limits::default() };
        let serving =
            serve::serve(listener, Transport::Tls(tls.clone()), server.router(), (limits, parts.shutdown.clone()));
        parts.tasks.spawn(async move {
            serving.await;
            Ok(())
        });
    }
    Ok(())
}

/// The built-in image registry: the asked port, else 5000, else any free one.
pub async fn registry(settings: &Settings, parts: &mut Parts) -> anyhow::Result<Option<SocketAddr>> {
    if !settings.enabled("registry") {
        return Ok(None);
    }
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = match settings.registry_port {
        Some(port) => address::listen(at(port), "--registry-port")?,
        None => address::listen(at(DEFAULT_REGISTRY_PORT), "--registry-port")
            .or_else(|_| address::listen(at(0), "--registry-port"))?,
    };
    let bound = listener.local_addr()?;
    let registry =
        amphipod_registry::Registry::open(&settings.data.folder("registry")?, amphipod_registry::Policy::Open).await?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let limits = serve::Limits { grace: GRACE, ..serve::Limits::default() };
    let serving = serve::serve(listener, Transport::Plain, registry.router(), (limits, parts.shutdown.clone()));
    parts.tasks.spawn(async move {
        serving.await;
        Ok(())
    });
    Ok(Some(bound))
}

/// Scheduler and controllers, each with its own identity, reading from one set of informers.
pub fn start_loops(server: &Server, settings: &Settings, certificates: &Certificates, parts: &mut Parts) -> Informers {
    let identity = |user: &str| Identity::new(user, &["system:authenticated"]);
    let informers = Informers::new(server.source(Identity::system_masters()));
    let reporter = |component: &str| Reporter { component: component.to_owned(), instance: String::new() };
    let clock: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync> = Arc::new(jiff::Timestamp::now);
    if settings.enabled("scheduler") {
        let client = server.client(identity("system:kube-scheduler"));
        let recorder = Recorder::start(client.clone(), reporter(amphipod_scheduler::NAME));
        parts.run(amphipod_scheduler::run(client, informers.clone(), recorder, clock.clone()));
    }
    if settings.enabled("controllers") {
        let client = server.client(identity("system:kube-controller-manager"));
        let options = amphipod_controllers::Options { clock, root_ca: certificates.authority_pem().to_owned() };
        parts.run(amphipod_controllers::run(client, informers.clone(), options));
    }
    informers
}
