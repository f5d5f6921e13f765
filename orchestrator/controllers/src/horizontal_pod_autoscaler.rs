//! Sets the replicas of workloads by what their pods use.
//!
//! ```text
//!  target.rs reads the scale ─► propose.rs: each metric ─ measure.rs reads, replicas.rs decides ─► the highest
//!    ─► plan.rs: stabilised, limited ─► the scale is written ─► conditions and figures in the status
//! ```

mod measure;
mod plan;
mod propose;
mod replicas;
mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use amphipod_api::informer::{ObjectKey, key_of};
use amphipod_api::{Change, Informer, quantity, selector};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
    HorizontalPodAutoscalerStatus, MetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::api::Api;
use parking_lot::Mutex;

use crate::context::{Context, write_status};
use crate::queue::{Queue, Reconcile};
use plan::{Bounds, History};
use propose::Question;
use replicas::{Tolerances, Workload};
use target::Target;

const WORKERS: usize = 5;
/// How often a workload is looked at.
const PERIOD: Duration = Duration::from_secs(15);
/// Share of the target that is no reason to scale.
const TOLERANCE: f64 = 0.1;

const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";
const AT_ZERO: &str = "ScaledToZero";

struct Autoscalers {
    context: Context,
    autoscalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    definitions: Informer<CustomResourceDefinition>,
    memory: Mutex<HashMap<ObjectKey, Memory>>,
}

/// What is kept between two looks.
#[derive(Default)]
struct Memory {
    history: History,
    /// The pods that it controls.
    selector: Option<LabelSelector>,
}

pub async fn run(context: Context) {
    let context = context.signed_by("horizontal-pod-autoscaler");
    let autoscalers = context.informers.of::<HorizontalPodAutoscaler>();
    let pods = context.informers.of::<Pod>();
    let definitions = context.informers.of::<CustomResourceDefinition>();
    tokio::join!(autoscalers.synced(), pods.synced(), definitions.synced());
    let queue = Queue::new("horizontalpodautoscaler");
    let this = Autoscalers { context, autoscalers: autoscalers.clone(), pods, definitions, memory: Mutex::default() };
    let woken = follow(autoscalers, queue.clone());
    tokio::join!(woken, queue.work(WORKERS, Arc::new(this)));
}

/// A new or changed wish is looked at soon; what only tells of the last look is no news.
async fn follow(autoscalers: Informer<HorizontalPodAutoscaler>, queue: Queue<ObjectKey>) {
    let mut changes = autoscalers.subscribe();
    while let Some(change) = changes.next().await {
        match change {
            Change::Applied { now, before } => {
                if before.is_none_or(|before| before.spec != now.spec) {
                    queue.add(key_of(&now.metadata));
                }
            }
            Change::Deleted(gone) => queue.add(key_of(&gone.metadata)),
            Change::Resynced => autoscalers.list().iter().for_each(|one| queue.add(key_of(&one.metadata))),
        }
    }
}

impl Reconcile<ObjectKey> for Autoscalers {
    type Error = kube::Error;

    async fn reconcile(&self, key: &ObjectKey) -> kube::Result<Option<Duration>> {
        let Some(autoscaler) = self.autoscalers.get(&key.0, &key.1) else {
            self.memory.lock().remove(key);
            return Ok(None);
        };
        let mut look = Look::new(self, &autoscaler);
        look.scale(key).await;
        let api: Api<HorizontalPodAutoscaler> = self.context.namespaced(&key.0);
        let before = autoscaler.status.clone().unwrap_or_default();
        if let Err(error) = write_status(&api, &key.1, &before, &look.status).await {
            let message = crate::replica_set::reason(&error);
            self.context.recorder.warning(&*autoscaler, "FailedUpdateStatus", message);
            return Err(error);
        }
        Ok(Some(PERIOD))
    }
}

/// One look at one autoscaler.
struct Look<'a> {
    all: &'a Autoscalers,
    autoscaler: &'a HorizontalPodAutoscaler,
    spec: HorizontalPodAutoscalerSpec,
    status: HorizontalPodAutoscalerStatus,
    now: Timestamp,
}

/// What should be, and why.
struct Wish {
    replicas: i32,
    reason: String,
}

impl<'a> Look<'a> {
    fn new(all: &'a Autoscalers, autoscaler: &'a HorizontalPodAutoscaler) -> Self {
        let mut status = autoscaler.status.clone().unwrap_or_default();
        status.observed_generation = autoscaler.metadata.generation;
        let spec = autoscaler.spec.clone();
        Self { all, autoscaler, spec, status, now: all.context.now() }
    }

