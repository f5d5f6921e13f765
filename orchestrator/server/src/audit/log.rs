//! The audit log's file: one event a line. A full file is put aside under the time of its end, old ones go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events written with one call.
const TOGETHER: usize = 256;
const MEGABYTE: u64 = 1 << 20;
/// What a file may hold unless the operator says so.
pub const MEGABYTES_DEFAULT: u64 = 100;

/// Upstream's `--audit-log-*` flags.
#[derive(Debug, Clone)]
pub struct Options {
    /// `-`: standard output, never put aside.
    pub path: PathBuf,
    /// Put aside at this size; 0: [`MEGABYTES_DEFAULT`].
    pub megabytes_max: u64,
    /// Files put aside that are kept; 0: all.
    pub files_max: usize,
    /// Days that they are kept; 0: for ever.
    pub days_max: u64,
    pub compress: bool,
}

/// An open log.
pub struct Log {
    options: Options,
    file: Option<File>,
    bytes: u64,
}

impl Log {
    pub fn open(options: Options) -> io::Result<Self> {
        let mut log = Self { options, file: None, bytes: 0 };
        if !log.is_standard_output() {
            log.reopen()?;
        }
        Ok(log)
    }

    /// Writes what comes until the stop, then what had come.
    pub async fn run(mut self, mut events: mpsc::Receiver<Arc<Value>>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(TOGETHER);
        loop {
            let count = tokio::select! {
                count = events.recv_many(&mut batch, TOGETHER) => count,
                () = stop.cancelled() => {
                    while let Ok(event) = events.try_recv() {
                        batch.push(event);
                    }
                    batch.len()
                }
            };
            if count == 0 {
                return;
            }
            let lines: Vec<u8> = batch.drain(..).flat_map(|event| format!("{event}\n").into_bytes()).collect();
            let written = tokio::task::spawn_blocking(move || {
                let result = self.write(&lines);
                (self, result)
            });
            let Ok((log, result)) = written.await else { return };
            self = log;
            if let Err(error) = result {
                metrics::counter!("apiserver_audit_error_total", "plugin" => "log").increment(1);
                tracing::error!(%error, path = %self.options.path.display(), "the audit log cannot be written");
            }
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_standard_output() {
            return io::stdout().lock().write_all(lines);
        }
        let limit = match self.options.megabytes_max {
            0 => MEGABYTES_DEFAULT,
            megabytes => megabytes,
        };
        if self.bytes > 0 && self.bytes + lines.len() as u64 > limit * MEGABYTE {
            self.put_aside()?;
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(lines))?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn is_standard_output(&self) -> bool {
        self.options.path == Path::new("-")
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.options.path)?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.file = None;
        let aside = self.aside(Timestamp::now());
        std::fs::rename(&self.options.path, &aside)?;
        if self.options.compress {
            compress(&aside)?;
        }
        self.remove_old()?;
        self.reopen()
    }

    /// `audit-2026-01-02T03-04-05.678.log`
    fn aside(&self, now: Timestamp) -> PathBuf {
        let (stem, extension) = self.name();
        let time = now.strftime("%Y-%m-%dT%H-%M-%S.%3f");
        self.options.path.with_file_name(format!("{stem}-{time}{extension}"))
    }

    /// The file's name before and from its last dot.
    fn name(&self) -> (String, String) {
        let path = &self.options.path;
        let part = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let extension = part(path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default();
        (part(path.file_stem()).unwrap_or_default(), extension)
    }

    fn remove_old(&self) -> io::Result<()> {
        let parent = self.options.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let (stem, _) = self.name();
        let mut files = Vec::new();
        for entry in std::fs::read_dir(parent.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{stem}-")) {
                files.push((name, entry.path(), entry.metadata()?.modified()?));
            }
        }
        files.sort_by(|(one, ..), (other, ..)| other.cmp(one)); // the name tells the time, the newest first
        let age_max = Duration::from_secs(self.options.days_max * 86_400);
        let now = SystemTime::from(Timestamp::now());
        for (index, (_, path, modified)) in files.iter().enumerate() {
            let too_many = self.options.files_max > 0 && index >= self.options.files_max;
            let age = now.duration_since(*modified).unwrap_or_default();
            if too_many || (self.options.days_max > 0 && age > age_max) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let target = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(PathBuf::from(name))?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let options = Options { path: path.clone(), megabytes_max: 1, files_max: 1, days_max: 0, compress: false };
        let mut log = Log::open(options).unwrap();
        let nearly_full = vec![b'x'; 900_000];
        for _ in 0..3 {
            log.write(&nearly_full).unwrap();
        }
        log.write(b"last\n").unwrap();
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].starts_with("audit-") && names[0].ends_with(".log"), "{names:?}");
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("last\n"));
    }

    #[tokio::test]
    async fn what_had_come_before_the_stop_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let options = Options { path: path.clone(), megabytes_max: 0, files_max: 0, days_max: 0, compress: true };
        let (sender, receiver) = mpsc::channel(10);
        let stop = CancellationToken::new();
        sender.send(Arc::new(serde_json::json!({"a": 1}))).await.unwrap();
        stop.cancel();
        Log::open(options).unwrap().run(receiver, stop).await;
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n");
    }
}
