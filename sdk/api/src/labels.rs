//! Label and annotation keys that the parts of the program agree on. Kubernetes' own first, then ours.

pub const HOSTNAME: &str = "kubernetes.io/hostname";
pub const OS: &str = "kubernetes.io/os";
pub const ARCH: &str = "kubernetes.io/arch";
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub const METADATA_NAME: &str = "kubernetes.io/metadata.name";
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
pub const ENDPOINT_SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Finalizers of storage that is in use.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
pub const CLASS_PROTECTION: &str = "kubernetes.io/vac-protection";

/// `node`, `namespace` (default) or `pod`: which guests may share one worker process.
pub const ISOLATION: &str = "amphipod.dev/isolation";
/// `wasm` or `cri`: which runtime a container whose image would allow both gets.
pub const RUNTIME: &str = "amphipod.dev/runtime";
/// `"true"` on a Node: its pods run on the fake runtime.
pub const SIMULATED: &str = "amphipod.dev/simulated";
/// On simulated Nodes and their pods: what the pods claim to do. A pod's own word counts before its node's.
pub mod simulation {
    /// Time from the binding to the start: `3s`.
    pub const START_DELAY: &str = "amphipod.dev/start-delay";
    /// Containers end by themselves after this time; without it they run until they are stopped.
    pub const RUN_FOR: &str = "amphipod.dev/run-for";
    /// With this code, usually 0.
    pub const EXIT_CODE: &str = "amphipod.dev/exit-code";
    /// The share of starts whose container ends with an error after a second: `0.05`.
    pub const FAILURE_RATE: &str = "amphipod.dev/failure-rate";
    /// No container can be started: `image`, `config` or `runtime` says why.
    pub const START_FAILURE: &str = "amphipod.dev/start-failure";
    /// `250m`, `50%` of the request, or a wave: `10%..90%/1h`.
    pub const USAGE_CPU: &str = "amphipod.dev/usage-cpu";
    pub const USAGE_MEMORY: &str = "amphipod.dev/usage-memory";
    /// `"true"` on a Node: it gives no sign of life any more.
    pub const SILENT: &str = "amphipod.dev/silent";
}
/// `"true"` on a Node that can run Linux images.
pub const OCI: &str = "amphipod.dev/oci";
/// `"true"` on a Node that may be away for long: its pods are never evicted because it is unreachable.
pub const EDGE: &str = "amphipod.dev/edge";