    fn warn(&self, reason: &str, message: impl Into<String>) {
        self.all.context.recorder.warning(self.autoscaler, reason, message);
    }

    fn say(&mut self, kind: &str, status: bool, reason: &str, message: impl Into<String>) {
        let status = if status { "True" } else { "False" };
        let conditions = self.status.conditions.get_or_insert_default();
        let at = conditions.iter().position(|condition| condition.type_ == kind).unwrap_or_else(|| {
            conditions.push(HorizontalPodAutoscalerCondition { type_: kind.to_owned(), ..Default::default() });
            conditions.len() - 1
        });
        let condition = &mut conditions[at];
        if condition.status != status {
            condition.last_transition_time = Some(Time(self.now));
        }
        condition.status = status.to_owned();
        condition.reason = Some(reason.to_owned());
        condition.message = Some(message.into());
    }

    fn is(&self, kind: &str) -> bool {
        let conditions = self.status.conditions.iter().flatten();
        conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
    }

    fn bounds(spec: &HorizontalPodAutoscalerSpec) -> Bounds<'_> {
        Bounds { min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas, behavior: spec.behavior.as_ref() }
    }

    async fn scale(&mut self, key: &ObjectKey) {
        let all = self.all;
        let read = target::read(&all.context.client, &all.definitions, &key.0, &self.spec.scale_target_ref).await;
        let target = match read {
            Ok(target) => target,
            Err(error) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {error}");
                self.warn("FailedGetScale", error);
                return self.say(ABLE, false, "FailedGetScale", message);
            }
        };
        let got = "the HPA controller was able to get the target's current scale";
        self.say(ABLE, true, "SucceededGetScale", got);
        let current = target.replicas();
        all.memory.lock().entry(key.clone()).or_default().history.begin(current, self.now);
        let wish = match self.wish(key, &target).await {
            Ok(wish) => wish,
            Err(statuses) => return self.show(current, self.status.desired_replicas, statuses),
        };
        let (wish, statuses) = wish;
        let desired = wish.as_ref().map_or(current, |wish| wish.replicas);
        if let Some(wish) = wish {
            if let Err(error) = target.set(desired).await {
                let message = format!("New size: {desired}; reason: {}; error: {error}", wish.reason);
                self.warn("FailedRescale", message);
                let message = format!("the HPA controller was unable to update the target scale: {error}");
                self.say(ABLE, false, "FailedUpdateScale", message);
                return self.show(current, self.status.desired_replicas, statuses);
            }
            self.rescaled(key, current, wish);
        }
        self.show(current, desired, statuses);
    }

    fn rescaled(&mut self, key: &ObjectKey, current: i32, wish: Wish) {
        let desired = wish.replicas;
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        self.say(ABLE, true, "SucceededRescale", message);
        let message = format!("New size: {desired}; reason: {}", wish.reason);
        self.all.context.recorder.normal(self.autoscaler, "SuccessfulRescale", message);
        let spec = self.spec.clone();
        let bounds = Self::bounds(&spec);
        let mut memory = self.all.memory.lock();
        memory.entry(key.clone()).or_default().history.scaled(bounds, (current, desired), self.now);
        drop(memory);
        self.status.last_scale_time = Some(Time(self.now));
        if desired == 0 {
            self.say(AT_ZERO, true, "ScaledToZero", "the HPA controller scaled the workload to zero");
        } else if bounds.min == 0 || self.is(AT_ZERO) {
            self.not_at_zero();
        }
    }

    fn not_at_zero(&mut self) {
        self.say(AT_ZERO, false, "NotScaledToZero", "the HPA controller did not scale the workload to zero");
    }

    fn show(&mut self, current: i32, desired: i32, statuses: Vec<MetricStatus>) {
        self.status.current_replicas = Some(current);
        self.status.desired_replicas = desired;
        self.status.current_metrics = (!statuses.is_empty()).then_some(statuses);
    }

    /// `None`: it is as it should be. `Err`: nobody can say; events and conditions tell why.
    async fn wish(
        &mut self,
        key: &ObjectKey,
        target: &Target,
    ) -> Result<(Option<Wish>, Vec<MetricStatus>), Vec<MetricStatus>> {
        let spec = self.spec.clone();
        let (bounds, current) = (Self::bounds(&spec), target.replicas());
        let to = |replicas, reason: &str| Ok((Some(Wish { replicas, reason: reason.to_owned() }), Vec::new()));
        // Who scaled to zero by hand wants it so.
        if current == 0 && !self.is(AT_ZERO) {
            let message = "scaling is disabled since the replica count of the target is zero";
            self.say(ACTIVE, false, "ScalingDisabled", message);
            return Ok((None, Vec::new()));
        }
        if current > 0 && self.is(AT_ZERO) {
            self.not_at_zero();
        }
        if current > bounds.max {
            return to(bounds.max, "Current number of replicas above Spec.MaxReplicas");
        }
        if current < bounds.min {
            return to(bounds.min, "Current number of replicas below Spec.MinReplicas");
        }
        let Some(pods) = self.pods(key, target) else { return Err(Vec::new()) };
        let workload = Workload { replicas: current, pods: &pods, tolerances: tolerances(&spec), now: self.now };
        let question = Question { namespace: &key.0, target, workload };
        let proposed = self.all.propose(&question, spec.metrics.as_deref().unwrap_or_default()).await;
        for (reason, message) in &proposed.failures {
            self.warn(reason, message.clone());
        }
        let Some(replicas) = proposed.replicas else {
            if let Some((reason, message)) = proposed.failures.first() {
                let message = format!("the HPA was unable to compute the replica count: {message}");
                self.say(ACTIVE, false, reason, message);
            }
            self.warn("FailedComputeMetricsReplicas", proposed.error.unwrap_or_default());
            return Err(proposed.statuses);
        };
        let metric = proposed.metric;
        let message = format!("the HPA was able to successfully calculate a replica count from {metric}");
        self.say(ACTIVE, true, "ValidMetricFound", message);
        let reason =
            if replicas > current { format!("{metric} above target") } else { "All metrics below target".to_owned() };
        let settled = {
            let mut memory = self.all.memory.lock();
            let history = &mut memory.entry(key.clone()).or_default().history;
            plan::settle(history, current, replicas, bounds, self.now)
        };
        self.say(ABLE, true, settled.able_to_scale.0, settled.able_to_scale.1);
        self.say(LIMITED, settled.is_limited, settled.limit.0, settled.limit.1);
        let wish = (settled.replicas != current).then_some(Wish { replicas: settled.replicas, reason });
        Ok((wish, proposed.statuses))
    }

    /// The workload's pods; `None` when its selector does not tell them, or tells another's too.
    fn pods(&mut self, key: &ObjectKey, target: &Target) -> Option<Vec<Arc<Pod>>> {
        let text = target.selector().to_owned();
        if text.is_empty() {
            self.warn("SelectorRequired", "selector is required");
            self.say(ACTIVE, false, "InvalidSelector", "the HPA target's scale is missing a selector");
            return None;
        }
        let parsed = match selector::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let message =
                    format!("couldn't convert selector into a corresponding internal selector object: {error}");
                self.warn("InvalidSelector", message.clone());
                self.say(ACTIVE, false, "InvalidSelector", message);
                return None;
            }
        };
        let selects = |selector: &LabelSelector, pod: &Pod| selector::matches(selector, pod.metadata.labels.as_ref());
        let mut pods = self.all.pods.in_namespace(&key.0);
        pods.retain(|pod| selects(&parsed, pod));
        let mut memory = self.all.memory.lock();
        memory.entry(key.clone()).or_default().selector = Some(parsed);
        let controls = |(other, memory): (&ObjectKey, &Memory)| {
            let selector = memory.selector.as_ref().filter(|_| other.0 == key.0)?;
            pods.iter().any(|pod| selects(selector, pod)).then(|| format!("{}/{}", other.0, other.1))
        };
        let mut controlling: Vec<String> = memory.iter().filter_map(controls).collect();
        drop(memory);
        if controlling.len() > 1 {
            controlling.sort();
            let list = controlling.join(" ");
            let message = format!("pods by selector {text} are controlled by multiple HPAs: [{list}]");
            self.warn("AmbiguousSelector", message.clone());
            self.say(ACTIVE, false, "AmbiguousSelector", message);
            return None;
        }
        Some(pods)
    }
}

fn tolerances(spec: &HorizontalPodAutoscalerSpec) -> Tolerances {
    let of = |rules: Option<&HPAScalingRules>| {
        let said = rules.and_then(|rules| quantity::milli(&rules.tolerance.as_ref()?.0));
        said.map_or(TOLERANCE, |milli| milli as f64 / 1_000.0)
    };
    let behavior = spec.behavior.as_ref();
    Tolerances {
        down: of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}
