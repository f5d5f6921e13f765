//! The protocol as clients speak it, over the router alone.

use axum::body::{Body, to_bytes};
use expect_test::{Expect, expect};
use http::{Request, Response};
use serde_json::json;
use tower::ServiceExt;

use crate::name::Digest;
use crate::{Policy, Registry};

struct Fixture {
    registry: Registry,
    _directory: tempfile::TempDir,
}

async fn fixture(policy: Policy) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::with_limit(directory.path(), policy, 64).await.unwrap();
    Fixture { registry, _directory: directory }
}

impl Fixture {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.registry.router().oneshot(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn check(&self, (method, path): (&str, &str), headers: &[(&str, &str)], body: &str, expected: Expect) {
        let response = self.ask(method, path, headers, body).await;
        let status = response.status().as_u16();
        let text = String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
        expected.assert_eq(format!("{status} {text}").trim());
    }

    async fn push_blob(&self, name: &str, content: &str) -> String {
        let digest = Digest::of(content.as_bytes()).to_string();
        let response = self.ask("POST", &format!("/v2/{name}/blobs/uploads/?digest={digest}"), &[], content).await;
        assert_eq!(response.status(), 201);
        digest
    }

    async fn push_manifest(&self, name: &str, reference: &str, manifest: &serde_json::Value) -> Response<Body> {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        self.ask(
            "PUT",
            &format!("/v2/{name}/manifests/{reference}"),
            &[("content-type", media_type)],
            &manifest.to_string(),
        )
        .await
    }
}

fn header<'a>(response: &'a Response<Body>, key: &str) -> &'a str {
    response.headers()[key].to_str().unwrap()
}

#[tokio::test]
async fn a_blob_comes_whole_in_chunks_or_from_a_neighbour() {
    let fixture = fixture(Policy::Open).await;
    let digest = fixture.push_blob("a/b", "hello").await;
    let blob = format!("/v2/a/b/blobs/{digest}");
    fixture.check(("GET", &blob), &[], "", expect!["200 hello"]).await;
    fixture.check(("GET", &blob), &[("range", "bytes=1-3")], "", expect!["206 ell"]).await;
    fixture.check(("GET", &blob), &[("range", "bytes=-2")], "", expect!["206 lo"]).await;
    fixture.check(("GET", &blob), &[("range", "bytes=9-")], "", expect!["416"]).await;
    assert_eq!(header(&fixture.ask("HEAD", &blob, &[], "").await, "content-length"), "5");

    let started = fixture.ask("POST", "/v2/c/blobs/uploads/", &[], "").await;
    let upload = header(&started, "location").to_owned();
    let first = fixture.ask("PATCH", &upload, &[("content-range", "0-2")], "hel").await;
    assert_eq!((first.status().as_u16(), header(&first, "range")), (202, "0-2"));
    assert_eq!(fixture.ask("PATCH", &upload, &[("content-range", "5-6")], "xx").await.status(), 416);
    let finished = fixture.ask("PUT", &format!("{upload}?digest={digest}"), &[], "lo").await;
    assert_eq!((finished.status().as_u16(), header(&finished, "docker-content-digest")), (201, digest.as_str()));

    let mounted = fixture.ask("POST", &format!("/v2/d/blobs/uploads/?mount={digest}&from=c"), &[], "").await;
    assert_eq!(mounted.status(), 201);
    fixture.check(("GET", &format!("/v2/d/blobs/{digest}")), &[], "", expect!["200 hello"]).await;
    assert_eq!(
        fixture.ask("POST", &format!("/v2/d/blobs/uploads/?mount={digest}&from=nobody"), &[], "").await.status(),
        202
    );
}

