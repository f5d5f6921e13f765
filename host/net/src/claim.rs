//! Which networks a cluster may use, when several live on one machine: a locked file per network. The lock lasts as
//! long as the [`Cidrs`] live; a killed process leaves none behind.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::{Cidr, Error};

/// The pair of networks that this process may use.
#[derive(Debug)]
pub struct Cidrs {
    pub cluster: Cidr,
    pub service: Cidr,
    _locks: Vec<File>,
}

/// The wanted networks, or the first free pair of /16 from 127.42 to 127.127.
pub fn choose_cidrs(folder: &Path, cluster: Option<Cidr>, service: Option<Cidr>) -> Result<Cidrs, Error> {
    let unusable = |source| Error::Claims { folder: folder.display().to_string(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
    let mut locks = Vec::new();
    let mut take = |wanted: Option<Cidr>, other: Option<Cidr>| -> Result<Cidr, Error> {
        let candidates: Vec<Cidr> = match wanted {
            Some(cidr) => vec![cidr],
            None => (42..=127).filter_map(|second| format!("127.{second}.0.0/16").parse().ok()).collect(),
        };
        for cidr in candidates.into_iter().filter(|cidr| other.is_none_or(|other| !other.overlaps(cidr))) {
            if let Some(lock) = claim(folder, cidr).map_err(unusable)? {
                locks.push(lock);
                return Ok(cidr);
            }
        }
        Err(wanted.map_or(Error::NoneFree, Error::Claimed))
    };
    if let (Some(cluster), Some(service)) = (cluster, service)
        && cluster.overlaps(&service)
    {
        return Err(Error::Overlap(cluster, service));
    }
    let cluster = take(cluster, service)?;
    let service = take(service, Some(cluster))?;
    Ok(Cidrs { cluster, service, _locks: locks })
}

/// Where claims of this user's clusters lie: nobody else may write there.
pub fn claims_folder() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let shared = || std::env::temp_dir().join(format!("amphipod-{user}"));
    std::env::var_os("XDG_RUNTIME_DIR").map_or_else(shared, |folder| PathBuf::from(folder).join("amphipod"))
}

fn claim(folder: &Path, cidr: Cidr) -> std::io::Result<Option<File>> {
    let path = folder.join(cidr.to_string().replace('/', "-"));
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_never_share_a_network() {
        let folder = tempfile::tempdir().unwrap();
        let one = choose_cidrs(folder.path(), None, None).unwrap();
        let two = choose_cidrs(folder.path(), None, None).unwrap();
        let all = [one.cluster, one.service, two.cluster, two.service].map(|cidr| cidr.to_string());
        assert_eq!(all, ["127.42.0.0/16", "127.43.0.0/16", "127.44.0.0/16", "127.45.0.0/16"]);
        assert!(matches!(choose_cidrs(folder.path(), Some(one.cluster), None), Err(Error::Claimed(_))));
        let kept = one.cluster;
        drop(one);
        assert_eq!(choose_cidrs(folder.path(), Some(kept), None).unwrap().cluster, kept);
    }

    #[test]
    fn overlapping_wishes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (wide, narrow) = ("127.50.0.0/16".parse().unwrap(), "127.50.3.0/24".parse().unwrap());
        assert!(matches!(choose_cidrs(folder.path(), Some(wide), Some(narrow)), Err(Error::Overlap(..))));
    }
}
