//! The key that seals Secrets: 32 random bytes in a file of the data directory, read once at the start.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use amphipod_server::sealer::Keyring;
use anyhow::Context as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::failure::refuse;

const KEY_BYTES: usize = 32;
const KEY_ID: u32 = 1;

/// Reads the key, or makes one (0600) when there is none.
pub fn open(folder: &Path) -> anyhow::Result<Keyring> {
    let path = folder.join("secrets.key");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path)?,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let wrong = || refuse(format!("{} is no key of {KEY_BYTES} bytes: put the cluster's own key back", path.display()));
    let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| wrong())?;
    Keyring::new(&[(KEY_ID, key)]).ok_or_else(wrong)
}

fn make(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use amphipod_server::seams::Sealer as _;

    use super::*;

    #[test]
    fn the_key_is_the_owners_alone_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = open(folder.path()).unwrap().seal(b"alice", b"here");
        let file = folder.path().join("secrets.key");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open(folder.path()).unwrap().open(&sealed, b"here").as_deref(), Some(&b"alice"[..]));
        std::fs::write(&file, "short").unwrap();
        assert!(open(folder.path()).is_err());
    }
}
