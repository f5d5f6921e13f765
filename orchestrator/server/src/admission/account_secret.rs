//! A Secret of type `kubernetes.io/service-account-token` is filled as it is written: the token, the namespace, the root
//! certificate. When its account goes, a controller (`controllers/account_secrets.rs`) removes it.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::writes;
use crate::kinds::json::{child, is_empty, set, text};
use crate::reply::Status;
use crate::seams::{AdmissionRequest, Admit, Operation};
use crate::tokens::{LegacyGrant, TokenIssuer};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

pub struct AccountSecret {
    pub tokens: Arc<TokenIssuer>,
    pub root_ca: String,
}

#[async_trait]
impl Admit for AccountSecret {
    async fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<(), Status> {
        if !writes(request, Operation::Create, "secrets") && !writes(request, Operation::Update, "secrets") {
            return Ok(());
        }
        let (namespace, name, kind) = (request.namespace, request.name, request.kind);
        let Some(secret) = request.object.as_mut().filter(|secret| secret["type"] == TYPE) else { return Ok(()) };
        let account = text(&secret["metadata"]["annotations"][ACCOUNT_NAME]).to_owned();
        if account.is_empty() {
            return Ok(()); // validation says so
        }
        let found = request.cluster.get("serviceaccounts", namespace, &account);
        let uid = found.as_ref().map(|account| text(&account["metadata"]["uid"]).to_owned()).unwrap_or_default();
        let named = text(&secret["metadata"]["annotations"][ACCOUNT_UID]);
        if uid.is_empty() || (!named.is_empty() && named != uid) {
            if request.operation == Operation::Update {
                return Ok(()); // on its way out with the account
            }
            let why =
                format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
            return Err(Status::forbidden(kind, name, &why));
        }
        let grant = LegacyGrant { namespace, secret: name, account: &account, uid: &uid };
        self.fill(secret, grant)
    }
}

impl AccountSecret {
    /// What is missing is added; a token that is there stays.
    fn fill(&self, secret: &mut Value, grant: LegacyGrant<'_>) -> Result<(), Status> {
        if let Some(annotations) = child(&mut secret["metadata"], "annotations") {
            set(annotations, ACCOUNT_UID, grant.uid.into());
        }
        let encode = |text: &str| Value::from(STANDARD.encode(text));
        let Some(data) = child(secret, "data") else { return Ok(()) };
        set(data, "ca.crt", encode(&self.root_ca));
        set(data, "namespace", encode(grant.namespace));
        if is_empty(&data["token"]) {
            let token = self.tokens.sign_legacy(&grant).map_err(|error| Status::internal(error.to_string()))?;
            set(data, "token", encode(&token));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_secret_is_filled_once() {
        let tokens = Arc::new(crate::tokens::tests::issuer().1);
        let plugin = AccountSecret { tokens, root_ca: "pem".to_owned() };
        let grant = || LegacyGrant { namespace: "d", secret: "s", account: "sa", uid: "1" };
        let mut secret = json!({"metadata": {"name": "s"}, "type": TYPE});
        plugin.fill(&mut secret, grant()).unwrap();
        let text = |field: &str| STANDARD.decode(text(&secret["data"][field])).unwrap();
        assert_eq!((text("ca.crt"), text("namespace")), (b"pem".to_vec(), b"d".to_vec()));
        assert_eq!(secret["metadata"]["annotations"][ACCOUNT_UID], "1");
        let before = secret.clone();
        plugin.fill(&mut secret, grant()).unwrap();
        assert_eq!(secret, before, "a token that is there stays");
    }
}
