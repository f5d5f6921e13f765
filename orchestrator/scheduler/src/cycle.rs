//! One pod after another: decide, assume, and have it written; or say why not. Reading changes is in `watch.rs`.

use std::collections::HashMap;
use std::sync::Arc;

use amphipod_api::{Change, Changes, Recorder};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::classes::Classes;
use crate::hints::Event;
use crate::measure::{Measures, Outcome};
use crate::need::Need;
use crate::needs::Needs;
use crate::outlook::Outlook;
use crate::preempt::{Budget, Victims, preempt};
use crate::queue::{PodKey, Queue, Turn};
use crate::schedule::{Asked, Unschedulable};
use crate::snapshot::{Nominee, Snapshot};
use crate::volumes::{self, ClaimKey, Plan, Wanted};
use crate::watch::{News, Sources, facts, scheduler_name};
use crate::writes::{self, Failure, Told};
use crate::{Clock, Options};

/// Bindings on their way at once.
const BINDINGS_MAX: usize = 64;
/// Pods decided on before others may run.
const BURST: usize = 16;

pub struct Scheduler {
    pub(crate) client: kube::Client,
    pub(crate) recorders: HashMap<String, Recorder>,
    pub(crate) clock: Clock,
    pub(crate) sources: Sources,
    pub(crate) snapshot: Snapshot,
    pub(crate) classes: Classes,
    pub(crate) queue: Queue,
    pub(crate) needs: Needs,
    /// What each waiting pod was last told, so that it is told once.
    pub(crate) told: HashMap<PodKey, Told>,
    pub(crate) measures: Measures,
    writes: JoinSet<Written>,
    bindings: usize,
    /// Preemptions so far: each begins to look elsewhere.
    preemptions: usize,
    /// For whom nobody could be pushed out, at which position of the snapshot, and what was said.
    in_vain: Option<(usize, Arc<Need>, String)>,
}

/// How a write of ours ended.
enum Written {
    Bound(Attempt),
    NotBound(Attempt, Failure),
    Told,
}

/// A pod on its way to a node.
struct Attempt {
    turn: Turn,
    pod: Arc<Pod>,
    began: Instant,
    volumes: Vec<String>,
    claims: Vec<ClaimKey>,
    /// Whether it keeps others from being tried: not while volumes are made, which may take long.
    counts: bool,
}

impl Scheduler {
    pub(crate) fn new(
        client: kube::Client,
        recorder: Recorder,
        clock: Clock,
        sources: Sources,
        options: &Options,
    ) -> Self {
        let signed = |name: &String| (name.clone(), recorder.signed_by(name));
        Self {
            client,
            recorders: options.names.iter().map(signed).collect(),
            clock,
            sources,
            snapshot: Snapshot::default(),
            classes: Classes::default(),
            queue: Queue::default(),
            needs: Needs::default(),
            told: HashMap::new(),
            measures: Measures::new(&options.names),
            writes: JoinSet::new(),
            bindings: 0,
            preemptions: 0,
            in_vain: None,
        }
    }

    pub(crate) async fn run(mut self, (mut pods, mut news): (Changes<Pod>, News)) {
        // Before any pod: else the first would find no node.
        self.learn();
        loop {
            let is_ready = self.queue.is_ready() && self.bindings < BINDINGS_MAX;
            let wake = self.queue.wake_at();
            tokio::select! {
                change = pods.next() => match change {
                    Some(change) => self.pod_changed(change),
                    None => return,
                },
                said = futures::StreamExt::next(&mut news) => match said {
                    Some(said) => self.hear(said),
                    None => return,
                },
                Some(written) = self.writes.join_next() => self.written(written),
                () = turn(is_ready, wake) => self.schedule_some(),
            }
            if self.measures.waiting(self.queue.lengths(), self.snapshot.len(), Instant::now()) {
                self.measures.refused(&self.queue.refusals());
            }
        }
    }

    fn schedule_some(&mut self) {
        for _ in 0..BURST {
            if self.bindings >= BINDINGS_MAX {
                return;
            }
            let Some(turn) = self.queue.next(Instant::now()) else { return };
            self.schedule(turn);
        }
    }

    fn schedule(&mut self, turn: Turn) {
        let began = Instant::now();
        let pod = self.sources.pods.get(&turn.key.0, &turn.key.1);
        let Some(pod) = pod.filter(|pod| self.wants_a_node(pod)) else { return self.drop_waiting(&turn.key) };
        let need = self.needs.share(Need::with_siblings(&pod, self.sources.siblings.of(&pod)));
        let uid = pod.uid().unwrap_or_default();
        let decided = self.classes.schedule(&uid, &need, &mut self.snapshot);
        self.measures.decided(began.elapsed());
        match decided {
            Ok(slot) => self.assume((turn, pod, began), slot, need),
            Err(why) => {
                self.measures.attempted(scheduler_name(&pod), Outcome::Unschedulable, began.elapsed());
                self.refuse(&turn.key, &pod, why, &need);
            }
        }
    }

