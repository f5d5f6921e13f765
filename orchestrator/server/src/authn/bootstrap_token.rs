//! Bootstrap tokens: Secrets of type `bootstrap.kubernetes.io/token` in kube-system, shown as `ID.SECRET` by a node
//! that has nothing else yet.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::seams::Identity;

/// Reads one Secret of kube-system by name, decrypted.
pub type ReadSecret = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;

pub struct BootstrapTokens {
    pub read: ReadSecret,
}

impl BootstrapTokens {
    pub fn find(&self, token: &str, now: Timestamp) -> Option<Identity> {
        let (id, secret) = token.split_once('.')?;
        let plain = |text: &str, length| {
            text.len() == length && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if !plain(id, 6) || !plain(secret, 16) {
            return None;
        }
        judge(&(self.read)(&format!("bootstrap-token-{id}"))?, (id, secret), now)
    }
}

/// Whether this Secret lets the token in now, and as whom.
fn judge(object: &Value, (id, secret): (&str, &str), now: Timestamp) -> Option<Identity> {
    let data = |key: &str| {
        let bytes = STANDARD.decode(object["data"][key].as_str()?).ok()?;
        String::from_utf8(bytes).ok()
    };
    let meant = object["type"] == "bootstrap.kubernetes.io/token" && object["metadata"]["deletionTimestamp"].is_null();
    let known = data("token-id")? == id && same(&data("token-secret")?, secret);
    let allowed = data("usage-bootstrap-authentication").as_deref() == Some("true");
    let alive = match data("expiration") {
        None => true,
        Some(text) => text.parse::<Timestamp>().is_ok_and(|expiration| expiration > now),
    };
    if !(meant && known && allowed && alive) {
        return None;
    }
    let extra = data("auth-extra-groups").unwrap_or_default();
    let extra = extra.split(',').map(str::trim).filter(|group| group.starts_with("system:bootstrappers:"));
    let groups: Vec<&str> = std::iter::once("system:bootstrappers").chain(extra).collect();
    Some(Identity::new(format!("system:bootstrap:{id}"), &groups))
}

/// Hashes are compared, so that timing tells nothing of how much of a secret was right.
fn same(known: &str, shown: &str) -> bool {
    Sha256::digest(known) == Sha256::digest(shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(change: impl FnOnce(&mut Value), token: &str) -> Option<Identity> {
        let encode = |text: &str| json!(STANDARD.encode(text));
        let mut secret = json!({"type": "bootstrap.kubernetes.io/token", "metadata": {}, "data": {
            "token-id": encode("abcdef"), "token-secret": encode("0123456789abcdef"),
            "usage-bootstrap-authentication": encode("true"), "expiration": encode("2030-01-01T00:00:00Z"),
            "auth-extra-groups": encode("system:bootstrappers:edge,system:masters"),
        }});
        change(&mut secret);
        let tokens =
            BootstrapTokens { read: Arc::new(move |name| (name == "bootstrap-token-abcdef").then(|| secret.clone())) };
        tokens.find(token, Timestamp::from_second(1_800_000_000).unwrap())
    }

    #[test]
    fn a_good_token_is_a_bootstrapper_and_no_more() {
        let found = check(|_| {}, "abcdef.0123456789abcdef").unwrap();
        assert_eq!(
            found,
            Identity::new("system:bootstrap:abcdef", &["system:bootstrappers", "system:bootstrappers:edge"])
        );
    }

    #[test]
    fn wrong_ended_or_other_tokens_are_nobody() {
        assert_eq!(check(|_| {}, "abcdef.0123456789abcdee"), None);
        assert_eq!(check(|_| {}, "abcdeg.0123456789abcdef"), None);
        let past = |secret: &mut Value| secret["data"]["expiration"] = json!(STANDARD.encode("2020-01-01T00:00:00Z"));
        assert_eq!(check(past, "abcdef.0123456789abcdef"), None);
        assert_eq!(check(|secret| secret["type"] = json!("Opaque"), "abcdef.0123456789abcdef"), None);
    }
}
