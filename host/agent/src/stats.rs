//! What a node and its pods have used, in the kubelet's words: `/stats/summary` as JSON, `/metrics/resource` and
//! `/metrics/cadvisor` as text. Pure; `stats/gather.rs` asks the runtimes and the machine.

pub mod gather;
mod machine;

use std::fmt::Write as _;

use amphipod_runtime::PodName;
use jiff::Timestamp;
use serde::Serialize;

/// Figures of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub at: Timestamp,
    pub node: NodeFigures,
    pub pods: Vec<PodFigures>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NodeFigures {
    pub name: String,
    pub started_at: Timestamp,
    pub used: Used,
    /// What is left of its memory.
    pub available_bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PodFigures {
    pub pod: PodName,
    /// Those that run.
    pub containers: Vec<ContainerFigures>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerFigures {
    pub name: String,
    pub started_at: Timestamp,
    pub used: Used,
}

/// CPU since the start, memory now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
}

impl Used {
    fn add(self, other: Self) -> Self {
        Self {
            cpu_nanoseconds: self.cpu_nanoseconds.saturating_add(other.cpu_nanoseconds),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }
}

impl PodFigures {
    fn used(&self) -> Used {
        self.containers.iter().fold(Used::default(), |sum, container| sum.add(container.used))
    }

    fn started_at(&self) -> Option<Timestamp> {
        self.containers.iter().map(|container| container.started_at).min()
    }
}

/// A part of the summary: the node, a pod, a container.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_ref: Option<&'a PodName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<String>,
    cpu: CpuShape<'a>,
    memory: MemoryShape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<Vec<Shape<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuShape<'a> {
    time: &'a str,
    usage_core_nano_seconds: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MemoryShape<'a> {
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_bytes: Option<u64>,
    usage_bytes: u64,
    working_set_bytes: u64,
}

#[derive(Serialize)]
struct Whole<'a> {
    node: Shape<'a>,
    pods: Vec<Shape<'a>>,
}

fn shape(time: &str, started_at: Option<Timestamp>, used: Used) -> Shape<'_> {
    let (usage_bytes, working_set_bytes) = (used.memory_bytes, used.memory_bytes);
    Shape {
        node_name: None,
        pod_ref: None,
        name: None,
        start_time: started_at.map(second),
        cpu: CpuShape { time, usage_core_nano_seconds: used.cpu_nanoseconds },
        memory: MemoryShape { time, available_bytes: None, usage_bytes, working_set_bytes },
        containers: None,
    }
}

impl Summary {
    /// `/stats/summary`.
    pub fn json(&self) -> String {
        let time = second(self.at);
        let mut node = shape(&time, Some(self.node.started_at), self.node.used);
        node.node_name = Some(&self.node.name);
        node.memory.available_bytes = Some(self.node.available_bytes);
        let pods = self.pods.iter().map(|pod| {
            let containers = pod.containers.iter().map(|one| {
                let name = Some(one.name.as_str());
                Shape { name, ..shape(&time, Some(one.started_at), one.used) }
            });
            let containers = Some(containers.collect());
            Shape { pod_ref: Some(&pod.pod), containers, ..shape(&time, pod.started_at(), pod.used()) }
        });
        let whole = Whole { node, pods: pods.collect() };
        serde_json::to_string(&whole).expect("plain members have a JSON form")
    }

