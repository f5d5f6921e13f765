//! Which part of an image is the Wasm module: a pure decision over manifest and config. Neighbour: pull.rs.
//!
//! Known: the CNCF artifact (config v0, one `application/wasm` layer), wasm-to-oci, the runwasi layers, and an ordinary
//! image `FROM scratch` whose entrypoint is a `.wasm` file in a tar layer.

use serde::Deserialize;

pub(crate) const CONFIG_V0: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const LAYER: &str = "application/wasm";
const LAYERS: [&str; 4] = [
    LAYER,
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.bytecodealliance.wasm.module.layer.v0+wasm",
];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Manifest {
    pub(crate) config: Option<Descriptor>,
    pub(crate) layers: Vec<Descriptor>,
    /// Of an index.
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: String,
    architecture: String,
}

/// The config of an ordinary image, as far as it matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    os: String,
    architecture: String,
    pub(crate) config: Process,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Process {
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) env: Option<Vec<String>>,
}

/// What to download.
#[derive(Debug)]
pub(crate) enum Choice {
    /// The layer is the module.
    Layer(Descriptor),
    /// A file of one of these tar layers, the last of which wins.
    File { path: String, layers: Vec<Descriptor> },
    /// Nothing for us.
    Linux { platforms: Vec<String> },
}

/// The entry of an index for this node: Wasm before all else.
///
/// # Errors
/// The platforms there are.
pub(crate) fn platform(manifests: &[Descriptor]) -> Result<&Descriptor, Vec<String>> {
    let wasm = manifests.iter().find(|entry| {
        entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.architecture == "wasm" || platform.os.starts_with("wasi"))
    });
    wasm.ok_or_else(|| {
        let named = manifests.iter().filter_map(|entry| entry.platform.as_ref());
        named.map(|platform| format!("{}/{}", platform.os, platform.architecture)).collect()
    })
}

pub(crate) fn choose(manifest: &Manifest, config: &Config) -> Choice {
    if let Some(layer) = manifest.layers.iter().find(|layer| LAYERS.contains(&layer.media_type.as_str())) {
        return Choice::Layer(layer.clone());
    }
    let entrypoint = config.config.entrypoint.iter().chain(&config.config.cmd).flatten().next();
    let file = entrypoint
        .map(|entry| entry.split('#').next().unwrap_or_default().trim_start_matches("./").trim_start_matches('/'));
    match file.filter(|file| file.ends_with(".wasm")) {
        Some(file) => Choice::File { path: file.to_owned(), layers: manifest.layers.iter().rev().cloned().collect() },
        None => Choice::Linux { platforms: vec![format!("{}/{}", config.os, config.architecture)] },
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(manifest: &str, config: &str, expected: Expect) {
        let manifest: Manifest = serde_json::from_str(manifest).unwrap();
        let config: Config = serde_json::from_str(config).unwrap();
        let seen = match choose(&manifest, &config) {
            Choice::Layer(layer) => format!("layer {}", layer.digest),
            Choice::File { path, layers } => format!("file {path} of {} layers", layers.len()),
            Choice::Linux { platforms } => format!("linux {platforms:?}"),
        };
        expected.assert_eq(&seen);
    }

    #[test]
    fn every_known_format_is_recognised() {
        for layer in LAYERS {
            let manifest = format!(r#"{{"layers":[{{"mediaType":"{layer}","digest":"sha256:a","size":3}}]}}"#);
            check(&manifest, "{}", expect!["layer sha256:a"]);
        }
        let tar =
            r#"{"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:b","size":3}]}"#;
        check(tar, r#"{"config":{"Entrypoint":["/app.wasm#run"]}}"#, expect!["file app.wasm of 1 layers"]);
        check(tar, r#"{"config":{"Entrypoint":null,"Cmd":["./a/b.wasm"]}}"#, expect!["file a/b.wasm of 1 layers"]);
        check(
            tar,
            r#"{"os":"linux","architecture":"arm64","config":{"Cmd":["/bin/sh"]}}"#,
            expect![[r#"linux ["linux/arm64"]"#]],
        );
    }

    #[test]
    fn an_index_gives_its_wasm_before_its_linux() {
        let index: Manifest = serde_json::from_str(
            r#"{"manifests":[{"digest":"a","platform":{"os":"linux","architecture":"amd64"}},{"digest":"b","platform":{"os":"wasi","architecture":"wasm"}}]}"#,
        )
        .unwrap();
        let all = index.manifests.unwrap();
        assert_eq!(platform(&all).unwrap().digest, "b");
        assert_eq!(platform(&all[..1]).unwrap_err(), ["linux/amd64"]);
    }
}
