//! Blobs and their uploads. Bytes are streamed to a file of their own and hashed; a blob appears by one rename, when
//! its digest was right and the bytes are on the disk.

use std::io::SeekFrom;
use std::path::Path;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;
use uuid::Uuid;

use crate::name::{Digest, Name};
use crate::route::parameter;
use crate::{Refusal, Registry};

const COPY_BYTES: usize = 256 << 10;

pub(crate) async fn get(
    registry: &Registry,
    parts: &Parts,
    (name, digest): (&Name, &str),
) -> Result<Response, Refusal> {
    let digest = Digest::parse(digest)?;
    let link = registry.repository(name).join("_layers").join(digest.hex());
    if !fs::try_exists(&link).await? {
        return Err(Refusal::BlobUnknown);
    }
    let mut file = File::open(registry.blob(&digest)).await.map_err(absent(Refusal::BlobUnknown))?;
    let length = file.metadata().await?.len();
    let range = parts
        .headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| parse_range(text, length));
    let (status, first, count) = match range {
        None => (StatusCode::OK, 0, length),
        Some(Ok((first, last))) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Some(Err(())) => {
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, format!("bytes */{length}"))])
                .into_response());
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, count)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, format!("\"{digest}\""))
        .header("docker-content-digest", digest.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", first + count - 1));
    }
    let body = if parts.method == http::Method::HEAD {
        Body::empty()
    } else {
        file.seek(SeekFrom::Start(first)).await?;
        Body::from_stream(ReaderStream::with_capacity(file.take(count), COPY_BYTES))
    };
    Ok(response.body(body).expect("its headers are made of digits and names"))
}

