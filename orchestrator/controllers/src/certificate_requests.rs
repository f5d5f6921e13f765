//! CertificateSigningRequests: a node's own client certificate is approved, what is approved is signed, what is old goes.
//! Upstream's approver, signer and cleaner; what a signer takes is decided in `certificate_requests/rules.rs`.
//!
//! ```text
//!  pending ─ a node's, and it may ─► approved ─ the signer's rules hold ─► issued
//!     │                                  └─ they do not ─► failed
//!     └ a day        an hour ◄───────────┴────────────────► deleted
//! ```

mod rules;

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::Informer;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Api, PostParams};

use crate::context::{Context, delete, follow, found};
use crate::queue::{Queue, Reconcile};
use rules::{Asked, Permission};

const WORKERS: usize = 2;
/// How long a request stays after its last word.
const DECIDED: Duration = Duration::from_secs(3_600);
const PENDING: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    Client,
    Server,
}

/// The cluster's authority, as far as controllers are given it.
pub trait SignRequests: Send + Sync {
    /// Signs a PEM certificate request for at most so many seconds (`None`: as long as the authority lets). The error
    /// is for the requestor.
    fn sign(&self, request: &str, usage: Usage, seconds: Option<u64>) -> Result<String, String>;
}

struct Requests {
    context: Context,
    requests: Informer<CertificateSigningRequest>,
    authority: Arc<dyn SignRequests>,
}

pub async fn run(context: Context, authority: Arc<dyn SignRequests>) {
    let requests = context.informers.of::<CertificateSigningRequest>();
    requests.synced().await;
    let this = Arc::new(Requests { context, requests: requests.clone(), authority });
    let queue = Queue::new("certificate");
    let each = |request: &CertificateSigningRequest| queue.add(request.name_any());
    tokio::join!(follow(requests, each), queue.clone().work(WORKERS, this));
}

impl Reconcile<String> for Requests {
    type Error = kube::Error;

    async fn reconcile(&self, name: &String) -> kube::Result<Option<Duration>> {
        let Some(request) = self.requests.get("", name) else { return Ok(None) };
        let api: Api<CertificateSigningRequest> = Api::all(self.context.client.clone());
        let now = self.context.now();
        let Some(left) = left(&request, now) else {
            delete(&api, name, request.uid()).await?;
            return Ok(None);
        };
        if has(&request, "Denied") || has(&request, "Failed") || issued(&request).is_some() {
            return Ok(Some(left));
        }
        if has(&request, "Approved") {
            self.sign(&api, &request).await?;
        } else {
            self.approve(&api, &request).await?;
        }
        Ok(Some(left))
    }
}

impl Requests {
    /// Only what a node asks for itself, and only if its user may ask for that.
    async fn approve(
        &self,
        api: &Api<CertificateSigningRequest>,
        request: &CertificateSigningRequest,
    ) -> kube::Result<()> {
        let Some(asked) = Asked::of(request) else { return Ok(()) };
        for Permission { subresource, message } in rules::recognized(&asked) {
            if self.may(request, subresource).await? {
                let mut approved = request.clone();
                conditions(&mut approved).push(self.condition("Approved", "AutoApproved", message));
                found(
                    api.replace_subresource("approval", &request.name_any(), &PostParams::default(), &approved).await,
                )?;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn may(&self, request: &CertificateSigningRequest, subresource: &str) -> kube::Result<bool> {
        let spec = &request.spec;
        let attributes = ResourceAttributes {
            group: Some("certificates.k8s.io".into()),
            resource: Some("certificatesigningrequests".into()),
            subresource: Some(subresource.into()),
            verb: Some("create".into()),
            version: Some("*".into()),
            ..ResourceAttributes::default()
        };
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(attributes),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.context.client.clone());
        let reviewed = reviews.create(&PostParams::default(), &review).await?;
        Ok(reviewed.status.is_some_and(|status| status.allowed))
    }

    async fn sign(
        &self,
        api: &Api<CertificateSigningRequest>,
        request: &CertificateSigningRequest,
    ) -> kube::Result<()> {
        let asked = Asked::of(request);
        let Some(usage) = rules::usage(&request.spec.signer_name) else { return Ok(()) };
        let checked =
            asked.ok_or_else(|| "the request does not parse".to_owned()).and_then(|asked| rules::check(&asked));
        let seconds = request.spec.expiration_seconds.map(|seconds| u64::from(seconds.unsigned_abs()));
        let mut decided = request.clone();
        match checked {
            Err(why) => conditions(&mut decided).push(self.condition("Failed", "SignerValidationFailure", &why)),
            Ok(()) => {
                let text = String::from_utf8_lossy(&request.spec.request.0).into_owned();
                match self.authority.sign(&text, usage, seconds) {
                    Ok(certificate) => {
                        decided.status.get_or_insert_default().certificate = Some(ByteString(certificate.into_bytes()));
                    }
                    Err(why) => conditions(&mut decided).push(self.condition("Failed", "SigningError", &why)),
                }
            }
        }
        found(api.replace_status(&request.name_any(), &PostParams::default(), &decided).await).map(drop)
    }

    fn condition(&self, kind: &str, reason: &str, message: &str) -> CertificateSigningRequestCondition {
        let now = Some(Time(self.context.now()));
        CertificateSigningRequestCondition {
            type_: kind.into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_update_time: now.clone(),
            last_transition_time: now,
        }
    }
}

fn conditions(request: &mut CertificateSigningRequest) -> &mut Vec<CertificateSigningRequestCondition> {
    request.status.get_or_insert_default().conditions.get_or_insert_default()
}

fn condition<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a CertificateSigningRequestCondition> {
    request.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    condition(request, kind).is_some()
}

fn issued(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    (!certificate.0.is_empty()).then_some(certificate.0.as_slice())
}

/// How long the request still stays; `None`: it goes.
fn left(request: &CertificateSigningRequest, now: Timestamp) -> Option<Duration> {
    let decided = |kind: &str| condition(request, kind)?.last_update_time.as_ref().map(|time| time.0);
    let created = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let untouched = request.status.as_ref().is_none_or(|status| status.conditions.as_ref().is_none_or(Vec::is_empty));
    let end = match (decided("Denied"), decided("Failed"), decided("Approved")) {
        (Some(time), ..) | (_, Some(time), _) => time + DECIDED,
        (.., Some(time)) if issued(request).is_some() => time + DECIDED,
        _ if untouched => created + PENDING,
        _ => return Some(PENDING),
    };
    let expired = issued(request).and_then(rules::ends).is_some_and(|end| end <= now);
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    (!left.is_zero() && !expired).then_some(left)
}

#[cfg(test)]
mod tests;
