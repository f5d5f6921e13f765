//! What each of upstream's controllers may do: its role is `system:controller:NAME`, bound to its service account.

use super::{ALL, READ, Rule};

/// What each controller needs beyond events. Its role is `system:controller:NAME`, bound to its service account in
/// kube-system and to the user as which all of them run in this program.
pub(super) const CONTROLLERS: &[(&str, &[Rule])] = &[
    (
        "attachdetach-controller",
        &[
            ("core", "persistentvolumes,persistentvolumeclaims,nodes,pods", READ),
            ("core", "nodes/status", "patch,update"),
            ("storage.k8s.io", "volumeattachments", ALL),
            ("storage.k8s.io", "csidrivers,csinodes", READ),
        ],
    ),
    (
        "certificate-controller",
        &[
            ("certificates.k8s.io", "certificatesigningrequests", "delete,get,list,watch"),
            ("certificates.k8s.io", "certificatesigningrequests/approval,certificatesigningrequests/status", "update"),
            ("certificates.k8s.io", "signers", "approve,sign"),
            ("authorization.k8s.io", "subjectaccessreviews", "create"),
        ],
    ),
    (
        "clusterrole-aggregation-controller",
        &[("rbac.authorization.k8s.io", "clusterroles", "escalate,get,list,patch,update,watch")],
    ),
    (
        "cronjob-controller",
        &[
            ("batch", "cronjobs,jobs", ALL),
            ("batch", "cronjobs/finalizers,cronjobs/status", "update,patch"),
            ("core", "pods", "delete,list"),
        ],
    ),
    (
        "daemon-set-controller",
        &[
            ("apps", "daemonsets", READ),
            ("apps", "daemonsets/finalizers,daemonsets/status", "update,patch"),
            ("core", "nodes", READ),
            ("core", "pods", "create,delete,get,list,patch,watch"),
            ("core", "pods/binding", "create"),
            ("apps", "controllerrevisions", ALL),
        ],
    ),
    (
        "deployment-controller",
        &[
            ("apps", "deployments", "get,list,update,patch,watch"),
            ("apps", "deployments/finalizers,deployments/status", "update,patch"),
            ("apps", "replicasets", "create,delete,get,list,patch,update,watch"),
            ("core", "pods", "get,list,update,watch"),
        ],
    ),
    (
        "disruption-controller",
        &[
            ("apps", "deployments,replicasets,statefulsets", READ),
            ("core", "replicationcontrollers,pods", READ),
            ("core", "pods/status", "patch,update"),
            ("policy", "poddisruptionbudgets", READ),
            ("policy", "poddisruptionbudgets/status", "update,patch"),
            ("*", "*/scale", "get"),
        ],
    ),
    (
        "endpoint-controller",
        &[
            ("core", "pods,services", READ),
            ("core", "endpoints", "create,delete,get,list,patch,update,watch"),
            ("core", "endpoints/restricted", "create"),
        ],
    ),
    (
        "endpointslice-controller",
        &[
            ("core", "nodes,pods,services", READ),
            ("core", "services/finalizers", "update"),
            ("discovery.k8s.io", "endpointslices", ALL),
        ],
    ),
    (
        "endpointslicemirroring-controller",
        &[
            ("core", "endpoints,services", READ),
            ("core", "endpoints/finalizers,services/finalizers", "update"),
            ("discovery.k8s.io", "endpointslices", ALL),
        ],
    ),
    (
        "ephemeral-volume-controller",
        &[
            ("core", "pods", READ),
            ("core", "pods/finalizers", "update"),
            ("core", "persistentvolumeclaims", "create,get,list,watch"),
        ],
    ),
    (
        "expand-controller",
        &[
            ("core", "persistentvolumes,persistentvolumeclaims", "get,list,patch,update,watch"),
            ("core", "persistentvolumeclaims/status", "patch,update"),
            ("storage.k8s.io", "storageclasses", READ),
        ],
    ),
    ("generic-garbage-collector", &[("*", "*", "delete,get,list,patch,update,watch")]),
    (
        "horizontal-pod-autoscaler",
        &[
            ("autoscaling", "horizontalpodautoscalers", READ),
            ("autoscaling", "horizontalpodautoscalers/status", "update,patch"),
            ("*", "*/scale", "get,update,patch"),
            ("core", "pods", "list,get,watch"),
            ("metrics.k8s.io", "pods", "list,get"),
            ("custom.metrics.k8s.io,external.metrics.k8s.io", "*", "get,list"),
        ],
    ),
    (
        "job-controller",
        &[
            ("batch", "jobs", "get,list,patch,update,watch"),
            ("batch", "jobs/finalizers,jobs/status", "update,patch"),
            ("core", "pods", "create,delete,get,list,patch,update,watch"),
            ("core", "pods/status", "patch,update"),
        ],
    ),
    (
        "namespace-controller",
        &[
            ("core", "namespaces", "delete,get,list,watch"),
            ("core", "namespaces/finalize,namespaces/status", "update,patch"),
            ("*", "*", "delete,deletecollection,get,list,patch,update"),
        ],
    ),
    (
        "node-controller",
        &[
            ("core", "nodes", "delete,get,list,patch,update,watch"),
            ("core", "nodes/status,pods/status", "patch,update"),
            ("core", "pods", "delete,get,list,watch"),
            ("coordination.k8s.io", "leases", READ),
        ],
    ),
    (
        "persistent-volume-binder",
        &[
            ("core", "persistentvolumes,persistentvolumeclaims", ALL),
            ("core", "persistentvolumes/status,persistentvolumeclaims/status", "update,patch"),
            ("storage.k8s.io", "storageclasses", READ),
            ("core", "nodes,pods", READ),
        ],
    ),
    (
        "pod-garbage-collector",
        &[("core", "pods", "delete,get,list,watch"), ("core", "nodes", READ), ("core", "pods/status", "patch,update")],
    ),
    ("pv-protection-controller", &[("core", "persistentvolumes", "get,list,patch,update,watch")]),
    (
        "pvc-protection-controller",
        &[("core", "persistentvolumeclaims", "get,list,patch,update,watch"), ("core", "pods", READ)],
    ),
    (
        "replicaset-controller",
        &[
            ("apps", "replicasets", "get,list,patch,update,watch"),
            ("apps", "replicasets/finalizers,replicasets/status", "update,patch"),
            ("core", "pods", "create,delete,get,list,patch,watch"),
        ],
    ),
    (
        "replication-controller",
        &[
            ("core", "replicationcontrollers", "get,list,patch,update,watch"),
            ("core", "replicationcontrollers/finalizers,replicationcontrollers/status", "update,patch"),
            ("core", "pods", "create,delete,get,list,patch,watch"),
        ],
    ),
    (
        "resource-claim-controller",
        &[
            ("core", "pods", READ),
            ("core", "pods/finalizers", "update"),
            ("core", "pods/status", "patch,update"),
            ("resource.k8s.io", "resourceclaims", "create,delete,get,list,watch"),
            ("resource.k8s.io", "resourceclaims/status", "patch,update"),
            ("resource.k8s.io", "resourceclaimtemplates", READ),
        ],
    ),
    ("resourcequota-controller", &[("*", "*", "list,watch"), ("core", "resourcequotas/status", "update,patch")]),
    (
        "device-taint-eviction-controller",
        &[
            ("core", "pods", "delete,get,list,watch"),
            ("core", "pods/status", "patch,update"),
            ("resource.k8s.io", "deviceclasses,devicetaintrules,resourceclaims,resourceslices", READ),
            ("resource.k8s.io", "devicetaintrules/status", "patch,update"),
        ],
    ),
    (
        "storage-version-migrator-controller",
        &[
            ("storagemigration.k8s.io", "storageversionmigrations", "get,list,watch"),
            ("storagemigration.k8s.io", "storageversionmigrations/status", "patch,update"),
            ("*", "*", "get,list,patch,update"),
        ],
    ),
    (
        "validatingadmissionpolicy-status-controller",
        &[
            ("admissionregistration.k8s.io", "validatingadmissionpolicies", READ),
            ("admissionregistration.k8s.io", "validatingadmissionpolicies/status", "get,patch,update"),
            ("apiextensions.k8s.io", "customresourcedefinitions", READ),
        ],
    ),
    ("root-ca-cert-publisher", &[("core", "configmaps", "create,get,list,update,watch")]),
    ("service-account-controller", &[("core", "serviceaccounts", "create,get,list,watch")]),
    (
        "service-controller",
        &[("core", "services", READ), ("core", "services/status", "patch,update"), ("core", "nodes", READ)],
    ),
    (
        "service-cidrs-controller",
        &[
            ("networking.k8s.io", "servicecidrs", "get,list,patch,update,watch"),
            ("networking.k8s.io", "servicecidrs/finalizers,servicecidrs/status", "patch,update"),
            ("networking.k8s.io", "ipaddresses", READ),
        ],
    ),
    (
        "statefulset-controller",
        &[
            ("apps", "statefulsets", READ),
            ("apps", "statefulsets/finalizers,statefulsets/status", "update,patch"),
            ("core", "pods", "create,delete,get,list,patch,update,watch"),
            ("apps", "controllerrevisions", ALL),
            ("core", "persistentvolumeclaims", "create,delete,get,list,patch,update,watch"),
        ],
    ),
    (
        "taint-eviction-controller",
        &[("core", "pods", "delete,get,list,watch"), ("core", "pods/status", "patch,update"), ("core", "nodes", READ)],
    ),
    ("ttl-after-finished-controller", &[("batch", "jobs", "delete,get,list,watch")]),
    ("ttl-controller", &[("core", "nodes", "get,list,patch,update,watch")]),
    (
        "vac-protection-controller",
        &[
            ("core", "persistentvolumeclaims,persistentvolumes", READ),
            ("storage.k8s.io", "volumeattributesclasses", "get,list,patch,update,watch"),
        ],
    ),
];
