//! The state on disk, in redb: what it was at one place in the log. Written by the checkpointer in one durable
//! transaction that coalesces many log entries; read once, at start. The log goes on from there.
//!
//! ```text
//!  objects   key → create revision, revision, meta, payload       charges  (key, counter) → sum
//!  resources id → name                                            pools    (pool, value) → holder
//!  about     "place" → where in the log, members;  "revision" → the counter
//! ```

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, DiskFile};
use crate::machine::Row;
use crate::raft::state_machine::{Place, State};
use crate::root::Root;
use crate::{Error, Key, Meta, Object, Payload, ResourceId, Revision};

pub(crate) const NAME: &str = "state.redb";
const TEMPORARY: &str = "state.tmp";
/// Pages are read once, at start: the machine is the cache.
const CACHE_BYTES: usize = 4 << 20;

type Bytes = &'static [u8];
const OBJECTS: TableDefinition<Bytes, Bytes> = TableDefinition::new("objects");
const CHARGES: TableDefinition<Bytes, i64> = TableDefinition::new("charges");
const POOLS: TableDefinition<(&str, u64), Bytes> = TableDefinition::new("pools");
const RESOURCES: TableDefinition<u16, &str> = TableDefinition::new("resources");
const ABOUT: TableDefinition<&str, Bytes> = TableDefinition::new("about");

/// An object as it lies in its row; the key is the row's.
#[derive(Serialize)]
struct StoredRef<'a>(Revision, Revision, &'a Meta, &'a Payload);
#[derive(Deserialize)]
struct Stored(Revision, Revision, Meta, Payload);

pub(crate) struct Checkpoint {
    disk: Arc<dyn Disk>,
    /// `None` after a failure: redb wants to be opened anew.
    database: Option<Database>,
}

impl Checkpoint {
    /// Lets go of the file, so that the directory may be opened again.
    pub fn close(&mut self) {
        self.database = None;
    }

    /// `None` when there is none.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Option<Self>, Error> {
        let names = disk.list().map_err(|error| failed(&error.into()))?;
        if !names.iter().any(|name| name == NAME) {
            return Ok(None);
        }
        let database = Some(attach(&*disk, NAME).map_err(|error| failed(&error))?);
        Ok(Some(Self { disk, database }))
    }

    /// An empty checkpoint. It has its name only once it is whole.
    pub fn mint(disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let make = || -> Result<Database, redb::Error> {
            disk.create(TEMPORARY, 0)?;
            let database = attach(&*disk, TEMPORARY)?;
            write(&database, &State::default(), (&HashSet::new(), &HashSet::new()))?;
            disk.rename(TEMPORARY, NAME)?;
            disk.sync()?;
            Ok(database)
        };
        let database = Some(make().map_err(|error| failed(&error))?);
        Ok(Self { disk, database })
    }

    pub fn load(&self) -> Result<State, Error> {
        let database = self.database.as_ref().expect("it was just opened");
        let state = load(database).map_err(|error| failed(&error))?;
        state
            .ok_or_else(|| Error::Corrupt(format!("{NAME} holds rows that do not read back: restore it from a backup")))
    }

    /// Makes these rows what they are in `state`, durably and all at once.
    pub fn save(&mut self, state: &State, changed: (&HashSet<Key>, &HashSet<Row>)) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => attach(&*self.disk, NAME).map_err(|error| failed(&error))?,
        };
        write(&database, state, changed).map_err(|error| failed(&error))?;
        self.database = Some(database);
        Ok(())
    }
}

fn attach(disk: &dyn Disk, name: &str) -> Result<Database, redb::Error> {
    let backend = Backend(disk.open(name)?);
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
}