    /// From now on the pod counts as being there; what must be written is on its way.
    fn assume(&mut self, (turn, pod, began): (Turn, Arc<Pod>, Instant), slot: u32, need: Arc<Need>) {
        let node = self.snapshot.at(slot).name.clone();
        let plan = self.plan(&need, slot);
        let (volumes, claims) = (plan.volumes(), plan.claims());
        plan.give.iter().for_each(|(volume, claim)| {
            let key = (claim.namespace().unwrap_or_default(), claim.name_any());
            self.snapshot.storage.give(&volume.name_any(), &key);
        });
        claims.iter().for_each(|claim| self.snapshot.storage.send(claim, &node));
        self.snapshot.forget_nominee(&pod.uid().unwrap_or_default());
        self.snapshot.put_pod(&node, need.clone(), facts(&pod));
        self.happened(&Event::PodPlaced(&need));
        let counts = plan.is_empty();
        self.bindings += usize::from(counts);
        let (client, recorder) = (self.client.clone(), self.recorder(&pod));
        let bound_claims = self.sources.claims.clone();
        let attempt = Attempt { turn, pod, began, volumes, claims, counts };
        self.writes.spawn(async move {
            let pod = &attempt.pod;
            let done = async {
                writes::bind_volumes(client.clone(), &plan, &node, bound_claims).await?;
                writes::bind(client, pod, &node).await
            };
            match done.await {
                Ok(()) => {
                    let (namespace, name) = &*attempt.turn.key;
                    let message = format!("Successfully assigned {namespace}/{name} to {node}");
                    recorder.normal(&**pod, "Scheduled", message);
                    Written::Bound(attempt)
                }
                Err(failure) => Written::NotBound(attempt, failure),
            }
        });
    }

    fn plan(&self, need: &Need, slot: u32) -> Plan {
        if need.mounts.claims.is_empty() {
            return Plan::default();
        }
        let storage = &self.snapshot.storage;
        let wanted = Wanted::of(need, storage).unwrap_or_default();
        volumes::plan(&wanted, storage, self.snapshot.at(slot)).unwrap_or_default()
    }

    fn refuse(&mut self, key: &PodKey, pod: &Arc<Pod>, mut why: Unschedulable, need: &Arc<Need>) {
        let uid = pod.uid().unwrap_or_default();
        let mut nominated = None;
        if why.nodes > 0 {
            match self.look_for_victims(&uid, need, &why) {
                Ok(victims) => nominated = Some(self.push_out(pod, need, &victims)),
                Err(said) => {
                    let waits_on = said.starts_with("not eligible");
                    if !waits_on && self.snapshot.forget_nominee(&uid) {
                        nominated = Some(String::new());
                    }
                    why.preemption = Some(said);
                }
            }
        }
        self.queue.park(key, need, why.plugins, Instant::now());
        let message = why.to_string();
        self.recorder(pod).warning(&**pod, "FailedScheduling", message.clone());
        self.tell(key, pod, Told { reason: "Unschedulable", message, nominated });
    }

    fn look_for_victims(&mut self, uid: &str, need: &Arc<Need>, why: &Unschedulable) -> Result<Victims, String> {
        self.preemptions += 1;
        let position = self.snapshot.position();
        // Pods that ask the same come in masses; nothing has changed since the last of them.
        if let Some((at, whose, said)) = &self.in_vain
            && *at == position
            && Arc::ptr_eq(whose, need)
            && self.snapshot.nomination(uid).is_none()
        {
            self.measures.preempted(None);
            return Err(said.clone());
        }
        let outlook = Outlook::of(need, &mut self.snapshot);
        let wanted = match need.mounts.is_empty() {
            true => None,
            false => Wanted::of(need, &self.snapshot.storage).ok(),
        };
        let asked = Asked { uid, need, outlook: &outlook, wanted: wanted.as_ref() };
        let might_help = need.preempts && !why.resolvable.is_empty() && self.snapshot.has_below(need.priority);
        let budgets = if might_help { self.sources.budgets.list() } else { Vec::new() };
        let budgets: Vec<Budget> = budgets.iter().map(|budget| Budget::of(budget)).collect();
        let found = preempt(&asked, why, &mut self.snapshot, &budgets, self.preemptions);
        self.measures.preempted(found.as_ref().ok().map(|victims| victims.pods.len()));
        self.in_vain = found.as_ref().err().map(|said| (position, need.clone(), said.clone()));
        found
    }

    /// Ends the victims and keeps their room. The node's name.
    fn push_out(&mut self, pod: &Arc<Pod>, need: &Arc<Need>, victims: &Victims) -> String {
        let node = self.snapshot.at(victims.slot).name.clone();
        self.yield_to(need, victims.slot);
        self.snapshot.nominate(Nominee {
            uid: pod.uid().unwrap_or_default(),
            name: pod.name_any(),
            slot: victims.slot,
            need: need.clone(),
        });
        for victim in victims.pods.iter().filter(|victim| !victim.facts.terminating) {
            let Some(victim) = self.sources.pods.get(&victim.need.kin.namespace, &victim.facts.name) else { continue };
            let (client, recorder, now) = (self.client.clone(), self.recorder(pod), (self.clock)());
            let (preemptor, node) = (pod.clone(), node.clone());
            self.writes.spawn(async move {
                if let Err(error) = writes::evict(client, (&victim, &preemptor), (&node, now), &recorder).await {
                    tracing::warn!(%error, pod = victim.name_any(), "a less important pod could not be ended");
                }
                Written::Told
            });
        }
        node
    }

