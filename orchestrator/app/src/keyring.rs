//! The keys that seal Secrets: a file of the data directory, apart from the store, one line per key, the one that seals
//! first. Rotation adds a line; a retired key's line goes once no log that could be replayed knows it.
//!
//! ```text
//! # id  created               key (base64)   retired
//! 2     2026-02-01T00:00:00Z  …              -
//! 1     2026-01-01T00:00:00Z  …              2026-02-01T00:00:09Z
//! ```

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amphipod_server::sealer::Keyring;
use amphipod_server::seams::{KeyFacts, Keys, KeysError};
use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::failure::refuse;

const KEY_BYTES: usize = 32;
const FILE: &str = "secrets.keys";
/// The only key of data directories that were never rotated.
const FIRST_FILE: &str = "secrets.key";
const HEAD: &str =
    "# The keys that seal Secrets. Without them a backup of the store is unreadable: keep this file safe.\n";
/// A checkpoint is written far more often than this; then no replay needs a retired key.
const RETIRED_KEPT: SignedDuration = SignedDuration::from_mins(10);
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// The file and the ring that seals with what is in it.
pub struct KeyFile {
    path: PathBuf,
    pub ring: Arc<Keyring>,
    lines: Mutex<Vec<Line>>,
}

#[derive(Clone)]
struct Line {
    facts: KeyFacts,
    key: [u8; KEY_BYTES],
}

impl KeyFile {
    /// Reads the file, or makes one with a first key (0600) when there is none.
    pub fn open(folder: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let lines = match std::fs::read_to_string(&path) {
            Ok(text) => read(&text).ok_or_else(|| wrong(&path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let lines = vec![first(folder, now)?];
                write(&path, &lines)?;
                lines
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let keys: Vec<_> = lines.iter().map(|line| (line.facts.id, line.key)).collect();
        let ring = Keyring::new(&keys).ok_or_else(|| wrong(&path))?;
        Ok(Self { path, ring: Arc::new(ring), lines: Mutex::new(lines) })
    }

    /// Forgets retired keys in time, until dropped.
    pub async fn keep(self: Arc<Self>) {
        loop {
            if let Err(error) = self.forget(Timestamp::now()) {
                tracing::warn!(%error, "a retired key cannot be taken out of the key file");
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }

    fn forget(&self, now: Timestamp) -> Result<(), KeysError> {
        let is_old = |line: &Line| line.facts.retired.is_some_and(|at| now.duration_since(at) > RETIRED_KEPT);
        let mut lines = self.lines.lock();
        if !lines.iter().any(is_old) {
            return Ok(());
        }
        let left: Vec<Line> = lines.iter().filter(|line| !is_old(line)).cloned().collect();
        self.replace(&mut lines, left)
    }

    /// The file first: a key that is not durable must seal nothing.
    fn replace(&self, lines: &mut Vec<Line>, new: Vec<Line>) -> Result<(), KeysError> {
        write(&self.path, &new).map_err(|error| KeysError(format!("{}: {error}", self.path.display())))?;
        *lines = new;
        Ok(())
    }
}

impl Keys for KeyFile {
    fn list(&self) -> Vec<KeyFacts> {
        self.lines.lock().iter().map(|line| line.facts.clone()).collect()
    }

    fn rotate(&self, now: Timestamp) -> Result<u32, KeysError> {
        let mut lines = self.lines.lock();
        let id = lines.iter().map(|line| line.facts.id).max().unwrap_or(0) + 1;
        let key = random().map_err(|error| KeysError(error.to_string()))?;
        let line = Line { facts: KeyFacts { id, created: now, retired: None }, key };
        let new: Vec<Line> = std::iter::once(line).chain(lines.iter().cloned()).collect();
        self.replace(&mut lines, new)?;
        self.ring.lead_with(id, &key);
        Ok(id)
    }

    fn retire(&self, ids: &[u32], now: Timestamp) -> Result<(), KeysError> {
        let mut lines = self.lines.lock();
        let mut new = lines.clone();
        for line in new.iter_mut().skip(1).filter(|line| ids.contains(&line.facts.id)) {
            line.facts.retired.get_or_insert(now);
        }
        self.replace(&mut lines, new)
    }
}

/// The key of a directory from before rotation, else a new one.
fn first(folder: &Path, now: Timestamp) -> anyhow::Result<Line> {
    let path = folder.join(FIRST_FILE);
    let key = match std::fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|_| wrong(&path))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => random()?,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    Ok(Line { facts: KeyFacts { id: 1, created: now, retired: None }, key })
}

fn wrong(path: &Path) -> anyhow::Error {
    refuse(format!("{} holds no keys of {KEY_BYTES} bytes: put the cluster's own file back", path.display()))
}

fn random() -> anyhow::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system has no randomness"))?;
    Ok(bytes)
}

/// `None` when any line is not a key's.
fn read(text: &str) -> Option<Vec<Line>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let read_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [id, created, key, retired] = words.as_slice() else { return None };
        let retired = if *retired == "-" { None } else { Some(retired.parse().ok()?) };
        let facts = KeyFacts { id: id.parse().ok()?, created: created.parse().ok()?, retired };
        Some(Line { facts, key: STANDARD.decode(key).ok()?.try_into().ok()? })
    };
    lines.map(read_line).collect()
}

/// Whole and durable, or as it was.
fn write(path: &Path, lines: &[Line]) -> std::io::Result<()> {
    let mut text = HEAD.to_owned();
    for Line { facts, key } in lines {
        let retired = facts.retired.map_or_else(|| "-".to_owned(), |at| at.to_string());
        text.push_str(&format!("{} {} {} {retired}\n", facts.id, facts.created, STANDARD.encode(key)));
    }
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use amphipod_server::seams::Sealer as _;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_keys_are_the_owners_alone_and_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-01-01T00:00:00Z");
        let sealed = KeyFile::open(folder.path(), now).unwrap().ring.seal(b"alice", b"here");
        let file = folder.path().join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = KeyFile::open(folder.path(), now).unwrap();
        assert_eq!(again.ring.open(&sealed, b"here").as_deref(), Some(&b"alice"[..]));
        std::fs::write(&file, "1 short").unwrap();
        assert!(KeyFile::open(folder.path(), now).is_err());
        std::fs::write(&file, HEAD).unwrap();
        assert!(KeyFile::open(folder.path(), now).is_err(), "no key at all");
    }

