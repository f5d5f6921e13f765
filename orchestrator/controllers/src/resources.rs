//! Every resource that the server stores, as clean-up sees it: `namespace` empties what is namespaced, `garbage`
//! follows owners and dependents. A kind that is missing here is never cleaned up.

use kube::api::{Api, ApiResource, DynamicObject};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}
use Scope::{Cluster, Namespaced};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    pub scope: Scope,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
}

const fn served(scope: Scope, group: &'static str, kind: &'static str, plural: &'static str) -> Served {
    Served { scope, group, version: "v1", kind, plural }
}

const APPS: &str = "apps";
const BATCH: &str = "batch";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Pods end gracefully, so a namespace waits for them before it takes away what they live on.
pub const PODS: Served = served(Namespaced, "", "Pod", "pods");

/// Events under their old name only: both names are one store.
pub const EVENTS: Served = served(Namespaced, "", "Event", "events");

pub const ALL: &[Served] = &[
    PODS,
    EVENTS,
    served(Namespaced, "", "Service", "services"),
    served(Namespaced, "", "Endpoints", "endpoints"),
    served(Namespaced, "", "ConfigMap", "configmaps"),
    served(Namespaced, "", "Secret", "secrets"),
    served(Namespaced, "", "ServiceAccount", "serviceaccounts"),
    served(Namespaced, "", "PodTemplate", "podtemplates"),
    served(Namespaced, "", "LimitRange", "limitranges"),
    served(Namespaced, "", "ResourceQuota", "resourcequotas"),
    served(Namespaced, "", "PersistentVolumeClaim", "persistentvolumeclaims"),
    served(Namespaced, "", "ReplicationController", "replicationcontrollers"),
    served(Namespaced, APPS, "ReplicaSet", "replicasets"),
    served(Namespaced, APPS, "Deployment", "deployments"),
    served(Namespaced, APPS, "ControllerRevision", "controllerrevisions"),
    served(Namespaced, APPS, "DaemonSet", "daemonsets"),
    served(Namespaced, APPS, "StatefulSet", "statefulsets"),
    Served {
        version: "v2",
        ..served(Namespaced, "autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
    },
    served(Namespaced, BATCH, "CronJob", "cronjobs"),
    served(Namespaced, BATCH, "Job", "jobs"),
    served(Namespaced, "coordination.k8s.io", "Lease", "leases"),
    served(Namespaced, "discovery.k8s.io", "EndpointSlice", "endpointslices"),
    served(Namespaced, NETWORKING, "Ingress", "ingresses"),
    served(Namespaced, NETWORKING, "NetworkPolicy", "networkpolicies"),
    served(Namespaced, "policy", "PodDisruptionBudget", "poddisruptionbudgets"),
    served(Namespaced, RBAC, "Role", "roles"),
    served(Namespaced, RBAC, "RoleBinding", "rolebindings"),
    served(Namespaced, STORAGE, "CSIStorageCapacity", "csistoragecapacities"),
    served(Cluster, "", "Namespace", "namespaces"),
    served(Cluster, "", "Node", "nodes"),
    served(Cluster, "", "PersistentVolume", "persistentvolumes"),
    served(Cluster, NETWORKING, "IngressClass", "ingressclasses"),
    served(Cluster, NETWORKING, "IPAddress", "ipaddresses"),
    served(Cluster, NETWORKING, "ServiceCIDR", "servicecidrs"),
    served(Cluster, RBAC, "ClusterRole", "clusterroles"),
    served(Cluster, RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    served(Cluster, "node.k8s.io", "RuntimeClass", "runtimeclasses"),
    served(Cluster, STORAGE, "CSIDriver", "csidrivers"),
    served(Cluster, STORAGE, "CSINode", "csinodes"),
    served(Cluster, STORAGE, "StorageClass", "storageclasses"),
    served(Cluster, STORAGE, "VolumeAttachment", "volumeattachments"),
    served(Cluster, STORAGE, "VolumeAttributesClass", "volumeattributesclasses"),
    served(Cluster, "scheduling.k8s.io", "PriorityClass", "priorityclasses"),
];

/// What a namespace holds.
pub fn namespaced() -> impl Iterator<Item = &'static Served> {
    ALL.iter().filter(|served| served.scope == Namespaced)
}

impl Served {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }

    /// `namespace` is ignored for cluster-scoped kinds.
    pub fn api(&self, client: &kube::Client, namespace: &str) -> Api<DynamicObject> {
        match self.scope {
            Namespaced => Api::namespaced_with(client.clone(), namespace, &self.resource()),
            Cluster => Api::all_with(client.clone(), &self.resource()),
        }
    }
}
