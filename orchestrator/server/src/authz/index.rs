//! Roles and bindings by the subject they speak of. A request looks only at the bindings of its user and groups.
//! An aggregated ClusterRole counts as it is stored: a controller keeps the rules of those it selects in it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::seams::Identity;

/// One object of the policy.
#[derive(Debug, Clone)]
pub enum Policy {
    Role(Role),
    ClusterRole(ClusterRole),
    RoleBinding(RoleBinding),
    ClusterRoleBinding(ClusterRoleBinding),
}

/// Empty namespace: cluster-wide.
type Name = (String, String);

#[derive(Default)]
pub struct Index {
    roles: HashMap<Name, Arc<[PolicyRule]>>,
    cluster_roles: HashMap<String, Arc<[PolicyRule]>>,
    bindings: HashMap<Name, Arc<Binding>>,
    users: HashMap<String, Grants>,
    groups: HashMap<String, Grants>,
}

/// The bindings of one subject, by namespace; the empty one is cluster-wide.
type Grants = HashMap<String, Vec<Arc<Binding>>>;

/// A RoleBinding, or a ClusterRoleBinding (empty namespace).
#[derive(Debug)]
pub struct Binding {
    pub namespace: String,
    pub name: String,
    pub role: RoleName,
    pub subjects: Vec<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleName {
    Cluster(String),
    Namespaced { namespace: String, name: String },
}

impl RoleName {
    /// The role that a binding in `namespace` refers to.
    pub fn of(reference: &RoleRef, namespace: &str) -> Self {
        match reference.kind.as_str() {
            "Role" => Self::Namespaced { namespace: namespace.to_owned(), name: reference.name.clone() },
            _ => Self::Cluster(reference.name.clone()),
        }
    }

    pub fn missing(&self) -> String {
        match self {
            Self::Cluster(name) => format!("clusterrole.rbac.authorization.k8s.io {name:?} not found"),
            Self::Namespaced { name, .. } => format!("role.rbac.authorization.k8s.io {name:?} not found"),
        }
    }
}

/// One binding that speaks of the asker, with the rules it gives (`None`: its role does not exist).
pub struct Granted<'a> {
    pub binding: &'a Binding,
    pub rules: Option<&'a [PolicyRule]>,
    subject: (SubjectKind, &'a str),
}

impl fmt::Display for Granted<'_> {
    /// Upstream's words of the audit annotation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { namespace, name, role, .. } = self.binding;
        match namespace.as_str() {
            "" => write!(f, "ClusterRoleBinding {name:?}")?,
            namespace => write!(f, "RoleBinding \"{name}/{namespace}\"")?,
        }
        match role {
            RoleName::Cluster(role) => write!(f, " of ClusterRole {role:?}")?,
            RoleName::Namespaced { name: role, .. } => write!(f, " of Role {role:?}")?,
        }
        let (kind, subject) = self.subject;
        match (kind, subject.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'))) {
            (SubjectKind::Group, _) => write!(f, " to Group {subject:?}"),
            (SubjectKind::User, Some((namespace, name))) => write!(f, " to ServiceAccount \"{name}/{namespace}\""),
            (SubjectKind::User, None) => write!(f, " to User {subject:?}"),
        }
    }
}

impl Index {
    /// Takes in a new or changed object.
    pub fn apply(&mut self, policy: Policy) {
        match policy {
            Policy::Role(role) => {
                let name = named(&role.metadata);
                self.roles.insert(name, role.rules.unwrap_or_default().into());
            }
            Policy::ClusterRole(role) => {
                let (_, name) = named(&role.metadata);
                self.cluster_roles.insert(name, role.rules.unwrap_or_default().into());
            }
            Policy::RoleBinding(binding) => {
                let (namespace, name) = named(&binding.metadata);
                let role = RoleName::of(&binding.role_ref, &namespace);
                self.bind(Binding { namespace, name, role, subjects: binding.subjects.unwrap_or_default() });
            }
            Policy::ClusterRoleBinding(binding) => {
                let (_, name) = named(&binding.metadata);
                let role = RoleName::Cluster(binding.role_ref.name);
                self.bind(Binding {
                    namespace: String::new(),
                    name,
                    role,
                    subjects: binding.subjects.unwrap_or_default(),
                });
            }
        }
    }

