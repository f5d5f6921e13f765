//! The bootstrap policy: upstream's names, so that charts and operators find what they bind to. A rule is written
//! `(groups, resources, verbs)`, each a list with commas; `core` is the empty group.

mod controllers;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use super::{Desired, Repair};
use controllers::CONTROLLERS;

const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/rolebindings";

const READ: &str = "get,list,watch";
const WRITE: &str = "create,delete,deletecollection,patch,update";
const ALL: &str = "create,delete,deletecollection,get,list,patch,update,watch";
const EVENTS: Rule = ("core,events.k8s.io", "events", "create,patch,update");

type Rule = (&'static str, &'static str, &'static str);

pub(super) fn roles() -> Vec<Desired> {
    let mut all = general();
    all.extend(aggregates());
    all.extend(nodes());
    all.extend(components());
    all.extend(CONTROLLERS.iter().flat_map(controller));
    all.extend(namespaced());
    all
}

// tidy: long because it is a table of roles
fn general() -> Vec<Desired> {
    let paths = |paths: &[&str]| json!({"verbs": ["get"], "nonResourceURLs": paths});
    let every =
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let public = paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"]);
    let discovery = paths(&[
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ]);
    let reviews = [
        ("authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews", "create"),
        ("authentication.k8s.io", "selfsubjectreviews", "create"),
    ];
    vec![
        cluster_role("cluster-admin", every),
        bind("cluster-admin", "cluster-admin", &[group("system:masters")]),
        cluster_role("system:discovery", json!([discovery])),
        bind("system:discovery", "system:discovery", &[group("system:authenticated")]),
        cluster_role("system:public-info-viewer", json!([public])),
        bind(
            "system:public-info-viewer",
            "system:public-info-viewer",
            &[group("system:authenticated"), group("system:unauthenticated")],
        ),
        cluster_role("system:basic-user", rules(&reviews)),
        bind("system:basic-user", "system:basic-user", &[group("system:authenticated")]),
        cluster_role(
            "system:service-account-issuer-discovery",
            json!([paths(&[
                "/.well-known/openid-configuration",
                "/openid/v1/jwks",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks/"
            ])]),
        ),
        bind(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            &[group("system:serviceaccounts")],
        ),
        cluster_role(
            "system:monitoring",
            json!([paths(&[
                "/healthz",
                "/healthz/*",
                "/livez",
                "/livez/*",
                "/metrics",
                "/metrics/slis",
                "/readyz",
                "/readyz/*"
            ])]),
        ),
        bind("system:monitoring", "system:monitoring", &[group("system:monitoring")]),
        cluster_role(
            "system:auth-delegator",
            rules(&[
                ("authentication.k8s.io", "tokenreviews", "create"),
                ("authorization.k8s.io", "subjectaccessreviews", "create"),
            ]),
        ),
        cluster_role(
            "system:heapster",
            rules(&[("core", "events,namespaces,nodes,pods", READ), ("apps", "deployments", READ)]),
        ),
    ]
}

// tidy: long because it is a table of roles
/// `admin`, `edit` and `view`, each made of the parts that are labelled for it. Their own rules are what the
/// aggregation gives at the start, so that the objects show them.
fn aggregates() -> Vec<Desired> {
    let view: &[Rule] = &[
        (
            "core",
            "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
            READ,
        ),
        (
            "core",
            "bindings,events,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,resourcequotas,resourcequotas/status",
            READ,
        ),
        ("core", "namespaces", READ),
        ("events.k8s.io", "events", READ),
        ("discovery.k8s.io", "endpointslices", READ),
        (
            "apps",
            "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,statefulsets/status",
            READ,
        ),
        ("autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status", READ),
        ("batch", "cronjobs,cronjobs/status,jobs,jobs/status", READ),
        ("policy", "poddisruptionbudgets,poddisruptionbudgets/status", READ),
        ("networking.k8s.io", "ingresses,ingresses/status,networkpolicies", READ),
        ("resource.k8s.io", "resourceclaims,resourceclaims/status,resourceclaimtemplates", READ),
        ("metrics.k8s.io", "pods,nodes", READ),
    ];
    let edit: &[Rule] = &[
        ("core", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy", READ),
        ("core", "serviceaccounts", "impersonate"),
        ("core", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy", WRITE),
        ("core", "pods/eviction", "create"),
        ("core", "pods/ephemeralcontainers,pods/resize", "patch,update"),
        (
            "core",
            "configmaps,endpoints,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
            WRITE,
        ),
        ("core", "serviceaccounts/token", "create"),
        ("events.k8s.io", "events", WRITE),
        (
            "apps",
            "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,statefulsets,statefulsets/scale",
            WRITE,
        ),
        ("autoscaling", "horizontalpodautoscalers", WRITE),
        ("batch", "cronjobs,jobs", WRITE),
        ("policy", "poddisruptionbudgets", WRITE),
        ("networking.k8s.io", "ingresses,networkpolicies", WRITE),
        ("coordination.k8s.io", "leases", ALL),
        ("discovery.k8s.io", "endpointslices", WRITE),
        ("resource.k8s.io", "resourceclaims,resourceclaimtemplates", WRITE),
    ];
    let admin: &[Rule] = &[
        ("authorization.k8s.io", "localsubjectaccessreviews", "create"),
        ("rbac.authorization.k8s.io", "rolebindings,roles", ALL),
    ];
    let part = |to: &str, own: &[Rule]| labelled(cluster_role(&format!("system:aggregate-to-{to}"), rules(own)), to);
    let whole = |name: &str, parts: &[&[Rule]]| {
        let mut role = cluster_role(name, rules(&parts.concat()));
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{name}");
        role.object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        role
    };
    vec![
        part("view", view),
        part("edit", edit),
        part("admin", admin),
        labelled(whole("view", &[view]), "edit"),
        labelled(whole("edit", &[edit, view]), "admin"),
        whole("admin", &[edit, view, admin]),
        metrics_reader(),
    ]
}

/// What metrics-server's manifests bring, so that who looks for it finds it.
fn metrics_reader() -> Desired {
    let role = cluster_role("system:aggregated-metrics-reader", rules(&[("metrics.k8s.io", "pods,nodes", READ)]));
    ["view", "edit", "admin"].into_iter().fold(role, labelled)
}

/// What every node may do where the Node authorizer (`authz/nodes.rs`) draws no closer line.
const NODE: &[Rule] = &[
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews", "create"),
    (
        "core",
        "services,configmaps,secrets,namespaces,serviceaccounts,persistentvolumeclaims,persistentvolumes,endpoints",
        READ,
    ),
    ("core", "nodes", "create,get,list,watch,update,patch"),
    ("core", "nodes/status", "patch,update"),
    ("core", "pods", "get,list,watch,create,delete"),
    ("core", "pods/status,persistentvolumeclaims/status", "get,patch,update"),
    ("core", "pods/eviction,serviceaccounts/token", "create"),
    EVENTS,
    ("certificates.k8s.io", "certificatesigningrequests", "create,get,list,watch"),
    ("coordination.k8s.io", "leases", "create,delete,get,list,patch,update,watch"),
    ("storage.k8s.io", "volumeattachments,csidrivers,storageclasses", READ),
    ("storage.k8s.io", "csinodes", "create,delete,get,patch,update"),
    ("node.k8s.io", "runtimeclasses", READ),
    ("discovery.k8s.io", "endpointslices", READ),
    ("networking.k8s.io", "ingresses,ingressclasses,networkpolicies", READ),
    ("networking.k8s.io", "ingresses/status", "get,patch,update"),
    ("resource.k8s.io", "resourceclaims", "get"),
    ("resource.k8s.io", "resourceslices", "create,delete,deletecollection,get,list,patch,update,watch"),
    ("certificates.k8s.io", "clustertrustbundles", READ),
    ("certificates.k8s.io", "podcertificaterequests", "create,get,list,watch"),
];

/// The rules that the Node authorizer falls back to.
pub fn node_rules() -> Vec<PolicyRule> {
    serde_json::from_value(rules(NODE)).expect("the table is made of rules")
}

// tidy: long because it is a table of roles
fn nodes() -> Vec<Desired> {
    let proxier: &[Rule] = &[
        ("core", "services,endpoints,nodes", READ),
        ("discovery.k8s.io", "endpointslices", READ),
        ("networking.k8s.io", "servicecidrs", READ),
        EVENTS,
    ];
    let requests = |what: &'static str| rules(&[("certificates.k8s.io", what, "create")]);
    vec![
        cluster_role("system:node", rules(NODE)),
        // Bound to nobody: the Node authorizer speaks for nodes.
        exactly(bind("system:node", "system:node", &[])),
        cluster_role("system:node-proxier", rules(proxier)),
        exactly(bind("system:node-proxier", "system:node-proxier", &[user("system:kube-proxy")])),
        cluster_role(
            "system:node-problem-detector",
            rules(&[("core", "nodes", "get"), ("core", "nodes/status", "patch"), EVENTS]),
        ),
        cluster_role(
            "system:node-bootstrapper",
            rules(&[("certificates.k8s.io", "certificatesigningrequests", "create,get,list,watch")]),
        ),
        bind("amphipod:node-bootstrapper", "system:node-bootstrapper", &[group("system:bootstrappers")]),
        cluster_role(
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            requests("certificatesigningrequests/nodeclient"),
        ),
        bind(
            "amphipod:node-client",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            &[group("system:bootstrappers")],
        ),
        cluster_role(
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            requests("certificatesigningrequests/selfnodeclient"),
        ),
        bind(
            "amphipod:self-node-client",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[group("system:nodes")],
        ),
        cluster_role(
            "system:kubelet-api-admin",
            rules(&[
                ("core", "nodes", "get,list,watch,proxy"),
                ("core", "nodes/log,nodes/metrics,nodes/proxy,nodes/stats", "*"),
            ]),
        ),
    ]
}

// tidy: long because it is one table
fn components() -> Vec<Desired> {
    let scheduler: &[Rule] = &[
        EVENTS,
        ("coordination.k8s.io", "leases", "create,get,update,list,watch"),
        ("core", "nodes,namespaces,replicationcontrollers,services,persistentvolumeclaims,persistentvolumes", READ),
        ("core", "pods", "delete,get,list,watch"),
        ("core", "bindings,pods/binding", "create"),
        ("core", "pods/status", "patch,update"),
        ("core", "persistentvolumeclaims,persistentvolumes", "patch,update"),
        ("apps", "replicasets,statefulsets", READ),
        ("policy", "poddisruptionbudgets", READ),
        ("storage.k8s.io", "csidrivers,csinodes,csistoragecapacities,storageclasses,volumeattachments", READ),
        ("resource.k8s.io", "deviceclasses,devicetaintrules,resourceslices", READ),
        ("resource.k8s.io", "resourceclaims", "get,list,watch,patch,update"),
        ("resource.k8s.io", "resourceclaims/status", "patch,update"),
        ("scheduling.k8s.io", "priorityclasses", READ),
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    ];
    let manager: &[Rule] = &[
        EVENTS,
        ("*", "*", "list,watch,get"),
        ("coordination.k8s.io", "leases", "create,get,update"),
        ("core", "secrets,serviceaccounts,configmaps", "create,delete,get,update"),
        ("core", "serviceaccounts/token", "create"),
        ("authentication.k8s.io", "tokenreviews", "create"),
        ("authorization.k8s.io", "subjectaccessreviews", "create"),
    ];
    vec![
        cluster_role("system:kube-scheduler", rules(scheduler)),
        bind("system:kube-scheduler", "system:kube-scheduler", &[user("system:kube-scheduler")]),
        cluster_role(
            "system:volume-scheduler",
            rules(&[
                ("core", "persistentvolumes,persistentvolumeclaims", "get,list,patch,update,watch"),
                ("storage.k8s.io", "storageclasses", READ),
            ]),
        ),
        bind("system:volume-scheduler", "system:volume-scheduler", &[user("system:kube-scheduler")]),
        cluster_role("system:kube-controller-manager", rules(manager)),
        bind(
            "system:kube-controller-manager",
            "system:kube-controller-manager",
            &[user("system:kube-controller-manager")],
        ),
        approver("kube-apiserver-client-approver", "kubernetes.io/kube-apiserver-client", "approve"),
        approver("kube-apiserver-client-kubelet-approver", "kubernetes.io/kube-apiserver-client-kubelet", "approve"),
        approver("kubelet-serving-approver", "kubernetes.io/kubelet-serving", "approve"),
        approver("legacy-unknown-approver", "kubernetes.io/legacy-unknown", "approve"),
        cluster_role(
            "system:cluster-trust-bundle-discovery",
            rules(&[("certificates.k8s.io", "clustertrustbundles", READ)]),
        ),
        bind(
            "system:cluster-trust-bundle-discovery",
            "system:cluster-trust-bundle-discovery",
            &[group("system:serviceaccounts")],
        ),
        cluster_role("system:kube-dns", rules(&[("core", "endpoints,services", "list,watch")])),
        bind("system:kube-dns", "system:kube-dns", &[account("kube-dns")]),
        cluster_role("system:kube-aggregator", rules(&[("core", "endpoints,services", READ)])),
        cluster_role(
            "system:persistent-volume-provisioner",
            rules(&[
                ("core", "persistentvolumes", "create,delete,get,list,watch"),
                ("core", "persistentvolumeclaims", "get,list,update,watch"),
                ("storage.k8s.io", "storageclasses", READ),
                EVENTS,
            ]),
        ),
    ]
}

fn approver(name: &str, signer: &str, verb: &str) -> Desired {
    let rule = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [signer], "verbs": [verb]});
    cluster_role(&format!("system:certificates.k8s.io:{name}"), json!([rule]))
}

fn controller((name, own): &(&str, &[Rule])) -> [Desired; 2] {
    let role = format!("system:controller:{name}");
    let all: Vec<Rule> = own.iter().copied().chain([EVENTS]).collect();
    [cluster_role(&role, rules(&all)), bind(&role, &role, &[account(name), user("system:kube-controller-manager")])]
}

fn namespaced() -> Vec<Desired> {
    let named = |resource: &str, name: &str, verbs: &[&str]| json!({"verbs": verbs, "apiGroups": [""], "resources": [resource], "resourceNames": [name]});
    let leaders = |name: &str| {
        json!([
            {"verbs": ["watch"], "apiGroups": [""], "resources": ["configmaps"]},
            named("configmaps", name, &["get", "update"]),
        ])
    };
    let (scheduler, manager) = (user("system:kube-scheduler"), user("system:kube-controller-manager"));
    let mut all = Vec::new();
    let mut add = |namespace: &'static str, (binding, role): (&str, &str), (rules, subjects): (Value, Value)| {
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        all.push(namespaced_object((ROLES, "Role"), (namespace, role), json!({"rules": rules})));
        let content = json!({"roleRef": reference, "subjects": subjects});
        all.push(namespaced_object((BINDINGS, "RoleBinding"), (namespace, binding), content));
    };
    let authentication = json!([named("configmaps", "extension-apiserver-authentication", &["get", "list", "watch"])]);
    add(
        "kube-system",
        ("system::extension-apiserver-authentication-reader", "extension-apiserver-authentication-reader"),
        (authentication, json!([manager, scheduler])),
    );
    for (component, subject) in [("kube-scheduler", &scheduler), ("kube-controller-manager", &manager)] {
        let name = format!("system::leader-locking-{component}");
        add("kube-system", (&name, &name), (leaders(component), json!([subject])));
    }
    let signer = "system:controller:bootstrap-signer";
    let info = json!([
        {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["configmaps"]},
        named("configmaps", "cluster-info", &["update"]),
        {"verbs": ["create", "patch", "update"], "apiGroups": ["", "events.k8s.io"], "resources": ["events"]},
    ]);
    add("kube-public", (signer, signer), (info, json!([account("bootstrap-signer")])));
    let secrets = |verbs: &'static str| rules(&[("core", "secrets", verbs)]);
    add("kube-system", (signer, signer), (secrets(READ), json!([account("bootstrap-signer")])));
    let cleaner = "system:controller:token-cleaner";
    add("kube-system", (cleaner, cleaner), (secrets("get,list,watch,delete"), json!([account("token-cleaner")])));
    let cloud = "system:controller:cloud-provider";
    let maps = rules(&[("core", "configmaps", "create,get,list,watch")]);
    add("kube-system", (cloud, cloud), (maps, json!([account("cloud-provider")])));
    all
}

