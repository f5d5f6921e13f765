//! The road of one pull. A tag is resolved anew each time; what is here by digest is not downloaded again.

use std::io::Read;
use std::path::Path;

use amphipod_runtime::{Credentials, Image, ImageError, Progress};
use futures::StreamExt;
use oci_client::manifest::OciDescriptor;
use oci_client::{Client, Reference};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::WasmImages;
use crate::format::{self, Choice, Config, Descriptor, Manifest};
use crate::registry;
use crate::store::{Module, Record, Store};

const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const CONFIG_BYTES_MAX: u64 = 4 << 20;
const MAGIC: &[u8; 4] = b"\0asm";

struct Pull<'a> {
    images: &'a WasmImages,
    client: Client,
    /// As the pod names it.
    name: &'a str,
    reference: Reference,
    progress: &'a Progress,
}

pub(crate) async fn pull(
    images: &WasmImages,
    name: &str,
    credentials: &Credentials,
    progress: &Progress,
) -> Result<Image, ImageError> {
    let reference = registry::parse(name)?;
    let pull = Pull { images, client: registry::client(&reference), name, reference, progress };
    let auth = registry::auth(credentials);
    let (bytes, digest) = pull.manifest(&pull.reference, &auth).await?;
    let flight = images.pulls.lock().entry(digest.clone()).or_default().clone();
    let alone = flight.lock().await;
    let result = match images.store.alias(name, &pull.reference, &digest) {
        Some(image) => Ok(image),
        None => pull.download(bytes, &digest, &auth).await,
    };
    drop(alone);
    images.pulls.lock().remove(&digest);
    result
}

impl Pull<'_> {
    fn invalid(&self, reason: impl std::fmt::Display) -> ImageError {
        ImageError::Invalid { reference: self.name.into(), reason: reason.to_string() }
    }

    async fn manifest(
        &self,
        reference: &Reference,
        auth: &oci_client::secrets::RegistryAuth,
    ) -> Result<(Manifest, String), ImageError> {
        let pulled = self.client.pull_manifest_raw(reference, auth, &MANIFESTS).await;
        let (bytes, digest) = pulled.map_err(|error| registry::failed(self.name, &error))?;
        let manifest =
            serde_json::from_slice(&bytes).map_err(|error| self.invalid(format!("corrupt manifest: {error}")))?;
        Ok((manifest, digest))
    }

    async fn download(
        &self,
        manifest: Manifest,
        digest: &str,
        auth: &oci_client::secrets::RegistryAuth,
    ) -> Result<Image, ImageError> {
        let mut record = Record::new(self.reference.whole(), self.repository(), digest);
        let manifest = match &manifest.manifests {
            None => manifest,
            Some(entries) => match format::platform(entries) {
                Ok(entry) => self.manifest(&self.reference.clone_with_digest(entry.digest.clone()), auth).await?.0,
                Err(platforms) => {
                    record.platforms = platforms;
                    return self.keep(record);
                }
            },
        };
        let config = self.config(&manifest).await?;
        record.entrypoint = config.config.entrypoint.iter().chain(&config.config.cmd).flatten().cloned().collect();
        let env = config.config.env.iter().flatten();
        record.env =
            env.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect();
        match format::choose(&manifest, &config) {
            Choice::Linux { platforms } => record.platforms = platforms,
            Choice::Layer(layer) => record.module = Some(self.layer(&layer).await?),
            Choice::File { path, layers } => record.module = Some(self.file(&path, &layers).await?),
        }
        self.keep(record)
    }

    fn keep(&self, record: Record) -> Result<Image, ImageError> {
        self.store.insert(self.name, record).map_err(|error| self.failed(error))
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.reference.registry(), self.reference.repository())
    }

    fn failed(&self, error: std::io::Error) -> ImageError {
        ImageError::Registry { reference: self.name.into(), reason: format!("cannot keep the image: {error}") }
    }

    /// Artifacts have configs of other shapes; an ordinary image without one is corrupt.
    async fn config(&self, manifest: &Manifest) -> Result<Config, ImageError> {
        let Some(descriptor) = &manifest.config else { return Ok(Config::default()) };
        if descriptor.media_type.contains("wasm") || descriptor.size == 0 || descriptor.size > CONFIG_BYTES_MAX {
            return Ok(Config::default());
        }
        let mut bytes = Vec::new();
        let pulled = self.client.pull_blob(&self.reference, &described(descriptor), &mut bytes).await;
        pulled.map_err(|error| registry::failed(self.name, &error))?;
        Ok(serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn layer(&self, layer: &Descriptor) -> Result<Module, ImageError> {
        let path =
            self.store.module_path(&layer.digest).ok_or_else(|| self.invalid("the layer's digest is no sha256"))?;
        if !path.exists() {
            let temporary = self.blob(layer).await?;
            check_module(temporary.path()).map_err(|reason| self.invalid(reason))?;
            Store::settle(temporary, &path).map_err(|error| self.failed(error))?;
        }
        Ok(Module { digest: layer.digest.clone(), size_bytes: layer.size })
    }

    /// The module inside a tar layer, known by its own digest.
    async fn file(&self, path: &str, layers: &[Descriptor]) -> Result<Module, ImageError> {
        for layer in layers {
            let blob = self.blob(layer).await?;
            let (output, wanted, bytes_max) = (
                self.store.temporary().map_err(|error| self.failed(error))?,
                path.to_owned(),
                self.images.options.image_bytes_max,
            );
            let unpacked = tokio::task::spawn_blocking(move || unpack(blob.path(), &wanted, bytes_max, output)).await;
            let unpacked = unpacked.map_err(|error| self.failed(std::io::Error::other(error)))?;
            let Some((output, digest, size_bytes)) =
                unpacked.map_err(|error| self.invalid(format!("corrupt layer: {error}")))?
            else {
                continue;
            };
            check_module(output.path()).map_err(|reason| self.invalid(reason))?;
            let path = self.store.module_path(&digest).ok_or_else(|| self.invalid("no digest"))?;
            Store::settle(output, &path).map_err(|error| self.failed(error))?;
            return Ok(Module { digest, size_bytes });
        }
        Err(self.invalid(format!("the entrypoint /{path} is in no layer")))
    }

    /// A blob in a temporary file, its digest verified.
    async fn blob(&self, layer: &Descriptor) -> Result<tempfile::NamedTempFile, ImageError> {
        let limit = self.images.options.image_bytes_max;
        if layer.size > limit {
            return Err(
                self.invalid(format!("{} bytes are more than the {limit} that a Wasm image may have", layer.size))
            );
        }
        let temporary = self.store.temporary().map_err(|error| self.failed(error))?;
        let file = temporary.reopen().map_err(|error| self.failed(error))?;
        let mut file = tokio::fs::File::from_std(file);
        let streamed = self.client.pull_blob_stream(&self.reference, &described(layer)).await;
        let mut stream = streamed.map_err(|error| registry::failed(self.name, &error))?;
        let (mut hasher, mut so_far) = (Sha256::new(), 0);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| self.invalid(format!("corrupt layer: {}", registry::chain(&error))))?;
            so_far += chunk.len() as u64;
            if so_far > layer.size {
                return Err(self.invalid("the layer is longer than its manifest says"));
            }
            hasher.update(&chunk);
            file.write_all(&chunk).await.map_err(|error| self.failed(error))?;
            (self.progress)(so_far, layer.size);
        }
        file.flush().await.map_err(|error| self.failed(error))?;
        let digest = format!("sha256:{}", hex::encode(hasher.finalize()));
        if digest != layer.digest {
            return Err(self.invalid(format!("corrupt layer: its digest is {digest}, not {}", layer.digest)));
        }
        Ok(temporary)
    }
}

