//! The data directory: one folder holds everything a cluster keeps. The store locks and numbers its own part.
//!
//! ```text
//! DIR/server/db     the store          DIR/server/tls   certificates and keys    DIR/server/cred   the keys of secrets
//! DIR/registry      pushed images      DIR/agent        images, logs, volumes    DIR/node-name     who this node is
//! DIR/api-address   where the API server listened last                            DIR/lock        who runs it
//! ```

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::failure::refuse;

/// Where the API server listened last.
pub const API_ADDRESS: &str = "api-address";

pub struct DataDirectory {
    path: PathBuf,
    /// Held as long as the cluster runs; it says which process that is.
    _lock: File,
}

impl DataDirectory {
    /// Makes the folder (0700) when it is missing and checks that it can be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let unusable =
            |error: std::io::Error| refuse(format!("cannot use the data directory {}: {error}", path.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let probe = path.join(".writable");
        fs::write(&probe, "").and_then(|()| fs::remove_file(&probe)).map_err(unusable)?;
        Ok(Self { path: path.canonicalize().map_err(unusable)?, _lock: lock(path)? })
    }

    /// `$XDG_DATA_HOME/amphipod`, else `~/.local/share/amphipod`.
    pub fn default_path() -> PathBuf {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| ".".into())).join(".local/share");
        std::env::var_os("XDG_DATA_HOME").map_or_else(home, PathBuf::from).join("amphipod")
    }

    /// A folder below, made when it is missing.
    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A one-line fact of this start.
    pub fn note(&self, name: &str, fact: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.path.join(name), format!("{fact}\n"))?)
    }

    /// A one-line fact that must stay the same for the life of the data: what is kept, else `proposed`, which is then kept.
    pub fn remember(&self, name: &str, proposed: &str) -> anyhow::Result<String> {
        let path = self.path.join(name);
        if let Ok(kept) = fs::read_to_string(&path) {
            return Ok(kept.trim().to_owned());
        }
        fs::write(&path, format!("{proposed}\n"))?;
        Ok(proposed.to_owned())
    }
}

/// One cluster at a time.
fn lock(path: &Path) -> anyhow::Result<File> {
    let unusable = |error: std::io::Error| refuse(format!("cannot use the data directory {}: {error}", path.display()));
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path.join("lock"));
    let mut file = file.map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let (path, holder) = (path.display(), holder.trim());
            return Err(refuse(format!(
                "{path} is in use: a cluster runs from this folder already (process {holder})"
            )));
        }
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
    Ok(file)
}
