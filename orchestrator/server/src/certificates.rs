//! The cluster's certificates and keys: made on first start, loaded after, leaves renewed in time. Issuing is in
//! `certificates/issue.rs`, files in `certificates/files.rs`, kubeconfigs in `certificates/kubeconfig.rs`;
//! who a client certificate stands for is read in `authn/certificate.rs`.
//!
//! ```text
//!  tls/ ca.{crt,key}            signs everything below; ten years
//!       serving.{crt,key}       the API's own; a year, renewed 30 days before its end or when the names change
//!       service-account.key     ES256, signs service account tokens
//!       front-proxy-ca.{crt,key}, front-proxy-client.{crt,key}   this server towards aggregated APIs
//!       clients/NAME.{crt,key}  kept client certificates (the administrator, in-process parts, nodes)
//! ```

pub mod files;
mod issue;
pub mod kubeconfig;
mod tls;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use rcgen::{Issuer, KeyPair};
use sha2::{Digest, Sha256};

pub(crate) use issue::subject;
pub use issue::{Usage, request_subject};
pub use kubeconfig::{Context, kubeconfig, kubeconfig_path, merge_kubeconfig, write_kubeconfig};

/// How long a certificate authority lives.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// How long a serving or client certificate lives.
pub const LEAF_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// A leaf with less than this left is issued again.
pub const RENEW_BEFORE: Duration = Duration::from_secs(30 * 86_400);

/// Whom aggregated API servers know this server as.
pub const FRONT_PROXY_USER: &str = "system:front-proxy-client";

/// Why certificates could not be made or read. None is worth a retry: the operator must act.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot {what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is not what it should be: {problem}")]
    Malformed { path: PathBuf, problem: String },
    #[error("cannot issue a certificate for {subject}")]
    Issue {
        subject: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("a certificate carries at most {max} groups, {given} are asked for")]
    TooManyGroups { given: usize, max: usize },
    #[error("the certificate request cannot be signed: {0}")]
    Request(String),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error(
        "{0} exists: another program is writing the kubeconfig, or one was killed while doing so; remove it if none is"
    )]
    Locked(PathBuf),
}

/// The names and addresses under which clients reach this server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sans {
    pub names: BTreeSet<String>,
    pub addresses: BTreeSet<IpAddr>,
}

impl Sans {
    /// What every server answers to, with its host name, the address of Service `kubernetes` and the operator's extras.
    pub fn new(hostname: &str, service: IpAddr, extra: &[String]) -> Self {
        let fixed = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let mut sans = Self::default();
        for name in fixed.into_iter().chain([hostname, "127.0.0.1", "::1"]).chain(extra.iter().map(String::as_str)) {
            sans.add(name);
        }
        sans.addresses.insert(service);
        sans
    }

    fn add(&mut self, name: &str) {
        match name.parse() {
            Ok(address) => _ = self.addresses.insert(address),
            Err(_) if name.is_empty() => {}
            Err(_) => _ = self.names.insert(name.to_ascii_lowercase()),
        }
    }
}

/// Whom a client certificate stands for: CN is the user, each O a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub user: String,
    /// At most [`issue::GROUPS_MAX`].
    pub groups: Vec<String>,
}

impl Subject {
    pub fn new(user: &str, groups: &[&str]) -> Self {
        Self { user: user.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }
}

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The part that gives clients their certificates; it needs the authority's key and nothing else.
pub struct Clients {
    directory: PathBuf,
    authority: Authority,
}

impl Clients {
    /// The authority of a cluster that was started before; nothing is made here.
    pub fn open(directory: &Path) -> Result<Self, CertificateError> {
        let (certificate_path, key_path) = paths(directory, "ca");
        if files::read_pair(&certificate_path, &key_path)?.is_none() {
            let problem = "there is no authority: no cluster was started here".to_owned();
            return Err(CertificateError::Malformed { path: certificate_path, problem });
        }
        Ok(Self { directory: directory.to_owned(), authority: Authority::open(directory, "ca", Timestamp::now())? })
    }

    /// The cluster's authority: what a kubeconfig and ConfigMap `kube-root-ca.crt` carry.
    pub fn authority_pem(&self) -> &str {
        &self.authority.pem
    }

    /// A new client certificate that is written nowhere.
    pub fn client(&self, subject: &Subject, now: Timestamp) -> Result<Pair, CertificateError> {
        issue::leaf(&self.authority.issuer, Leaf::Client(subject), now)
    }

    /// The client certificate kept as `clients/NAME.{crt,key}`; the same one until it is about to end or the subject changes.
    pub fn kept_client(&self, name: &str, subject: &Subject, now: Timestamp) -> Result<Pair, CertificateError> {
        let directory = self.directory.join("clients");
        files::private_directory(&directory)?;
        self.authority.leaf(&directory, name, Leaf::Client(subject), now)
    }
}

/// Everything this server proves itself and others with.
pub struct Certificates {
    sans: Sans,
    clients: Clients,
    front_proxy: Authority,
    front_proxy_client: Pair,
    service_account_key: String,
    serving: Arc<ArcSwap<rustls::sign::CertifiedKey>>,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Creates what is missing under `directory` (mode 0700, keys 0600), loads the rest, renews what is about to end.
    pub fn open(directory: &Path, sans: Sans) -> Result<Self, CertificateError> {
        Self::open_at(directory, sans, Timestamp::now())
    }

