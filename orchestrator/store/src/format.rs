//! The file `format`: what this directory is, in words an operator can read. It is written first and never again,
//! except by [`migrate`].

use uuid::Uuid;

use crate::Error;
use crate::disk::Disk;

/// The layout of log, checkpoint and records that this program reads and writes.
const FORMAT: u32 = 1;
const NAME: &str = "format";
const TEMPORARY: &str = "format.tmp";

/// Who this data directory is. A wiped directory comes back as somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub node: u64,
    /// Keeps payloads from posing as frames of the log.
    pub salt: u64,
}

/// Reads the format file; writes it when the directory is empty.
pub(crate) fn identify(disk: &dyn Disk) -> Result<Identity, Error> {
    let unavailable = |error: std::io::Error| Error::Unavailable(format!("the data directory cannot be used: {error}"));
    let names = disk.list().map_err(unavailable)?;
    if names.iter().any(|name| name == NAME) {
        let file = disk.open(NAME).map_err(unavailable)?;
        let mut bytes = vec![0; file.len().map_err(unavailable)? as usize];
        file.read_at(0, &mut bytes).map_err(unavailable)?;
        return migrate(disk, &String::from_utf8_lossy(&bytes));
    }
    if names.iter().any(|name| name == super::checkpoint::NAME || name.starts_with("log-")) {
        return Err(corrupt(
            "is missing, but the directory holds data: restore the file, or the directory from a backup",
        ));
    }
    let (node, salt) = Uuid::new_v4().as_u64_pair();
    let identity = Identity { node: node.max(1), salt };
    write(disk, &identity).map_err(unavailable)?;
    Ok(identity)
}

/// Where a directory of an older format is brought up to this one, step by step. There is no older one yet.
fn migrate(_: &dyn Disk, text: &str) -> Result<Identity, Error> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = field("amphipod-store").and_then(|number| number.parse::<u32>().ok());
    match number {
        Some(FORMAT) => {}
        Some(other) => {
            let text = format!(
                "says {other}, this program reads {FORMAT}: run the program that wrote it, or one that is newer"
            );
            return Err(corrupt(&text));
        }
        None => return Err(corrupt("is not readable: restore the file, or the directory from a backup")),
    }
    let id = |name| field(name).and_then(|id| u64::from_str_radix(id, 16).ok());
    let identity = id("node").zip(id("salt")).map(|(node, salt)| Identity { node, salt });
    identity.ok_or_else(|| corrupt("is not readable: restore the file, or the directory from a backup"))
}

fn write(disk: &dyn Disk, identity: &Identity) -> std::io::Result<()> {
    let text = format!("amphipod-store {FORMAT}\nnode {:016x}\nsalt {:016x}\n", identity.node, identity.salt);
    let file = disk.create(TEMPORARY, 0)?;
    file.write_at(0, text.as_bytes())?;
    file.sync()?;
    disk.rename(TEMPORARY, NAME)?;
    disk.sync()
}

fn corrupt(what: &str) -> Error {
    Error::Corrupt(format!("the data directory's format file {what}"))
}
