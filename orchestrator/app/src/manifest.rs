//! Manifests: YAML or JSON files, folders of them, or stdin, as the objects that they hold.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use kube::core::{DynamicObject, GroupVersionKind};
use serde::Deserialize as _;

use crate::failure::refuse;

/// Every object of these files, in order; `-` is stdin. Wrong input is refused before anything is sent.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for file in files {
        for (name, text) in texts(file)? {
            parse(&name, &text, &mut objects)?;
        }
    }
    if objects.is_empty() {
        return Err(refuse("no objects in the given files"));
    }
    Ok(objects)
}

/// What a manifest says it is.
pub fn kind_of(object: &DynamicObject) -> anyhow::Result<GroupVersionKind> {
    let types = object.types.as_ref().ok_or_else(|| refuse("an object has no apiVersion and kind"))?;
    GroupVersionKind::try_from(types).map_err(|error| refuse(format!("apiVersion {:?}: {error}", types.api_version)))
}

/// A kind and a name: without both there is nothing to ask the server for.
fn named(file: &str, object: DynamicObject) -> anyhow::Result<DynamicObject> {
    let kind = object.types.as_ref().map(|types| types.kind.as_str()).filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| refuse(format!("{file}: an object has no apiVersion and kind")))?;
    match object.metadata.name.as_deref() {
        Some(name) if !name.is_empty() => Ok(object),
        _ => Err(refuse(format!("{file}: a {kind} has no metadata.name"))),
    }
}

fn texts(file: &Path) -> anyhow::Result<Vec<(String, String)>> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(vec![("stdin".to_owned(), text)]);
    }
    let unreadable = |error: std::io::Error| refuse(format!("cannot read {}: {error}", file.display()));
    let mut paths = Vec::new();
    if file.is_dir() {
        for entry in std::fs::read_dir(file).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let manifest =
                path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|e| extension == *e));
            if manifest {
                paths.push(path);
            }
        }
        paths.sort();
    } else {
        paths.push(file.to_owned());
    }
    let text = |path: PathBuf| Ok((path.display().to_string(), std::fs::read_to_string(&path).map_err(unreadable)?));
    paths.into_iter().map(text).collect()
}

fn parse(name: &str, text: &str, objects: &mut Vec<DynamicObject>) -> anyhow::Result<()> {
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = serde_json::Value::deserialize(document).map_err(|error| refuse(format!("{name}: {error}")))?;
        if value.is_null() {
            continue;
        }
        let items = match value.get("items").and_then(|items| items.as_array()) {
            Some(items) if value["kind"] == "List" => items.clone(),
            _ => vec![value],
        };
        for item in items {
            let object =
                serde_json::from_value(item).map_err(|error| refuse(format!("{name}: not a manifest: {error}")))?;
            let object = named(name, object)?;
            objects.push(object);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_manifests_are_refused_with_their_file_and_reason() {
        let check = |text: &str| {
            let mut objects = Vec::new();
            parse("f.yaml", text, &mut objects).map(|()| objects.len()).map_err(|error| error.to_string())
        };
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";
        assert_eq!(check(&format!("{pod}---\n---\n{pod}")), Ok(2));
        assert_eq!(check("{kind: List, apiVersion: v1, items: []}"), Ok(0));
        assert_eq!(check("apiVersion: v1\nkind: Pod\nmetadata: {}"), Err("f.yaml: a Pod has no metadata.name".into()));
        assert_eq!(check("metadata: {name: a}"), Err("f.yaml: an object has no apiVersion and kind".into()));
        assert!(check("just text").unwrap_err().starts_with("f.yaml: not a manifest: "));
        assert!(check(": : {").unwrap_err().starts_with("f.yaml: "));
    }
}
