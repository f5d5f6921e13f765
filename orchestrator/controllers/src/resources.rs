//! Every resource that the server stores, as clean-up sees it: `namespace` empties what is namespaced, `garbage`
//! follows owners and dependents. A kind that is missing here is never cleaned up. Custom kinds join as their
//! definitions come.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex};

use amphipod_api::Informer;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Namespaced,
    Cluster,
}
use Scope::{Cluster, Namespaced};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// What a namespace holds, of built-in kinds.
pub fn namespaced() -> impl Iterator<Item = &'static Served> {
    ALL.iter().filter(|served| served.scope == Namespaced)
}

/// The kinds of all established definitions, each in its stored version.
pub fn custom(definitions: &Informer<CustomResourceDefinition>) -> Vec<&'static Served> {
    let definitions: Vec<Arc<CustomResourceDefinition>> = definitions.list();
    definitions.iter().filter_map(|definition| of_definition(definition)).collect()
}

/// Kinds of definitions live as long as the program, each distinct one once, so that they are like those above.
pub fn of_definition(definition: &CustomResourceDefinition) -> Option<&'static Served> {
    static KNOWN: LazyLock<Mutex<HashSet<&'static Served>>> = LazyLock::new(Mutex::default);
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref())?;
    conditions.iter().find(|condition| condition.type_ == "Established" && condition.status == "True")?;
    let (spec, names) = (&definition.spec, &definition.spec.names);
    let served = spec.versions.iter().filter(|version| version.served);
    let version = served.max_by_key(|version| version.storage)?;
    let mut known = KNOWN.lock().expect("no holder of the lock panics");
    let is_it = |one: &&&'static Served| {
        (one.group, one.version, one.kind, one.plural) == (&*spec.group, &*version.name, &*names.kind, &*names.plural)
    };
    if let Some(one) = known.iter().find(is_it) {
        return Some(one);
    }
    let word = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let made = Served {
        scope: if spec.scope == "Cluster" { Cluster } else { Namespaced },
        group: word(&spec.group),
        version: word(&version.name),
        kind: word(&names.kind),
        plural: word(&names.plural),
    };
    let made: &'static Served = Box::leak(Box::new(made));
    known.insert(made);
    Some(made)
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
