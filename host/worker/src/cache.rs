//! The compiled images of this node: `<key>.cwasm` with its seal `<key>.seal`, a keyed digest that only this program
//! can make. Loading a `.cwasm` is as good as running it, so an unsealed file is compiled anew.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amphipod_runtime::{Error, Image, ImageKind, Result};
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::compile;

const SECRET_BYTES: usize = 32;
/// Compilers that run at the same time: each takes all cores.
const COMPILERS_MAX: usize = 2;

pub(crate) struct Cache {
    directory: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    key: hmac::Key,
    compatibility: String,
    compilers: tokio::sync::Semaphore,
    /// By key: one compiles, the others wait. True once its seal was checked by this process.
    checked: Mutex<HashMap<String, Arc<tokio::sync::Mutex<bool>>>>,
}

impl Cache {
    /// # Errors
    /// `Runtime` when the directory cannot be used.
    pub(crate) fn open(directory: PathBuf, program: PathBuf, arguments: Vec<String>) -> Result<Self> {
        let host = |error: io::Error| Error::Runtime(format!("cannot use {}: {error}", directory.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(host)?;
        let secret = secret(&directory.with_extension("key")).map_err(host)?;
        let compatibility = amphipod_wasm::compatibility().map_err(|error| Error::Runtime(error.to_string()))?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            directory,
            program,
            arguments,
            compatibility,
            compilers: tokio::sync::Semaphore::new(COMPILERS_MAX),
            checked: Mutex::default(),
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The compiled form of `image`, made when it is not there.
    ///
    /// # Errors
    /// `Image` when it cannot be compiled.
    pub(crate) async fn compiled(&self, image: &Image) -> Result<PathBuf> {
        let ImageKind::Wasm { path, layer_digest } = &image.kind else {
            return Err(Error::Image(format!("{} is no Wasm image", image.reference)));
        };
        let key = hex::encode(Sha256::digest(format!("{layer_digest} {}", self.compatibility)));
        let entry = self.checked.lock().entry(key.clone()).or_default().clone();
        let mut checked = entry.lock().await;
        let cwasm = self.directory.join(format!("{key}.cwasm"));
        if !*checked || !cwasm.exists() {
            if !self.is_sealed(&key, &cwasm) {
                self.compile(&key, path, &cwasm).await?;
            }
            *checked = true;
        }
        Ok(cwasm)
    }

    fn is_sealed(&self, key: &str, cwasm: &Path) -> bool {
        let (Ok(bytes), Ok(seal)) = (fs::read(cwasm), fs::read(self.seal_path(key))) else { return false };
        hmac::verify(&self.key, &bytes, &seal).is_ok()
    }

    async fn compile(&self, key: &str, wasm: &Path, cwasm: &Path) -> Result<()> {
        let _permit = self.compilers.acquire().await.map_err(|error| Error::Runtime(error.to_string()))?;
        let host = |error: io::Error| Error::Runtime(format!("cannot write {}: {error}", cwasm.display()));
        let temporary = self.directory.join(format!("{key}.new"));
        let output = create(&temporary).map_err(host)?;
        let result = compile::run(&self.program, &self.arguments, wasm, &output).await;
        let result = result.and_then(|()| {
            let seal = hmac::sign(&self.key, &fs::read(&temporary).map_err(host)?);
            create(&self.seal_path(key)).and_then(|mut file| file.write_all(seal.as_ref())).map_err(host)?;
            fs::rename(&temporary, cwasm).map_err(host)
        });
        if result.is_err() {
            // Nothing depends on it; the next try truncates it.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn seal_path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.seal"))
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Made at the first start; a lost one only means compiling again.
fn secret(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    if let Ok(bytes) = fs::read(path)
        && let Ok(secret) = bytes.try_into()
    {
        return Ok(secret);
    }
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("no randomness"))?;
    create(path)?.write_all(&secret)?;
    Ok(secret)
}
