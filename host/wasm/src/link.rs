//! What the host offers to guests, and how a compiled file becomes a [`Program`]: its kind is read from its exports, a
//! missing import is named before anything runs.

use std::path::Path;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Module, Precompiled};
use wasmtime_wasi_http::handler::ProxyPre;

use crate::guest::{Guest, ModuleGuest};
use crate::{Error, Host, Result};

/// The interfaces a component may import, up to the version.
const OFFERED: [(&str, &[&str]); 7] = [
    ("wasi:cli/", &["@0.2.", "@0.3."]),
    ("wasi:clocks/", &["@0.2.", "@0.3."]),
    ("wasi:filesystem/", &["@0.2.", "@0.3."]),
    ("wasi:http/", &["@0.2.", "@0.3."]),
    ("wasi:io/", &["@0.2."]),
    ("wasi:random/", &["@0.2.", "@0.3."]),
    ("wasi:sockets/", &["@0.2.", "@0.3."]),
];

/// What a program does, by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Serves HTTP on the container's ports.
    Http,
    /// Runs to its end.
    Command,
}

/// A loaded image, ready to be instantiated. A component may be both: it runs as a command when the container gives
/// it arguments, and serves when it gives none.
pub struct Program {
    pub(crate) server: Option<ProxyPre<Guest>>,
    pub(crate) command: Option<Command>,
}

pub(crate) enum Command {
    P2(wasmtime_wasi::p2::bindings::CommandPre<Guest>),
    P3(wasmtime_wasi::p3::bindings::CommandPre<Guest>),
    Module(wasmtime::InstancePre<ModuleGuest>),
}

impl Program {
    /// What a container with this `argv` (the program's name first) is.
    pub fn kind(&self, arguments: &[String]) -> Kind {
        match (&self.server, &self.command) {
            (Some(_), Some(_)) if arguments.len() > 1 => Kind::Command,
            (Some(_), _) => Kind::Http,
            (None, _) => Kind::Command,
        }
    }
}

pub(crate) fn components(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    Ok(linker)
}

pub(crate) fn modules(engine: &Engine) -> wasmtime::Result<wasmtime::Linker<ModuleGuest>> {
    let mut linker = wasmtime::Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |guest: &mut ModuleGuest| &mut guest.wasi)?;
    Ok(linker)
}

/// Deserializes `cwasm` and checks that everything it imports is here.
pub(crate) fn load(host: &Host, cwasm: &Path) -> Result<Program> {
    let image = |error: wasmtime::Error| Error::Image(format!("cannot load the compiled module: {error:#}"));
    let program = match Engine::detect_precompiled_file(cwasm).map_err(image)? {
        Some(Precompiled::Component) => {
            // SAFETY: only files that the compile process of this program wrote reach this path; their keyed digest
            // was checked by the parent, and the directory is writable by its user alone.
            #[allow(unsafe_code)]
            let component = unsafe { Component::deserialize_file(&host.engine, cwasm) }.map_err(image)?;
            component_program(host, &component)?
        }
        Some(Precompiled::Module) => {
            // SAFETY: as above.
            #[allow(unsafe_code)]
            let module = unsafe { Module::deserialize_file(&host.engine, cwasm) }.map_err(image)?;
            module_program(host, &module)?
        }
        None => return Err(Error::Image("not a compiled module".into())),
    };
    Ok(program)
}

fn component_program(host: &Host, component: &Component) -> Result<Program> {
    let pre = host.components.instantiate_pre(component).map_err(|error| missing(host, component, &error))?;
    let shape = component.component_type();
    let exports: Vec<String> = shape.exports(&host.engine).map(|(name, _)| name.to_owned()).collect();
    let image = |error: wasmtime::Error| Error::Image(format!("{error:#}"));
    let program = entries(&exports, pre).map_err(image)?;
    if program.server.is_none() && program.command.is_none() {
        let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        let wanted = "neither wasi:http/incoming-handler, wasi:http/handler nor wasi:cli/run";
        return Err(Error::Config(format!("the component exports {wanted}, but: {found}")));
    }
    Ok(program)
}

fn entries(exports: &[String], pre: InstancePre<Guest>) -> wasmtime::Result<Program> {
    let has = |name: &str| exports.iter().any(|export| export.starts_with(name));
    let server = if has("wasi:http/handler@0.3.") {
        Some(ProxyPre::P3(wasmtime_wasi_http::p3::bindings::ServicePre::new(pre.clone())?))
    } else if has("wasi:http/incoming-handler@0.2.") {
        Some(ProxyPre::P2(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre.clone())?))
    } else {
        None
    };
    let command = if has("wasi:cli/run@0.3.") {
        Some(Command::P3(wasmtime_wasi::p3::bindings::CommandPre::new(pre)?))
    } else if has("wasi:cli/run@0.2.") {
        Some(Command::P2(wasmtime_wasi::p2::bindings::CommandPre::new(pre)?))
    } else {
        None
    };
    Ok(Program { server, command })
}

fn module_program(host: &Host, module: &Module) -> Result<Program> {
    if module.get_export("_start").is_none() {
        return Err(Error::Config("the core module does not export _start, the entry of a WASI command".into()));
    }
    let unknown: Vec<String> = module
        .imports()
        .filter(|import| import.module() != "wasi_snapshot_preview1")
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect();
    let pre = host.modules.instantiate_pre(module).map_err(|error| {
        Error::Config(if unknown.is_empty() {
            format!("the core module cannot be linked: {error:#}")
        } else {
            format!("the core module imports what this host does not offer: {}", unknown.join(", "))
        })
    })?;
    Ok(Program { server: None, command: Some(Command::Module(pre)) })
}

fn missing(host: &Host, component: &Component, error: &wasmtime::Error) -> Error {
    let shape = component.component_type();
    let names: Vec<String> =
        shape.imports(&host.engine).map(|(name, _)| name.to_owned()).filter(|name| !offered(name)).collect();
    Error::Config(if names.is_empty() {
        format!("the component cannot be linked: {error:#}")
    } else {
        format!("the component imports what this host does not offer: {}", names.join(", "))
    })
}

fn offered(import: &str) -> bool {
    OFFERED.iter().any(|(package, versions)| {
        import.starts_with(package) && versions.iter().any(|version| import.contains(version))
    })
}
