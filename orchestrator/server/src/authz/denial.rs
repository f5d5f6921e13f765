//! Refusals in upstream's words.

use crate::reply::Status;
use crate::seams::{Attributes, Identity};

/// `User "x" cannot list resource "deployments" in API group "apps" in the namespace "y"`
pub fn denial_text(identity: &Identity, attributes: &Attributes, reason: &str) -> String {
    let Attributes { verb, group, resource, subresource, namespace, path, .. } = attributes;
    let user = &identity.user;
    let mut text = match path {
        Some(path) => format!("User {user:?} cannot {verb} path {path:?}"),
        None => {
            let resource = if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") };
            let place = match namespace.as_str() {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
        }
    };
    if !reason.is_empty() {
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}

/// The whole 403: `deployments.apps is forbidden: User …`.
pub fn denial(identity: &Identity, attributes: &Attributes, reason: &str) -> Status {
    let text = denial_text(identity, attributes, reason);
    let resource = if attributes.path.is_some() { "" } else { attributes.resource.as_str() };
    Status::forbidden_resource((&attributes.group, resource), &attributes.name, &text)
}
