//! Chooses a node for a pod. For each class of pod the suitable nodes are kept in order of score and the
//! objections counted; between two pods only the nodes that changed are looked at again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::filters;
use crate::pod::Class;
use crate::scores;
use crate::snapshot::Snapshot;

/// Classes whose order is kept; beyond it all are forgotten and built again as they are asked for.
const CLASSES_MAX: usize = 512;

/// Why no node takes a pod, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unschedulable {
    pub message: String,
    /// A pod that goes away could make room.
    pub wants_room: bool,
}

#[derive(Default)]
pub(crate) struct Classes(HashMap<String, Order>);

#[derive(Default)]
struct Order {
    seen: usize,
    best: BTreeSet<(Reverse<i64>, usize)>,
    verdicts: Vec<Verdict>,
    objections: BTreeMap<String, usize>,
}

#[derive(Clone, Default)]
enum Verdict {
    #[default]
    Absent,
    Suits(i64),
    Objects(Vec<String>),
}

/// The best node's name. The caller then assumes the pod there with [`Snapshot::place`].
pub fn schedule(class: &Class, key: &str, snapshot: &mut Snapshot) -> Result<String, Unschedulable> {
    let mut classes = std::mem::take(&mut snapshot.classes);
    if classes.0.len() >= CLASSES_MAX && !classes.0.contains_key(key) {
        classes.0.clear();
    }
    let order = match classes.0.get_mut(key) {
        Some(order) => order,
        None => classes.0.entry(key.to_owned()).or_default(),
    };
    order.catch_up(class, snapshot);
    let chosen = match order.best.first() {
        Some((_, slot)) => Ok(snapshot.node(*slot).name.clone()),
        None => Err(order.explain(snapshot.len())),
    };
    snapshot.classes = classes;
    chosen
}

impl Order {
    fn catch_up(&mut self, class: &Class, snapshot: &Snapshot) {
        let fresh = self.verdicts.is_empty();
        match snapshot.changed_since(self.seen).filter(|changed| !fresh && changed.len() <= snapshot.slots()) {
            Some(changed) => changed.iter().for_each(|slot| self.judge(class, snapshot, *slot)),
            None => (0..snapshot.slots()).for_each(|slot| self.judge(class, snapshot, slot)),
        }
        self.seen = snapshot.now();
    }

    fn judge(&mut self, class: &Class, snapshot: &Snapshot, slot: usize) {
        if self.verdicts.len() <= slot {
            self.verdicts.resize(slot + 1, Verdict::Absent);
        }
        match std::mem::take(&mut self.verdicts[slot]) {
            Verdict::Absent => {}
            Verdict::Suits(score) => drop(self.best.remove(&(Reverse(score), slot))),
            Verdict::Objects(reasons) => reasons.iter().for_each(|reason| self.count(reason, -1)),
        }
        let node = snapshot.node(slot);
        if !node.exists {
            return;
        }
        let reasons = filters::objections(class, node);
        self.verdicts[slot] = if reasons.is_empty() {
            let score = scores::total(class, node);
            self.best.insert((Reverse(score), slot));
            Verdict::Suits(score)
        } else {
            reasons.iter().for_each(|reason| self.count(reason, 1));
            Verdict::Objects(reasons)
        };
    }

    fn count(&mut self, reason: &str, by: isize) {
        let count = self.objections.entry(reason.to_owned()).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.objections.remove(reason);
        }
    }

    fn explain(&self, nodes: usize) -> Unschedulable {
        if nodes == 0 {
            return Unschedulable { message: "no nodes available to schedule pods".into(), wants_room: false };
        }
        let mut reasons: Vec<_> = self.objections.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        let room = ["Insufficient", "Too many pods", "node(s) didn't have free ports"];
        let wants_room = self.objections.keys().any(|reason| room.iter().any(|start| reason.starts_with(start)));
        Unschedulable { message: format!("0/{nodes} nodes are available: {}.", reasons.join(", ")), wants_room }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, cpu: &str, extra: Value) -> Node {
        let mut value = json!({"metadata": {"name": name, "labels": {"name": name}}, "spec": extra,
            "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "3"}}});
        value["spec"].as_object_mut().expect("an object");
        serde_json::from_value(value).expect("a node")
    }

    fn cluster() -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(&node("big", "4", json!({})));
        snapshot.set_node(&node("small", "2", json!({})));
        snapshot.set_node(&node("tainted", "64", json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]})));
        snapshot
    }

    /// Schedules pods of these specs one after the other.
    fn check(specs: &[Value], expected: Expect) {
        let mut snapshot = cluster();
        let mut out = Vec::new();
        for (uid, spec) in specs.iter().enumerate() {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
            let class = Class::of(&pod);
            match schedule(&class, &class.key(), &mut snapshot) {
                Ok(name) => {
                    snapshot.place(&uid.to_string(), &name, class);
                    out.push(name);
                }
                Err(error) => out.push(error.message),
            }
        }
        expected.assert_eq(&out.join("\n"));
    }

    fn cpu(amount: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]})
    }

    #[test]
    fn pods_go_where_most_is_free_until_nothing_fits() {
        check(&[cpu("1500m"), cpu("1500m"), cpu("1500m"), cpu("1500m")], expect![[r#"
            big
            big
            small
            0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."#]]);
    }

    #[test]
    fn selectors_tolerations_ports_and_counts_are_kept() {
        let with = |extra: Value| {
            let mut spec = cpu("1m");
            spec.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            spec
        };
        let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}], "nodeSelector": {"name": "small"}});
        check(&[
            with(json!({"nodeSelector": {"name": "small"}})),
            with(json!({"tolerations": [{"key": "k", "operator": "Exists"}], "nodeSelector": {"name": "tainted"}})),
            port.clone(),
            port,
            with(json!({"nodeSelector": {"name": "small"}})),
            with(json!({"nodeSelector": {"name": "small"}})),
        ], expect![[r#"
            small
            tainted
            small
            0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s).
            small
            0/3 nodes are available: 1 Too many pods, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s)."#]]);
    }
}
