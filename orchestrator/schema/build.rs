//! Gathers what the types of the API say of themselves and of their fields from the sources of the `k8s-openapi` crate,
//! which the program depends on anyway. `openapi/descriptions.rs` reads the result.
//!
//! ```text
//!  >io.k8s.api.core.v1.Pod⇥what it is        names and texts as Rust string literals have them, deflated
//!  spec⇥what the field is
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// The release whose sources are read.
const RELEASE: &str = "v1_37";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let mut text = String::new();
    match sources() {
        Some(folder) => gather(&folder, &mut text),
        None => println!(
            "cargo::warning=the sources of k8s-openapi are not there: kubectl explain will know no descriptions"
        ),
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).expect("writing to memory succeeds");
    let deflated = encoder.finish().expect("writing to memory succeeds");
    let out = std::env::var_os("OUT_DIR").expect("cargo says where build scripts write");
    std::fs::write(Path::new(&out).join("descriptions.deflate"), deflated).expect("the output folder is writable");
}

/// Where cargo keeps them: in its registry or in a vendored folder.
fn sources() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO")?;
    let target = std::env::var("TARGET").ok()?;
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--filter-platform", &target])
        .output()
        .ok()?;
    let metadata = String::from_utf8(metadata.stdout).ok()?;
    let package = metadata.split(r#"{"name":"k8s-openapi","version":""#).nth(1)?;
    let manifest = package.split(r#""manifest_path":""#).nth(1)?.split('"').next()?;
    let folder = Path::new(manifest).parent()?.join("src").join(RELEASE);
    folder.is_dir().then_some(folder)
}

fn gather(folder: &Path, text: &mut String) {
    let entries = std::fs::read_dir(folder).expect("sources that were found can be read");
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            gather(&path, text);
        } else if let Ok(source) = std::fs::read_to_string(&path) {
            read(&source, text);
        }
    }
}

/// A schema is written one member a line; how far a line is indented says what it is about.
fn read(source: &str, text: &mut String) {
    let Some(name) = between(source, "        \"io.k8s.", "\".into()\n") else { return };
    let Some((_, schema)) = source.split_once("json_schema!({") else { return };
    let mut own = "";
    let mut fields = Vec::new();
    let mut field = "";
    for line in schema.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim_start();
        match indent {
            12 => own = described(line).unwrap_or(own),
            16 => field = between(line, "\"", "\": ").unwrap_or(field),
            20 => fields.extend(described(line).map(|description| (field, description))),
            _ => {}
        }
    }
    text.push_str(&format!(">io.k8s.{name}\t{own}\n"));
    for (field, description) in fields {
        text.push_str(&format!("{field}\t{description}\n"));
    }
}

/// The text of a line that sets a description, in either way.
fn described(line: &str) -> Option<&str> {
    let direct = line.strip_prefix("\"description\": \"").and_then(|rest| rest.strip_suffix("\","));
    direct.or_else(|| {
        line.strip_prefix("schema_obj.ensure_object().insert(\"description\".into(), \"")?.strip_suffix("\".into());")
    })
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}