    /// Forgets an object.
    pub fn remove(&mut self, policy: &Policy) {
        match policy {
            Policy::Role(role) => _ = self.roles.remove(&named(&role.metadata)),
            Policy::ClusterRole(role) => _ = self.cluster_roles.remove(&named(&role.metadata).1),
            Policy::RoleBinding(binding) => self.unbind(&named(&binding.metadata)),
            Policy::ClusterRoleBinding(binding) => self.unbind(&(String::new(), named(&binding.metadata).1)),
        }
    }

    /// Forgets what a new list of one resource does not name, then takes in the list.
    pub fn replace(&mut self, resource: &str, listed: Vec<Policy>) {
        match resource {
            "roles" => self.roles.clear(),
            "clusterroles" => self.cluster_roles.clear(),
            _ => {
                let cluster_wide = resource == "clusterrolebindings";
                let gone: Vec<Name> = self
                    .bindings
                    .keys()
                    .filter(|(namespace, _)| namespace.is_empty() == cluster_wide)
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.unbind(name));
            }
        }
        listed.into_iter().for_each(|policy| self.apply(policy));
    }

    /// The rules of a role, `None` when it does not exist.
    pub fn rules(&self, role: &RoleName) -> Option<&[PolicyRule]> {
        match role {
            RoleName::Cluster(name) => self.cluster_roles.get(name).map(AsRef::as_ref),
            RoleName::Namespaced { namespace, name } => {
                self.roles.get(&(namespace.clone(), name.clone())).map(AsRef::as_ref)
            }
        }
    }

    /// Shows every binding that speaks of the identity, cluster-wide ones first, until `stop` says so.
    pub fn visit(&self, identity: &Identity, namespace: &str, mut stop: impl FnMut(Granted<'_>) -> bool) {
        let groups = identity
            .groups
            .iter()
            .filter_map(|group| Some((SubjectKind::Group, group.as_str(), self.groups.get(group)?)));
        let user = self.users.get(&identity.user).map(|grants| (SubjectKind::User, identity.user.as_str(), grants));
        let subjects: Vec<(SubjectKind, &str, &Grants)> = user.into_iter().chain(groups).collect();
        let namespaces = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        for namespace in namespaces.into_iter().flatten() {
            let bindings =
                subjects.iter().filter_map(|(kind, name, grants)| Some((*kind, *name, grants.get(namespace)?)));
            for (kind, name, bindings) in bindings {
                for binding in bindings {
                    if stop(Granted { binding, rules: self.rules(&binding.role), subject: (kind, name) }) {
                        return;
                    }
                }
            }
        }
    }

    fn bind(&mut self, binding: Binding) {
        let name = (binding.namespace.clone(), binding.name.clone());
        self.unbind(&name);
        let binding = Arc::new(binding);
        for (group, subject) in subjects(&binding) {
            let bindings = self.grants(group).entry(subject).or_default().entry(name.0.clone()).or_default();
            if !bindings.iter().any(|known| Arc::ptr_eq(known, &binding)) {
                bindings.push(binding.clone());
            }
        }
        self.bindings.insert(name, binding);
    }

    fn unbind(&mut self, name: &Name) {
        let Some(binding) = self.bindings.remove(name) else { return };
        for (group, subject) in subjects(&binding) {
            let everyone = self.grants(group);
            let Some(grants) = everyone.get_mut(&subject) else { continue };
            if let Some(bindings) = grants.get_mut(&name.0) {
                bindings.retain(|known| !Arc::ptr_eq(known, &binding));
                if bindings.is_empty() {
                    grants.remove(&name.0);
                }
            }
            if grants.is_empty() {
                everyone.remove(&subject);
            }
        }
    }

    fn grants(&mut self, kind: SubjectKind) -> &mut HashMap<String, Grants> {
        match kind {
            SubjectKind::User => &mut self.users,
            SubjectKind::Group => &mut self.groups,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SubjectKind {
    User,
    Group,
}

fn subjects(binding: &Binding) -> Vec<(SubjectKind, String)> {
    let found = binding.subjects.iter().filter_map(|subject| subject_name(subject, &binding.namespace));
    found.collect()
}

fn named(metadata: &ObjectMeta) -> Name {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// The user or group that a subject means; a service account is a user.
fn subject_name(subject: &Subject, namespace: &str) -> Option<(SubjectKind, String)> {
    match subject.kind.as_str() {
        "User" => Some((SubjectKind::User, subject.name.clone())),
        "Group" => Some((SubjectKind::Group, subject.name.clone())),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().unwrap_or(namespace);
            let user = || format!("system:serviceaccount:{namespace}:{}", subject.name);
            (!namespace.is_empty()).then(|| (SubjectKind::User, user()))
        }
        _ => None,
    }
}