    /// Less important pods that wait for the same node look elsewhere.
    fn yield_to(&mut self, need: &Need, slot: u32) {
        let lower = |nominee: &&Nominee| nominee.slot == slot && nominee.need.priority < need.priority;
        let yielding: Vec<Nominee> = self.snapshot.nominees().filter(lower).cloned().collect();
        for nominee in yielding {
            self.snapshot.forget_nominee(&nominee.uid);
            let (namespace, name) = (&nominee.need.kin.namespace, &nominee.name);
            self.queue.changed(&Arc::new((namespace.clone(), name.clone())), Instant::now());
            let Some(pod) = self.sources.pods.get(namespace, name) else { continue };
            let client = self.client.clone();
            self.writes.spawn(async move {
                if let Err(error) = writes::clear_nomination(client, &pod).await {
                    tracing::debug!(%error, "a nomination could not be cleared");
                }
                Written::Told
            });
        }
    }

    fn tell(&mut self, key: &PodKey, pod: &Arc<Pod>, told: Told) {
        if self.told.get(key).is_some_and(|before| before.message == told.message && told.nominated.is_none()) {
            return;
        }
        self.told.insert(key.clone(), told.clone());
        let (client, pod, now) = (self.client.clone(), pod.clone(), (self.clock)());
        self.writes.spawn(async move {
            if let Err(error) = writes::tell(client, &pod, &told, now).await {
                tracing::debug!(%error, "a pod could not be told why it waits");
            }
            Written::Told
        });
    }

    fn written(&mut self, written: Result<Written, JoinError>) {
        match written {
            Ok(Written::Bound(attempt)) => {
                let Attempt { turn, pod, began, volumes, claims, counts } = attempt;
                self.bindings -= usize::from(counts);
                self.snapshot.storage.take_back(&volumes, &claims);
                self.measures.attempted(scheduler_name(&pod), Outcome::Scheduled, began.elapsed());
                self.measures.bound(turn.attempts, turn.since.elapsed());
            }
            Ok(Written::NotBound(attempt, failure)) => self.not_bound(attempt, &failure),
            Ok(Written::Told) => {}
            Err(error) => tracing::error!(%error, "a write of the scheduler failed"),
        }
    }

    fn not_bound(&mut self, attempt: Attempt, failure: &Failure) {
        let Attempt { turn, pod, began, volumes, claims, counts } = attempt;
        self.bindings -= usize::from(counts);
        self.snapshot.storage.take_back(&volumes, &claims);
        self.measures.attempted(scheduler_name(&pod), Outcome::Error, began.elapsed());
        if let Some(placed) = self.snapshot.remove_pod(&pod.uid().unwrap_or_default()) {
            self.happened(&Event::PodGone(&placed));
        }
        let (key, message) = (turn.key, failure.to_string());
        tracing::debug!(pod = %format!("{}/{}", key.0, key.1), message, "cannot bind");
        self.queue.fail(&key, Instant::now());
        let now = self.sources.pods.get(&key.0, &key.1).filter(|now| now.uid() == pod.uid());
        if now.is_some_and(|now| self.wants_a_node(&now)) {
            self.recorder(&pod).warning(&*pod, "FailedScheduling", message.clone());
            self.tell(&key, &pod, Told { reason: "SchedulerError", message, nominated: None });
        }
    }

    /// Wakes those whom it may help.
    pub(crate) fn happened(&mut self, event: &Event) {
        let woken = self.queue.wake(event, Instant::now());
        self.measures.woken(event.name(), woken);
    }

    pub(crate) fn drop_waiting(&mut self, key: &PodKey) {
        self.queue.remove(key);
        self.told.remove(key);
    }

    pub(crate) fn pod_changed(&mut self, change: Change<Pod>) {
        match change {
            Change::Applied { now, before } => self.put_pod(&now, before.as_deref()),
            Change::Deleted(pod) => self.forget_pod(&pod),
            Change::Resynced => self.resync_pods(),
        }
    }

    pub(crate) fn wants_a_node(&self, pod: &Pod) -> bool {
        let unbound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty());
        unbound && self.recorders.contains_key(scheduler_name(pod)) && !crate::watch::is_over(pod)
    }

    fn recorder(&self, pod: &Pod) -> Recorder {
        let signed = self.recorders.get(scheduler_name(pod)).or_else(|| self.recorders.values().next());
        signed.expect("a scheduler has a name").clone()
    }
}

/// Returns when a pod may be tried.
async fn turn(is_ready: bool, wake: Option<Instant>) {
    match wake {
        // Others that are ready go first now and then.
        _ if is_ready => tokio::task::yield_now().await,
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
