//! Termination messages: what a container leaves at `terminationMessagePath`, else, if its policy says so, the end of
//! its log. A guest sees directories only, so the file lies alone in one, mounted where the path's directory would be.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use amphipod_runtime::{Exit, Mount};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::logs::{Query, Reader};

/// The end of a longer file counts, as in the kubelet.
const FILE_BYTES_MAX: u64 = 4_096;
const LOG_BYTES_MAX: usize = 2_048;
const LOG_LINES_MAX: usize = 80;
/// Where the last lines of a log are looked for.
const LOG_BYTES_READ: u64 = 256 << 10;
const PATH_DEFAULT: &str = "/dev/termination-log";

/// One run of a container.
pub struct Run<'a> {
    /// Of the pod.
    pub volumes: PathBuf,
    pub logs: PathBuf,
    pub container: &'a Container,
    /// How often it was restarted before.
    pub number: u32,
}

impl Run<'_> {
    /// What to mount for the file, which is made empty; nothing when the path lies in a volume of the container's own.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn mount(&self) -> Result<Option<Mount>, String> {
        let path = self.path();
        let (Some(folder), Some(file), None) = (path.parent(), path.file_name(), self.own_volume()) else {
            return Ok(None);
        };
        let host_path = self.folder();
        let made = fs::create_dir_all(&host_path).and_then(|()| fs::write(host_path.join(file), ""));
        made.map_err(|error| format!("{}: {error}", host_path.display()))?;
        Ok(Some(Mount { host_path, container_path: folder.to_string_lossy().into_owned(), read_only: false }))
    }

    /// Adds the message to an exit, behind what the runtime itself says.
    pub fn complete(&self, exit: &mut Exit) {
        let mut message = self.left().unwrap_or_default();
        let by_log = self.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if message.is_empty() && by_log && exit.code != 0 {
            message = self.end_of_log().unwrap_or_default();
        }
        // A folder that stays goes with the pod.
        let _ = fs::remove_dir_all(self.folder());
        if !exit.message.is_empty() && !message.is_empty() {
            exit.message.push_str(": ");
        }
        exit.message.push_str(&message);
    }

    fn path(&self) -> &Path {
        Path::new(
            self.container.termination_message_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(PATH_DEFAULT),
        )
    }

    fn folder(&self) -> PathBuf {
        self.volumes.join(".messages").join(format!("{}-{}", self.container.name, self.number))
    }

    /// The volume that holds the path, and the way there inside it.
    fn own_volume(&self) -> Option<(PathBuf, PathBuf)> {
        let mounts = self.container.volume_mounts.iter().flatten();
        let holding = mounts.filter(|mount| self.path().starts_with(&mount.mount_path));
        let mount = holding.max_by_key(|mount| Path::new(&mount.mount_path).components().count())?;
        let inside = self.path().strip_prefix(&mount.mount_path).ok()?;
        let below = mount.sub_path.as_deref().unwrap_or_default();
        Some((self.volumes.join(&mount.name), Path::new(below).join(inside)))
    }

    fn left(&self) -> io::Result<String> {
        let own = || Some((self.folder(), PathBuf::from(self.path().file_name()?)));
        let (folder, file) = self.own_volume().or_else(own).ok_or(io::ErrorKind::NotFound)?;
        let folder = File::open(folder)?;
        // The guest may have put a link there: no step leads out of its own directory.
        let (flags, resolve) =
            (OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
        let file = File::from(rustix::fs::openat2(&folder, &file, flags, Mode::empty(), resolve)?);
        Ok(String::from_utf8_lossy(&tail(file, FILE_BYTES_MAX)?).into_owned())
    }

    fn end_of_log(&self) -> io::Result<String> {
        let path = self.logs.join(&self.container.name).join(format!("{}.log", self.number));
        let bytes = tail(File::open(path)?, LOG_BYTES_READ)?;
        let query = Query { tail_lines: Some(LOG_LINES_MAX), ..Query::default() };
        let shown = Reader::new(query, Timestamp::UNIX_EPOCH).first(&bytes);
        let end = &shown[shown.len().saturating_sub(LOG_BYTES_MAX)..];
        Ok(String::from_utf8_lossy(end).into_owned())
    }
}

fn tail(mut file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Pod(tempfile::TempDir);

    impl Pod {
        /// The message of a run that ended with `code`, after `act` in the pod's volumes.
        fn check(&self, container: serde_json::Value, code: i32, act: impl Fn(&Path)) -> String {
            let container: Container = serde_json::from_value(container).unwrap();
            let (volumes, logs) = (self.0.path().join("volumes"), self.0.path().join("logs"));
            let run = Run { volumes: volumes.clone(), logs: logs.clone(), container: &container, number: 0 };
            let mounted = run.mount().unwrap();
            fs::create_dir_all(logs.join("c")).unwrap();
            fs::write(logs.join("c/0.log"), "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n")
                .unwrap();
            act(mounted.as_ref().map_or(&volumes, |mount| &mount.host_path));
            let (started_at, finished_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
            let mut exit = Exit { code, reason: String::new(), message: String::new(), started_at, finished_at };
            run.complete(&mut exit);
            exit.message
        }
    }

    #[test]
    fn the_file_counts_and_the_log_only_for_a_failure_without_one() {
        let pod = Pod(tempfile::tempdir().unwrap());
        let write = |folder: &Path| fs::write(folder.join("termination-log"), "why").unwrap();
        let (file, log) =
            (json!({"name": "c"}), json!({"name": "c", "terminationMessagePolicy": "FallbackToLogsOnError"}));
        assert_eq!(pod.check(file.clone(), 0, write), "why");
        assert_eq!(pod.check(file, 1, |_| {}), "");
        assert_eq!(pod.check(log.clone(), 1, write), "why");
        assert_eq!(pod.check(log.clone(), 1, |_| {}), "one\ntwo\n");
        assert_eq!(pod.check(log, 0, |_| {}), "");
    }

    #[test]
    fn a_path_in_a_volume_of_its_own_is_read_there() {
        let pod = Pod(tempfile::tempdir().unwrap());
        let container = json!({"name": "c", "terminationMessagePath": "/data/a/why",
            "volumeMounts": [{"name": "v", "mountPath": "/data", "subPath": "s"}, {"name": "w", "mountPath": "/dat"}]});
        let write = |volumes: &Path| {
            fs::create_dir_all(volumes.join("v/s/a")).unwrap();
            fs::write(volumes.join("v/s/a/why"), "because").unwrap();
        };
        assert_eq!(pod.check(container, 0, write), "because");
    }

    #[test]
    fn a_link_out_of_the_sandbox_is_not_followed_and_a_long_file_ends_last() {
        let pod = Pod(tempfile::tempdir().unwrap());
        let secret = pod.0.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let link = |folder: &Path| {
            fs::remove_file(folder.join("termination-log")).unwrap();
            std::os::unix::fs::symlink(&secret, folder.join("termination-log")).unwrap();
        };
        assert_eq!(pod.check(json!({"name": "c"}), 0, link), "");
        let long = |folder: &Path| fs::write(folder.join("termination-log"), "x".repeat(5_000) + "end").unwrap();
        let message = pod.check(json!({"name": "c"}), 0, long);
        assert!(message.len() == 4_096 && message.ends_with("end"));
    }
}