    /// `/metrics/resource`.
    pub fn resource_metrics(&self) -> String {
        let mut text = String::new();
        let millis = self.at.as_millisecond();
        let containers = || self.pods.iter().flat_map(|pod| pod.containers.iter().map(move |one| (pod, one)));
        let of_container = |(pod, one): (&PodFigures, &ContainerFigures)| {
            format!("{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}", one.name, pod.pod.namespace, pod.pod.name)
        };
        let of_pod = |pod: &PodFigures| format!("{{namespace=\"{}\",pod=\"{}\"}}", pod.pod.namespace, pod.pod.name);
        family(
            &mut text,
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the container in core-seconds",
        );
        for pair in containers() {
            let (labels, value) = (of_container(pair), seconds(pair.1.used));
            let _ = writeln!(text, "container_cpu_usage_seconds_total{labels} {value} {millis}");
        }
        family(
            &mut text,
            "container_memory_working_set_bytes",
            "gauge",
            "Current working set of the container in bytes",
        );
        for pair in containers() {
            let (labels, value) = (of_container(pair), pair.1.used.memory_bytes);
            let _ = writeln!(text, "container_memory_working_set_bytes{labels} {value} {millis}");
        }
        family(
            &mut text,
            "container_start_time_seconds",
            "gauge",
            "Start time of the container since unix epoch in seconds",
        );
        for pair in containers() {
            let (labels, value) = (of_container(pair), pair.1.started_at.as_second());
            let _ = writeln!(text, "container_start_time_seconds{labels} {value}");
        }
        family(
            &mut text,
            "node_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the node in core-seconds",
        );
        let _ = writeln!(text, "node_cpu_usage_seconds_total {} {millis}", seconds(self.node.used));
        family(&mut text, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
        let _ = writeln!(text, "node_memory_working_set_bytes {} {millis}", self.node.used.memory_bytes);
        family(
            &mut text,
            "pod_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed by the pod in core-seconds",
        );
        for pod in &self.pods {
            let _ = writeln!(text, "pod_cpu_usage_seconds_total{} {} {millis}", of_pod(pod), seconds(pod.used()));
        }
        family(&mut text, "pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
        for pod in &self.pods {
            let _ = writeln!(text, "pod_memory_working_set_bytes{} {} {millis}", of_pod(pod), pod.used().memory_bytes);
        }
        family(
            &mut text,
            "resource_scrape_error",
            "gauge",
            "1 if there was an error while getting container metrics, 0 otherwise",
        );
        text.push_str("resource_scrape_error 0\n");
        text
    }

    /// `/metrics/cadvisor`: what of cAdvisor's figures a runtime without cgroups can tell.
    pub fn cadvisor_metrics(&self) -> String {
        let mut text = String::new();
        let millis = self.at.as_millisecond();
        let mut each = |name: &str, kind: &str, help: &str, more: &str, value: &dyn Fn(Used) -> String| {
            family(&mut text, name, kind, help);
            let _ = writeln!(
                text,
                "{name}{{container=\"\",{more}id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"}} {} {millis}",
                value(self.node.used)
            );
            for (pod, one) in self.pods.iter().flat_map(|pod| pod.containers.iter().map(move |one| (pod, one))) {
                let PodName { namespace, name: pod, uid } = &pod.pod;
                let container = &one.name;
                let _ = writeln!(
                    text,
                    "{name}{{container=\"{container}\",{more}id=\"/pod{uid}/{container}\",image=\"\",name=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"}} {} {millis}",
                    value(one.used)
                );
            }
        };
        each(
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed in seconds.",
            "cpu=\"total\",",
            &|used| seconds(used),
        );
        let bytes = |used: Used| used.memory_bytes.to_string();
        each(
            "container_memory_usage_bytes",
            "gauge",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            "",
            &bytes,
        );
        each("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", "", &bytes);
        text
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn seconds(used: Used) -> String {
    format!("{}", used.cpu_nanoseconds as f64 / 1e9)
}

