//! Manifests by tag and digest, lists of tags and repositories, referrers. A manifest is stored as it came; what it
//! names must be here first, save for the manifests of an index, which may be sparse.

use std::path::Path;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio::fs;

use crate::blobs::{absent, write_file};
use crate::name::{Digest, Name, tag};
use crate::route::parameter;
use crate::{MANIFEST_MAX, PAGE_MAX, Refusal, Registry};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) async fn get(
    registry: &Registry,
    parts: &Parts,
    (name, reference): (&Name, &str),
) -> Result<Response, Refusal> {
    let digest = resolve(registry, name, reference).await?;
    let (media_type, content) = read(registry, name, &digest).await?;
    let response = Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header(header::CONTENT_LENGTH, content.len())
        .header(header::ETAG, format!("\"{digest}\""))
        .header("docker-content-digest", digest.to_string());
    let body = if parts.method == http::Method::HEAD { Body::empty() } else { Body::from(content) };
    response.body(body).map_err(|_| Refusal::ManifestUnknown)
}

pub(crate) async fn put(
    registry: &Registry,
    parts: &Parts,
    (name, reference): (&Name, &str),
    body: Body,
) -> Result<Response, Refusal> {
    let content =
        axum::body::to_bytes(body, MANIFEST_MAX).await.map_err(|_| Refusal::SizeInvalid(MANIFEST_MAX as u64))?;
    let digest = Digest::of(&content);
    let by_digest = reference.contains(':');
    match by_digest {
        true if Digest::parse(reference)? != digest => return Err(Refusal::DigestInvalid),
        true => {}
        false => _ = tag(reference)?,
    }
    let manifest: Value =
        serde_json::from_slice(&content).map_err(|error| Refusal::ManifestInvalid(error.to_string()))?;
    let media_type = media_type(parts, &manifest)?;
    check_blobs(registry, name, &manifest).await?;
    let folder = registry.repository(name);
    write_file(registry, &registry.blob(&digest), &content).await?;
    write_file(registry, &folder.join("_manifests").join(digest.hex()), media_type.as_bytes()).await?;
    let mut headers = vec![
        ("location", format!("/v2/{}/manifests/{digest}", name.as_str())),
        ("docker-content-digest", digest.to_string()),
    ];
    if let Some(subject) = manifest["subject"]["digest"].as_str() {
        let subject = Digest::parse(subject)?;
        write_file(registry, &folder.join("_referrers").join(subject.hex()).join(digest.hex()), b"").await?;
        headers.push(("oci-subject", subject.to_string()));
    }
    if !by_digest {
        write_file(registry, &folder.join("_tags").join(reference), digest.to_string().as_bytes()).await?;
    }
    let mut response = StatusCode::CREATED.into_response();
    for (key, value) in headers {
        response.headers_mut().insert(key, value.parse().map_err(|_| Refusal::NameInvalid)?);
    }
    Ok(response)
}

