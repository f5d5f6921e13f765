//! One pod of a simulated node: the same plan and the same status as of any pod, but starting it is one entry in the
//! fake runtime, and what it uses is said, not measured.

use std::net::IpAddr;
use std::sync::Arc;

use amphipod_runtime::fake::{Fake, Run};
use amphipod_runtime::{ContainerId, Error, Exit, PodName};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::Addresses;
use super::machine::Machine;
use super::script::{self, Script};
use crate::adopt::resume_all;
use crate::backoff::{FIRST, after};
use crate::plan::{self, Action, plan};
use crate::slot::{Ended, Phase, RestartPolicy, Slot, Waiting};
use crate::status::{Facts, status};

/// What is to be written about a pod.
pub enum Need {
    Nothing,
    /// This patch of its status.
    Status(Value),
    /// It was deleted and has ended.
    Deletion,
}

pub struct Simulated {
    pub pod: Arc<Pod>,
    /// A write is under way.
    pub writing: bool,
    script: Script,
    slots: Vec<Slot>,
    start_time: Timestamp,
    /// Not before.
    begins: Timestamp,
    ip: Option<IpAddr>,
    /// Why it was ended from outside.
    ended: Option<(String, String)>,
    finished: bool,
}

/// The API keeps no more, and what it gives back must compare equal.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

impl Simulated {
    pub fn new(pod: Arc<Pod>, script: Script, fake: &Fake, now: Timestamp) -> Self {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let start_time = status.and_then(|status| status.start_time.as_ref()).map_or(now, |time| time.0);
        let ip = status.and_then(|status| status.pod_ip.as_deref()?.parse().ok());
        let finished = matches!(phase, Some("Failed" | "Succeeded"));
        let slots = resume_all(&pod, whole_second(now), |slot, id, started_at| {
            let begun = begin(fake, (&pod, &script), slot, (id.clone(), slot.restart_count, Some(started_at)));
            begun.is_ok()
        });
        let reason = status.and_then(|status| status.reason.clone()).filter(|_| phase == Some("Failed"));
        let ended = reason.map(|reason| (reason, status.and_then(|status| status.message.clone()).unwrap_or_default()));
        let (start_time, begins) = (whole_second(start_time), after(start_time, script.start_delay));
        Self { pod, writing: false, script, slots, start_time, begins, ip, ended, finished }
    }

    /// The newer of two pictures counts.
    pub fn see(&mut self, pod: Arc<Pod>) {
        let version = |pod: &Pod| pod.metadata.resource_version.as_ref().and_then(|text| text.parse::<u64>().ok());
        if version(&pod) >= version(&self.pod) {
            self.pod = pod;
        }
    }

