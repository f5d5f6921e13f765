//! Seals secrets with AES-256-GCM: `key id (4 bytes) ‖ nonce (12) ‖ ciphertext and tag`. The object's key in the store
//! is authenticated with it, so that a body moved elsewhere does not open.

use bytes::Bytes;
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::seams::Sealer;

const KEY_ID_LEN: usize = 4;

/// Keys by id; the first seals, all open. Rotation puts a new one in front.
pub struct Keyring {
    keys: RwLock<Vec<(u32, LessSafeKey)>>,
    random: SystemRandom,
}

impl Keyring {
    /// `None` when there is no key at all.
    pub fn new(keys: &[(u32, [u8; 32])]) -> Option<Self> {
        let keys: Vec<_> = keys.iter().map(|(id, bytes)| (*id, cipher(bytes))).collect();
        (!keys.is_empty()).then(|| Self { keys: RwLock::new(keys), random: SystemRandom::new() })
    }

    /// From now on this key seals. The others go on opening for as long as this ring lives: what watchers have yet to
    /// be told of may be sealed with them.
    pub fn lead_with(&self, id: u32, bytes: &[u8; 32]) {
        self.keys.write().insert(0, (id, cipher(bytes)));
    }
}

fn cipher(bytes: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are a key of this cipher"))
}

/// The id of the key that sealed this.
pub fn key_id(sealed: &[u8]) -> Option<u32> {
    sealed.first_chunk::<KEY_ID_LEN>().map(|id| u32::from_be_bytes(*id))
}

impl Sealer for Keyring {
    fn seal(&self, plain: &[u8], context: &[u8]) -> Bytes {
        let keys = self.keys.read();
        let (id, key) = keys.first().expect("a ring is never empty");
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).expect("the system has randomness");
        let mut text = plain.to_vec();
        let sealed = key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text);
        sealed.expect("a body is far below the cipher's limit");
        let mut out = Vec::with_capacity(KEY_ID_LEN + NONCE_LEN + text.len());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&text);
        out.into()
    }

    fn open(&self, sealed: &[u8], context: &[u8]) -> Option<Bytes> {
        let (id, rest) = sealed.split_first_chunk::<KEY_ID_LEN>()?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.read();
        let (_, key) = keys.iter().find(|(known, _)| *known == u32::from_be_bytes(*id))?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::from(context), &mut text).ok()?.len();
        text.truncate(length);
        Some(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_place_and_a_known_key_open() {
        let old = Keyring::new(&[(1, [1; 32])]).unwrap();
        let new = Keyring::new(&[(2, [2; 32]), (1, [1; 32])]).unwrap();
        let sealed = old.seal(b"secret", b"key");
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(new.open(&sealed, b"key").as_deref(), Some(b"secret".as_slice()));
        assert_eq!(new.open(&sealed, b"elsewhere"), None);
        assert_eq!(old.open(&new.seal(b"secret", b"key"), b"key"), None);
        assert_eq!(old.open(&sealed[..10], b"key"), None);
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let ring = Keyring::new(&[(1, [1; 32])]).unwrap();
        let before = ring.seal(b"secret", b"key");
        ring.lead_with(2, &[2; 32]);
        let after = ring.seal(b"secret", b"key");
        assert_eq!((key_id(&before), key_id(&after), key_id(&[1])), (Some(1), Some(2), None));
        assert_eq!(ring.open(&before, b"key"), ring.open(&after, b"key"));
    }
}