/// To the microsecond: what is computed from two of them must not suffer.
fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn summary() -> Summary {
        let at = |second| Timestamp::from_second(second).unwrap();
        let used = |milliseconds: u64, memory_bytes| Used { cpu_nanoseconds: milliseconds * 1_000_000, memory_bytes };
        let pod = PodName { namespace: "n".into(), name: "p".into(), uid: "u".into() };
        let container = |name: &str, used| ContainerFigures { name: name.into(), started_at: at(40), used };
        let containers = vec![container("a", used(1_500, 100)), container("b", used(500, 24))];
        Summary {
            at: at(100),
            node: NodeFigures { name: "one".into(), started_at: at(1), used: used(90_000, 1_000), available_bytes: 24 },
            pods: vec![PodFigures { pod, containers }],
        }
    }

    #[test]
    fn a_summary_reads_as_the_kubelets() {
        let shown =
            serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&summary().json()).unwrap())
                .unwrap();
        expect![[r#"
            {
              "node": {
                "cpu": {
                  "time": "1970-01-01T00:01:40.000000Z",
                  "usageCoreNanoSeconds": 90000000000
                },
                "memory": {
                  "availableBytes": 24,
                  "time": "1970-01-01T00:01:40.000000Z",
                  "usageBytes": 1000,
                  "workingSetBytes": 1000
                },
                "nodeName": "one",
                "startTime": "1970-01-01T00:00:01.000000Z"
              },
              "pods": [
                {
                  "containers": [
                    {
                      "cpu": {
                        "time": "1970-01-01T00:01:40.000000Z",
                        "usageCoreNanoSeconds": 1500000000
                      },
                      "memory": {
                        "time": "1970-01-01T00:01:40.000000Z",
                        "usageBytes": 100,
                        "workingSetBytes": 100
                      },
                      "name": "a",
                      "startTime": "1970-01-01T00:00:40.000000Z"
                    },
                    {
                      "cpu": {
                        "time": "1970-01-01T00:01:40.000000Z",
                        "usageCoreNanoSeconds": 500000000
                      },
                      "memory": {
                        "time": "1970-01-01T00:01:40.000000Z",
                        "usageBytes": 24,
                        "workingSetBytes": 24
                      },
                      "name": "b",
                      "startTime": "1970-01-01T00:00:40.000000Z"
                    }
                  ],
                  "cpu": {
                    "time": "1970-01-01T00:01:40.000000Z",
                    "usageCoreNanoSeconds": 2000000000
                  },
                  "memory": {
                    "time": "1970-01-01T00:01:40.000000Z",
                    "usageBytes": 124,
                    "workingSetBytes": 124
                  },
                  "podRef": {
                    "name": "p",
                    "namespace": "n",
                    "uid": "u"
                  },
                  "startTime": "1970-01-01T00:00:40.000000Z"
                }
              ]
            }"#]]
        .assert_eq(&shown);
    }

    #[test]
    fn text_has_a_line_for_each_figure() {
        let lines = |text: String| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        expect![[r#"
            container_cpu_usage_seconds_total{container="a",namespace="n",pod="p"} 1.5 100000
            container_cpu_usage_seconds_total{container="b",namespace="n",pod="p"} 0.5 100000
            container_memory_working_set_bytes{container="a",namespace="n",pod="p"} 100 100000
            container_memory_working_set_bytes{container="b",namespace="n",pod="p"} 24 100000
            container_start_time_seconds{container="a",namespace="n",pod="p"} 40
            container_start_time_seconds{container="b",namespace="n",pod="p"} 40
            node_cpu_usage_seconds_total 90 100000
            node_memory_working_set_bytes 1000 100000
            pod_cpu_usage_seconds_total{namespace="n",pod="p"} 2 100000
            pod_memory_working_set_bytes{namespace="n",pod="p"} 124 100000
            resource_scrape_error 0"#]]
        .assert_eq(&lines(summary().resource_metrics()));
        let cadvisor = lines(summary().cadvisor_metrics());
        expect![[r#"container_cpu_usage_seconds_total{container="a",cpu="total",id="/podu/a",image="",name="a",namespace="n",pod="p"} 1.5 100000"#]]
        .assert_eq(cadvisor.lines().nth(1).unwrap());
        assert_eq!(cadvisor.lines().count(), 9);
    }
}