    /// Whether that is news.
    pub fn end(&mut self, id: &ContainerId, mut exit: Exit) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.running() == Some(id));
        slot.is_some_and(|slot| {
            exit.started_at = whole_second(exit.started_at);
            exit.finished_at = whole_second(exit.finished_at);
            slot.end(Ended { id: id.clone(), exit });
            true
        })
    }

    /// Does what is to be done now; says what is to be written, and when to look again at the latest.
    pub fn step(&mut self, machine: &Machine, given: &Addresses, now: Timestamp) -> (Need, Option<Timestamp>) {
        if self.pod.metadata.deletion_timestamp.is_some() {
            self.drop_from(&machine.fake);
            return (if self.writing { Need::Nothing } else { Need::Deletion }, None);
        }
        let mut wake = self.deadline(now);
        if !self.finished {
            wake = [wake, self.act(machine, given, now)].into_iter().flatten().min();
        }
        if self.writing {
            return (Need::Nothing, wake);
        }
        (self.report(machine, now), wake)
    }

    fn act(&mut self, machine: &Machine, given: &Addresses, now: Timestamp) -> Option<Timestamp> {
        if self.ip.is_none() && now < self.begins {
            return Some(self.begins);
        }
        self.ip.get_or_insert_with(|| IpAddr::V4(given.next()));
        let policy = self.pod.spec.as_ref().map_or(RestartPolicy::Always, RestartPolicy::of);
        // Each round starts what the last one made way for.
        for _ in 0..=self.slots.len() {
            let ending = self.is_late(now);
            let plan = plan(plan::Pod { slots: &self.slots, policy, ending }, now);
            for action in &plan.actions {
                match action {
                    Action::Start(index) => self.start(&machine.fake, *index, now),
                    Action::Stop(index) => self.stop(&machine.fake, *index),
                    Action::Finish => self.finished = true,
                }
            }
            if plan.actions.is_empty() || self.finished {
                return plan.wake;
            }
        }
        None
    }

    fn start(&mut self, fake: &Fake, index: usize, now: Timestamp) {
        let now = whole_second(now);
        let slot = &self.slots[index];
        let run = slot.next_restart_count();
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        let id = ContainerId(format!("fake://{uid}.{}.{run}", slot.name));
        let begun = begin(fake, (&self.pod, &self.script), slot, (id.clone(), run, None));
        let old: Vec<ContainerId> = slot.ids().cloned().collect();
        old.iter().for_each(|id| fake.forget(id));
        let slot = &mut self.slots[index];
        match begun {
            Ok(started_at) => {
                if matches!(slot.phase, Phase::Exited(_)) {
                    slot.restarts.grow(now);
                }
                slot.begin(id, None, whole_second(started_at));
                (slot.started, slot.ready) = (true, true);
            }
            Err(error) => {
                let reason = match error {
                    Error::Image(_) => "ErrImagePull",
                    Error::Config(_) => "CreateContainerConfigError",
                    _ => "CreateContainerError",
                };
                slot.fail(Waiting { reason, message: error.to_string(), retry_at: after(now, FIRST) });
            }
        }
    }

    fn stop(&mut self, fake: &Fake, index: usize) {
        if let Some(id) = self.slots[index].running().cloned() {
            if let Phase::Running { stopping, .. } = &mut self.slots[index].phase {
                *stopping = true;
            }
            // Its end is observed.
            fake.end(&id, 143);
        }
    }

    /// Nothing of it runs any more.
    pub fn drop_from(&self, fake: &Fake) {
        for id in self.slots.iter().flat_map(Slot::ids) {
            fake.end(id, 143);
            fake.forget(id);
        }
    }

    fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.due().filter(|due| *due > now && !self.finished)
    }

    fn due(&self) -> Option<Timestamp> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        Some(after(self.start_time, std::time::Duration::from_secs(seconds.max(0).unsigned_abs())))
    }

    fn is_late(&mut self, now: Timestamp) -> bool {
        if self.due().is_some_and(|due| due <= now) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.ended.get_or_insert_with(|| ("DeadlineExceeded".to_owned(), message.to_owned()));
        }
        self.ended.is_some()
    }

    fn report(&self, machine: &Machine, now: Timestamp) -> Need {
        let facts = Facts {
            host_ip: IpAddr::V4(machine.ip),
            pod_ip: self.ip,
            start_time: self.start_time,
            ended: self.ended.clone(),
            stopped: false,
            now: whole_second(now),
        };
        let wanted = status(&self.pod, &self.slots, &facts);
        if self.pod.status.as_ref() == Some(&wanted) {
            return Need::Nothing;
        }
        let value = |status: &_| serde_json::to_value(status).unwrap_or_default();
        let known = self.pod.status.as_ref().map(value).unwrap_or_default();
        crate::patch::difference(&known, &value(&wanted)).map_or(Need::Nothing, Need::Status)
    }
}

type Start = (ContainerId, u32, Option<Timestamp>);