/// A tag alone, or a digest with every tag that points to it.
pub(crate) async fn delete(registry: &Registry, (name, reference): (&Name, &str)) -> Result<Response, Refusal> {
    let folder = registry.repository(name);
    if !reference.contains(':') {
        fs::remove_file(folder.join("_tags").join(tag(reference)?)).await.map_err(absent(Refusal::ManifestUnknown))?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let digest = Digest::parse(reference)?;
    let (_, content) = read(registry, name, &digest).await?;
    fs::remove_file(folder.join("_manifests").join(digest.hex())).await.map_err(absent(Refusal::ManifestUnknown))?;
    for tag in entries(&folder.join("_tags")).await? {
        let path = folder.join("_tags").join(tag);
        if fs::read_to_string(&path).await? == digest.to_string() {
            fs::remove_file(path).await?;
        }
    }
    let manifest: Value = serde_json::from_slice(&content).unwrap_or_default();
    if let Some(Ok(subject)) = manifest["subject"]["digest"].as_str().map(Digest::parse) {
        let link = folder.join("_referrers").join(subject.hex()).join(digest.hex());
        match fs::remove_file(link).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(crate) async fn tags(registry: &Registry, parts: &Parts, name: &Name) -> Result<Response, Refusal> {
    let folder = registry.repository(name);
    if !fs::try_exists(folder.join("_manifests")).await? {
        return Err(Refusal::NameUnknown);
    }
    let (page, next) = page(parts, entries(&folder.join("_tags")).await?);
    let path = format!("/v2/{}/tags/list", name.as_str());
    Ok(paged(json!({"name": name.as_str(), "tags": page}), &path, next))
}

pub(crate) async fn catalog(registry: &Registry, parts: &Parts) -> Result<Response, Refusal> {
    let root = registry.shared.root.join("repositories");
    let (mut found, mut open) = (Vec::new(), vec![String::new()]);
    while let Some(name) = open.pop() {
        for entry in entries(&root.join(&name)).await? {
            match entry.as_str() {
                "_manifests" => found.push(name.clone()),
                entry if entry.starts_with('_') => {}
                entry if name.is_empty() => open.push(entry.to_owned()),
                entry => open.push(format!("{name}/{entry}")),
            }
        }
    }
    found.sort_unstable();
    let (page, next) = page(parts, found);
    Ok(paged(json!({"repositories": page}), "/v2/_catalog", next))
}

pub(crate) async fn referrers(
    registry: &Registry,
    parts: &Parts,
    (name, subject): (&Name, &str),
) -> Result<Response, Refusal> {
    let subject = Digest::parse(subject)?;
    let wanted = parameter(parts, "artifactType");
    let mut manifests = Vec::new();
    for hex in
        entries(&registry.repository(name).join("_referrers").join(subject.hex())).await?.into_iter().take(PAGE_MAX)
    {
        let Some(digest) = Digest::from_hex(&hex) else { continue };
        let Ok((media_type, content)) = read(registry, name, &digest).await else { continue };
        let descriptor = descriptor(&digest, &media_type, &content);
        if wanted.as_ref().is_none_or(|wanted| descriptor["artifactType"] == **wanted) {
            manifests.push(descriptor);
        }
    }
    let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let mut response = ([(header::CONTENT_TYPE, INDEX)], body.to_string()).into_response();
    if wanted.is_some() {
        response.headers_mut().insert("oci-filters-applied", http::HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn descriptor(digest: &Digest, media_type: &str, content: &[u8]) -> Value {
    let manifest: Value = serde_json::from_slice(content).unwrap_or_default();
    let mut descriptor = json!({"mediaType": media_type, "digest": digest.to_string(), "size": content.len()});
    let artifact =
        manifest["artifactType"].as_str().filter(|kind| !kind.is_empty()).or(manifest["config"]["mediaType"].as_str());
    if let Some(artifact) = artifact {
        descriptor["artifactType"] = json!(artifact);
    }
    if manifest["annotations"].is_object() {
        descriptor["annotations"] = manifest["annotations"].clone();
    }
    descriptor
}

async fn resolve(registry: &Registry, name: &Name, reference: &str) -> Result<Digest, Refusal> {
    if reference.contains(':') {
        return Digest::parse(reference);
    }
    let path = registry.repository(name).join("_tags").join(tag(reference)?);
    let text = fs::read_to_string(path).await.map_err(absent(Refusal::ManifestUnknown))?;
    Digest::parse(text.trim())
}

/// Media type and content.
async fn read(registry: &Registry, name: &Name, digest: &Digest) -> Result<(String, Vec<u8>), Refusal> {
    let link = registry.repository(name).join("_manifests").join(digest.hex());
    let media_type = fs::read_to_string(link).await.map_err(absent(Refusal::ManifestUnknown))?;
    let content = fs::read(registry.blob(digest)).await.map_err(absent(Refusal::ManifestUnknown))?;
    Ok((media_type, content))
}

fn media_type(parts: &Parts, manifest: &Value) -> Result<String, Refusal> {
    let invalid = |problem: &str| Refusal::ManifestInvalid(problem.to_owned());
    if !manifest.is_object() {
        return Err(invalid("it is no JSON object"));
    }
    let header = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
        .filter(|text| !text.is_empty());
    match (header, manifest["mediaType"].as_str()) {
        (Some(header), Some(inside)) if header != inside => Err(invalid("its mediaType differs from the Content-Type")),
        (Some(known), _) | (None, Some(known)) => Ok(known.to_owned()),
        (None, None) => Err(invalid("it has no media type")),
    }
}

async fn check_blobs(registry: &Registry, name: &Name, manifest: &Value) -> Result<(), Refusal> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for descriptor in layers.chain(std::iter::once(&manifest["config"])) {
        let Some(text) = descriptor["digest"].as_str() else { continue };
        let digest =
            Digest::parse(text).map_err(|_| Refusal::ManifestInvalid(format!("{text} is no sha256 digest")))?;
        let foreign = descriptor["urls"].as_array().is_some_and(|urls| !urls.is_empty());
        let here = fs::try_exists(registry.repository(name).join("_layers").join(digest.hex())).await?;
        if !here && !foreign {
            return Err(Refusal::ManifestBlobUnknown(digest.to_string()));
        }
    }
    Ok(())
}

/// The names in a folder, sorted; none when there is no folder.
async fn entries(folder: &Path) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error.into()),
    };
    while let Some(entry) = entries.next_entry().await? {
        found.extend(entry.file_name().into_string());
    }
    found.sort_unstable();
    Ok(found)
}

/// `n` entries after `last`, and the `Link` parameters of the next page.
fn page(parts: &Parts, all: Vec<String>) -> (Vec<String>, Option<String>) {
    let count = parameter(parts, "n").and_then(|text| text.parse().ok()).unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let last = parameter(parts, "last");
    let mut rest = all.into_iter().filter(|entry| last.as_ref().is_none_or(|last| entry > last));
    let page: Vec<String> = rest.by_ref().take(count).collect();
    let next = rest.next().and(page.last()).map(|last| format!("n={count}&last={last}"));
    (page, next)
}

fn paged(body: Value, path: &str, next: Option<String>) -> Response {
    let mut response = axum::Json(body).into_response();
    if let Some(link) = next.and_then(|next| format!("<{path}?{next}>; rel=\"next\"").parse().ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
