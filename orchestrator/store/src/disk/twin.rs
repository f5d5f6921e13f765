//! A disk that remembers what was synced and what only seemed written. While it records, every sync leaves an image
//! of the moment before it; a crash there can keep, drop or tear what was not durable.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Twin {
    state: Arc<Mutex<State>>,
    /// What the test had been promised so far; noted in each image.
    pub acknowledged: Arc<AtomicUsize>,
}

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing can grow.
    Full,
    /// Nothing can be synced.
    Failing,
}

#[derive(Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Inode>,
    images: Option<Vec<Image>>,
}

#[derive(Debug, Clone, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Arc<Vec<u8>>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Arc<[u8]>),
    Length(usize),
}

/// The disk as it was just before a sync.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<(Arc<Vec<u8>>, Vec<Change>)>,
    pub acknowledged: usize,
}

/// What a crash does to everything that was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    Drop,
    Keep,
    /// Names last, and of the writes every second sector, beginning with this one.
    Tear(usize),
    /// Writes last, names do not.
    LoseNames,
}

impl Twin {
    pub fn recording() -> Self {
        let twin = Self::default();
        twin.state.lock().images = Some(Vec::new());
        twin
    }

    pub fn take_images(&self) -> Vec<Image> {
        self.state.lock().images.take().expect("it was recording")
    }

    /// What the machine finds after the crash.
    pub fn after(image: &Image, crash: Crash) -> Self {
        let names = match crash {
            Crash::Drop | Crash::LoseNames => &image.durable_names,
            Crash::Keep | Crash::Tear(_) => &image.names,
        };
        let files = image.files.iter().map(|(durable, unsynced)| {
            let mut bytes = durable.to_vec();
            unsynced.iter().for_each(|change| change.survive(&mut bytes, crash));
            Inode { durable: Arc::new(bytes.clone()), current: bytes, unsynced: Vec::new() }
        });
        let state = State {
            names: names.clone(),
            durable_names: names.clone(),
            files: files.collect(),
            images: None,
            trouble: None,
        };
        Self { state: Arc::new(Mutex::new(state)), acknowledged: Arc::default() }
    }

    pub fn trouble(&self, trouble: Option<Trouble>) {
        self.state.lock().trouble = trouble;
    }

    /// Flips one bit of a file, as a failing disk would.
    pub fn flip(&self, name: &str, offset: usize) {
        let mut state = self.state.lock();
        let inode = state.names[name];
        state.files[inode].current[offset] ^= 0x10;
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let state = self.state.lock();
        state.files[state.names[name]].current.clone()
    }

    fn image(&self) {
        image(&mut self.state.lock(), &self.acknowledged);
    }
}

impl State {
    fn refuse(&self, trouble: Trouble) -> io::Result<()> {
        match self.trouble {
            Some(Trouble::Full) if trouble == Trouble::Full => Err(io::ErrorKind::StorageFull.into()),
            Some(Trouble::Failing) if trouble == Trouble::Failing => Err(io::Error::other("input/output error")),
            _ => Ok(()),
        }
    }
}

fn image(state: &mut State, acknowledged: &AtomicUsize) {
    let files = state.files.iter().map(|file| (file.durable.clone(), file.unsynced.clone())).collect();
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    let (names, durable_names) = (state.names.clone(), state.durable_names.clone());
    if let Some(images) = &mut state.images {
        images.push(Image { names, durable_names, files, acknowledged });
    }
}

impl Change {
    fn survive(&self, bytes: &mut Vec<u8>, crash: Crash) {
        match (self, crash) {
            (_, Crash::Drop) => {}
            (Self::Length(length), _) => bytes.resize(*length, 0),
            (Self::Write(offset, data), Crash::Keep | Crash::LoseNames) => write(bytes, *offset, data),
            (Self::Write(offset, data), Crash::Tear(first)) => {
                for (index, byte) in data.iter().enumerate() {
                    let at = offset + index;
                    if (at / SECTOR_BYTES) % 2 == first {
                        write(bytes, at, &[*byte]);
                    }
                }
            }
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl Disk for Twin {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let inode = {
            let mut state = self.state.lock();
            state.refuse(Trouble::Full)?;
            let bytes = vec![0; length as usize];
            state.files.push(Inode { durable: Arc::new(bytes.clone()), current: bytes, unsynced: Vec::new() });
            let inode = state.files.len() - 1;
            state.names.insert(name.into(), inode);
            inode
        };
        self.image();
        Ok(Arc::new(Handle { state: self.state.clone(), inode, acknowledged: self.acknowledged.clone() }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = *self.state.lock().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle { state: self.state.clone(), inode, acknowledged: self.acknowledged.clone() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.into(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.state.lock().names.remove(name);
        removed.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.image();
        let mut state = self.state.lock();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    state: Arc<Mutex<State>>,
    inode: usize,
    acknowledged: Arc<AtomicUsize>,
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().files[self.inode].current.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        let bytes = &state.files[self.inode].current;
        let end = offset as usize + buffer.len();
        let part = bytes.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = &mut self.state.lock().files[self.inode];
        write(&mut file.current, offset as usize, bytes);
        file.unsynced.push(Change::Write(offset as usize, bytes.into()));
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let file = &state.files[self.inode];
        if length as usize > file.current.len() {
            state.refuse(Trouble::Full)?;
        }
        let file = &mut state.files[self.inode];
        file.current.resize(length as usize, 0);
        file.unsynced.push(Change::Length(length as usize));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        image(&mut state, &self.acknowledged);
        state.refuse(Trouble::Failing)?;
        let file = &mut state.files[self.inode];
        if !file.unsynced.is_empty() {
            file.durable = Arc::new(file.current.clone());
            file.unsynced.clear();
        }
        Ok(())
    }
}
