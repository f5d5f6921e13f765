//! Flags of `up` about who may do what: tokens, the issuer of accounts' tokens, an OpenID Connect provider, the audit log,
//! limits. Named as kube-apiserver names them; files are read and checked before anything listens.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amphipod_server::admission::OPTIONAL;
use amphipod_server::audit::{self, Audit, Outlets, Policy, Wanted, log, webhook};
use amphipod_server::authn::oidc;
use amphipod_server::authn::{Oidc, StaticTokens};
use amphipod_server::limits::{Limits, REQUESTS_MAX, REQUESTS_PER_USER_MAX};
use amphipod_server::tokens::DEFAULT_ISSUER;
use clap::Args;

use crate::failure::refuse;

/// Every request is kept, no body: what is done when no policy file is named.
const DEFAULT_POLICY: &str = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";

#[derive(Args, Clone)]
#[command(next_help_heading = "Access")]
pub struct Flags {
    /// Static tokens, one `token,user,uid,"group1,group2"` a line
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Issuer of service accounts' tokens
    #[arg(long, value_name = "URL", default_value = DEFAULT_ISSUER)]
    pub service_account_issuer: String,
    /// Where others fetch the issuer's keys (default: the API server's own address)
    #[arg(long, value_name = "URL")]
    pub service_account_jwks_uri: Option<String>,
    /// Longest life of a token that may be asked for
    #[arg(long, value_name = "SECONDS")]
    pub service_account_max_token_expiration: Option<i64>,
    /// Requests served at once in all; more are answered 429
    #[arg(long, value_name = "N", default_value_t = REQUESTS_MAX)]
    pub max_requests_inflight: usize,
    /// Requests served at once for one user; more are answered 429
    #[arg(long, value_name = "N", default_value_t = REQUESTS_PER_USER_MAX)]
    pub max_requests_per_user: usize,
    /// Admission plug-ins to do without, by kube-apiserver's names
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    #[command(flatten)]
    pub oidc: OidcFlags,
    #[command(flatten)]
    pub audit: AuditFlags,
}

#[derive(Args, Clone)]
#[command(next_help_heading = "OpenID Connect")]
pub struct OidcFlags {
    /// OpenID Connect provider whose ID tokens let users in
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    pub oidc_issuer_url: Option<String>,
    /// Audience that the tokens must be for
    #[arg(long, value_name = "ID", requires = "oidc_issuer_url")]
    pub oidc_client_id: Option<String>,
    /// Claim that names the user
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    pub oidc_username_claim: String,
    /// Before the user's name; `-` for none (default: the issuer and #, none for the claim email)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub oidc_username_prefix: Option<String>,
    /// Claim that names the user's groups
    #[arg(long, value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,
    /// Before each group's name
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub oidc_groups_prefix: String,
    /// Claim that must have this value; may be repeated
    #[arg(long, value_name = "CLAIM=VALUE")]
    pub oidc_required_claim: Vec<String>,
    /// Accepted signatures
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "RS256")]
    pub oidc_signing_algs: Vec<String>,
    /// Authority that the provider's certificate is trusted by (default: this system's)
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,
}

#[derive(Args, Clone)]
#[command(next_help_heading = "Audit")]
pub struct AuditFlags {
    /// What the audit log keeps of which requests (default: metadata of all)
    #[arg(long, value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,
    /// Keep an audit log in this file; `-` for standard output
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub audit_log_path: Option<PathBuf>,
    /// Put the file aside at this many megabytes
    #[arg(long, value_name = "MB", default_value_t = log::MEGABYTES_DEFAULT)]
    pub audit_log_maxsize: u64,
    /// Files put aside that are kept; 0 keeps all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub audit_log_maxbackup: usize,
    /// Days that files put aside are kept; 0 keeps them for ever
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub audit_log_maxage: u64,
    /// Compress files put aside
    #[arg(long)]
    pub audit_log_compress: bool,
    /// Kubeconfig that names the server which audit events are sent to
    #[arg(long, value_name = "FILE")]
    pub audit_webhook_config_file: Option<PathBuf>,
    /// Events sent together at most
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub audit_webhook_batch_max_size: usize,
    /// Seconds that a batch waits for more events
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    pub audit_webhook_batch_max_wait: f64,
}

/// The flags, read and checked.
pub struct Access {
    pub without_plug_ins: Vec<String>,
    pub static_tokens: StaticTokens,
    pub issuer: String,
    pub key_set_address: Option<String>,
    pub token_seconds_max: Option<i64>,
    pub limits: (usize, usize),
    pub oidc: Option<Arc<Oidc>>,
    pub audit: Option<AuditParts>,
}

pub struct AuditParts {
    pub audit: Arc<Audit>,
    pub outlets: Outlets,
    pub log: Option<log::Log>,
    /// The kubeconfig's text.
    pub webhook: Option<(String, webhook::Options)>,
}

