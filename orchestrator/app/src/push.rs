//! `amphipod push`: a `.wasm` file to any OCI registry, as a CNCF Wasm artifact.

use std::path::PathBuf;

use clap::Args;

use crate::failure::refuse;

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
        let wasm = tokio::fs::read(&self.file).await;
        let wasm = wasm.map_err(|error| refuse(format!("cannot read {}: {error}", self.file.display())))?;
        amphipod_images::check(&wasm).map_err(|error| refuse(format!("{} is no Wasm: {error}", self.file.display())))?;
        let credentials = amphipod_images::docker_credentials(&self.reference);
        let digest = amphipod_images::push(&self.reference, wasm, &credentials).await?;
        eprintln!("pushed {}", self.reference);
        println!("{digest}");
        Ok(())
    }
}
