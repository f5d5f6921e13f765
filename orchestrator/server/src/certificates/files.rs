//! Private files: a directory only its owner enters, files only its owner reads, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{CertificateError, Pair};

/// Makes the directory (and parents) with mode 0700; tightens an existing one.
pub fn private_directory(path: &Path) -> Result<(), CertificateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("protect", path))
}

/// Replaces the file in one step, mode 0600, durable before it returns.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), CertificateError> {
    let temporary = beside(path);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed("create", &temporary))?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed("protect", &temporary))?;
    file.write_all(content).and_then(|()| file.sync_data()).map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    if let Some(parent) = path.parent() {
        let directory = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("write", directory))?;
    }
    Ok(())
}

/// The file's text, `None` when there is none.
pub fn read(path: &Path) -> Result<Option<String>, CertificateError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("read", path)(source)),
    }
}

/// The file's text; made by `make` and written when there is none.
pub(super) fn kept(
    path: &Path,
    make: impl FnOnce() -> Result<String, CertificateError>,
) -> Result<String, CertificateError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let text = make()?;
    write_private(path, text.as_bytes())?;
    Ok(text)
}

pub(super) fn read_pair(certificate: &Path, key: &Path) -> Result<Option<Pair>, CertificateError> {
    let (Some(certificate), Some(key)) = (read(certificate)?, read(key)?) else { return Ok(None) };
    Ok(Some(Pair { certificate, key }))
}

/// The key first: a pair without its certificate counts as absent.
pub(super) fn write_pair(certificate: &Path, key: &Path, pair: &Pair) -> Result<(), CertificateError> {
    write_private(key, pair.key.as_bytes())?;
    write_private(certificate, pair.certificate.as_bytes())
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::File { what, path, source }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}