#[tokio::test]
async fn wrong_digests_names_and_sizes_are_refused() {
    let fixture = fixture(Policy::Open).await;
    let other = Digest::of(b"other");
    let path = format!("/v2/a/blobs/uploads/?digest={other}");
    fixture.check(("POST", &path), &[], "hello", expect![[r#"400 {"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}"#]]).await;
    fixture
        .check(
            ("POST", &path),
            &[],
            &"x".repeat(65),
            expect![[r#"413 {"errors":[{"code":"SIZE_INVALID","message":"content is larger than 64 bytes"}]}"#]],
        )
        .await;
    fixture
        .check(
            ("GET", &format!("/v2/a/blobs/{other}")),
            &[],
            "",
            expect![[r#"404 {"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#]],
        )
        .await;
    fixture
        .check(
            ("GET", "/v2/../x/tags/list"),
            &[],
            "",
            expect![[r#"400 {"errors":[{"code":"NAME_INVALID","message":"invalid repository name"}]}"#]],
        )
        .await;
    fixture
        .check(
            ("POST", "/v2/a/_tags/blobs/uploads/"),
            &[],
            "",
            expect![[r#"400 {"errors":[{"code":"NAME_INVALID","message":"invalid repository name"}]}"#]],
        )
        .await;
    let left = std::fs::read_dir(fixture._directory.path().join("uploads")).unwrap().count();
    assert_eq!(left, 0, "refused uploads leave nothing");
}

#[tokio::test]
async fn manifests_are_found_by_tag_and_digest_until_deleted() {
    let fixture = fixture(Policy::Open).await;
    let missing = json!({"schemaVersion": 2, "config": {"digest": Digest::of(b"{}").to_string()}, "layers": []});
    assert_eq!(fixture.push_manifest("a", "v1", &missing).await.status(), 404);
    let config = fixture.push_blob("a", "{}").await;
    let manifest = json!({"schemaVersion": 2, "config": {"digest": config, "mediaType": "c"}, "layers": []});
    let pushed = fixture.push_manifest("a", "v1", &manifest).await;
    let digest = header(&pushed, "docker-content-digest").to_owned();
    let got = fixture.ask("GET", "/v2/a/manifests/v1", &[], "").await;
    assert_eq!(header(&got, "content-type"), "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(to_bytes(got.into_body(), 1 << 20).await.unwrap(), manifest.to_string());
    fixture.push_manifest("a", "v2", &manifest).await;
    fixture.check(("GET", "/v2/a/tags/list?n=1"), &[], "", expect![[r#"200 {"name":"a","tags":["v1"]}"#]]).await;
    assert_eq!(
        header(&fixture.ask("GET", "/v2/a/tags/list?n=1", &[], "").await, "link"),
        r#"</v2/a/tags/list?n=1&last=v1>; rel="next""#
    );
    fixture.check(("GET", "/v2/_catalog"), &[], "", expect![[r#"200 {"repositories":["a"]}"#]]).await;
    assert_eq!(fixture.push_manifest("a", &Digest::of(b"x").to_string(), &manifest).await.status(), 400);

    let referrer = json!({"schemaVersion": 2, "artifactType": "sig", "config": {"digest": config}, "layers": [], "subject": {"digest": digest}});
    let pushed = fixture.push_manifest("a", "sig", &referrer).await;
    assert_eq!(header(&pushed, "oci-subject"), digest);
    let listed = fixture.ask("GET", &format!("/v2/a/referrers/{digest}?artifactType=sig"), &[], "").await;
    let listed: serde_json::Value =
        serde_json::from_slice(&to_bytes(listed.into_body(), 1 << 20).await.unwrap()).unwrap();
    assert_eq!(listed["manifests"][0]["artifactType"], "sig");

    assert_eq!(fixture.ask("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "").await.status(), 202);
    fixture
        .check(
            ("GET", "/v2/a/manifests/v2"),
            &[],
            "",
            expect![[r#"404 {"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown to registry"}]}"#]],
        )
        .await;
    fixture.check(("GET", "/v2/a/tags/list"), &[], "", expect![[r#"200 {"name":"a","tags":["sig"]}"#]]).await;
}

#[tokio::test]
async fn writes_ask_the_policy_and_reads_do_not() {
    let allow = std::sync::Arc::new(|parts: &http::request::Parts| parts.headers.contains_key("authorization"));
    let fixture = fixture(Policy::Authorized(allow)).await;
    fixture.check(("GET", "/v2/"), &[], "", expect!["200 {}"]).await;
    let refused = fixture.ask("POST", "/v2/a/blobs/uploads/", &[], "").await;
    assert_eq!((refused.status().as_u16(), header(&refused, "www-authenticate")), (401, "Basic realm=\"amphipod\""));
    assert_eq!(fixture.ask("POST", "/v2/a/blobs/uploads/", &[("authorization", "Bearer x")], "").await.status(), 202);
    let fixture = self::fixture(Policy::ReadOnly).await;
    assert_eq!(fixture.ask("POST", "/v2/a/blobs/uploads/", &[], "").await.status(), 403);
}

#[tokio::test]
async fn only_what_nobody_names_is_freed() {
    let fixture = fixture(Policy::Open).await;
    let (kept, gone) = (fixture.push_blob("a", "kept").await, fixture.push_blob("a/b", "gone").await);
    assert_eq!(fixture.ask("DELETE", &format!("/v2/a/b/blobs/{gone}"), &[], "").await.status(), 202);
    let now = std::time::SystemTime::now();
    assert_eq!(fixture.registry.collect_garbage(now).await.unwrap(), 0, "it is too young");
    assert_eq!(fixture.registry.collect_garbage(now + 2 * crate::YOUNG).await.unwrap(), 4);
    fixture.check(("GET", &format!("/v2/a/blobs/{kept}")), &[], "", expect!["200 kept"]).await;
}

#[tokio::test]
async fn content_outlives_the_process() {
    let fixture = fixture(Policy::Open).await;
    let digest = fixture.push_blob("a", "kept").await;
    fixture.ask("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let again = Registry::open(fixture._directory.path(), Policy::Open).await.unwrap();
    let request = Request::get(format!("/v2/a/blobs/{digest}")).body(Body::empty()).unwrap();
    assert_eq!(again.router().oneshot(request).await.unwrap().status(), 200);
    assert_eq!(
        std::fs::read_dir(fixture._directory.path().join("uploads")).unwrap().count(),
        0,
        "stale uploads are gone"
    );
}
