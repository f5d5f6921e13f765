//! `amphipod apply`: creates what is missing, changes what differs.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;

use crate::connect::{Connection, Target};
use crate::{manifest, report};

#[derive(Args)]
#[command(after_help = "Examples:\n  amphipod apply -f examples/hello/\n  amphipod apply -f - < pod.yaml")]
pub struct Apply {
    /// File or folder with manifests, or - for stdin
    #[arg(short, long = "filename", required = true)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Apply {
    pub async fn run(self) -> anyhow::Result<()> {
        let objects = manifest::read(&self.filename)?;
        let connection = self.target.connect().await?;
        for object in objects {
            let name = object.name_any();
            apply(&connection, object).await.with_context(|| format!("cannot apply {name}"))?;
        }
        Ok(())
    }
}

async fn apply(connection: &Connection, object: DynamicObject) -> anyhow::Result<()> {
    let kind = manifest::kind_of(&object)?;
    let resource = connection.by_kind(&kind).await?;
    let api = connection.api(&resource, object.namespace().as_deref());
    let name = object.name_any();
    let shown = format!("{}/{name}", shown_kind(&kind));
    let Some(before) = api.get_opt(&name).await? else {
        api.create(&PostParams { field_manager: Some("amphipod".into()), ..Default::default() }, &object).await?;
        report::print(format!("{shown} created\n"))?;
        return Ok(());
    };
    let after = api
        .patch(
            &name,
            &PatchParams { field_manager: Some("amphipod".into()), ..Default::default() },
            &Patch::Merge(&object),
        )
        .await?;
    let same = before.resource_version() == after.resource_version();
    report::print(format!("{shown} {}\n", if same { "unchanged" } else { "configured" }))?;
    Ok(())
}

/// `deployment.apps`, `pod`: as kubectl prints it.
pub fn shown_kind(kind: &kube::core::GroupVersionKind) -> String {
    let lower = kind.kind.to_lowercase();
    if kind.group.is_empty() { lower } else { format!("{lower}.{}", kind.group) }
}
