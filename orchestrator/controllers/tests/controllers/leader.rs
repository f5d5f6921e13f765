//! Of two that could lead one does, whatever becomes of the other.

use std::sync::Arc;
use std::time::Duration;

use amphipod_api::leader::{Candidate, Terms};
use amphipod_api::{Recorder, Reporter};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::DynamicObject;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::oneshot;

use crate::cluster::Cluster;

const LEASE: &str = "kube-scheduler";
const TERMS: Terms =
    Terms { lease: Duration::from_secs(1), renewal: Duration::from_millis(600), retry: Duration::from_millis(50) };

/// Who works at this moment, and whether ever two did.
#[derive(Default)]
struct Work {
    at_it: Vec<String>,
    were_two: bool,
}

struct AtWork(Arc<Mutex<Work>>, String);

impl AtWork {
    fn begin(work: &Arc<Mutex<Work>>, who: &str) -> Self {
        let mut shared = work.lock();
        shared.at_it.push(who.to_owned());
        shared.were_two |= shared.at_it.len() > 1;
        Self(work.clone(), who.to_owned())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().at_it.retain(|who| *who != self.1);
    }
}

/// Ends in good order when the sender is dropped.
fn contend(
    cluster: &Cluster,
    work: &Arc<Mutex<Work>>,
    who: &str,
) -> (tokio::task::JoinHandle<()>, oneshot::Sender<()>) {
    let (sender, stop) = oneshot::channel::<()>();
    let reporter = Reporter { component: "test".into(), instance: String::new() };
    let recorder = Recorder::start(cluster.client.clone(), reporter);
    let (client, identity) = (cluster.client.clone(), who.to_owned());
    let candidate = Candidate { client, recorder, lease: LEASE, identity, terms: TERMS };
    let (work, who) = (work.clone(), who.to_owned());
    let work = move || {
        let at_work = AtWork::begin(&work, &who);
        async move {
            std::future::pending::<()>().await;
            drop(at_work);
        }
    };
    (tokio::spawn(candidate.lead(work, async { drop(stop.await) })), sender)
}

fn held_by(who: &'static str, transitions: i64) -> impl Fn(Option<&DynamicObject>) -> bool {
    move |lease| {
        lease.is_some_and(|lease| {
            let spec = &lease.data["spec"];
            spec["holderIdentity"] == who && spec["leaseTransitions"] == transitions
        })
    }
}

#[tokio::test]
async fn the_other_one_leads_when_a_leader_stops_dies_or_is_deposed() {
    let cluster = Cluster::start(|_| Box::pin(std::future::ready(()))).await;
    cluster.create::<Namespace>("", json!({"metadata": {"name": "kube-system"}})).await;
    let work: Arc<Mutex<Work>> = Arc::default();
    let (first, stop_first) = contend(&cluster, &work, "first");
    cluster.until::<Lease>("kube-system", LEASE, held_by("first", 0)).await;
    let (second, _stop_second) = contend(&cluster, &work, "second");
    drop(stop_first);
    first.await.expect("it stops");
    cluster.until::<Lease>("kube-system", LEASE, held_by("second", 1)).await;
    let (third, _stop_third) = contend(&cluster, &work, "third");
    second.abort();
    cluster.until::<Lease>("kube-system", LEASE, held_by("third", 2)).await;
    assert!(!work.lock().were_two);

    let deposed = json!({"spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 1}});
    let api = cluster.api::<Lease>("kube-system");
    let patch = kube::api::Patch::Merge(deposed);
    api.patch(LEASE, &kube::api::PatchParams::default(), &patch).await.expect("patched");
    let is_back = held_by("third", 3);
    cluster.until::<Lease>("kube-system", LEASE, is_back).await;
    assert!(!third.is_finished() && !work.lock().were_two);
}
