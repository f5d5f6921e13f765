//! Tables of pods and nodes against the scheduler's decision. Facts are upstream's; what it scores is computed by hand.

mod affinity;
mod fit;
mod naive;
mod nodes;
mod preemption;
mod scores;
mod spread;
mod volumes;

use std::sync::Arc;

use expect_test::Expect;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::classes::Classes;
use crate::need::{Need, Selector};
use crate::snapshot::{Facts, Snapshot};
use crate::watch::facts;

/// A cluster in a test.
#[derive(Default)]
struct Cluster {
    snapshot: Snapshot,
    classes: Classes,
    count: usize,
}

impl Cluster {
    fn of(nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut cluster = Self::default();
        nodes.into_iter().for_each(|node| cluster.snapshot.put_node(&node));
        cluster
    }

    /// A pod that is there already.
    fn holds(mut self, node: &str, whole: Value) -> Self {
        self.place(node, whole);
        self
    }

    fn place(&mut self, node: &str, whole: Value) -> String {
        self.count += 1;
        let mut pod = pod(whole);
        pod.metadata.uid.get_or_insert_with(|| format!("placed-{}", self.count));
        let uid = pod.metadata.uid.clone().unwrap();
        self.snapshot.put_pod(node, Arc::new(Need::of(&pod)), facts(&pod));
        uid
    }

    /// The node's name, or what the pod is told.
    fn decide(&mut self, need: &Need) -> String {
        match self.classes.schedule("incoming", need, &mut self.snapshot) {
            Ok(slot) => self.snapshot.at(slot).name.clone(),
            Err(why) => why.to_string(),
        }
    }

    fn check(&mut self, whole: Value, expected: Expect) {
        let said = self.decide(&Need::of(&pod(whole)));
        expected.assert_eq(&said);
    }

    /// Places so many pods one after another. How many each node got, in the order of nodes.
    fn spread(&mut self, whole: Value, pods: usize) -> Vec<usize> {
        let need = Arc::new(Need::of(&pod(whole)));
        self.spread_need(&need, pods)
    }

    fn spread_need(&mut self, need: &Arc<Need>, pods: usize) -> Vec<usize> {
        let mut counts = vec![0; self.snapshot.slots() as usize];
        for _ in 0..pods {
            self.count += 1;
            let Ok(slot) = self.classes.schedule("incoming", need, &mut self.snapshot) else { break };
            counts[slot as usize] += 1;
            let name = self.snapshot.at(slot).name.clone();
            let facts = Facts { uid: format!("spread-{}", self.count), ..Facts::default() };
            self.snapshot.put_pod(&name, need.clone(), facts);
        }
        counts
    }
}

/// A node of two cores in the zone of its first letter; `extra` is merged into it.
fn node(name: &str, extra: Value) -> Node {
    let zone = &name[..1];
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    });
    merge(&mut node, extra);
    serde_json::from_value(node).unwrap()
}

fn plain(name: &str) -> Node {
    node(name, json!({}))
}

/// `whole` is merged into a pod of one container.
fn pod(whole: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c"}]}});
    merge(&mut pod, whole);
    serde_json::from_value(pod).unwrap()
}

fn spec(spec: Value) -> Value {
    json!({ "spec": spec })
}

fn labelled(labels: Value, spec: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": spec})
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value))
        }
        (into, from) => *into = from,
    }
}

fn requesting(requests: Value) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
}

fn cpu(amount: &str) -> Value {
    requesting(json!({ "cpu": amount }))
}

fn siblings(labels: Value) -> Option<Selector> {
    Some(Selector::pairs(&serde_json::from_value(labels).unwrap()))
}
