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
/// `"true"` on a Node that can run Linux images.
pub const OCI: &str = "amphipod.dev/oci";
/// `"true"` on a Node that may be away for long: its pods are never evicted because it is unreachable.
pub const EDGE: &str = "amphipod.dev/edge";
