//! `amphipod push`: a `.wasm` file to any OCI registry, as a CNCF Wasm artifact.

use std::path::PathBuf;

use amphipod_runtime::{Credentials, ImageError};
use clap::Args;

use crate::failure::refuse;
use crate::report;

#[derive(Args)]
#[command(after_help = "Example:\n  amphipod push ./hello.wasm localhost:5000/hello:v1")]
pub struct Push {
    /// The component or module
    file: PathBuf,
    /// Where to: registry/repository:tag (plain HTTP only for loopback)
    reference: String,
}

impl Push {
    pub async fn run(self) -> anyhow::Result<()> {
        if let Err(error) = std::fs::File::open(&self.file) {
            return Err(refuse(format!("cannot read {}: {error}", self.file.display())));
        }
        let pushed = amphipod_images::push(&self.reference, &self.file, &credentials(&self.reference)).await;
        let digest = pushed.map_err(|error| match error {
            ImageError::InvalidName { .. } | ImageError::Invalid { .. } => refuse(error.to_string()),
            other => anyhow::Error::new(other),
        })?;
        eprintln!("pushed {}", self.reference);
        report::print(format!("{digest}\n"))?;
        Ok(())
    }
}

/// What `docker login` left in `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
fn credentials(reference: &str) -> Credentials {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    let config = folder.and_then(|folder| std::fs::read_to_string(folder.join("config.json")).ok());
    config.and_then(|text| amphipod_images::credentials_for(reference, &text)).unwrap_or_default()
}
