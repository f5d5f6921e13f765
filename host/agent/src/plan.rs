//! What to do next for a pod: pure, from its slots and the time. `pod.rs` carries it out and asks again after every event.
//!
//! ```text
//!  living:  init containers one after the other (sidecars stay) ─► mains ─► restarts by policy and back-off
//!  ending:  mains stop together ─► sidecars, last first ─► Finish
//! ```

use jiff::Timestamp;

use crate::slot::{Phase, RestartPolicy, Role, Slot};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Pull what is missing and start the container of this slot.
    Start(usize),
    Stop(usize),
    /// Nothing runs and nothing will.
    Finish,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When to plan again although nothing happens.
    pub wake: Option<Timestamp>,
}

/// The pod as far as a plan depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    pub slots: &'a [Slot],
    pub policy: RestartPolicy,
    /// It is deleted, or over its deadline.
    pub ending: bool,
}

pub fn plan(pod: Pod<'_>, now: Timestamp) -> Plan {
    if pod.ending || over(pod) {
        return wind_down(pod.slots);
    }
    let mut plan = Plan::default();
    let started_before = pod.slots.iter().any(|slot| slot.role == Role::Main && has_run(slot));
    for (index, slot) in pod.slots.iter().enumerate() {
        let done_for_good = started_before && slot.role == Role::Init;
        if done_for_good {
            continue;
        }
        plan.bring_up(index, slot, pod.policy, now);
        if slot.role != Role::Main && !slot.initialized() && !started_before {
            break;
        }
    }
    plan
}

/// Every main container has ended for good, or an init container failed for good.
pub fn over(pod: Pod<'_>) -> bool {
    let for_good = |slot: &Slot| match &slot.phase {
        Phase::Exited(ended) => !slot.busy && !slot.restarts_after(&ended.exit, pod.policy),
        _ => false,
    };
    let failed_init = |slot: &Slot| slot.role == Role::Init && for_good(slot) && !slot.initialized();
    pod.slots.iter().filter(|slot| slot.role == Role::Main).all(for_good) || pod.slots.iter().any(failed_init)
}

fn has_run(slot: &Slot) -> bool {
    slot.last.is_some() || !matches!(slot.phase, Phase::Waiting(_))
}

fn wind_down(slots: &[Slot]) -> Plan {
    let running = |slot: &Slot| matches!(slot.phase, Phase::Running { .. });
    let unstopped = |slot: &Slot| matches!(slot.phase, Phase::Running { stopping: false, .. });
    let first: Vec<usize> =
        (0..slots.len()).filter(|&index| slots[index].role != Role::Sidecar && running(&slots[index])).collect();
    let turn = match first.is_empty() {
        false => first,
        true => (0..slots.len()).rev().find(|&index| running(&slots[index])).into_iter().collect(),
    };
    let mut actions: Vec<Action> =
        turn.iter().filter(|&&index| unstopped(&slots[index])).map(|&index| Action::Stop(index)).collect();
    if turn.is_empty() && slots.iter().all(|slot| !slot.busy) {
        actions.push(Action::Finish);
    }
    Plan { actions, wake: None }
}

