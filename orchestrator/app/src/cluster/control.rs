//! The control plane's parts: API server, registry, bootstrap objects, scheduler and controllers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informers;
use amphipod_api::events::{Recorder, Reporter};
use amphipod_api::leader::{Candidate, Terms};
use amphipod_controllers::{SignRequests, Usage};
use amphipod_server::admission::resource_quota::keeper;
use amphipod_server::admission::{self, QuotaNews, ServiceRanges};
use amphipod_server::audit::Audit;
use amphipod_server::audit::webhook::Webhook;
use amphipod_server::authn::{Authenticators, BootstrapTokens, ServiceAccountTokens};
use amphipod_server::authz::nodes::Feed;
use amphipod_server::authz::{Authorizers, Nodes, Rbac, follow};
use amphipod_server::bootstrap::node_rules;
use amphipod_server::certificates::{self, Certificates, LEAF_LIFE};
use amphipod_server::seams::{Identity, Sealer};
use amphipod_server::serve::{self, Transport};
use amphipod_server::tokens::{BoundInStore, TokenIssuer};
use amphipod_server::{Options, Server, bootstrap, measure};
use amphipod_store::Store;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::address::{self, Networks};
use crate::access::AuditParts;
use crate::failure::refuse;
use crate::keyring::KeyFile;
use crate::relay::LocalRelay;

pub const DEFAULT_REGISTRY_PORT: u16 = 5_000;
/// How long running requests may go on once the cluster ends.
const GRACE: Duration = Duration::from_secs(1);
/// What the Node authorizer has not taken in is never older than this, so that a node's question is quick.
const GRAPH_PERIOD: Duration = Duration::from_secs(1);
/// How often what was measured is added up: until then each measurement takes memory.
const METRICS_PERIOD: Duration = Duration::from_secs(5);
/// How often the serving certificate is looked at.
const RENEW_PERIOD: Duration = Duration::from_secs(3_600);
/// Shorter lives are not issued.
const LIFE_SECONDS_MIN: u64 = 600;

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

    /// Runs a part wherever this server leads; at the end it lets another one lead at once.
    pub fn lead<W>(&mut self, candidate: Candidate, work: impl FnMut() -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            candidate.lead(work, shutdown.clone().cancelled_owned()).await;
            anyhow::ensure!(shutdown.is_cancelled(), "a part of the cluster ended by itself");
            Ok(())
        });
    }
}

/// One of the servers that could do this part's work, named after its node.
fn candidate(lease: &'static str, (client, recorder): (&kube::Client, &Recorder), node: &str) -> Candidate {
    let (client, recorder, identity) = (client.clone(), recorder.clone(), node.to_owned());
    Candidate { client, recorder, lease, identity, terms: Terms::default() }
}

/// What the server is made from.
pub struct Parent<'a> {
    pub settings: &'a Settings,
    pub store: Arc<dyn Store>,
    pub certificates: Arc<Certificates>,
    pub relay: Arc<LocalRelay>,
    pub networks: &'a Networks,
    pub audit: Option<Arc<Audit>>,
    /// Where clients of this machine reach the API.
    pub url: &'a str,
}

