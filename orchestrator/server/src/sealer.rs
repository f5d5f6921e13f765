//! Seals secrets with AES-256-GCM: `key id (4 bytes) ‖ nonce (12) ‖ ciphertext and tag`. The object's key in the store
//! is authenticated with it, so that a body moved elsewhere does not open.

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::seams::Sealer;

const KEY_ID_LEN: usize = 4;

/// Keys by id; the first seals, all open. Rotation puts a new one in front.
pub struct Keyring {
    keys: Vec<(u32, LessSafeKey)>,
    random: SystemRandom,
}

impl Keyring {
    /// `None` when there is no key at all.
    pub fn new(keys: &[(u32, [u8; 32])]) -> Option<Self> {
        let ready = |bytes: &[u8; 32]| {
            let key = UnboundKey::new(&AES_256_GCM, bytes).expect("32 bytes are a key of this cipher");
            LessSafeKey::new(key)
        };
        let keys: Vec<_> = keys.iter().map(|(id, bytes)| (*id, ready(bytes))).collect();
        (!keys.is_empty()).then(|| Self { keys, random: SystemRandom::new() })
    }
}

impl Sealer for Keyring {
    fn seal(&self, plain: &[u8], context: &[u8]) -> Bytes {
        let (id, key) = &self.keys[0];
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
        let (_, key) = self.keys.iter().find(|(known, _)| *known == u32::from_be_bytes(*id))?;
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
}
