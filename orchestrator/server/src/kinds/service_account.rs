//! ServiceAccount.

use serde_json::json;

use super::json::items;
use super::table::{AGE, NAME, age, name, string};
use super::{Kind, PLAIN, Scope, Subresource, descriptions, metadata, names};

pub static SERVICE_ACCOUNT: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        verbs: &["create"],
        kind: Some(("authentication.k8s.io", "v1", "TokenRequest")),
    }],
    schema: "io.k8s.api.core.v1.ServiceAccount",
    storage: "serviceaccounts",
    validate: |account| metadata::validate(account, Scope::Namespaced, names::subdomain),
    columns: &[NAME, string("Secrets", descriptions::SERVICE_ACCOUNT_SECRETS), AGE],
    row: |account, now| vec![name(account), json!(items(&account["secrets"]).len()), age(account, now)],
    ..PLAIN
};
