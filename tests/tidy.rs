//! The house's invariants, read from the sources and the manifests. A rule that hurts gets a reason, not an exception:
//! `// tidy: long because …` (or `wide because`) on the line above the function, or among a file's first lines.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const PARAMETERS_MAX: usize = 5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines before the file's own tests.
    fn lines(&self) -> usize {
        self.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
    }

    fn excused(&self) -> bool {
        self.text.lines().take(12).any(|line| line.contains("tidy: long because"))
    }
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for directory in ["sdk", "orchestrator", "host", "tests", "examples"] {
        walk(&root().join(directory), &mut found);
    }
    assert!(found.len() > 30, "the walk must find the sources");
    found
}

fn walk(directory: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                walk(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root()).unwrap().display().to_string();
            found.push(Source { path, text });
        }
    }
}

fn report(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//!"));
    report("a file opens with //!", silent.map(|source| source.path).collect());
}

#[test]
fn files_stay_short() {
    let long = sources().into_iter().filter(|source| source.lines() > FILE_LINES_MAX && !source.excused());
    report("a file has at most 500 lines", long.map(|s| format!("{} {}", s.path, s.lines())).collect());
}

#[test]
fn names_are_nouns_and_verbs() {
    let banned = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs", "mod.rs"];
    let bad = sources().into_iter().filter(|s| banned.iter().any(|name| s.path.ends_with(&format!("/{name}"))));
    report("no drawer for everything", bad.map(|source| source.path).collect());
}

#[derive(Default)]
struct Functions {
    /// `(name, first line, lines, parameters)`
    seen: Vec<(String, usize, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line + 1 - first;
        self.seen.push((signature.ident.to_string(), first, lines, signature.inputs.len()));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn functions_fit_a_screen() {
    let mut broken = Vec::new();
    for source in sources() {
        let file = syn::parse_file(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
        let mut functions = Functions::default();
        functions.visit_file(&file);
        let lines: Vec<_> = source.text.lines().collect();
        for (name, first, length, parameters) in functions.seen {
            let above = &lines[first.saturating_sub(6)..first];
            let excused = above.iter().any(|l| l.contains("tidy: long because") || l.contains("tidy: wide because"));
            if length > FUNCTION_LINES_MAX && !excused {
                broken.push(format!("{}:{first} {name} has {length} lines", source.path));
            }
            if parameters > PARAMETERS_MAX && !excused {
                broken.push(format!("{}:{first} {name} has {parameters} parameters", source.path));
            }
        }
    }
    report("a function has at most 70 lines and five parameters, self among them", broken);
}

/// Who may name a crate in its sources.
#[test]
fn heavy_crates_have_one_home() {
    let homes = BTreeMap::from([
        ("redb::", "orchestrator/store/"),
        ("openraft::", "orchestrator/store/"),
        ("wasmtime::", "host/wasm/"),
        ("wasmtime_wasi::", "host/wasm/"),
        ("wasmtime_wasi_http::", "host/wasm/"),
        ("oci_client::", "host/images/"),
    ]);
    let mut broken = Vec::new();
    for source in sources() {
        for (name, home) in &homes {
            let word = regex::Regex::new(&format!(r"\b{name}")).unwrap();
            if word.is_match(&source.text) && !source.path.starts_with(home) && source.path != "tests/tidy.rs" {
                broken.push(format!("{} names {name}", source.path));
            }
        }
    }
    report("only its home names a heavy crate", broken);
}

#[test]
fn the_halves_never_depend_on_each_other() {
    let metadata = cargo_metadata::MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec();
    let mut broken = Vec::new();
    for package in metadata.unwrap().packages {
        let half = |path: &str| ["orchestrator", "host"].into_iter().find(|half| path.contains(&format!("/{half}/")));
        let Some(own) = half(package.manifest_path.as_str()) else { continue };
        if package.name.as_str() == "amphipod" {
            continue; // the program wires both halves
        }
        for dependency in &package.dependencies {
            let other = dependency.path.as_ref().and_then(|path| half(&format!("{path}/")));
            if other.is_some_and(|other| other != own) {
                broken.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    report("orchestrator/ and host/ meet only in the program", broken);
}

#[test]
fn json_stays_canonical() {
    let metadata = cargo_metadata::MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().unwrap();
    let resolve = metadata.resolve.expect("cargo resolves");
    let json = resolve.nodes.iter().find(|node| node.id.repr.contains("#serde_json@")).expect("serde_json is used");
    let banned = ["preserve_order", "arbitrary_precision"];
    let banned = json.features.iter().filter(|feature| banned.contains(&feature.as_str()));
    let banned = banned.map(ToString::to_string).collect();
    report("serde_json keeps sorted keys and plain numbers", banned);
}

#[test]
fn the_top_level_is_the_map() {
    let expected = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "docs",
        "examples",
        "host",
        "orchestrator",
        "sdk",
        "tests",
        "wit",
    ];
    let mut found: Vec<_> =
        std::fs::read_dir(root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.retain(|name| !name.starts_with('.') && name != "target");
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_readme_names_what_the_plan_became() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for row in [
        "| wasi-common | `wasmtime-wasi` |",
        "| oci-distribution | `oci-client` |",
        "| the wasmtime shim | `wasm-worker` |",
    ] {
        assert!(readme.contains(row), "README.md misses {row:?}");
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for line in ["wasmtime-wasi = {", "oci-client = {", "openraft = { version = \"=0.10.0-alpha.37\"", "redb = "] {
        assert!(manifest.contains(line), "Cargo.toml misses {line:?}");
    }
}

#[test]
fn the_pod_interfaces_parse() {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).expect("wit/ parses");
    let worlds: Vec<_> = resolve.packages[package].worlds.keys().map(String::as_str).collect();
    assert_eq!(
        worlds,
        [
            "base",
            "init-container",
            "inbound-filter",
            "head-filter",
            "ambassador",
            "log-pipeline",
            "metrics-adapter",
            "sidecar"
        ]
    );
}
