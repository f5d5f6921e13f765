//! Who is let in by what.

use std::sync::Arc;

use expect_test::{Expect, expect};
use http::Request;
use serde_json::json;

use super::*;
use crate::tokens::tests::{Fixture, issuer, token};

fn authenticators() -> (Arc<Fixture>, Arc<crate::tokens::TokenIssuer>, Authenticators) {
    let (cluster, issuer) = issuer();
    let issuer = Arc::new(issuer);
    let static_tokens = StaticTokens::parse("# operator\ns3cret,alice,42,\"dev,ops\"\n\nplain,bob,43\n").unwrap();
    let service_accounts = ServiceAccountTokens::new(issuer.clone());
    (cluster, issuer, Authenticators { static_tokens, service_accounts, bootstrap_tokens: None })
}

async fn ask(authenticators: &Authenticators, header: &str, value: &str) -> String {
    let (parts, ()) = Request::get("/").header(header, value).body(()).unwrap().into_parts();
    match authenticators.authenticate(&parts).await {
        Ok(Some(identity)) => format!("{} {}", identity.user, identity.groups.join(" ")),
        Ok(None) => "anonymous".to_owned(),
        Err(error) => format!("401: {error}"),
    }
}

#[tokio::test]
async fn tokens_name_their_owners_and_unknown_ones_are_refused() {
    let (cluster, issuer, authenticators) = authenticators();
    let check =
        async |value: &str, expected: Expect| expected.assert_eq(&ask(&authenticators, "authorization", value).await);
    check("Bearer s3cret", expect!["alice dev ops system:authenticated"]).await;
    check("bearer plain", expect!["bob system:authenticated"]).await;
    check("Bearer wrong", expect!["401: nobody knows this bearer token"]).await;
    check("Basic Zm9vOmJhcg==", expect!["anonymous"]).await;
    let account = format!("Bearer {}", token(&issuer, json!({})).await.unwrap());
    check(
        &account,
        expect!["system:serviceaccount:d:sa system:serviceaccounts system:serviceaccounts:d system:authenticated"],
    )
    .await;
    cluster.put("serviceaccounts/d/sa", "u-new", &[]);
    check(&account, expect!["401: serviceaccounts sa is gone or was made anew"]).await; // though its signature is remembered
    let foreign = format!("Bearer {}", token(&issuer, json!({"audiences": ["vault"]})).await.unwrap());
    cluster.put("serviceaccounts/d/sa", "u-sa", &[]);
    check(&foreign, expect![[r#"401: the token is for other audiences: ["vault"]"#]]).await;
}

#[tokio::test]
async fn a_browser_shows_its_token_as_a_subprotocol() {
    let (_, _, authenticators) = authenticators();
    let value = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.czNjcmV0";
    expect!["alice dev ops system:authenticated"]
        .assert_eq(&ask(&authenticators, "sec-websocket-protocol", value).await);
}

#[tokio::test]
async fn the_certificate_wins_over_a_token() {
    let (_, _, authenticators) = authenticators();
    let (mut parts, ()) = Request::get("/").header("authorization", "Bearer wrong").body(()).unwrap().into_parts();
    let identity = Some(Arc::new(Identity::new("cert", &["system:authenticated"])));
    parts.extensions.insert(Peer { address: ([127, 0, 0, 1], 1).into(), identity });
    assert_eq!(authenticators.authenticate(&parts).await.unwrap().unwrap().user, "cert");
}

#[test]
fn a_token_needs_no_uid_but_its_place() {
    let tokens = StaticTokens::parse(r#"admin-token,admin,,"system:masters""#).unwrap();
    let admin = tokens.find("admin-token").unwrap();
    assert_eq!((admin.user.as_str(), admin.uid, admin.groups), ("admin", None, vec!["system:masters".to_owned()]));
}

#[test]
fn a_broken_token_file_names_the_line() {
    expect!["line 2 of the token file: the uid is missing"]
        .assert_eq(&StaticTokens::parse("a,b,c\nd,e").unwrap_err().to_string());
}
