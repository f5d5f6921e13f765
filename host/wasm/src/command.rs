//! A guest that runs to its end: `wasi:cli/run` of a component, `_start` of a core module. Neighbour: http.rs.

use std::sync::Arc;

use amphipod_runtime::Exit;
use jiff::Timestamp;
use tokio::sync::watch;
use wasmtime::Store;

use crate::cpu::Metered;
use crate::guest::{Blueprint, Guest, ModuleGuest};
use crate::link::Command;
use crate::start::{Deadline, asked};
use crate::{Program, Result, exit};

/// A command with its store.
pub(crate) struct Prepared {
    program: Arc<Program>,
    blueprint: Arc<Blueprint>,
    store: AnyStore,
}

enum AnyStore {
    Component(Store<Guest>),
    Module(Store<ModuleGuest>),
}

/// # Errors
/// `Config` when a mounted directory cannot be opened.
pub(crate) fn prepare(program: Arc<Program>, blueprint: Arc<Blueprint>) -> Result<Prepared> {
    let store = match program.command {
        Some(Command::Module(_)) => AnyStore::Module(blueprint.module_store()?),
        _ => AnyStore::Component(blueprint.component_store()?),
    };
    Ok(Prepared { program, blueprint, store })
}

/// WASI has no signals, so a command that is asked to end is ended: 143.
pub(crate) async fn run(command: Prepared, mut stopped: watch::Receiver<Deadline>, started_at: Timestamp) -> Exit {
    let Prepared { program, blueprint, store } = command;
    let guest = Metered::new(call(program, store), blueprint.meter.clone(), blueprint.host.clone());
    tokio::select! {
        biased;
        result = guest => match result {
            Ok(Ok(())) => exit::code(started_at, 0),
            Ok(Err(())) => exit::code(started_at, 1),
            Err(error) => exit::failed(started_at, &error, &blueprint.budget),
        },
        () = asked(&mut stopped) => exit::terminated(started_at),
    }
}

async fn call(program: Arc<Program>, store: AnyStore) -> wasmtime::Result<Result<(), ()>> {
    match (&program.command, store) {
        (Some(Command::P2(pre)), AnyStore::Component(mut store)) => {
            let command = pre.instantiate_async(&mut store).await?;
            command.wasi_cli_run().call_run(&mut store).await
        }
        (Some(Command::P3(pre)), AnyStore::Component(mut store)) => {
            let command = pre.instantiate_async(&mut store).await?;
            store.run_concurrent(async move |accessor| command.wasi_cli_run().call_run(accessor).await).await?
        }
        (Some(Command::Module(pre)), AnyStore::Module(mut store)) => {
            let instance = pre.instantiate_async(&mut store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call_async(&mut store, ()).await.map(Ok)
        }
        _ => unreachable!("the store was made for this command"),
    }
}