    #[test]
    fn the_key_from_before_rotation_goes_on_opening() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FIRST_FILE), [7; KEY_BYTES]).unwrap();
        let sealed = Keyring::new(&[(1, [7; KEY_BYTES])]).unwrap().seal(b"alice", b"here");
        let keys = KeyFile::open(folder.path(), at("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(keys.ring.open(&sealed, b"here").as_deref(), Some(&b"alice"[..]));
    }

    #[test]
    fn a_rotated_key_leads_and_a_retired_one_is_forgotten_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyFile::open(folder.path(), at("2026-01-01T00:00:00Z")).unwrap();
        let before = keys.ring.seal(b"alice", b"here");
        assert_eq!(keys.rotate(at("2026-02-01T00:00:00Z")).unwrap(), 2);
        keys.retire(&[1, 2], at("2026-02-01T00:00:00Z")).unwrap();
        let again = KeyFile::open(folder.path(), at("2026-02-01T00:00:00Z")).unwrap();
        let retired: Vec<_> = again.list().iter().map(|key| (key.id, key.retired.is_some())).collect();
        assert_eq!(retired, [(2, false), (1, true)], "the one that seals is never retired");
        assert!(again.ring.open(&before, b"here").is_some());
        again.forget(at("2026-02-01T00:09:00Z")).unwrap();
        assert_eq!(again.list().len(), 2);
        again.forget(at("2026-02-01T00:11:00Z")).unwrap();
        assert_eq!(KeyFile::open(folder.path(), at("2026-02-01T00:00:00Z")).unwrap().list().len(), 1);
    }
}