/// Takes the blob from the repository; its bytes go with the next collection of garbage.
pub(crate) async fn delete(registry: &Registry, (name, digest): (&Name, &str)) -> Result<Response, Refusal> {
    let digest = Digest::parse(digest)?;
    let link = registry.repository(name).join("_layers").join(digest.hex());
    fs::remove_file(link).await.map_err(absent(Refusal::BlobUnknown))?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Begins an upload; with `digest` the body is the whole blob, with `mount` another repository may have it already.
pub(crate) async fn start(registry: &Registry, parts: &Parts, name: &Name, body: Body) -> Result<Response, Refusal> {
    if let (Some(mount), Some(from)) = (parameter(parts, "mount"), parameter(parts, "from")) {
        let (digest, from) = (Digest::parse(&mount)?, Name::parse(&from)?);
        if fs::try_exists(registry.repository(&from).join("_layers").join(digest.hex())).await? {
            link(registry, name, &digest).await?;
            return Ok(stored(name, &digest));
        }
    }
    if fs_count(&registry.shared.root.join("uploads")).await? >= crate::UPLOADS_MAX {
        return Err(Refusal::TooManyRequests);
    }
    let id = Uuid::new_v4();
    File::create(registry.upload(&id)).await?;
    match parameter(parts, "digest") {
        Some(digest) => complete(registry, (name, &id), &digest, body).await,
        None => Ok(under_way(StatusCode::ACCEPTED, (name, &id), 0)),
    }
}

pub(crate) async fn status(registry: &Registry, (name, id): (&Name, &str)) -> Result<Response, Refusal> {
    let id = parse_id(id)?;
    let length = fs::metadata(registry.upload(&id)).await.map_err(absent(Refusal::UploadUnknown))?.len();
    Ok(under_way(StatusCode::NO_CONTENT, (name, &id), length))
}

pub(crate) async fn append(
    registry: &Registry,
    parts: &Parts,
    (name, id): (&Name, &str),
    body: Body,
) -> Result<Response, Refusal> {
    let id = parse_id(id)?;
    let begins = content_range(&parts.headers)?;
    let length = write(registry, &id, begins, body).await?;
    Ok(under_way(StatusCode::ACCEPTED, (name, &id), length))
}

pub(crate) async fn finish(
    registry: &Registry,
    parts: &Parts,
    (name, id): (&Name, &str),
    body: Body,
) -> Result<Response, Refusal> {
    let id = parse_id(id)?;
    if let Some(begins) = content_range(&parts.headers)? {
        let length = fs::metadata(registry.upload(&id)).await.map_err(absent(Refusal::UploadUnknown))?.len();
        if begins != length {
            return Err(Refusal::RangeInvalid);
        }
    }
    let digest = parameter(parts, "digest").ok_or(Refusal::DigestInvalid)?;
    complete(registry, (name, &id), &digest, body).await
}

pub(crate) async fn cancel(registry: &Registry, (_, id): (&Name, &str)) -> Result<Response, Refusal> {
    fs::remove_file(registry.upload(&parse_id(id)?)).await.map_err(absent(Refusal::UploadUnknown))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Writes a file whole or not at all.
pub(crate) async fn write_file(registry: &Registry, path: &Path, content: &[u8]) -> Result<(), Refusal> {
    let temporary = registry.upload(&Uuid::new_v4());
    let mut file = File::create(&temporary).await?;
    file.write_all(content).await?;
    file.sync_data().await?;
    publish(&temporary, path).await
}

pub(crate) fn absent(refusal: Refusal) -> impl FnOnce(std::io::Error) -> Refusal {
    move |error| if error.kind() == std::io::ErrorKind::NotFound { refusal } else { Refusal::Disk(error) }
}

async fn complete(
    registry: &Registry,
    (name, id): (&Name, &Uuid),
    digest: &str,
    body: Body,
) -> Result<Response, Refusal> {
    let digest = Digest::parse(digest)?;
    write(registry, id, None, body).await?;
    let path = registry.upload(id);
    if hash(&path).await? != digest {
        fs::remove_file(&path).await?;
        return Err(Refusal::DigestInvalid);
    }
    publish(&path, &registry.blob(&digest)).await?;
    link(registry, name, &digest).await?;
    Ok(stored(name, &digest))
}

/// Appends the body; the length after it.
async fn write(registry: &Registry, id: &Uuid, begins: Option<u64>, body: Body) -> Result<u64, Refusal> {
    let _permit = registry.shared.uploads.try_acquire().map_err(|_| Refusal::TooManyRequests)?;
    let mut file =
        OpenOptions::new().append(true).open(registry.upload(id)).await.map_err(absent(Refusal::UploadUnknown))?;
    let mut length = file.metadata().await?.len();
    if begins.is_some_and(|begins| begins != length) {
        return Err(Refusal::RangeInvalid);
    }
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::UploadInvalid("the body broke off"))?;
        length += chunk.len() as u64;
        if length > registry.shared.blob_max {
            drop(file);
            fs::remove_file(registry.upload(id)).await?;
            return Err(Refusal::SizeInvalid(registry.shared.blob_max));
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    file.sync_data().await?;
    Ok(length)
}

async fn hash(path: &Path) -> Result<Digest, Refusal> {
    let mut file = File::open(path).await?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(Digest::finished(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

async fn publish(from: &Path, to: &Path) -> Result<(), Refusal> {
    let parent = to.parent().expect("every file of the registry lies in a folder");
    fs::create_dir_all(parent).await?;
    fs::rename(from, to).await?;
    File::open(parent).await?.sync_all().await?;
    Ok(())
}

async fn link(registry: &Registry, name: &Name, digest: &Digest) -> Result<(), Refusal> {
    write_file(registry, &registry.repository(name).join("_layers").join(digest.hex()), b"").await
}

async fn fs_count(folder: &Path) -> Result<usize, Refusal> {
    let (mut entries, mut count) = (fs::read_dir(folder).await?, 0);
    while entries.next_entry().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn stored(name: &Name, digest: &Digest) -> Response {
    let location = format!("/v2/{}/blobs/{digest}", name.as_str());
    let headers = [("location", location), ("docker-content-digest", digest.to_string())];
    (StatusCode::CREATED, headers).into_response()
}

fn under_way(status: StatusCode, (name, id): (&Name, &Uuid), length: u64) -> Response {
    let location = format!("/v2/{}/blobs/uploads/{id}", name.as_str());
    let range = format!("0-{}", length.saturating_sub(1));
    (status, [("location", location), ("range", range), ("docker-upload-uuid", id.to_string())]).into_response()
}

fn parse_id(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| Refusal::UploadUnknown)
}

/// Where a chunk says it begins: `Content-Range: first-last`.
fn content_range(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim_start_matches("bytes ");
    let first = text.split('-').next().and_then(|first| first.parse().ok());
    first.map(Some).ok_or(Refusal::RangeInvalid)
}

/// One range of `bytes=…`; `None`: ignore it and send everything; `Err`: it lies outside.
fn parse_range(text: &str, length: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => (length.saturating_sub(suffix.parse().ok()?), length.checked_sub(1)?),
        (first, "") => (first.parse().ok()?, length.checked_sub(1)?),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.min(length.checked_sub(1)?)),
    };
    Some(if range.0 <= range.1 && range.0 < length { Ok(range) } else { Err(()) })
}