/// The API server over the store, with every way to authenticate, the authorizers, and the chain of admission.
pub async fn server(parent: Parent<'_>, parts: &mut Parts) -> anyhow::Result<(Server, Arc<Authorizers>)> {
    let access = &parent.settings.access;
    let keys = Arc::new(KeyFile::open(&parent.settings.data.folder("server/cred")?, jiff::Timestamp::now())?);
    parts.run(keys.clone().keep());
    let sealer: Arc<dyn Sealer> = keys.ring.clone();
    let bound = Arc::new(BoundInStore::new(parent.store.clone(), Some(sealer.clone())).await?);
    let issuer = Arc::new(issuer(&parent, bound.clone())?);
    let nodes = Nodes::new(Feed::new(parent.store.clone()).await?, node_rules());
    let authorizers = Arc::new(Authorizers { nodes: Arc::new(nodes), rbac: Arc::new(Rbac::default()) });
    let mut options = Options::new(parent.store.clone(), authorizers.clone());
    if let Some(oidc) = &access.oidc {
        options.authenticators.push(oidc.clone());
    }
    options.authenticators.push(Arc::new(Authenticators {
        static_tokens: access.static_tokens.clone(),
        service_accounts: ServiceAccountTokens::new(issuer.clone()),
        bootstrap_tokens: Some(BootstrapTokens { read: Arc::new(move |name: &str| bound.secret("kube-system", name)) }),
    }));
    let quotas = QuotaNews::default();
    options.keys = Some(keys);
    let plug_ins = admission::Parts {
        ranges: ranges(&parent),
        quotas: quotas.clone(),
        rbac: authorizers.rbac.clone(),
        authorizer: authorizers.clone(),
        tokens: issuer.clone(),
        root_ca: parent.certificates.authority_pem().to_owned(),
    };
    options.admission = admission::chain(plug_ins, &access.without_plug_ins);
    options.sealer = Some(sealer);
    options.relay = Some(parent.relay);
    let front_proxy = parent.certificates.front_proxy_client();
    options.front_proxy = Some((front_proxy.certificate.clone(), front_proxy.key.clone()));
    options.pages = issuer.pages();
    options.tokens = Some(issuer);
    options.limits = access.limits();
    options.audit = parent.audit;
    let metrics = measure::recorder()?.install_recorder()?;
    options.metrics = Some(metrics.clone());
    parts.run(async move {
        let mut period = tokio::time::interval(METRICS_PERIOD);
        loop {
            period.tick().await;
            metrics.run_upkeep();
        }
    });
    let server = Server::new(options).await?;
    parts.run(keeper::keep(server.clone(), quotas));
    Ok((server, authorizers))
}

fn issuer(parent: &Parent<'_>, bound: Arc<BoundInStore>) -> anyhow::Result<TokenIssuer> {
    let access = &parent.settings.access;
    let key = parent.certificates.service_account_key_pem();
    let issuer = TokenIssuer::new(key, &access.issuer, Vec::new(), bound)?;
    let address = access.key_set_address.clone().unwrap_or_else(|| format!("{}/openid/v1/jwks", parent.url));
    let issuer = issuer.with_key_set_at(address);
    Ok(match access.token_seconds_max {
        Some(seconds) => issuer.limited_to(seconds),
        None => issuer,
    })
}

/// Keeps what the server tells its audit log until the cluster ends.
pub async fn keep_audit(audit: AuditParts, parts: &mut Parts) -> anyhow::Result<()> {
    if let (Some(log), Some(events)) = (audit.log, audit.outlets.log) {
        let stop = parts.shutdown.clone();
        parts.tasks.spawn(async move {
            log.run(events, stop).await;
            Ok(())
        });
    }
    if let (Some((kubeconfig, options)), Some(events)) = (audit.webhook, audit.outlets.webhook) {
        let webhook = Webhook::new(&kubeconfig, options).await;
        let webhook = webhook
            .map_err(|error| refuse(format!("--audit-webhook-config-file: {}", amphipod_api::answer::chain(&error))))?;
        let stop = parts.shutdown.clone();
        parts.tasks.spawn(async move {
            webhook.run(events, stop).await;
            Ok(())
        });
    }
    Ok(())
}

