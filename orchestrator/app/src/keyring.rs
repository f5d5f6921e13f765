//! The key that seals Secrets: 32 random bytes in a file of the data directory, read once.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use amphipod_server::seams::Sealer;
use anyhow::Context as _;
use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

const KEY_BYTES: usize = 32;
/// Leads every sealed body; a rotated key gets the next one.
const KEY_ID: u8 = 1;

/// AES-256-GCM with a random nonce. Sealed: key id, nonce, ciphertext with tag; the context is authenticated.
pub struct Keyring {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Keyring {
    /// Reads the key, or makes one (0600) when there is none.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("secrets.key");
        let random = SystemRandom::new();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path, &random)?,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes);
        let key = key.map_err(|_| crate::failure::refuse(format!("{} is no key of {KEY_BYTES} bytes", path.display())))?;
        Ok(Self { key: LessSafeKey::new(key), random })
    }
}

fn make(path: &Path, random: &SystemRandom) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    random.fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

impl Sealer for Keyring {
    fn seal(&self, plain: &[u8], context: &[u8]) -> Bytes {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).expect("the system gave randomness when the key was made");
        let mut sealed = plain.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        let done = self.key.seal_in_place_append_tag(unique, Aad::from(context), &mut sealed);
        done.expect("objects are far smaller than AES-GCM's limit");
        [&[KEY_ID][..], &nonce, &sealed].concat().into()
    }

    fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Bytes> {
        let (id, rest) = sealed.split_first()?;
        let nonce = Nonce::try_assume_unique_for_key(rest.get(..NONCE_LEN)?).ok()?;
        let mut body = rest[NONCE_LEN..].to_vec();
        if *id != KEY_ID {
            return None;
        }
        let plain = self.key.open_in_place(nonce, Aad::from(context), &mut body).ok()?.len();
        body.truncate(plain);
        Some(body.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_in_its_place_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(folder.path()).unwrap();
        let sealed = keyring.seal(b"alice", b"secrets/default/a");
        let again = Keyring::open(folder.path()).unwrap();
        assert_eq!(again.open(&sealed, b"secrets/default/a").as_deref(), Some(&b"alice"[..]));
        assert_eq!(again.open(&sealed, b"secrets/default/b"), None);
        let mut changed = sealed.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(again.open(&changed, b"secrets/default/a"), None);
        assert_eq!(again.open(b"", b""), None);
    }
}
