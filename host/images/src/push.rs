//! Publishes a module as a CNCF Wasm artifact: one config, one layer. Neighbour: pull.rs.

use std::path::Path;

use amphipod_runtime::{Credentials, ImageError};
use oci_client::RegistryOperation;
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{format, registry};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A component has layer 1 where a core module has 0.
const LAYER_AT: usize = 6;
/// How a core module of version 1 begins, and a component.
const HEADERS: [&[u8]; 2] = [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"];

/// Pushes `wasm` as `reference`; the digest of the manifest.
///
/// # Errors
/// `Invalid` when the file is no Wasm module, else what the registry answers.
pub async fn push(reference: &str, wasm: &Path, credentials: &Credentials) -> Result<String, ImageError> {
    let parsed = registry::parse(reference)?;
    let invalid = |reason: String| ImageError::Invalid { reference: reference.into(), reason };
    let module =
        tokio::fs::read(wasm).await.map_err(|error| invalid(format!("cannot read {}: {error}", wasm.display())))?;
    if !HEADERS.iter().any(|header| module.starts_with(header)) {
        return Err(invalid(format!("{} is no Wasm: it starts as neither a module nor a component", wasm.display())));
    }
    let layer = descriptor(format::LAYER, &module);
    let config = json!({
        "architecture": "wasm",
        "os": if module[LAYER_AT] == 1 { "wasip2" } else { "wasip1" },
        "layerDigests": [layer.digest],
    });
    let config = config.to_string().into_bytes();
    let manifest = OciImageManifest {
        schema_version: 2,
        media_type: Some(MANIFEST.into()),
        config: descriptor(format::CONFIG_V0, &config),
        layers: vec![layer],
        ..OciImageManifest::default()
    };
    let failed = |error: oci_client::errors::OciDistributionError| registry::failed(reference, &error);
    let client = registry::client(&parsed);
    client.auth(&parsed, &registry::auth(credentials), RegistryOperation::Push).await.map_err(failed)?;
    let (config_digest, layer_digest) = (manifest.config.digest.clone(), manifest.layers[0].digest.clone());
    client.push_blob(&parsed, module, &layer_digest).await.map_err(failed)?;
    client.push_blob(&parsed, config, &config_digest).await.map_err(failed)?;
    let manifest = OciManifest::Image(manifest);
    client.push_manifest(&parsed, &manifest).await.map_err(failed)?;
    client.fetch_manifest_digest(&parsed, &registry::auth(credentials)).await.map_err(failed)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.into(),
        digest: format!("sha256:{}", hex::encode(Sha256::digest(bytes))),
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}
