//! Of several that could do a work, one does: whoever holds a Lease. The rules are those of client-go's leader election.
//!
//! ```text
//!  wait ─► the Lease is free, ours, or unchanged for its duration ─► take it ─► work, renewing ─┐
//!   ▲                                                                                          │
//!   └──────────── not renewed in time, or somebody else's: the work is dropped ◄───────────────┘
//! ```
//!
//! Nobody trusts another machine's clock: a Lease has run out when *we* saw no change of it for as long as it says.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, timeout};

use crate::Recorder;

const NAMESPACE: &str = "kube-system";

/// How long a Lease is worth, when its holder gives up, and how often both sides look.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub lease: Duration,
    pub renewal: Duration,
    pub retry: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renewal: seconds(10), retry: seconds(5) }
    }
}

/// One candidate for one work.
pub struct Candidate {
    pub client: kube::Client,
    pub recorder: Recorder,
    /// The Lease in `kube-system`; upstream's components give it their own name.
    pub lease: &'static str,
    /// Who we are among the candidates; the same after a restart, so that nobody waits for the dead.
    pub identity: String,
    pub terms: Terms,
}

/// What the Lease was when it last changed, and when we saw that.
struct Seen {
    spec: Option<LeaseSpec>,
    at: Instant,
}

impl Candidate {
    /// Does the work whenever it leads, until `stop`, and then lets go, so that another need not wait. Work that ends by
    /// itself ends this too.
    pub async fn lead<W: Future<Output = ()>>(self, mut work: impl FnMut() -> W, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.acquire() => {}
            }
            let is_over = tokio::select! {
                biased;
                () = &mut stop => true,
                () = work() => true,
                () = self.keep() => false,
            };
            if is_over {
                return self.release().await;
            }
            tracing::warn!(lease = self.lease, identity = self.identity, "leadership is lost");
        }
    }

    async fn acquire(&self) {
        let mut seen = Seen { spec: None, at: Instant::now() };
        loop {
            match self.try_to_hold(&mut seen).await {
                Ok(Some(lease)) => {
                    let message = format!("{} became leader", self.identity);
                    return self.recorder.normal(&lease, "LeaderElection", message);
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(lease = self.lease, %error, "the lease cannot be had"),
            }
            sleep(self.terms.retry).await;
        }
    }

    /// Renews until that fails for too long.
    async fn keep(&self) {
        let mut renewed = Instant::now();
        loop {
            sleep(self.terms.retry).await;
            let left = self.terms.renewal.saturating_sub(renewed.elapsed());
            let mut seen = Seen { spec: None, at: Instant::now() };
            match timeout(left.max(self.terms.retry), self.try_to_hold(&mut seen)).await {
                Ok(Ok(Some(_))) => renewed = Instant::now(),
                Ok(Ok(None)) => return,
                Ok(Err(_)) | Err(_) if renewed.elapsed() >= self.terms.renewal => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// The Lease once it is ours; `None` while it is another's, or when another was faster.
    async fn try_to_hold(&self, seen: &mut Seen) -> kube::Result<Option<Lease>> {
        let api = self.api();
        let now = MicroTime(Timestamp::now());
        let Some(held) = api.get_opt(self.lease).await? else {
            let spec = self.spec(None, now);
            return won(api.create(&PostParams::default(), &self.named(spec)).await);
        };
        let spec = held.spec.clone().unwrap_or_default();
        if seen.spec.as_ref() != Some(&spec) {
            *seen = Seen { spec: Some(spec.clone()), at: Instant::now() };
        }
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let worth = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let worth = worth.map_or(self.terms.lease, Duration::from_secs);
        if !holder.is_empty() && holder != self.identity && seen.at.elapsed() < worth {
            return Ok(None);
        }
        let ours = Lease { spec: Some(self.spec(Some(&spec), now)), ..held };
        won(api.replace(self.lease, &PostParams::default(), &ours).await)
    }

    /// The Lease's content when we hold it from now on, or still.
    fn spec(&self, before: Option<&LeaseSpec>, now: MicroTime) -> LeaseSpec {
        let is_ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.terms.lease.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: before.filter(|_| is_ours).and_then(|spec| spec.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if is_ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Best effort: a Lease that is not let go runs out.
    async fn release(&self) {
        let api = self.api();
        let Ok(Some(held)) = api.get_opt(self.lease).await else { return };
        let spec = held.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return;
        }
        let spec = LeaseSpec { holder_identity: None, lease_duration_seconds: Some(1), ..spec };
        let _ = api.replace(self.lease, &PostParams::default(), &Lease { spec: Some(spec), ..held }).await;
    }

    fn named(&self, spec: LeaseSpec) -> Lease {
        let metadata = ObjectMeta { name: Some(self.lease.into()), ..ObjectMeta::default() };
        Lease { metadata, spec: Some(spec) }
    }

    fn api(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}

fn won(written: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match written {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}