/// Makes what exists in a fresh cluster (namespaces, roles, the Service of the API itself), then reads the policy and
/// the custom kinds: nobody but this program is served before.
pub async fn bootstrap(
    (server, authorizers): (&Server, Arc<Authorizers>),
    store: Arc<dyn Store>,
    settings: &bootstrap::Settings,
    parts: &mut Parts,
) -> anyhow::Result<()> {
    bootstrap::ensure(&server.client(Identity::system_masters()), settings).await?;
    let (ready, mut is_ready) = watch::channel(false);
    let frames = server.clone();
    let rbac = authorizers.rbac.clone();
    parts.run(follow::follow(rbac, store, Arc::new(move |object| frames.frame(object)), ready));
    parts.run(async move {
        let mut period = tokio::time::interval(GRAPH_PERIOD);
        loop {
            period.tick().await;
            authorizers.nodes.catch_up();
        }
    });
    is_ready.wait_for(|ready| *ready).await?;
    let (ready, mut is_ready) = watch::channel(false);
    parts.run(amphipod_server::custom::follow::follow(server.clone(), ready));
    is_ready.wait_for(|ready| *ready).await?;
    let (ready, mut is_ready) = watch::channel(false);
    parts.run(amphipod_server::aggregation::follow::follow(server.clone(), ready));
    is_ready.wait_for(|ready| *ready).await?;
    parts.run(amphipod_server::admission::policies::typing::keep(server.clone()));
    Ok(())
}

/// Issues the serving certificate again before it ends; the listeners show the new one from then on.
pub fn renew(certificates: Arc<Certificates>, parts: &mut Parts) {
    parts.run(async move {
        let mut period = tokio::time::interval(RENEW_PERIOD);
        loop {
            period.tick().await;
            if let Err(error) = certificates.renew(jiff::Timestamp::now()) {
                tracing::error!(error = %amphipod_api::answer::chain(&error), "the serving certificate cannot be renewed");
            }
        }
    });
}

/// The authority as the controllers are given it.
struct Signer(Arc<Certificates>);

impl SignRequests for Signer {
    fn sign(&self, request: &str, usage: Usage, seconds: Option<u64>) -> Result<String, String> {
        let usage = match usage {
            Usage::Client => certificates::Usage::Client,
            Usage::Server => certificates::Usage::Server,
        };
        let life = seconds.map_or(LEAF_LIFE, |seconds| Duration::from_secs(seconds.max(LIFE_SECONDS_MIN)));
        let signed = self.0.sign_request(request, usage, life, jiff::Timestamp::now());
        signed.map_err(|error| amphipod_api::answer::chain(&error))
    }
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
pub fn start_loops(
    server: &Server,
    (settings, node): (&Settings, &str),
    certificates: &Arc<Certificates>,
    parts: &mut Parts,
) -> Informers {
    parts.run(amphipod_server::usage::scrape::follow(server.clone()));
    let identity = |user: &str| Identity::new(user, &["system:authenticated"]);
    let informers = Informers::new(server.source(Identity::system_masters()));
    let reporter = |component: &str| Reporter { component: component.to_owned(), instance: String::new() };
    let clock: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync> = Arc::new(jiff::Timestamp::now);
    if settings.enabled("scheduler") {
        let client = server.client(identity("system:kube-scheduler"));
        let recorder = Recorder::start(client.clone(), reporter(amphipod_scheduler::NAME));
        let options = amphipod_scheduler::Options { names: settings.scheduler_names.clone() };
        let candidate = candidate("kube-scheduler", (&client, &recorder), node);
        let (informers, clock) = (informers.clone(), clock.clone());
        let work = move || {
            let (client, informers, recorder) = (client.clone(), informers.clone(), recorder.clone());
            amphipod_scheduler::run(client, informers, recorder, clock.clone(), options.clone())
        };
        parts.lead(candidate, work);
    }
    if settings.enabled("controllers") {
        let client = server.client(identity("system:kube-controller-manager"));
        let recorder = Recorder::start(client.clone(), reporter("kube-controller-manager"));
        let candidate = candidate("kube-controller-manager", (&client, &recorder), node);
        let options = amphipod_controllers::Options {
            clock,
            root_ca: certificates.authority_pem().to_owned(),
            authority: Some(Arc::new(Signer(certificates.clone()))),
        };
        let informers = informers.clone();
        parts.lead(candidate, move || amphipod_controllers::run(client.clone(), informers.clone(), options.clone()));
    }
    informers
}
