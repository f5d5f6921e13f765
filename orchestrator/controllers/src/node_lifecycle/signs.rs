//! Which nodes there are and when each last gave a sign of life: a renewed Lease or a new heartbeat in its
//! status. Times are ours, from when we saw the sign: clocks of nodes may be wrong, and after a restart every
//! node has its full grace again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt;
use parking_lot::Mutex;

use super::health::condition;

#[derive(Default)]
pub struct Signs(Mutex<HashMap<String, Last>>);

struct Last {
    node: Arc<Node>,
    renewed: Option<MicroTime>,
    heartbeat: Option<Time>,
    seen: Timestamp,
}

/// What a look at a node tells.
#[derive(Debug, PartialEq)]
pub struct Seen {
    /// Never seen before, or another node of the same name.
    pub new: bool,
    pub silent_for: Duration,
}

impl Signs {
    pub fn look(&self, node: Arc<Node>, renewed: Option<MicroTime>, now: Timestamp) -> Seen {
        let heartbeat = condition(&node, "Ready").and_then(|ready| ready.last_heartbeat_time.clone());
        let mut known = self.0.lock();
        match known.entry(node.name_any()) {
            Entry::Occupied(mut entry) if entry.get().node.uid() == node.uid() => {
                let last = entry.get_mut();
                if last.heartbeat != heartbeat || last.renewed != renewed {
                    last.seen = now;
                }
                (last.node, last.renewed, last.heartbeat) = (node, renewed, heartbeat);
                let silent_for = Duration::try_from(now.duration_since(last.seen)).unwrap_or_default();
                Seen { new: false, silent_for }
            }
            entry => {
                entry.insert_entry(Last { node, renewed, heartbeat, seen: now });
                Seen { new: true, silent_for: Duration::ZERO }
            }
        }
    }

    /// A Lease changed; nodes not looked at yet are passed over.
    pub fn renewed(&self, node: &str, renewed: Option<MicroTime>, now: Timestamp) {
        if let Some(last) = self.0.lock().get_mut(node)
            && last.renewed != renewed
        {
            (last.renewed, last.seen) = (renewed, now);
        }
    }

    /// The node as it was last seen, if it was.
    pub fn forget(&self, node: &str) -> Option<Arc<Node>> {
        self.0.lock().remove(node).map(|last| last.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn node(uid: &str, heartbeat: i64) -> Arc<Node> {
        let ready = json!({ "type": "Ready", "status": "True", "lastHeartbeatTime": at(heartbeat).to_string() });
        let node = json!({ "metadata": { "name": "n", "uid": uid }, "status": { "conditions": [ready] } });
        Arc::new(serde_json::from_value(node).expect("a Node"))
    }

    #[test]
    fn any_sign_ends_the_silence_and_a_namesake_is_new() {
        let signs = Signs::default();
        let renewed = |second| Some(MicroTime(at(second)));
        let mut log = Vec::new();
        let mut look = |uid, heartbeat, lease, now| {
            let seen = signs.look(node(uid, heartbeat), renewed(lease), at(now));
            log.push(format!("{now}: new {} silent {:?}", seen.new, seen.silent_for));
        };
        look("a", 1, 1, 1_000);
        look("a", 1, 1, 1_039);
        look("a", 2, 1, 1_040);
        look("a", 2, 2, 1_050);
        signs.renewed("n", renewed(2), at(1_055));
        look("a", 2, 2, 1_060);
        signs.renewed("n", renewed(3), at(1_070));
        look("a", 2, 3, 1_075);
        look("b", 2, 3, 1_090);
        expect_test::expect![[r#"
            1000: new true silent 0ns
            1039: new false silent 39s
            1040: new false silent 0ns
            1050: new false silent 0ns
            1060: new false silent 10s
            1075: new false silent 5s
            1090: new true silent 0ns"#]]
        .assert_eq(&log.join("\n"));
        assert!(signs.forget("n").is_some() && signs.forget("n").is_none());
    }
}
