//! Names, tags and digests, checked before they touch the disk. A name's parts cannot begin with `_`, which is how
//! the folders of a repository stay apart from repositories below it.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::Refusal;

/// `a/b-c/d`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let good = text.len() <= 255 && text.split('/').all(good_component);
        if good { Ok(Self(text.to_owned())) } else { Err(Refusal::NameInvalid) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn good_component(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(|byte| plain(*byte)) && bytes.last().is_some_and(|byte| plain(*byte));
    let separators = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    ends && separators
        .filter(|part| !part.is_empty())
        .all(|part| matches!(part, "." | "_" | "__") || part.bytes().all(|byte| byte == b'-'))
}

pub(crate) fn tag(text: &str) -> Result<&str, Refusal> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = text.bytes().next().is_some_and(letter);
    let good = first && text.len() <= 128 && text.bytes().all(|byte| letter(byte) || byte == b'.' || byte == b'-');
    if good { Ok(text) } else { Err(Refusal::TagInvalid) }
}

/// `sha256:` and 64 hex digits; no other algorithm is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let hex = text.strip_prefix("sha256:").ok_or(Refusal::DigestInvalid)?;
        Self::from_hex(hex).ok_or(Refusal::DigestInvalid)
    }

    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let good = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        good.then(|| Self(hex.to_owned()))
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    pub(crate) fn finished(hasher: Sha256) -> Self {
        Self(hex::encode(hasher.finalize()))
    }

    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}