fn begin(fake: &Fake, (pod, script): (&Pod, &Script), slot: &Slot, start: Start) -> Result<Timestamp, Error> {
    let (id, restart_count, started_at) = start;
    let meta = &pod.metadata;
    let [namespace, name, uid] = [&meta.namespace, &meta.name, &meta.uid].map(|text| text.clone().unwrap_or_default());
    let container = script::container(pod, &slot.name).ok_or_else(|| Error::Config("no such container".to_owned()))?;
    let behaviour = script.behaviour(container, &uid, restart_count);
    let pod = PodName { namespace, name, uid };
    fake.begin(Run { id, pod, container: slot.name.clone(), restart_count, started_at }, behaviour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Node;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    struct World {
        machine: Machine,
        addresses: Addresses,
    }

    impl World {
        fn new() -> Self {
            let addresses = Addresses::default();
            let node: Node = serde_json::from_value(json!({ "metadata": { "name": "n" } })).unwrap();
            Self { machine: Machine::new(&node, &addresses), addresses }
        }

        fn pod(&self, spec: Value, annotations: Value) -> Simulated {
            let mut whole = json!({ "containers": [{ "name": "c", "image": "i" }] });
            whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            let metadata = json!({ "name": "p", "namespace": "d", "uid": "u", "annotations": annotations });
            let pod: Pod = serde_json::from_value(json!({ "metadata": metadata, "spec": whole })).unwrap();
            let (script, _) = Script::of(&pod.metadata.annotations, &None);
            Simulated::new(Arc::new(pod), script, &self.machine.fake, at(100))
        }

        /// What is written, as the API then has it; phase, state of the first container, restarts, address.
        fn step(&self, pod: &mut Simulated, second: i64) -> String {
            let (need, wake) = pod.step(&self.machine, &self.addresses, at(second));
            let wake = wake.map_or("-".to_owned(), |wake| wake.as_second().to_string());
            let Need::Status(patch) = need else {
                let shown = if matches!(need, Need::Deletion) { "delete" } else { "nothing" };
                return format!("{shown} wake {wake}");
            };
            let mut whole = serde_json::to_value(&*pod.pod).unwrap();
            let before = whole["status"].take();
            whole["status"] = merged(before, &patch);
            pod.pod = Arc::new(serde_json::from_value(whole).unwrap());
            let status = pod.pod.status.as_ref().unwrap();
            let container = &status.container_statuses.as_ref().unwrap()[0];
            let state = container.state.as_ref().unwrap();
            let state = match (&state.running, &state.waiting, &state.terminated) {
                (Some(_), ..) => "running".to_owned(),
                (_, Some(waiting), _) => waiting.reason.clone().unwrap(),
                (.., Some(ended)) => format!("ended {}", ended.exit_code),
                _ => "-".to_owned(),
            };
            let (phase, ip) = (status.phase.as_deref().unwrap(), status.pod_ip.as_deref().unwrap_or("-"));
            format!("{phase} {state} {} {ip} wake {wake}", container.restart_count)
        }

        async fn ends(&self, pod: &mut Simulated) {
            use amphipod_runtime::{Runtime as _, State};
            for one in self.machine.fake.list().await.unwrap() {
                if let State::Exited(mut exit) = one.state {
                    exit.finished_at = at(110);
                    pod.end(&one.id, exit);
                }
            }
        }
    }

    /// Conditions merge by their type.
    fn merged(before: Value, patch: &Value) -> Value {
        let mut whole = if before.is_object() { before } else { json!({}) };
        for (key, value) in patch.as_object().unwrap() {
            if key != "conditions" {
                whole[key] = value.clone();
                continue;
            }
            let mut all = whole["conditions"].as_array().cloned().unwrap_or_default();
            for condition in value.as_array().unwrap() {
                all.retain(|known| known["type"] != condition["type"]);
                all.push(condition.clone());
            }
            whole["conditions"] = all.into();
        }
        whole
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_runs_at_once_with_one_write() {
        let world = World::new();
        let mut pod = world.pod(json!({}), json!({}));
        assert_eq!(world.step(&mut pod, 100), "Running running 0 240.0.0.2 wake -");
        assert_eq!(world.step(&mut pod, 200), "nothing wake -");
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_as_it_is_told() {
        let world = World::new();
        let mut pod = world.pod(json!({}), json!({ "amphipod.dev/start-delay": "5s" }));
        assert_eq!(world.step(&mut pod, 101), "Pending ContainerCreating 0 - wake 105");
        assert_eq!(world.step(&mut pod, 105), "Running running 0 240.0.0.2 wake -");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_restarts_is_done_when_it_ends() {
        let world = World::new();
        let annotations = json!({ "amphipod.dev/run-for": "10s", "amphipod.dev/exit-code": "3" });
        let mut pod = world.pod(json!({ "restartPolicy": "Never" }), annotations);
        world.step(&mut pod, 100);
        tokio::time::sleep(std::time::Duration::from_secs(11)).await;
        world.ends(&mut pod).await;
        assert_eq!(world.step(&mut pod, 110), "Failed ended 3 0 240.0.0.2 wake -");
        assert_eq!(world.step(&mut pod, 500), "nothing wake -");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_is_started_again_ever_later() {
        let world = World::new();
        let mut pod = world.pod(json!({}), json!({ "amphipod.dev/failure-rate": "1" }));
        world.step(&mut pod, 100);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        world.ends(&mut pod).await;
        assert_eq!(world.step(&mut pod, 110), "Running running 1 240.0.0.2 wake -");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        world.ends(&mut pod).await;
        assert_eq!(world.step(&mut pod, 111), "Running CrashLoopBackOff 1 240.0.0.2 wake 120");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_one_is_gone_at_once_and_what_ran_before_runs_on() {
        let world = World::new();
        let mut pod = world.pod(json!({}), json!({}));
        world.step(&mut pod, 100);
        let again = World::new();
        let mut same = Simulated::new(pod.pod.clone(), pod.script.clone(), &again.machine.fake, at(300));
        assert_eq!(again.step(&mut same, 300), "nothing wake -");
        let mut deleted = (*same.pod).clone();
        deleted.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(400)));
        same.pod = Arc::new(deleted);
        assert_eq!(again.step(&mut same, 400), "delete wake -");
        use amphipod_runtime::Runtime as _;
        assert!(again.machine.fake.list().await.unwrap().is_empty());
    }
}
