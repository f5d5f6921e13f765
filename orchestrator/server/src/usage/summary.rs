//! The part of a kubelet's summary that is read.

use jiff::Timestamp;
use serde::Deserialize;

use super::PodKey;
use super::points::Point;

pub struct Figures {
    pub node: Point,
    pub pods: Vec<Pod>,
}

pub struct Pod {
    pub key: PodKey,
    pub uid: String,
    pub containers: Vec<(Box<str>, Point)>,
}

#[derive(Deserialize)]
struct Summary {
    node: Stats,
    #[serde(default)]
    pods: Vec<PodStats>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodRef,
    #[serde(default)]
    containers: Vec<Stats>,
}

#[derive(Deserialize)]
struct PodRef {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    #[serde(default)]
    name: Box<str>,
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

impl Stats {
    fn point(&self) -> Option<Point> {
        let cpu = self.cpu.as_ref()?;
        Some(Point {
            at: cpu.time,
            started_at: self.start_time.unwrap_or(Timestamp::UNIX_EPOCH),
            cpu_nanoseconds: cpu.usage_core_nano_seconds?,
            memory_bytes: self.memory.as_ref()?.working_set_bytes?,
        })
    }
}

/// `None`: it is not the kubelet's, or says nothing of the node itself.
pub fn read(bytes: &[u8]) -> Option<Figures> {
    let summary: Summary = serde_json::from_slice(bytes).ok()?;
    let node = summary.node.point()?;
    let pod = |pod: PodStats| {
        let containers = pod.containers.iter();
        // A container without figures leaves its pod without any.
        let containers = containers.map(|one| Some((one.name.clone(), one.point()?))).collect::<Option<Vec<_>>>();
        let PodRef { name, namespace, uid } = pod.pod_ref;
        Some(Pod { key: (namespace, name), uid, containers: containers? })
    };
    Some(Figures { node, pods: summary.pods.into_iter().filter_map(pod).collect() })
}
