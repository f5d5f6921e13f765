//! The table of all kinds: names, scope, verbs, subresources, defaults, validation, columns, field selectors.
//! Discovery, OpenAPI, routes, authorization and tables come from it. To add a kind: one file in `kinds/`, one line in [`KINDS`].

mod admission_policy;
mod admission_policy_binding;
mod amounts;
pub mod api_service;
mod binding;
pub mod certificate_signing_request;
mod cluster_trust_bundle;
pub mod component_status;
mod conditions;
mod config_map;
mod controller_revision;
mod cron_job;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
pub mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod descriptions;
mod device;
mod device_class;
mod endpoint_slice;
mod endpoints;
pub mod event;
pub mod flow_defaults;
mod flow_schema;
pub mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod ip_address;
mod job;
pub mod json;
pub mod labels;
mod lease;
mod limit_range;
mod match_rules;
pub mod metadata;
pub mod names;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
pub mod pod;
mod pod_certificate_request;
mod pod_disruption_budget;
pub mod pod_resources;
pub mod pod_spec;
mod pod_template;
pub mod priority_class;
mod priority_level;
mod problem;
mod replica_set;
mod replication_controller;
mod resource_claim;
pub mod resource_metrics;
pub mod resource_names;
mod resource_quota;
mod resource_slice;
mod reviews;
mod role;
mod role_binding;
mod runtime_class;
mod secret;
pub mod service;
mod service_account;
mod service_cidr;
mod signer_name;
mod stateful_set;
mod storage_class;
mod storage_version_migration;
pub mod table;
mod volume_attachment;
mod volume_attributes_class;
mod webhook_configuration;
mod workload;

use serde_json::Value;

/// Every built-in kind, in discovery order: by group, the core group first, then by plural.
pub static KINDS: &[&Kind] = &[
    &binding::BINDING,
    &component_status::COMPONENT_STATUS,
    &config_map::CONFIG_MAP,
    &endpoints::ENDPOINTS,
    &event::EVENT,
    &limit_range::LIMIT_RANGE,
    &namespace::NAMESPACE,
    &node::NODE,
    &persistent_volume_claim::PERSISTENT_VOLUME_CLAIM,
    &persistent_volume::PERSISTENT_VOLUME,
    &pod::POD,
    &pod_template::POD_TEMPLATE,
    &replication_controller::REPLICATION_CONTROLLER,
    &resource_quota::RESOURCE_QUOTA,
    &secret::SECRET,
    &service_account::SERVICE_ACCOUNT,
    &service::SERVICE,
    &admission_policy::MUTATING,
    &admission_policy_binding::MUTATING,
    &webhook_configuration::MUTATING,
    &admission_policy::VALIDATING,
    &admission_policy_binding::VALIDATING,
    &webhook_configuration::VALIDATING,
    &custom_resource_definition::CUSTOM_RESOURCE_DEFINITION,
    &api_service::API_SERVICE,
    &controller_revision::CONTROLLER_REVISION,
    &daemon_set::DAEMON_SET,
    &deployment::DEPLOYMENT,
    &replica_set::REPLICA_SET,
    &stateful_set::STATEFUL_SET,
    &reviews::SELF_SUBJECT_REVIEW,
    &reviews::TOKEN_REVIEW,
    &reviews::LOCAL_SUBJECT_ACCESS_REVIEW,
    &reviews::SELF_SUBJECT_ACCESS_REVIEW,
    &reviews::SELF_SUBJECT_RULES_REVIEW,
    &reviews::SUBJECT_ACCESS_REVIEW,
    &horizontal_pod_autoscaler::AUTOSCALER_V1,
    &horizontal_pod_autoscaler::AUTOSCALER_V2,
    &cron_job::CRON_JOB,
    &job::JOB,
    &certificate_signing_request::CERTIFICATE_SIGNING_REQUEST,
    &cluster_trust_bundle::CLUSTER_TRUST_BUNDLE,
    &pod_certificate_request::POD_CERTIFICATE_REQUEST,
    &lease::LEASE,
    &endpoint_slice::ENDPOINT_SLICE,
    &event::reported::REPORTED_EVENT,
    &flow_schema::FLOW_SCHEMA,
    &priority_level::PRIORITY_LEVEL,
    &resource_metrics::NODE_V1,
    &resource_metrics::POD_V1,
    &resource_metrics::NODE_V1BETA1,
    &resource_metrics::POD_V1BETA1,
    &ingress_class::INGRESS_CLASS,
    &ingress::INGRESS,
    &ip_address::IP_ADDRESS,
    &network_policy::NETWORK_POLICY,
    &service_cidr::SERVICE_CIDR,
    &runtime_class::RUNTIME_CLASS,
    &pod_disruption_budget::POD_DISRUPTION_BUDGET,
    &role_binding::CLUSTER_ROLE_BINDING,
    &role::CLUSTER_ROLE,
    &role_binding::ROLE_BINDING,
    &role::ROLE,
    &device_class::DEVICE_CLASS,
    &device_class::DEVICE_TAINT_RULE,
    &resource_claim::RESOURCE_CLAIM,
    &resource_claim::RESOURCE_CLAIM_TEMPLATE,
    &resource_slice::RESOURCE_SLICE,
    &priority_class::PRIORITY_CLASS,
    &csi_driver::CSI_DRIVER,
    &csi_node::CSI_NODE,
    &csi_storage_capacity::CSI_STORAGE_CAPACITY,
    &storage_class::STORAGE_CLASS,
    &volume_attachment::VOLUME_ATTACHMENT,
    &volume_attributes_class::VOLUME_ATTRIBUTES_CLASS,
    &storage_version_migration::STORAGE_VERSION_MIGRATION,
];

