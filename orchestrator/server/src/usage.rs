//! metrics.k8s.io: what nodes and pods use, as metrics-server answers it, without one. The nodes' agents are asked for
//! their summaries; nothing of it is stored.
//!
//! ```text
//!  usage/scrape.rs  GET /stats/summary of every node ─► points.rs: the last two of each container
//!  GET /apis/metrics.k8s.io/… ─► usage/answer.rs: labels of the store's objects, figures of the points
//! ```

pub mod answer;
mod points;
pub mod scrape;
mod summary;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::time::Instant;

use points::Points;

/// How often nodes are asked while somebody wants to know.
const PERIOD: Duration = Duration::from_secs(15);
/// And while nobody does.
const IDLE_PERIOD: Duration = Duration::from_secs(60);
/// And while figures of a node are still to come.
const SETTLING_PERIOD: Duration = Duration::from_secs(3);
/// A question is followed by others for so long.
const INTEREST: Duration = Duration::from_secs(300);

/// Namespace and name.
type PodKey = (String, String);

/// One node's latest.
#[derive(Debug, Default)]
struct OfNode {
    points: Option<Points>,
    pods: HashMap<PodKey, OfPod>,
}

#[derive(Debug)]
struct OfPod {
    uid: String,
    /// By container, in the pod's order.
    containers: Vec<(Box<str>, Points)>,
}

/// All that is known, shared between who asks nodes and who answers.
pub struct Usage {
    nodes: RwLock<HashMap<String, Arc<OfNode>>>,
    /// When somebody last wanted to know; as if at the start, so that a young cluster is looked at often.
    asked: watch::Sender<Instant>,
    /// When all nodes were last asked; `None`: never.
    scraped: watch::Sender<Option<Instant>>,
}

impl Default for Usage {
    fn default() -> Self {
        Self { nodes: RwLock::default(), asked: watch::Sender::new(Instant::now()), scraped: watch::Sender::new(None) }
    }
}

/// What was used between two points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub at: Timestamp,
    pub window: Duration,
    pub cpu_nanocores: u64,
    pub memory_bytes: u64,
}

impl Usage {
    /// `node`'s figures, once two points of it are known.
    fn of_node(&self, node: &str) -> Option<Used> {
        self.nodes.read().get(node)?.points.as_ref()?.used()
    }

    /// The figures of a pod's running containers; `None` until all of them have some.
    fn of_pod(&self, node: &str, key: &PodKey, uid: &str) -> Option<Vec<(Box<str>, Used)>> {
        let nodes = self.nodes.read();
        let pod = nodes.get(node)?.pods.get(key).filter(|pod| pod.uid == uid)?;
        let used = pod.containers.iter().map(|(name, points)| Some((name.clone(), points.used()?)));
        used.collect::<Option<Vec<_>>>().filter(|containers| !containers.is_empty())
    }

    /// A node's new summary takes the place of the last.
    fn absorb(&self, node: &str, now: summary::Figures) {
        let before = self.nodes.read().get(node).cloned().unwrap_or_default();
        let next = OfNode {
            points: Some(Points::after(before.points.as_ref(), now.node)),
            pods: now.pods.into_iter().map(|pod| after(&before, pod)).collect(),
        };
        self.nodes.write().insert(node.to_owned(), Arc::new(next));
    }

    /// There is no node yet, or one of which only one point is known: soon there is more to say.
    fn is_settling(&self) -> bool {
        let nodes = self.nodes.read();
        let is_young = |node: &Arc<OfNode>| node.points.is_some_and(|points| points.used().is_none());
        nodes.is_empty() || nodes.values().any(is_young)
    }

    fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.nodes.write().retain(|node, _| is_there(node));
    }
}

fn after(before: &OfNode, pod: summary::Pod) -> (PodKey, OfPod) {
    let known = before.pods.get(&pod.key).filter(|known| known.uid == pod.uid);
    let containers = pod.containers.into_iter().map(|(name, point)| {
        let last = known.and_then(|known| known.containers.iter().find(|(other, _)| *other == name));
        (name, Points::after(last.map(|(_, points)| points), point))
    });
    (pod.key, OfPod { uid: pod.uid, containers: containers.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn time(second: u64) -> String {
        Timestamp::from_second(second as i64).unwrap().to_string()
    }

    /// Summaries of one node with one pod: `(second, cpu milliseconds of its container, second of the start, uid)`.
    fn check(summaries: &[(u64, u64, u64, &str)], expected: Expect) {
        let usage = Usage::default();
        for (second, cpu, started, uid) in summaries {
            let stats = |cpu: u64, started: u64| {
                json!({ "name": "c", "startTime": time(started), "cpu": { "time": time(*second), "usageCoreNanoSeconds": cpu * 1_000_000 },
                    "memory": { "workingSetBytes": 1_024 * second } })
            };
            let pod = json!({ "podRef": { "name": "p", "namespace": "n", "uid": uid }, "containers": [stats(*cpu, *started)] });
            let summary = json!({ "node": stats(second * 100, 1), "pods": [pod] }).to_string();
            usage.absorb("one", summary::read(summary.as_bytes()).unwrap());
        }
        let show = |used: Used| {
            let (window, memory) = (used.window.as_secs(), used.memory_bytes / 1_024);
            format!("{}m over {window} s at {}, {memory}Ki", used.cpu_nanocores / 1_000_000, used.at.as_second())
        };
        let node = usage.of_node("one").map(show);
        let pod = usage.of_pod("one", &("n".into(), "p".into()), "u").map(|all| show(all[0].1));
        expected.assert_eq(&format!("node {node:?} pod {pod:?}"));
    }

    #[test]
    fn two_points_make_a_figure() {
        check(&[(1_000, 0, 1, "u")], expect!["node None pod None"]);
        check(
            &[(1_000, 500, 1, "u"), (1_020, 2_500, 1, "u")],
            expect![[r#"node Some("100m over 20 s at 1020, 1020Ki") pod Some("100m over 20 s at 1020, 1020Ki")"#]],
        );
    }

    #[test]
    fn a_young_container_is_measured_from_its_start() {
        check(&[(1_000, 6_000, 970, "u")], expect![[r#"node None pod Some("200m over 30 s at 1000, 1000Ki")"#]]);
        check(&[(1_000, 6_000, 995, "u")], expect!["node None pod None"]);
    }

    #[test]
    fn another_run_or_another_pod_begins_anew() {
        check(
            &[(1_000, 9_000, 1, "u"), (1_015, 500, 1_010, "u")],
            expect![[r#"node Some("100m over 15 s at 1015, 1015Ki") pod None"#]],
        );
        check(
            &[(1_000, 9_000, 1, "other"), (1_015, 9_500, 1, "u")],
            expect![[r#"node Some("100m over 15 s at 1015, 1015Ki") pod None"#]],
        );
        check(
            &[(1_000, 9_000, 1, "u"), (1_015, 9_500, 1, "other")],
            expect![[r#"node Some("100m over 15 s at 1015, 1015Ki") pod None"#]],
        );
    }
}