fn write(database: &Database, state: &State, (keys, rows): (&HashSet<Key>, &HashSet<Row>)) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut objects = transaction.open_table(OBJECTS)?;
        let mut sorted: Vec<&Key> = keys.iter().collect();
        sorted.sort_unstable();
        let mut value = Vec::new();
        for key in sorted {
            let Some(object) = state.root.objects.get(key) else {
                objects.remove(key.as_bytes())?;
                continue;
            };
            value.clear();
            let stored = StoredRef(object.create_revision, object.revision, &object.meta, &object.payload());
            crate::record::encode(&stored, &mut value);
            objects.insert(key.as_bytes(), value.as_slice())?;
        }
        let mut charges = transaction.open_table(CHARGES)?;
        let mut pools = transaction.open_table(POOLS)?;
        let mut resources = transaction.open_table(RESOURCES)?;
        for row in rows {
            match row {
                Row::Charge(key, counter) => {
                    let name = charge_name(key, counter);
                    match state.root.charges.get(&(key.clone(), counter.clone())) {
                        Some(sum) => charges.insert(name.as_slice(), sum)?,
                        None => charges.remove(name.as_slice())?,
                    };
                }
                Row::Pool(pool, value) => {
                    match state.root.pools.get(&(pool.clone(), *value)) {
                        Some(holder) => pools.insert((&**pool, *value), holder.as_bytes())?,
                        None => pools.remove((&**pool, *value))?,
                    };
                }
                Row::Resource(name) => {
                    if let Some(id) = state.root.resources.get(name) {
                        resources.insert(id.0, &**name)?;
                    }
                }
            }
        }
        let mut about = transaction.open_table(ABOUT)?;
        value.clear();
        crate::record::encode(&state.place, &mut value);
        about.insert("place", value.as_slice())?;
        about.insert("revision", state.root.revision.to_le_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// `None` when a row does not read back.
fn load(database: &Database) -> Result<Option<State>, redb::Error> {
    let transaction = database.begin_read()?;
    let mut root = Root::default();
    let mut objects = Vec::new();
    for row in transaction.open_table(OBJECTS)?.iter()? {
        let (key, value) = row?;
        let Some(object) = read_object(key.value(), value.value()) else { return Ok(None) };
        objects.push(Arc::new(object));
    }
    root.load(objects.into_iter());
    for row in transaction.open_table(CHARGES)?.iter()? {
        let (name, sum) = row?;
        let Some(counter) = read_charge_name(name.value()) else { return Ok(None) };
        root.charges.insert_mut(counter, sum.value());
    }
    for row in transaction.open_table(POOLS)?.iter()? {
        let (slot, holder) = row?;
        let (pool, value) = slot.value();
        let Some(holder) = Key::from_bytes(holder.value()) else { return Ok(None) };
        root.pools.insert_mut((pool.into(), value), holder);
    }
    for row in transaction.open_table(RESOURCES)?.iter()? {
        let (id, name) = row?;
        root.resources.insert_mut(name.value().into(), ResourceId(id.value()));
    }
    let about = transaction.open_table(ABOUT)?;
    let place = about.get("place")?.and_then(|bytes| postcard::from_bytes::<Place>(bytes.value()).ok());
    let revision = about.get("revision")?.and_then(|bytes| bytes.value().try_into().ok().map(u64::from_le_bytes));
    let Some((place, revision)) = place.zip(revision) else { return Ok(None) };
    root.revision = revision;
    Ok(Some(State { root, place }))
}

fn read_object(key: &[u8], value: &[u8]) -> Option<Object> {
    let Stored(created, revision, meta, payload) = postcard::from_bytes(value).ok()?;
    Some(Object::new(Key::from_bytes(key)?, created, revision, Arc::new(meta), &payload))
}

/// Keys hold zeros, counters do not: the last zero divides them.
fn charge_name(key: &Key, counter: &str) -> Vec<u8> {
    [key.as_bytes(), b"\0", counter.as_bytes()].concat()
}

fn read_charge_name(name: &[u8]) -> Option<(Key, Arc<str>)> {
    let divide = name.iter().rposition(|byte| *byte == 0)?;
    Some((Key::from_bytes(&name[..divide])?, std::str::from_utf8(&name[divide + 1..]).ok()?.into()))
}

fn failed(error: &redb::Error) -> Error {
    match error {
        redb::Error::Io(cause)
            if !matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Error::Unavailable(format!("{NAME} cannot be used: {cause}"))
        }
        redb::Error::PreviousIo => Error::Unavailable(format!("{NAME} cannot be used: {error}")),
        _ => Error::Corrupt(format!("{NAME} is damaged ({error}): restore the data directory from a backup")),
    }
}

/// A file of ours under redb.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
