//! Statuses of small pods, as one line each.

use super::*;
use crate::slot::{Ended, Waiting, slots_of};
use amphipod_runtime::{ContainerId, Exit};
use expect_test::{Expect, expect};
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(policy: &str) -> Pod {
    let container = |name: &str| json!({"name": name, "image": "echo"});
    let spec =
        json!({"restartPolicy": policy, "initContainers": [container("init")], "containers": [container("main")]});
    let value = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3}, "spec": spec});
    serde_json::from_value(value).unwrap()
}

fn exited(code: i32) -> Phase {
    let exit = Exit { code, reason: "Error".into(), message: String::new(), started_at: at(90), finished_at: at(95) };
    Phase::Exited(Ended { id: ContainerId("fake://1".into()), exit })
}

fn check(policy: &str, change: impl FnOnce(&mut Vec<Slot>, &mut Facts), expected: Expect) {
    let pod = pod(policy);
    let mut slots = slots_of(pod.spec.as_ref().unwrap());
    let ip = |last| Some(IpAddr::from([127, 42, 0, last]));
    let mut facts =
        Facts { host_ip: ip(1).unwrap(), pod_ip: ip(2), start_time: at(80), ended: None, stopped: false, now: at(100) };
    change(&mut slots, &mut facts);
    let status = status(&pod, &slots, &facts);
    let conditions = status.conditions.iter().flatten().map(|c| {
        format!("{}={}{}", c.type_, c.status, c.reason.as_ref().map(|r| format!("({r})")).unwrap_or_default())
    });
    let state = |status: &k8s_openapi::api::core::v1::ContainerStatus| {
        let state = status.state.clone().unwrap_or_default();
        let waiting =
            state.waiting.map(|w| format!("{} {}", w.reason.unwrap_or_default(), w.message.unwrap_or_default()));
        let ended = state.terminated.map(|t| format!("ended {}", t.exit_code));
        let shown = waiting.or(ended).unwrap_or_else(|| "running".into());
        format!("{}: {} ready={} restarts={}", status.name, shown.trim(), status.ready, status.restart_count)
    };
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()).map(state);
    let lines: Vec<String> = containers.chain(conditions).collect();
    expected.assert_eq(&format!("{} {:?}\n{}", status.phase.unwrap_or_default(), status.reason, lines.join("\n")));
}

#[test]
fn a_new_pod_is_pending_and_initializing() {
    check(
        "Always",
        |_, _| {},
        expect![[r#"
        Pending None
        init: PodInitializing ready=false restarts=0
        main: PodInitializing ready=false restarts=0
        PodReadyToStartContainers=True
        Initialized=False(ContainersNotInitialized)
        Ready=False(ContainersNotReady)
        ContainersReady=False(ContainersNotReady)
        PodScheduled=True"#]],
    );
}

#[test]
fn a_running_pod_is_ready() {
    let change = |slots: &mut Vec<Slot>, _: &mut Facts| {
        slots[0].phase = exited(0);
        slots[1].phase = Phase::Running { id: ContainerId("fake://2".into()), started_at: at(99), stopping: false };
        (slots[1].started, slots[1].ready) = (true, true);
    };
    check(
        "Always",
        change,
        expect![[r#"
        Running None
        init: ended 0 ready=true restarts=0
        main: running ready=true restarts=0
        PodReadyToStartContainers=True
        Initialized=True
        Ready=True
        ContainersReady=True
        PodScheduled=True"#]],
    );
}

#[test]
fn a_container_in_back_off_is_crash_looping() {
    let change = |slots: &mut Vec<Slot>, _: &mut Facts| {
        slots[0].phase = exited(0);
        slots[1].phase = exited(1);
        slots[1].restart_count = 1;
        slots[1].restarts.grow(at(94));
    };
    check(
        "Always",
        change,
        expect![[r#"
        Running None
        init: ended 0 ready=true restarts=0
        main: CrashLoopBackOff back-off 10s restarting failed container=main pod=p_n(u) ready=false restarts=1
        PodReadyToStartContainers=True
        Initialized=True
        Ready=False(ContainersNotReady)
        ContainersReady=False(ContainersNotReady)
        PodScheduled=True"#]],
    );
}

#[test]
fn ends_decide_the_phase() {
    let ended = |code| {
        move |slots: &mut Vec<Slot>, _: &mut Facts| {
            slots[0].phase = exited(0);
            slots[1].phase = exited(code);
        }
    };
    check(
        "Never",
        ended(0),
        expect![[r#"
        Succeeded None
        init: ended 0 ready=true restarts=0
        main: ended 0 ready=false restarts=0
        PodReadyToStartContainers=False
        Initialized=True(PodCompleted)
        Ready=False(PodCompleted)
        ContainersReady=False(PodCompleted)
        PodScheduled=True"#]],
    );
    let failed_init = |slots: &mut Vec<Slot>, _: &mut Facts| slots[0].phase = exited(1);
    check(
        "Never",
        failed_init,
        expect![[r#"
        Failed None
        init: ended 1 ready=false restarts=0
        main: PodInitializing ready=false restarts=0
        PodReadyToStartContainers=False
        Initialized=False(ContainersNotInitialized)
        Ready=False(PodFailed)
        ContainersReady=False(PodFailed)
        PodScheduled=True"#]],
    );
    let late = |slots: &mut Vec<Slot>, facts: &mut Facts| {
        slots[1].phase =
            Phase::Waiting(Some(Waiting { reason: "ErrImagePull", message: "x: not found".into(), retry_at: at(110) }));
        facts.ended = Some(("DeadlineExceeded".into(), "late".into()));
    };
    check(
        "Always",
        late,
        expect![[r#"
        Failed Some("DeadlineExceeded")
        init: PodInitializing ready=false restarts=0
        main: ErrImagePull x: not found ready=false restarts=0
        PodReadyToStartContainers=False
        Initialized=False(ContainersNotInitialized)
        Ready=False(PodFailed)
        ContainersReady=False(PodFailed)
        PodScheduled=True"#]],
    );
}
