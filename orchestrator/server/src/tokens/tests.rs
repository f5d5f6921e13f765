//! Properties of service account tokens.

use std::collections::HashMap;

use expect_test::expect;
use parking_lot::Mutex;

use super::*;

/// What a cluster has, as `storage/namespace/name`.
#[derive(Default)]
pub(crate) struct Fixture(pub Mutex<HashMap<String, Arc<Meta>>>);

impl Fixture {
    pub(crate) fn put(&self, path: &str, uid: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.0.lock().insert(path.to_owned(), Arc::new(Meta { uid: uid.to_owned(), fields, ..Meta::default() }));
    }
}

impl Bound for Fixture {
    fn meta(&self, storage: &str, namespace: &str, name: &str) -> Option<Arc<Meta>> {
        self.0.lock().get(&format!("{storage}/{namespace}/{name}")).cloned()
    }

    /// The Secret's uid stands for the token that it carries.
    fn secret_token(&self, namespace: &str, name: &str) -> Option<String> {
        self.meta("secrets", namespace, name).map(|meta| meta.uid.clone())
    }
}

pub(crate) fn issuer() -> (Arc<Fixture>, TokenIssuer) {
    let fixture = Arc::new(Fixture::default());
    fixture.put("serviceaccounts/d/sa", "u-sa", &[]);
    fixture.put("pods/d/p", "u-p", &[("spec.serviceAccountName", "sa"), ("spec.nodeName", "n")]);
    fixture.put("nodes//n", "u-n", &[]);
    let key = KeyPair::generate().unwrap().serialize_pem();
    let issuer = TokenIssuer::new(&key, DEFAULT_ISSUER, Vec::new(), fixture.clone()).unwrap();
    (fixture, issuer)
}

pub(crate) fn account() -> Value {
    json!({"metadata": {"name": "sa", "namespace": "d", "uid": "u-sa"}})
}

pub(crate) async fn token(issuer: &TokenIssuer, spec: Value) -> Result<String, String> {
    let answer = issuer.issue(&account(), json!({"spec": spec})).await;
    answer.map(|answer| answer.request["status"]["token"].as_str().unwrap().to_owned()).map_err(|status| status.message)
}

#[tokio::test]
async fn a_token_bound_to_a_pod_dies_with_it() {
    let (cluster, issuer) = issuer();
    let spec = json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u-p"}, "expirationSeconds": 3607});
    let token = token(&issuer, spec).await.unwrap();
    let claims = issuer.verify(&token).unwrap().unwrap();
    assert_eq!(claims.sub, "system:serviceaccount:d:sa");
    assert_eq!(claims.exp - claims.iat, 365 * 86_400, "what pods get mounted holds longer than it says");
    assert_eq!(claims.kubernetes.warnafter, Some(claims.iat + 3607));
    assert_eq!(claims.kubernetes.node, Some(Reference { name: "n".into(), uid: "u-n".into() }));
    let at = |seconds: i64| Timestamp::from_second(claims.iat + seconds).unwrap();
    issuer.check(&claims, at(0)).unwrap();
    expect!["the token is used outside of its time"]
        .assert_eq(&issuer.check(&claims, at(365 * 86_400)).unwrap_err().to_string());
    cluster.put("pods/d/p", "u-p2", &[]);
    expect!["pods p is gone or was made anew"].assert_eq(&issuer.check(&claims, at(0)).unwrap_err().to_string());
}

#[tokio::test]
async fn a_token_is_for_its_audiences() {
    let (_, issuer) = issuer();
    let claims = issuer.verify(&token(&issuer, json!({"audiences": ["vault"]})).await.unwrap()).unwrap().unwrap();
    assert_eq!(issuer.audience(&claims, &["vault".into(), "x".into()]).unwrap(), ["vault"]);
    assert!(issuer.audience(&claims, &[]).is_err());
}

#[tokio::test]
async fn a_changed_or_foreign_token_does_not_verify() {
    let (_, ours) = issuer();
    let (_, other) = issuer();
    let token = token(&other, json!({})).await.unwrap();
    assert!(matches!(ours.verify(&token), Err(TokenError::Verify(_))), "same issuer, other key");
    assert!(ours.verify("not.a.jwt").unwrap().is_none());
}

#[tokio::test]
async fn requests_are_refused_in_upstreams_words() {
    let (_, issuer) = issuer();
    let check = async |spec: Value, expected: expect_test::Expect| {
        expected.assert_eq(&token(&issuer, spec).await.unwrap_err());
    };
    check(json!({"expirationSeconds": 599}), expect![[r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"#]]).await;
    check(
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "q"}}),
        expect![[r#"pods "q" not found"#]],
    )
    .await;
    check(
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "old"}}),
        expect![[r#"Operation cannot be fulfilled on pods "p": the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated"#]],
    ).await;
    check(
        json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Role", "name": "p"}}),
        expect!["cannot bind token to object of type v1, Kind=Role"],
    )
    .await;
}

#[test]
fn the_key_set_is_what_the_discovery_names() {
    let (_, issuer) = issuer();
    assert_eq!(issuer.discovery()["jwks_uri"], format!("{DEFAULT_ISSUER}/openid/v1/jwks"));
    let key = &issuer.key_set()["keys"][0];
    assert_eq!((key["crv"].as_str(), key["alg"].as_str()), (Some("P-256"), Some("ES256")));
    assert_eq!(key["x"].as_str().unwrap().len(), 43);
}

#[tokio::test]
async fn a_life_beyond_the_limit_is_cut_and_said() {
    let (_, issuer) = issuer();
    let issuer = issuer.limited_to(7_200);
    let issued = issuer.issue(&account(), json!({"spec": {"expirationSeconds": 10_000}})).await;
    let issued = issued.unwrap_or_else(|status| panic!("{}", status.message));
    assert_eq!(issued.request["spec"]["expirationSeconds"], 7_200);
    assert_eq!(issued.warnings, ["requested expiration of 10000 seconds shortened to 7200 seconds"]);
}

#[test]
fn a_legacy_token_holds_as_long_as_its_secret_carries_it() {
    let (cluster, issuer) = issuer();
    let grant = LegacyGrant { namespace: "d", secret: "s", account: "sa", uid: "u-sa" };
    let token = issuer.sign_legacy(&grant).unwrap();
    assert!(issuer.verify(&token).unwrap().is_none(), "another issuer's");
    let claims = issuer.verify_legacy(&token).unwrap().unwrap();
    assert_eq!(claims.sub, "system:serviceaccount:d:sa");
    assert!(issuer.check_legacy(&claims, &token).is_err(), "no Secret carries it");
    cluster.put("secrets/d/s", &token, &[]);
    issuer.check_legacy(&claims, &token).unwrap();
    cluster.put("serviceaccounts/d/sa", "u-other", &[]);
    assert!(issuer.check_legacy(&claims, &token).is_err(), "the account was made anew");
}
