//! Frees the bytes that no repository names any more. Deleting only cuts the link; this does the rest.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::fs;

use crate::{Refusal, Registry};

/// A blob younger than this may belong to a push whose link comes next.
pub const YOUNG: Duration = Duration::from_secs(3_600);

impl Registry {
    /// Removes blobs that no repository names and that were stored more than [`YOUNG`] before `now`; how many bytes
    /// that freed. Call it now and then.
    pub async fn collect_garbage(&self, now: SystemTime) -> Result<u64, Refusal> {
        let named = self.named().await?;
        let mut freed = 0;
        let mut blobs = fs::read_dir(self.shared.root.join("blobs/sha256")).await?;
        while let Some(blob) = blobs.next_entry().await? {
            let metadata = blob.metadata().await?;
            let young = metadata.modified()? + YOUNG > now;
            let kept = blob.file_name().into_string().is_ok_and(|name| named.contains(&name));
            if !young && !kept {
                freed += metadata.len();
                fs::remove_file(blob.path()).await?;
            }
        }
        Ok(freed)
    }

    /// The digests, in hex, that any repository links.
    async fn named(&self) -> Result<HashSet<String>, Refusal> {
        let mut named = HashSet::new();
        let mut open: Vec<PathBuf> = vec![self.shared.root.join("repositories")];
        while let Some(folder) = open.pop() {
            let links = folder.ends_with("_layers") || folder.ends_with("_manifests");
            let mut entries = fs::read_dir(&folder).await?;
            while let Some(entry) = entries.next_entry().await? {
                if links {
                    named.extend(entry.file_name().into_string());
                } else if entry.file_type().await?.is_dir() {
                    open.push(entry.path());
                }
            }
        }
        Ok(named)
    }
}
