//! `amphipod apply`: server-side apply, so that what leaves a manifest leaves the object.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;

use crate::connect::{Connection, Target};
use crate::{manifest, report};

#[derive(Args)]
#[command(after_help = "Examples:\n  amphipod apply -f examples/hello/\n  amphipod apply -f - < pod.yaml")]
pub struct Apply {
    /// File or folder with manifests, or - for stdin
    #[arg(short, long = "filename", required = true)]
    filename: Vec<PathBuf>,
    /// Take over fields that another manager has set to something else
    #[arg(long)]
    force_conflicts: bool,
    #[command(flatten)]
    target: Target,
}

impl Apply {
    pub async fn run(self) -> anyhow::Result<()> {
        let objects = manifest::read(&self.filename)?;
        let connection = self.target.connect().await?;
        let how = PatchParams { force: self.force_conflicts, ..PatchParams::apply("amphipod") };
        for object in objects {
            let name = object.name_any();
            apply(&connection, object, &how).await.with_context(|| format!("cannot apply {name}"))?;
        }
        Ok(())
    }
}

async fn apply(connection: &Connection, object: DynamicObject, how: &PatchParams) -> anyhow::Result<()> {
    let kind = manifest::kind_of(&object)?;
    let resource = connection.by_kind(&kind).await?;
    let api = connection.api(&resource, object.namespace().as_deref());
    let name = object.name_any();
    let before = api.get_metadata_opt(&name).await?;
    let after = api.patch(&name, how, &Patch::Apply(&object)).await?;
    let done = match before {
        None => "created",
        Some(before) if before.resource_version() == after.resource_version() => "unchanged",
        Some(_) => "configured",
    };
    report::print(format!("{}/{name} {done}\n", shown_kind(&kind)))?;
    Ok(())
}

/// `deployment.apps`, `pod`: as kubectl prints it.
pub fn shown_kind(kind: &kube::core::GroupVersionKind) -> String {
    let lower = kind.kind.to_lowercase();
    if kind.group.is_empty() { lower } else { format!("{lower}.{}", kind.group) }
}