impl Flags {
    pub fn read(&self) -> anyhow::Result<Access> {
        let static_tokens = match &self.token_auth_file {
            None => StaticTokens::default(),
            Some(path) => StaticTokens::parse(&text("--token-auth-file", path)?)
                .map_err(|error| refuse(format!("--token-auth-file {}: {error}", path.display())))?,
        };
        let issuer = &self.service_account_issuer;
        if issuer.contains(':') && !issuer.starts_with("https://") {
            return Err(refuse(format!(
                "--service-account-issuer {issuer:?}: use a text without : or an https:// URL"
            )));
        }
        if self.max_requests_inflight == 0 || self.max_requests_per_user == 0 {
            return Err(refuse("--max-requests-inflight and --max-requests-per-user must be more than 0"));
        }
        if self.service_account_max_token_expiration.is_some_and(|seconds| seconds < 3_600) {
            return Err(refuse("--service-account-max-token-expiration must be an hour or more (3600)"));
        }
        if let Some(name) = self.disable_admission_plugins.iter().find(|name| !OPTIONAL.contains(&name.as_str())) {
            return Err(refuse(format!("--disable-admission-plugins: {name:?} is none of {}", OPTIONAL.join(", "))));
        }
        Ok(Access {
            without_plug_ins: self.disable_admission_plugins.clone(),
            static_tokens,
            issuer: issuer.clone(),
            key_set_address: self.service_account_jwks_uri.clone(),
            token_seconds_max: self.service_account_max_token_expiration,
            limits: (self.max_requests_inflight, self.max_requests_per_user),
            oidc: self.oidc.read()?.map(Arc::new),
            audit: self.audit.read()?,
        })
    }
}

impl Access {
    pub fn limits(&self) -> Limits {
        Limits::new(self.limits.0, self.limits.1)
    }
}

impl OidcFlags {
    fn read(&self) -> anyhow::Result<Option<Oidc>> {
        let (Some(issuer), Some(client_id)) = (&self.oidc_issuer_url, &self.oidc_client_id) else { return Ok(None) };
        let pair = |text: &String| -> anyhow::Result<(String, String)> {
            let pair = text.split_once('=').filter(|(claim, _)| !claim.is_empty());
            let (claim, value) =
                pair.ok_or_else(|| refuse(format!("--oidc-required-claim {text:?}: write CLAIM=VALUE")))?;
            Ok((claim.to_owned(), value.to_owned()))
        };
        let algorithm = |name: &String| {
            let known = name.parse().ok().filter(|_| !name.starts_with("HS"));
            known.ok_or_else(|| refuse(format!("--oidc-signing-algs {name:?}: use RS256, ES256, PS256 or their like")))
        };
        let options = oidc::Options {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone().filter(|prefix| !prefix.is_empty()),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone(),
            required_claims: self.oidc_required_claim.iter().map(pair).collect::<anyhow::Result<_>>()?,
            algorithms: self.oidc_signing_algs.iter().map(algorithm).collect::<anyhow::Result<_>>()?,
            authority: self.oidc_ca_file.as_deref().map(|path| text("--oidc-ca-file", path)).transpose()?,
        };
        let oidc = Oidc::new(options).map_err(|error| refuse(format!("--oidc-issuer-url: {error}")))?;
        Ok(Some(oidc))
    }
}

impl AuditFlags {
    fn read(&self) -> anyhow::Result<Option<AuditParts>> {
        let wanted = Wanted { log: self.audit_log_path.is_some(), webhook: self.audit_webhook_config_file.is_some() };
        let policy = match &self.audit_policy_file {
            None => DEFAULT_POLICY.to_owned(),
            Some(path) => text("--audit-policy-file", path)?,
        };
        let named = self.audit_policy_file.as_deref().unwrap_or(Path::new("")).display();
        let policy = Policy::parse(&policy).map_err(|error| refuse(format!("--audit-policy-file {named}: {error}")))?;
        if wanted == Wanted::default() {
            return Ok(None);
        }
        let log = self.audit_log_path.as_ref().map(|path| self.open(path)).transpose()?;
        let options = webhook::Options {
            batch_max: self.audit_webhook_batch_max_size.max(1),
            wait: Duration::try_from_secs_f64(self.audit_webhook_batch_max_wait)
                .map_err(|error| refuse(format!("--audit-webhook-batch-max-wait: {error}")))?,
            ..webhook::Options::default()
        };
        let webhook = self.audit_webhook_config_file.as_deref().map(|path| text("--audit-webhook-config-file", path));
        let (audit, outlets) = audit::Audit::new(policy, wanted);
        let webhook = webhook.transpose()?.map(|text| (text, options));
        Ok(Some(AuditParts { audit: Arc::new(audit), outlets, log, webhook }))
    }

    fn open(&self, path: &Path) -> anyhow::Result<log::Log> {
        let options = log::Options {
            path: path.to_owned(),
            megabytes_max: self.audit_log_maxsize,
            files_max: self.audit_log_maxbackup,
            days_max: self.audit_log_maxage,
            compress: self.audit_log_compress,
        };
        log::Log::open(options)
            .map_err(|error| refuse(format!("--audit-log-path {}: cannot be written: {error}", path.display())))
    }
}

fn text(flag: &str, path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).map_err(|error| refuse(format!("{flag} {}: {error}", path.display())))
}
