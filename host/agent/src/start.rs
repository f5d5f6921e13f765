//! Starts one container: image, environment, runtime, with the kubelet's events. One job of a pod's task; `pod.rs` waits
//! for the [`Outcome`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use amphipod_api::quantity;
use amphipod_runtime as runtime;
use amphipod_runtime::{ContainerId, Credentials, Image, ImageError, ImageKind, Limits, Sandbox};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio_util::sync::CancellationToken;

use crate::backoff::go_duration;
use crate::env::{self, Sources};
use crate::events::{PodEvents, Severity};
use crate::host::Host;
use crate::{credentials, messages, volumes};

/// Everything one start needs.
pub struct Job {
    pub host: Arc<Host>,
    pub pod: Arc<Pod>,
    pub container: Container,
    pub path: String,
    pub sandbox: Arc<Sandbox>,
    pub restart_count: u32,
    pub events: PodEvents,
    /// The pod is to end: what takes long is given up.
    pub given_up: CancellationToken,
    /// The message of the failure before: an unchanged one is not told again.
    pub told: Option<String>,
}

pub enum Outcome {
    Started { id: ContainerId, image: Image, at: Timestamp },
    Failed { reason: &'static str, message: String, retry: Retry },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// By the back-off of pulls, each try costs much.
    Pull,
    /// In a moment: it may mend itself.
    Soon,
    /// Only the pod's author or an administrator can help.
    Rarely,
}

type Failure = (&'static str, String, Retry);

pub async fn start(job: Job) -> Outcome {
    match job.run().await {
        Ok((id, image)) => Outcome::Started { id, image, at: Timestamp::now() },
        Err((reason, message, retry)) => Outcome::Failed { reason, message, retry },
    }
}

impl Job {
    async fn run(&self) -> Result<(ContainerId, Image), Failure> {
        let image = tokio::select! {
            image = self.image() => image?,
            () = self.given_up.cancelled() => return Err(("ContainerCreating", String::new(), Retry::Rarely)),
        };
        let runtime = self.host.runtime_for(&image).ok_or_else(|| self.no_runtime(&image))?;
        let environment = self.environment().await.map_err(|message| self.config_error(message))?;
        let mounts = volumes::mounts(&self.host, &self.pod, &self.container, &self.sandbox).await;
        let mut mounts = mounts.map_err(|message| self.config_error(message))?;
        mounts.extend(self.run_of_messages().mount().map_err(|message| self.config_error(message))?);
        self.host.prepare(&runtime, &image).await.map_err(|error| self.runtime_error(error))?;
        let container = self.container(&image, environment, mounts).map_err(|message| self.config_error(message))?;
        let id = runtime.start(&self.sandbox, &container).await.map_err(|error| self.runtime_error(error))?;
        self.say(Severity::Normal, "Created", "Container created");
        self.say(Severity::Normal, "Started", "Container started");
        Ok((id, image))
    }

    fn run_of_messages(&self) -> messages::Run<'_> {
        messages::Run {
            volumes: volumes::directory(&self.host.options.data_dir, &self.sandbox.pod.uid),
            logs: self.sandbox.log_directory.clone(),
            container: &self.container,
            number: self.restart_count,
        }
    }

    fn say(&self, severity: Severity, reason: &str, message: impl Into<String>) {
        self.events.container(&self.path, severity, reason, message);
    }

    async fn image(&self) -> Result<Image, Failure> {
        let reference = self.container.image.as_deref().unwrap_or_default();
        let policy = self.container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let local = if policy == "Always" { None } else { self.host.options.images.local(reference).await };
        if let Some(image) = local {
            let message = format!("Container image {reference:?} already present on machine");
            self.say(Severity::Normal, "Pulled", message);
            return Ok(image);
        }
        if policy == "Never" {
            let message = format!("Container image {reference:?} is not present with pull policy of Never");
            self.complain("ErrImageNeverPull", "ErrImageNeverPull", &message);
            return Err(("ErrImageNeverPull", message, Retry::Soon));
        }
        self.pull(reference).await
    }

    async fn pull(&self, reference: &str) -> Result<Image, Failure> {
        self.say(Severity::Normal, "Pulling", format!("Pulling image {reference:?}"));
        let asked = Instant::now();
        let credentials = self.credentials(reference).await;
        let _turn = self.host.pulls.acquire().await;
        let begun = Instant::now();
        match self.host.options.images.pull(reference, &credentials, Arc::new(|_, _| {})).await {
            Ok(image) => {
                let [took, waited] = [begun.elapsed(), asked.elapsed()].map(|time| go_duration(rounded(time)));
                let size = image.size_bytes;
                self.say(Severity::Normal, "Pulled", format!("Successfully pulled image {reference:?} in {took} ({waited} including waiting). Image size: {size} bytes."));
                Ok(image)
            }
            Err(ImageError::InvalidName { reference, reason }) => {
                let message = format!(
                    "Failed to apply default image tag {reference:?}: couldn't parse image name {reference:?}: {reason}"
                );
                self.complain("InspectFailed", "InvalidImageName", &message);
                Err(("InvalidImageName", message, Retry::Rarely))
            }
            Err(error) => {
                self.say(Severity::Warning, "Failed", format!("Failed to pull image {reference:?}: {error}"));
                self.say(Severity::Warning, "Failed", "Error: ErrImagePull");
                Err(("ErrImagePull", error.to_string(), Retry::Pull))
            }
        }
    }

    async fn credentials(&self, reference: &str) -> Credentials {
        match credentials::of_pod(&self.host.options.client, &self.pod, reference).await {
            Ok(credentials) => credentials,
            Err((missing, credentials)) => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({missing}); attempting to pull the image may not succeed."
                );
                self.events.pod(Severity::Warning, "FailedToRetrieveImagePullSecret", message);
                credentials
            }
        }
    }

    /// One event about this failure, unless the try before failed just so.
    fn complain(&self, reason: &str, waiting: &str, message: &str) {
        if self.told.as_deref() != Some(message) {
            self.say(Severity::Warning, reason, message);
            if reason != "Failed" {
                self.say(Severity::Warning, "Failed", format!("Error: {waiting}"));
            }
        }
    }

    fn no_runtime(&self, image: &Image) -> Failure {
        let kind = match &image.kind {
            ImageKind::Oci { platforms } if !platforms.is_empty() => {
                format!("a Linux image ({})", platforms.join(", "))
            }
            ImageKind::Oci { .. } => "a Linux image".to_owned(),
            ImageKind::Wasm { .. } => "a Wasm image".to_owned(),
        };
        let node = &self.host.options.node_name;
        let message = format!(
            "Image {:?} is {kind}, and node {node:?} runs Wasm images only: push a Wasm component (amphipod push), or \
             choose a node with the label {}=true",
            image.reference,
            amphipod_api::labels::OCI
        );
        if self.told.as_deref() != Some(&message) {
            self.say(Severity::Warning, "UnsupportedImage", message.clone());
        }
        ("UnsupportedImage", message, Retry::Rarely)
    }

    fn config_error(&self, message: String) -> Failure {
        if self.told.as_deref() != Some(&message) {
            self.say(Severity::Warning, "Failed", format!("Error: {message}"));
        }
        ("CreateContainerConfigError", message, Retry::Soon)
    }

    fn runtime_error(&self, error: runtime::Error) -> Failure {
        let message = error.to_string();
        match error {
            runtime::Error::Config(_) => self.config_error(message),
            runtime::Error::Image(_) => {
                self.complain("InspectFailed", "ImageInspectError", &message);
                ("ImageInspectError", message, Retry::Pull)
            }
            _ => {
                self.complain("Failed", "", &format!("Error: {message}"));
                ("CreateContainerError", message, Retry::Soon)
            }
        }
    }

    async fn environment(&self) -> Result<Vec<(String, String)>, String> {
        let sources = Sources {
            client: &self.host.options.client,
            pod: &self.pod,
            pod_ip: self.sandbox.ip.to_string(),
            host_ip: self.host.node_ip().to_string(),
            services: self.host.services_for(&self.sandbox.pod.namespace),
            node: &self.host.resources,
        };
        env::environment(&self.container, &sources).await
    }

    fn container(
        &self,
        image: &Image,
        environment: Vec<(String, String)>,
        mounts: Vec<runtime::Mount>,
    ) -> Result<runtime::Container, String> {
        let directory = self.sandbox.log_directory.join(&self.container.name);
        std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let value = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let expanded =
            |texts: &Option<Vec<String>>| texts.iter().flatten().map(|text| env::expand(text, value)).collect();
        let (command, args) = (expanded(&self.container.command), expanded(&self.container.args));
        let ports = self.container.ports.iter().flatten();
        let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
        Ok(runtime::Container {
            name: self.container.name.clone(),
            image: image.clone(),
            command,
            args,
            working_directory: self.container.working_dir.clone(),
            mounts,
            limits: limits(&self.container),
            ports: tcp.filter_map(|port| u16::try_from(port.container_port).ok()).collect(),
            restart_count: self.restart_count,
            log_path: directory.join(format!("{}.log", self.restart_count)),
            trust_domain: trust_domain(&self.pod, &self.sandbox),
            env: environment,
        })
    }
}

fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis().try_into().unwrap_or(u64::MAX))
}

fn limits(container: &Container) -> Limits {
    let resources = container.resources.clone().unwrap_or_default();
    let limit = |name: &str| resources.limits.as_ref()?.get(name).map(|amount| amount.0.clone());
    let request = |name: &str| resources.requests.as_ref()?.get(name).map(|amount| amount.0.clone());
    let positive = |amount: Option<i64>| amount.and_then(|amount| u64::try_from(amount).ok());
    Limits {
        memory_bytes: positive(limit("memory").and_then(|text| quantity::whole(&text))),
        cpu_millicores: positive(limit("cpu").and_then(|text| quantity::milli(&text))),
        cpu_request_millicores: positive(request("cpu").and_then(|text| quantity::milli(&text))),
    }
}

/// Which guests may share a process: by the `isolation` annotation, else those of one namespace.
fn trust_domain(pod: &Pod, sandbox: &Sandbox) -> String {
    let asked = pod.metadata.annotations.as_ref().and_then(|all| all.get(amphipod_api::labels::ISOLATION));
    match asked.map(String::as_str) {
        Some("node") => "node".to_owned(),
        Some("pod") => format!("pod-{}", sandbox.pod.uid),
        _ => format!("namespace-{}", sandbox.pod.namespace),
    }
}
