//! What is on this node: `modules/<hex>.wasm` by digest and `index.json`, the images that name them. Files appear
//! complete or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use amphipod_runtime::{Image, ImageKind};
use oci_client::Reference;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

pub(crate) struct Store {
    directory: PathBuf,
    records: Mutex<Vec<Record>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Full names, with registry and tag.
    references: Vec<String>,
    repository: String,
    digest: String,
    pub(crate) module: Option<Module>,
    pub(crate) platforms: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Module {
    pub(crate) digest: String,
    pub(crate) size_bytes: u64,
}

impl Record {
    pub(crate) fn new(reference: String, repository: String, digest: &str) -> Self {
        Self {
            references: vec![reference],
            repository,
            digest: digest.into(),
            module: None,
            platforms: Vec::new(),
            entrypoint: Vec::new(),
            env: Vec::new(),
        }
    }
}

impl Store {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory.join("modules"))?;
        let records = match fs::read(directory.join("index.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("the index of images is corrupt, images will be pulled again: {error}");
                Vec::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { directory: directory.to_path_buf(), records: Mutex::new(records) })
    }

    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.directory)
    }

    /// Makes a complete file visible under its name.
    pub(crate) fn settle(file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// `None` when the digest is no sha256, and so might be a path.
    pub(crate) fn module_path(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:")?;
        let valid = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        valid.then(|| self.directory.join("modules").join(format!("{hex}.wasm")))
    }

    pub(crate) fn find(&self, name: &str, reference: &Reference) -> Option<Image> {
        let whole = reference.whole();
        let records = self.records.lock();
        let record = records.iter().find(|record| {
            record.references.contains(&whole) || reference.digest().is_some_and(|digest| digest == record.digest)
        })?;
        self.image(name, record)
    }

    /// The image of `digest` under one more name, if it is here.
    pub(crate) fn alias(&self, name: &str, reference: &Reference, digest: &str) -> Option<Image> {
        let record = self.records.lock().iter().find(|record| record.digest == digest).cloned()?;
        self.image(name, &record)?;
        let mut record = record;
        record.references.push(reference.whole());
        self.insert(name, record).ok()
    }

    /// Keeps a record; its names no longer mean other images.
    pub(crate) fn insert(&self, name: &str, mut record: Record) -> io::Result<Image> {
        record.references.sort();
        record.references.dedup();
        let mut records = self.records.lock();
        records.retain(|other| other.digest != record.digest);
        for other in records.iter_mut() {
            other.references.retain(|reference| !record.references.contains(reference));
        }
        let image = self.image(name, &record).ok_or_else(|| io::Error::other("the module is gone"))?;
        records.push(record);
        self.write(&records)?;
        Ok(image)
    }

    pub(crate) fn remove(&self, digest: &str) -> io::Result<()> {
        let mut records = self.records.lock();
        let Some(at) = records.iter().position(|record| record.digest == digest) else { return Ok(()) };
        let removed = records.remove(at);
        self.write(&records)?;
        let Some(module) = removed.module else { return Ok(()) };
        let shared =
            records.iter().filter_map(|record| record.module.as_ref()).any(|other| other.digest == module.digest);
        match self.module_path(&module.digest).filter(|_| !shared) {
            Some(path) => fs::remove_file(path),
            None => Ok(()),
        }
    }

    pub(crate) fn list(&self) -> Vec<Image> {
        let records = self.records.lock();
        let name = |record: &Record| {
            record.references.first().cloned().unwrap_or_else(|| format!("{}@{}", record.repository, record.digest))
        };
        records.iter().filter_map(|record| self.image(&name(record), record)).collect()
    }

    /// `None` when its module is not on the disk any more.
    fn image(&self, name: &str, record: &Record) -> Option<Image> {
        let kind = match &record.module {
            Some(module) => {
                let path = self.module_path(&module.digest).filter(|path| path.exists())?;
                ImageKind::Wasm { path, layer_digest: module.digest.clone() }
            }
            None => ImageKind::Oci { platforms: record.platforms.clone() },
        };
        Some(Image {
            reference: name.to_owned(),
            id: format!("{}@{}", record.repository, record.digest),
            digest: record.digest.clone(),
            kind,
            size_bytes: record.module.as_ref().map_or(0, |module| module.size_bytes),
            entrypoint: record.entrypoint.clone(),
            env: record.env.clone(),
        })
    }

    fn write(&self, records: &[Record]) -> io::Result<()> {
        let mut file = self.temporary()?;
        file.write_all(&serde_json::to_vec(records)?)?;
        Self::settle(file, &self.directory.join("index.json"))?;
        File::open(&self.directory)?.sync_all()
    }
}
