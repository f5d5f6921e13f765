//! A guest that runs to its end: `wasi:cli/run` of a component, `_start` of a core module. Neighbour: http.rs.

use std::sync::Arc;

use amphipod_runtime::Exit;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::cpu::Metered;
use crate::guest::Blueprint;
use crate::link::Command;
use crate::start::{Deadline, asked};
use crate::{Program, exit};

/// WASI has no signals, so a command that is asked to end is ended: 143.
pub(crate) async fn run(
    program: Arc<Program>,
    blueprint: Arc<Blueprint>,
    mut stopped: watch::Receiver<Deadline>,
    started_at: Timestamp,
) -> Exit {
    let guest = Metered::new(call(program, blueprint.clone()), blueprint.meter.clone(), blueprint.host.clone());
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

async fn call(program: Arc<Program>, blueprint: Arc<Blueprint>) -> wasmtime::Result<Result<(), ()>> {
    match &program.command {
        Some(Command::P2(pre)) => {
            let mut store = blueprint.component_store();
            let command = pre.instantiate_async(&mut store).await?;
            command.wasi_cli_run().call_run(&mut store).await
        }
        Some(Command::P3(pre)) => {
            let mut store = blueprint.component_store();
            let command = pre.instantiate_async(&mut store).await?;
            store.run_concurrent(async move |accessor| command.wasi_cli_run().call_run(accessor).await).await?
        }
        Some(Command::Module(pre)) => {
            let mut store = blueprint.module_store();
            let instance = pre.instantiate_async(&mut store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
            start.call_async(&mut store, ()).await.map(Ok)
        }
        None => Err(wasmtime::format_err!("this program has nothing to run")),
    }
}