impl Plan {
    fn bring_up(&mut self, index: usize, slot: &Slot, policy: RestartPolicy, now: Timestamp) {
        let due = match &slot.phase {
            _ if slot.busy => return,
            Phase::Running { .. } => return,
            Phase::Waiting(None) => now,
            Phase::Waiting(Some(waiting)) => waiting.retry_at,
            Phase::Exited(ended) if slot.restarts_after(&ended.exit, policy) => {
                slot.restarts.due(ended.exit.finished_at)
            }
            Phase::Exited(_) => return,
        };
        if due <= now {
            self.actions.push(Action::Start(index));
        } else {
            self.wake = Some(self.wake.map_or(due, |wake| wake.min(due)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::{Ended, Waiting};
    use amphipod_runtime::{ContainerId, Exit};
    use expect_test::{Expect, expect};

    /// `i` init, `s` sidecar, `m` main; then `-` waiting, `!` failed start (again at 50), `r` running, `R` running and
    /// started, `x` stopping, `0`/`1` exited with that code at 100, `b` busy, `c` exited with 1 at 100 in back-off.
    fn slot(text: &str) -> Slot {
        let mut letters = text.chars();
        let role = match letters.next() {
            Some('i') => Role::Init,
            Some('s') => Role::Sidecar,
            _ => Role::Main,
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let id = ContainerId("fake://1".into());
        let running = |stopping| Phase::Running { id: id.clone(), started_at: at(90), stopping };
        let exited = |code| {
            let exit =
                Exit { code, reason: "Error".into(), message: String::new(), started_at: at(90), finished_at: at(100) };
            Phase::Exited(Ended { id: id.clone(), exit })
        };
        let mut slot = Slot::new(text, role);
        match letters.next() {
            Some('!') => {
                slot.phase =
                    Phase::Waiting(Some(Waiting { reason: "ErrImagePull", message: String::new(), retry_at: at(150) }))
            }
            Some('r') => slot.phase = running(false),
            Some('R') => (slot.phase, slot.started) = (running(false), true),
            Some('x') => slot.phase = running(true),
            Some('0') => slot.phase = exited(0),
            Some('1') => slot.phase = exited(1),
            Some('b') => slot.busy = true,
            Some('c') => {
                slot.phase = exited(1);
                slot.restarts.grow(at(95));
            }
            _ => {}
        }
        slot
    }

    fn check(policy: RestartPolicy, slots: &str, expected: Expect) {
        let (ending, slots) = slots.strip_prefix("end ").map_or((false, slots), |slots| (true, slots));
        let slots: Vec<Slot> = slots.split(' ').map(slot).collect();
        let plan = plan(Pod { slots: &slots, policy, ending }, Timestamp::from_second(100).unwrap());
        expected.assert_eq(&format!("{:?} {:?}", plan.actions, plan.wake.map(Timestamp::as_second)));
    }
    use RestartPolicy::{Always, Never, OnFailure};

    #[test]
    fn mains_start_together_when_every_init_is_done() {
        check(Always, "m- m-", expect!["[Start(0), Start(1)] None"]);
        check(Always, "i- i- m-", expect!["[Start(0)] None"]);
        check(Always, "ir i- m-", expect!["[] None"]);
        check(Always, "i0 i- m-", expect!["[Start(1)] None"]);
        check(Always, "i0 i0 m- mr", expect!["[Start(2)] None"]);
        check(Always, "ib m-", expect!["[] None"]);
    }

    #[test]
    fn a_sidecar_lets_the_next_start_once_it_has_started() {
        check(Always, "s- m-", expect!["[Start(0)] None"]);
        check(Always, "sr m-", expect!["[] None"]);
        check(Always, "sR m-", expect!["[Start(1)] None"]);
        check(Never, "s1 mr", expect!["[Start(0)] None"]);
    }

    #[test]
    fn an_ended_container_restarts_by_policy_and_back_off() {
        check(Always, "m0", expect!["[Start(0)] None"]);
        check(OnFailure, "m0 mr", expect!["[] None"]);
        check(OnFailure, "m1", expect!["[Start(0)] None"]);
        check(Never, "m1 mr", expect!["[] None"]);
        check(Always, "mc mr", expect!["[] Some(110)"]);
        check(Always, "m!", expect!["[] Some(150)"]);
    }

    #[test]
    fn a_failed_init_ends_a_pod_that_never_restarts() {
        check(Never, "i1 m-", expect!["[Finish] None"]);
        check(OnFailure, "i1 m-", expect!["[Start(0)] None"]);
    }

    #[test]
    fn a_pod_whose_mains_are_done_stops_its_sidecars_last_first() {
        check(Never, "sR sR m0", expect!["[Stop(1)] None"]);
        check(Never, "sR s0 m0", expect!["[Stop(0)] None"]);
        check(Never, "s0 s0 m0", expect!["[Finish] None"]);
        check(OnFailure, "m0 m0", expect!["[Finish] None"]);
    }

    #[test]
    fn an_ending_pod_stops_mains_together_then_sidecars() {
        check(Always, "end sR mr mr", expect!["[Stop(1), Stop(2)] None"]);
        check(Always, "end sR mx m1", expect!["[] None"]);
        check(Always, "end sR m1", expect!["[Stop(0)] None"]);
        check(Always, "end sb m1", expect!["[] None"]);
        check(Always, "end ir m-", expect!["[Stop(0)] None"]);
        check(Always, "end m-", expect!["[Finish] None"]);
    }

    #[test]
    fn inits_are_not_run_again_once_the_mains_have_run() {
        check(Always, "i- mr", expect!["[] None"]);
    }
}