/// One kind of the API: a struct of facts and pure functions on JSON values.
#[derive(Clone)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub scope: Scope,
    /// Discovery's verbs: `create delete deletecollection get list patch update watch`, or a part of them.
    pub verbs: &'static [&'static str],
    pub subresources: &'static [Subresource],
    /// Name of the type in the schema table, `io.k8s.api.core.v1.ConfigMap`.
    pub schema: &'static str,
    /// Where objects live in the store: `plural` or `group/plural` of the hub version. Twin APIs share it.
    pub storage: &'static str,
    pub update: UpdateRules,
    /// Defaults that the schema table cannot express; literal ones are already in. Must be idempotent.
    pub defaults: fn(&mut Value),
    /// What a client may not set on creation is dropped (status, generated fields).
    pub prepare_create: fn(&mut Value),
    /// What a client may not change by the main endpoint is put back from the old object (status), `(new, old)`.
    pub prepare_update: fn(&mut Value, &Value),
    /// Problems of an object that is to be stored; empty when it is valid.
    pub validate: fn(&Value) -> Vec<Problem>,
    /// Problems of a new object, beyond `validate`.
    pub validate_create: fn(&Value) -> Vec<Problem>,
    /// Problems of a change, `(new, old)`, beyond `validate(new)`: immutable fields.
    pub validate_update: fn(&Value, &Value) -> Vec<Problem>,
    /// Selectable fields beyond metadata.name and metadata.namespace, with their value in this object.
    pub fields: fn(&Value) -> Vec<(&'static str, String)>,
    /// Names that `fields` may give; others are refused with 400.
    pub field_labels: &'static [&'static str],
    /// Described by a CustomResourceDefinition: its behaviour is in `custom.rs`, not in the functions here.
    pub is_custom: bool,
    pub columns: &'static [Column],
    /// The cells of one row, in the order of `columns`; `now` in seconds since the epoch.
    pub row: fn(&Value, i64) -> Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// What an update needs (Kubernetes' per-kind strategies).
#[derive(Debug, Clone, Copy)]
pub struct UpdateRules {
    /// A PUT without resourceVersion is allowed.
    pub unconditional: bool,
    /// A PUT of an absent object creates it.
    pub creates: bool,
    /// The object has a `spec` whose changes raise `metadata.generation`.
    pub generation: bool,
}

/// A subresource as discovery lists it. How it is served is decided in the server by `name`.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    pub name: &'static str,
    pub verbs: &'static [&'static str],
    /// `(group, version, kind)` of what it takes and gives when that is not the parent's.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
}

/// A printer column. `priority` 1 shows only with `-o wide`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date`, …
    pub r#type: &'static str,
    /// `name` for the name column, else empty.
    pub format: &'static str,
    pub description: &'static str,
    pub priority: i32,
}

/// One cause of an `Invalid` status. `message` is the whole text after the field:
/// `Required value: …`, `Invalid value: "x": …`, `Forbidden: …`, `Duplicate value: …`, `Not found: …`, `Unsupported value: …`, `Too long: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `FieldValueRequired`, `FieldValueInvalid`, `FieldValueForbidden`, `FieldValueDuplicate`, `FieldValueNotFound`,
    /// `FieldValueNotSupported`, `FieldValueTooLong`, …
    pub reason: &'static str,
    /// `spec.containers[0].image`
    pub field: String,
    pub message: String,
}

pub const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What most kinds have; an entry of the table names what it has of its own and takes the rest from here.
pub const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    schema: "",
    storage: "",
    update: UpdateRules { unconditional: true, creates: false, generation: false },
    defaults: |_| {},
    prepare_create: |_| {},
    prepare_update: |_, _| {},
    validate: |_| Vec::new(),
    validate_create: |_| Vec::new(),
    validate_update: metadata::validate_update,
    fields: |_| Vec::new(),
    field_labels: &[],
    is_custom: false,
    columns: table::DEFAULT_COLUMNS,
    row: table::default_row,
};

/// For kinds whose spec counts generations and which may be replaced without a resourceVersion.
const WITH_SPEC: UpdateRules = UpdateRules { unconditional: true, creates: false, generation: true };

pub const STATUS: Subresource = Subresource { name: "status", verbs: &["get", "patch", "update"], kind: None };

/// What is asked of a node, pod or service itself; `kind` is that of its options.
const fn proxy(kind: &'static str) -> Subresource {
    let verbs = &["create", "delete", "get", "patch", "update"];
    Subresource { name: "proxy", verbs, kind: Some(("", "v1", kind)) }
}

pub const SCALE: Subresource =
    Subresource { name: "scale", verbs: &["get", "patch", "update"], kind: Some(("autoscaling", "v1", "Scale")) };

/// The status of a created object is the server's to fill.
pub fn drop_status(object: &mut Value) {
    json::remove(object, "status");
}

/// The main endpoint leaves the status as it was.
pub fn keep_status(new: &mut Value, old: &Value) {
    json::keep(new, "status", old);
}

#[cfg(test)]
mod tests;
