//! Who is tried when.

use super::*;
use crate::need::Amounts;
use crate::plugins::Plugin;
use crate::snapshot::{Facts, NodeState, Placed};

fn key(name: &str) -> PodKey {
    Arc::new(("default".into(), name.into()))
}

fn name(turn: Option<Turn>) -> Option<String> {
    turn.map(|turn| turn.key.1.clone())
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn need() -> Arc<Need> {
    Arc::new(Need { requests: Amounts { cpu: 500, ..Amounts::default() }, ..Need::default() })
}

fn refused_by(plugin: Plugin) -> Plugins {
    Plugins::from_iter([plugin])
}

fn gone() -> Placed {
    Placed { slot: 0, need: need(), facts: Facts::default() }
}

#[test]
fn priority_goes_before_age() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.add(&key("old"), 0, now);
    queue.add(&key("young"), 0, now);
    queue.add(&key("important"), 5, now);
    queue.add(&key("old"), 0, now);
    let order: Vec<_> = std::iter::from_fn(|| name(queue.next(now))).collect();
    assert_eq!(order, ["important", "old", "young"]);
    assert_eq!(queue.lengths(), Lengths::default());
}

#[test]
fn a_new_priority_counts_at_once() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.add(&key("a"), 0, now);
    queue.add(&key("b"), 1, now);
    queue.add(&key("a"), 2, now);
    assert_eq!(name(queue.next(now)).as_deref(), Some("a"));
}

#[test]
fn a_parked_pod_is_woken_by_what_may_help_it_and_by_nothing_else() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.add(&key("a"), 0, now);
    queue.next(now).unwrap();
    queue.park(&key("a"), &need(), refused_by(Plugin::NodeResourcesFit), now);
    assert_eq!(queue.lengths().unschedulable, 1);
    assert_eq!(queue.wake(&Event::StorageClass, now), 0);
    let small = NodeState { allocatable: Amounts { cpu: 499, pods: 9, ..Amounts::default() }, ..NodeState::default() };
    assert_eq!(queue.wake(&Event::NodeAdded(&small), now), 0, "a node that is too small helps nobody");
    assert_eq!(queue.next(now + seconds(60)), None);
    assert_eq!(queue.wake(&Event::PodGone(&gone()), now), 1);
    assert_eq!(queue.lengths().backing_off, 1);
    let turn = queue.next(now).unwrap();
    assert_eq!((turn.attempts, turn.since), (2, now), "nothing else is active, so it need not wait");
}

#[test]
fn time_alone_is_enough_in_the_end() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.add(&key("a"), 0, now);
    queue.next(now).unwrap();
    queue.park(&key("a"), &need(), refused_by(Plugin::NodeAffinity), now);
    assert_eq!(queue.wake_at(), Some(now + PARKED_MAX));
    assert_eq!(queue.next(now + PARKED_MAX - seconds(1)), None);
    assert_eq!(name(queue.next(now + PARKED_MAX)).as_deref(), Some("a"));
}

#[test]
fn who_backs_off_lets_the_active_go_first() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.add(&key("important"), 9, now);
    queue.next(now).unwrap();
    queue.park(&key("important"), &need(), refused_by(Plugin::NodeResourcesFit), now);
    queue.add(&key("plain"), 0, now);
    queue.wake(&Event::PodGone(&gone()), now);
    assert_eq!(name(queue.next(now)).as_deref(), Some("plain"));
    assert_eq!(name(queue.next(now)).as_deref(), Some("important"));
}

#[test]
fn after_an_error_the_back_off_is_kept_and_doubles() {
    let (mut queue, mut now) = (Queue::default(), Instant::now());
    queue.add(&key("a"), 0, now);
    for wait in [1, 2, 4, 8, 10, 10] {
        queue.next(now).unwrap();
        queue.fail(&key("a"), now);
        assert_eq!(queue.wake_at(), Some(now + seconds(wait)));
        assert!(!queue.is_ready());
        assert_eq!(queue.next(now + seconds(wait) - Duration::from_millis(1)), None);
        now += seconds(wait);
    }
}

#[test]
fn a_gated_pod_is_never_tried_until_its_gates_are_open() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.gate(&key("a"), 0, now);
    queue.gate(&key("a"), 0, now);
    assert_eq!(queue.lengths(), Lengths { gated: 1, ..Lengths::default() });
    assert_eq!(queue.next(now + PARKED_MAX), None);
    queue.add(&key("a"), 0, now);
    assert_eq!(queue.lengths().gated, 0);
    assert_eq!(name(queue.next(now)).as_deref(), Some("a"));
}

#[test]
fn a_removed_pod_is_forgotten_wherever_it_waits() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for name in ["active", "failing", "parked", "gated"] {
        queue.add(&key(name), 0, now);
    }
    queue.gate(&key("gated"), 0, now);
    queue.remove(&key("active"));
    queue.next(now).unwrap();
    queue.fail(&key("failing"), now);
    queue.next(now).unwrap();
    queue.park(&key("parked"), &need(), Plugins::default(), now);
    for name in ["failing", "parked", "gated"] {
        queue.remove(&key(name));
    }
    assert_eq!(queue.lengths(), Lengths::default());
    assert_eq!(queue.next(now + PARKED_MAX), None);
    assert!(queue.refusals().is_empty() && !queue.knows(&key("parked")));
}

#[test]
fn pods_that_ask_the_same_are_woken_together() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for index in 0..3 {
        queue.add(&key(&index.to_string()), 0, now);
        let turn = queue.next(now).unwrap();
        queue.park(&turn.key, &need(), refused_by(Plugin::NodeResourcesFit), now);
    }
    assert_eq!(queue.refusals(), HashMap::from([(Plugin::NodeResourcesFit, 3)]));
    assert_eq!(queue.wake(&Event::PodGone(&gone()), now + seconds(2)), 3);
    assert_eq!(queue.lengths().active, 3, "their back-off is over");
}