fn namespaced_object((list, kind): (&'static str, &str), (namespace, name): (&str, &str), content: Value) -> Desired {
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": metadata(name, Some(namespace)),
    });
    merge(&mut object, content);
    let plural = list.rsplit('/').next().unwrap_or_default();
    let collection = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{plural}");
    Desired { list, collection, object, repair: Repair::Widen }
}

fn cluster_role(name: &str, rules: Value) -> Desired {
    let object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata(name, None), "rules": rules});
    Desired { list: CLUSTER_ROLES, collection: CLUSTER_ROLES.to_owned(), object, repair: Repair::Widen }
}

fn bind(name: &str, role: &str, subjects: &[Value]) -> Desired {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata(name, None),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    });
    Desired { list: CLUSTER_BINDINGS, collection: CLUSTER_BINDINGS.to_owned(), object, repair: Repair::Widen }
}

/// Its subjects are these and no more.
fn exactly(binding: Desired) -> Desired {
    Desired { repair: Repair::Members(&["subjects"]), ..binding }
}

fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn labelled(mut role: Desired, to: &str) -> Desired {
    role.object["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = json!("true");
    role
}

fn merge(object: &mut Value, content: Value) {
    if let (Some(object), Value::Object(content)) = (object.as_object_mut(), content) {
        object.extend(content);
    }
}

fn rules(rules: &[Rule]) -> Value {
    let split = |list: &str| {
        list.split(',').map(|word| if word == "core" { "" } else { word }).map(str::to_owned).collect::<Vec<_>>()
    };
    let rule = |(groups, resources, verbs): &Rule| json!({"apiGroups": split(groups), "resources": split(resources), "verbs": split(verbs)});
    rules.iter().map(rule).collect()
}

fn group(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"})
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}