    /// [`Certificates::open`] at a given time.
    pub fn open_at(directory: &Path, sans: Sans, now: Timestamp) -> Result<Self, CertificateError> {
        files::private_directory(directory)?;
        let authority = Authority::open(directory, "ca", now)?;
        let front_proxy = Authority::open(directory, "front-proxy-ca", now)?;
        let client = Subject::new(FRONT_PROXY_USER, &[]);
        let front_proxy_client = front_proxy.leaf(directory, "front-proxy-client", Leaf::Client(&client), now)?;
        let serving = authority.leaf(directory, "serving", Leaf::Server(&sans), now)?;
        Ok(Self {
            service_account_key: files::kept(&directory.join("service-account.key"), issue::key)?,
            serving: Arc::new(ArcSwap::from_pointee(tls::certified(&serving)?)),
            sans,
            clients: Clients { directory: directory.to_owned(), authority },
            front_proxy,
            front_proxy_client,
        })
    }

    /// Issues the serving certificate again if it is about to end; connections made from now on see it.
    /// Call it daily.
    pub fn renew(&self, now: Timestamp) -> Result<(), CertificateError> {
        let serving = self.clients.authority.leaf(&self.clients.directory, "serving", Leaf::Server(&self.sans), now)?;
        self.serving.store(Arc::new(tls::certified(&serving)?));
        Ok(())
    }

    pub fn authority_pem(&self) -> &str {
        self.clients.authority_pem()
    }

    /// SHA-256 of the authority's DER, in hex: what a join token pins.
    pub fn authority_hash(&self) -> String {
        let der = tls::der(self.authority_pem()).expect("an opened authority is a certificate");
        Sha256::digest(&der).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// PKCS#8 PEM of the P-256 key that signs service account tokens.
    pub fn service_account_key_pem(&self) -> &str {
        &self.service_account_key
    }

    /// The authority that aggregated APIs trust (`requestheader-client-ca-file`).
    pub fn front_proxy_authority_pem(&self) -> &str {
        &self.front_proxy.pem
    }

    /// What this server shows to aggregated APIs.
    pub fn front_proxy_client(&self) -> &Pair {
        &self.front_proxy_client
    }

    /// Client certificates.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Signs a PEM certificate request with the subject and names that it asks for; whether it may have them was
    /// decided before (approval). `life` is cut to [`LEAF_LIFE`].
    pub fn sign_request(
        &self,
        request: &str,
        usage: Usage,
        life: Duration,
        now: Timestamp,
    ) -> Result<String, CertificateError> {
        issue::request(&self.clients.authority.issuer, request, usage, (now, life.min(LEAF_LIFE)))
    }

    /// TLS for the API's listener: HTTP/2 and 1.1, client certificates optional, sessions resumed.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, CertificateError> {
        tls::server_config(self.authority_pem(), self.serving.clone())
    }
}

/// What a leaf is for.
#[derive(Clone, Copy)]
enum Leaf<'a> {
    Server(&'a Sans),
    Client(&'a Subject),
}

impl Authority {
    /// The certificate is written last: a start that was cut off between the two begins again.
    fn open(directory: &Path, name: &str, now: Timestamp) -> Result<Self, CertificateError> {
        let (certificate_path, key_path) = paths(directory, name);
        let pair = match files::read_pair(&certificate_path, &key_path)? {
            Some(pair) => pair,
            None => {
                let pair = issue::authority(&format!("amphipod-{name}@{}", now.as_second()), now)?;
                files::write_pair(&certificate_path, &key_path, &pair)?;
                pair
            }
        };
        let malformed = |problem: String| CertificateError::Malformed { path: certificate_path.clone(), problem };
        if !issue::belongs(&pair) {
            return Err(malformed(format!("its key is not the one in {}", key_path.display())));
        }
        let key = KeyPair::from_pem(&pair.key).map_err(|error| malformed(error.to_string()))?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { pem: pair.certificate, issuer })
    }

    fn leaf(&self, directory: &Path, name: &str, leaf: Leaf<'_>, now: Timestamp) -> Result<Pair, CertificateError> {
        let (certificate_path, key_path) = paths(directory, name);
        if let Some(pair) = files::read_pair(&certificate_path, &key_path)?
            && issue::still_good(&pair, &self.pem, leaf, now)
        {
            return Ok(pair);
        }
        let pair = issue::leaf(&self.issuer, leaf, now)?;
        files::write_pair(&certificate_path, &key_path, &pair)?;
        Ok(pair)
    }
}

fn paths(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")))
}

#[cfg(test)]
mod tests;
