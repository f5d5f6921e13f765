//! A pod's sandbox: its address, its listeners, and what is left of it at the end.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use amphipod_net::services::port_number;
use amphipod_runtime::{ContainerId, Sandbox};
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Task;
use crate::events::Severity;
use crate::slot::{Slot, containers_of};

impl Task {
    pub(super) fn make_sandbox(&mut self) {
        if self.finished {
            return;
        }
        let network = &self.host.options.network;
        let wanted = self.pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse::<Ipv4Addr>().ok());
        let on_host = self.pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let allocated = if on_host { Ok(network.options().node_ip) } else { network.allocate(&self.name.uid, wanted) };
        let ip = match allocated {
            Ok(ip) => ip,
            Err(error) => {
                self.events.pod(
                    Severity::Warning,
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {error}"),
                );
                self.ended = Some(("OutOfAddresses".into(), error.to_string()));
                return;
            }
        };
        self.ip = Some(ip);
        let mut listeners = BTreeMap::new();
        for port in self.pod.spec.as_ref().map(ports).unwrap_or_default() {
            match network.listen(ip, port) {
                Ok(listener) => _ = listeners.insert(port, Arc::new(listener)),
                Err(error) => {
                    let message = format!("Cannot listen on {ip}:{port} ({error}); Services and probes still reach it");
                    self.events.pod(Severity::Warning, "PortUnavailable", message);
                }
            }
        }
        let spec = self.pod.spec.as_ref();
        let hostname = spec.and_then(|spec| spec.hostname.clone()).unwrap_or_else(|| self.name.name.clone());
        let log_directory = self.shown.log_directory.clone();
        self.sandbox =
            Some(Arc::new(Sandbox { pod: self.name.clone(), ip: IpAddr::V4(ip), hostname, log_directory, listeners }));
    }

    pub(super) fn show_serving(&self) {
        let Some(sandbox) = &self.sandbox else { return };
        let running = self.slots.iter().filter_map(Slot::running);
        let serving = running.filter_map(|id| Some((self.host.runtime_of(id)?, id.clone()))).collect();
        self.host.set_serving(sandbox.ip, serving);
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
        if let Some(sandbox) = &self.sandbox {
            self.host.set_serving(sandbox.ip, Vec::new());
        }
        self.sandbox = None;
        self.host.options.network.release(&self.name.uid);
    }

    pub(super) async fn clean_up(self) {
        self.host.shown.lock().remove(&self.name.uid);
        self.host.options.network.release(&self.name.uid);
        let ids: Vec<ContainerId> = self.slots.iter().flat_map(Slot::ids).cloned().collect();
        for id in ids {
            if let Some(runtime) = self.host.runtime_of(&id) {
                // What cannot be removed now goes with the runtime.
                let _ = runtime.remove(&id).await;
            }
        }
        for directory in
            [self.shown.log_directory.clone(), crate::volumes::directory(&self.host.options.data_dir, &self.name.uid)]
        {
            // A pod without logs or volumes has no such directory.
            let _ = tokio::fs::remove_dir_all(directory).await;
        }
    }
}

/// TCP ports that containers of the pod serve: those declared, else 8080.
fn ports(spec: &PodSpec) -> HashSet<u16> {
    let declared = containers_of(spec).flat_map(|(_, container)| container.ports.iter().flatten());
    let tcp = declared.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    let number = |port: i32| port_number(&IntOrString::Int(port), |_| None);
    let ports: HashSet<u16> = tcp.filter_map(|port| number(port.container_port)).collect();
    if ports.is_empty() { HashSet::from([8080]) } else { ports }
}
