//! `amphipod delete`: by manifest or by name.

use std::path::PathBuf;

use clap::Args;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use kube::core::DynamicObject;

use crate::apply::shown_kind;
use crate::connect::Target;
use crate::failure::refuse;
use crate::{manifest, report};

#[derive(Args)]
#[command(after_help = "Examples:\n  amphipod delete -f examples/hello/\n  amphipod delete pod hello-once")]
pub struct Delete {
    /// Kind and names: `pod a b`, or `pod/a`
    words: Vec<String>,
    /// File or folder with manifests, or - for stdin
    #[arg(short, long = "filename")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Delete {
    pub async fn run(self) -> anyhow::Result<()> {
        if self.words.is_empty() == self.filename.is_empty() {
            return Err(refuse("name either objects (`delete pod NAME`) or files (`delete -f FILE`)"));
        }
        if self.filename.is_empty() {
            return self.by_name().await;
        }
        let objects = manifest::read(&self.filename)?;
        let connection = self.target.connect().await?;
        for object in objects.iter().rev() {
            let kind = manifest::kind_of(object)?;
            let resource = connection.by_kind(&kind).await?;
            let api = connection.api(&resource, object.namespace().as_deref());
            delete(&api, &shown_kind(&kind), &object.name_any()).await?;
        }
        Ok(())
    }

    async fn by_name(self) -> anyhow::Result<()> {
        let connection = self.target.connect().await?;
        for (word, name) in pairs(&self.words)? {
            let resource = connection.by_word(&word).await?;
            let api = connection.api(&resource, None);
            delete(&api, &resource.api.plural, &name).await?;
        }
        Ok(())
    }
}

/// `kind name name` or `kind/name kind/name` as pairs.
pub fn pairs(words: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let slashed: Vec<_> = words.iter().filter_map(|word| word.split_once('/')).collect();
    if slashed.len() == words.len() {
        return Ok(slashed.into_iter().map(|(kind, name)| (kind.to_owned(), name.to_owned())).collect());
    }
    match words {
        [kind, names @ ..] if slashed.is_empty() && !names.is_empty() => {
            Ok(names.iter().map(|name| (kind.clone(), name.clone())).collect())
        }
        _ => Err(refuse("say a kind and names: `pod a b`, or `pod/a`")),
    }
}

async fn delete(api: &kube::Api<DynamicObject>, kind: &str, name: &str) -> anyhow::Result<()> {
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => report::print(format!("{kind} {name:?} deleted\n"))?,
        Err(kube::Error::Api(status)) if status.code == 404 => report::print(format!("{kind} {name:?} not found\n"))?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_objects_in_kubectls_two_ways() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let pair = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        assert_eq!(pairs(&words("pod a b")).unwrap(), [pair("pod", "a"), pair("pod", "b")]);
        assert_eq!(pairs(&words("pod/a svc/b")).unwrap(), [pair("pod", "a"), pair("svc", "b")]);
        assert!(pairs(&words("pod")).is_err());
        assert!(pairs(&words("pod/a b")).is_err());
    }
}
