//! Turns a component or core module into a `.cwasm` file. Neighbour: link.rs, which loads it.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::Engine;

use crate::{Error, Result, engine};

/// First bytes of a component (layer 1) and of a core module (version 1).
const MAGIC: &[u8] = b"\0asm";
const LAYER_AT: usize = 6;

/// The compiled form of `wasm`, for [`crate::Host::load`] in a process of the same program on the same machine.
///
/// # Errors
/// `Image` when the bytes are no valid component or module; the message says where.
pub fn compile(wasm: &[u8]) -> Result<Vec<u8>> {
    if !wasm.starts_with(MAGIC) || wasm.len() < 8 {
        return Err(Error::Image("not a Wasm component or module: it does not start with \\0asm".into()));
    }
    let engine = engine()?;
    let compiled = match wasm[LAYER_AT] {
        0 => engine.precompile_module(wasm),
        _ => engine.precompile_component(wasm),
    };
    compiled.map_err(|error| Error::Image(format!("cannot be compiled: {error:#}")))
}

/// Two processes can share `.cwasm` files when these are equal: engine version, settings and CPU features.
///
/// # Errors
/// `Host` when no engine can be made on this machine.
pub fn compatibility() -> Result<String> {
    let mut hasher = DefaultHasher::new();
    engine()?.precompile_compatibility_hash().hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn engine() -> Result<Engine> {
    Engine::new(&engine::config()).map_err(|error| Error::Host(format!("cannot make an engine: {error:#}")))
}