impl std::ops::Deref for Pull<'_> {
    type Target = WasmImages;

    fn deref(&self) -> &WasmImages {
        self.images
    }
}

fn described(descriptor: &Descriptor) -> OciDescriptor {
    OciDescriptor {
        media_type: descriptor.media_type.clone(),
        digest: descriptor.digest.clone(),
        size: i64::try_from(descriptor.size).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

fn check_module(path: &Path) -> Result<(), String> {
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if &magic == MAGIC => Ok(()),
        _ => Err("the layer is no Wasm module: it does not start with \\0asm".into()),
    }
}

type Unpacked = Option<(tempfile::NamedTempFile, String, u64)>;

/// Copies `wanted` out of a tar that may be gzipped.
fn unpack(
    layer: &Path,
    wanted: &str,
    bytes_max: u64,
    mut output: tempfile::NamedTempFile,
) -> std::io::Result<Unpacked> {
    let mut head = [0; 2];
    let mut file = std::fs::File::open(layer)?;
    let gzipped = file.read_exact(&mut head).is_ok() && head == [0x1f, 0x8b];
    let file = std::fs::File::open(layer)?;
    let reader: Box<dyn Read> = if gzipped { Box::new(flate2::read::GzDecoder::new(file)) } else { Box::new(file) };
    for entry in tar::Archive::new(reader).entries()? {
        let entry = entry?;
        if entry.path()?.strip_prefix("./").unwrap_or(&entry.path()?) != Path::new(wanted) {
            continue;
        }
        let size = entry.size();
        if size > bytes_max {
            return Err(std::io::Error::other(format!("{size} bytes are more than a Wasm image may have")));
        }
        std::io::copy(&mut entry.take(bytes_max), &mut output)?;
        let digest = Sha256::digest(std::fs::read(output.path())?);
        return Ok(Some((output, format!("sha256:{}", hex::encode(digest)), size)));
    }
    Ok(None)
}
