//! Compiles one image in a process of its own, so that a hostile module meets a compiler that can reach nothing.
//! Parent and child stand side by side here; cache.rs decides when.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use amphipod_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::channel;
use crate::child;
use crate::protocol::Failure;
use crate::sandbox::{self, Allowed};

/// Larger images are refused before a byte is read.
const WASM_BYTES_MAX: u64 = 256 << 20;
const TIME_MAX: Duration = Duration::from_secs(120);
const CPU_SECONDS_MAX: u64 = 240;
const ADDRESS_SPACE_BYTES_MAX: u64 = 16 << 30;

/// Descriptors: the image, the empty file to write.
#[derive(Serialize, Deserialize)]
struct Work;

#[derive(Serialize, Deserialize)]
struct Outcome(Result<(), Failure>);

/// In the parent: compiles `wasm` into the empty file `output`.
///
/// # Errors
/// `Image` when the image is to blame, `Runtime` when the process is.
pub(crate) async fn run(program: &Path, arguments: &[String], wasm: &Path, output: &File) -> Result<()> {
    let host = |error: io::Error| Error::Runtime(format!("cannot compile {}: {error}", wasm.display()));
    let input = File::open(wasm).map_err(host)?;
    if input.metadata().map_err(host)?.len() > WASM_BYTES_MAX {
        return Err(Error::Image(format!("larger than the {WASM_BYTES_MAX} bytes that a Wasm image may have")));
    }
    let (mut process, socket) = child::spawn(program, arguments).map_err(host)?;
    let (sender, mut receiver, writer) = channel::split(socket).map_err(host)?;
    let talk = async {
        sender.send(&Work, vec![input.into(), output.try_clone()?.into()]).await?;
        receiver.next::<Outcome>().await
    };
    let answered = tokio::select! {
        answered = tokio::time::timeout(TIME_MAX, talk) => answered,
        () = writer => Ok(Err(io::ErrorKind::BrokenPipe.into())),
    };
    process.kill();
    let status =
        tokio::task::spawn_blocking(move || process.wait()).await.map_err(|error| host(io::Error::other(error)))?;
    match answered {
        Ok(Ok(Some((Outcome(result), _)))) => result.map_err(Error::from),
        Ok(Ok(None) | Err(_)) => {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(Error::Image(format!("the compiler ended ({status}): the module needs more than it may have")))
        }
        Err(_) => Err(Error::Image(format!("not compiled within {} s", TIME_MAX.as_secs()))),
    }
}

/// In the child.
pub(crate) fn main() -> ExitCode {
    match child_main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("wasm-compile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn child_main() -> io::Result<()> {
    let socket = child::control()?;
    let allowed = Allowed {
        readable: vec!["/sys/devices/system/cpu".into(), "/sys/fs/cgroup".into(), "/proc/self".into()],
        address_space_bytes: Some(ADDRESS_SPACE_BYTES_MAX),
        cpu_seconds: Some(CPU_SECONDS_MAX),
        ..Allowed::default()
    };
    sandbox::enter(&allowed)?;
    child::end_with_parent(&socket)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (sender, mut receiver, writer) = channel::split(socket)?;
        let talk = async move {
            let Some((Work, descriptors)) = receiver.next::<Work>().await? else { return Ok(()) };
            let outcome = compile(descriptors).map_err(Failure::from);
            sender.send(&Outcome(outcome), Vec::new()).await?;
            // The parent ends this process once it has the answer.
            receiver.next::<Work>().await.map(drop)
        };
        tokio::join!(talk, writer).0
    })
}

fn compile(descriptors: Vec<OwnedFd>) -> amphipod_wasm::Result<()> {
    let host = |error: io::Error| amphipod_wasm::Error::Host(error.to_string());
    let Ok([input, output]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        return Err(amphipod_wasm::Error::Host("two descriptors expected".into()));
    };
    let mut wasm = Vec::new();
    File::from(input).read_to_end(&mut wasm).map_err(host)?;
    let compiled = amphipod_wasm::compile(&wasm)?;
    let mut output = File::from(output);
    output.write_all(&compiled).and_then(|()| output.sync_all()).map_err(host)
}
