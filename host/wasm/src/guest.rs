//! What a guest sees of the world: arguments, environment, mounted directories, output, the way out. One
//! [`Blueprint`] per container, one [`Guest`] per instance.

use std::sync::Arc;

use amphipod_runtime::{Connect, PodName};
use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::cpu::{Meter, SLICE_TICKS};
use crate::limits::{Budget, Limiter};
use crate::logs::Channel;
use crate::outgoing::Outgoing;
use crate::{Directory, Error, Host, Log, Result};

/// Resources (streams, requests, files) that one instance may hold.
const RESOURCES_MAX: usize = 100_000;

/// How to make instances of one container.
pub(crate) struct Blueprint {
    pub(crate) host: Arc<Host>,
    pub(crate) pod: PodName,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: Option<String>,
    /// What is mounted, opened once for all instances.
    pub(crate) filesystem: WasiFilesystemCtx,
    pub(crate) log: Log,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) meter: Arc<Meter>,
}

/// The data of a component's store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    limiter: Limiter,
}

/// The data of a core module's store.
pub(crate) struct ModuleGuest {
    pub(crate) wasi: WasiP1Ctx,
    limiter: Limiter,
}

impl Blueprint {
    pub(crate) fn component_store(&self) -> Store<Guest> {
        let mut wasi = self.wasi().build();
        wasi.filesystem().clone_from(&self.filesystem);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let guest = Guest {
            wasi,
            table,
            http: WasiHttpCtx::new(),
            outgoing: Outgoing::new(self.pod.clone(), self.connect.clone()),
            limiter: Limiter::new(self.budget.clone()),
        };
        let mut store = Store::new(&self.host.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_epoch_deadline(SLICE_TICKS);
        store.epoch_deadline_callback(self.deadline());
        store
    }

    pub(crate) fn module_store(&self) -> Store<ModuleGuest> {
        let mut wasi = self.wasi().build_p1();
        wasi.ctx().ctx.filesystem().clone_from(&self.filesystem);
        let guest = ModuleGuest { wasi, limiter: Limiter::new(self.budget.clone()) };
        let mut store = Store::new(&self.host.engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_epoch_deadline(SLICE_TICKS);
        store.epoch_deadline_callback(self.deadline());
        store
    }

    fn deadline<T>(&self) -> impl FnMut(wasmtime::StoreContextMut<'_, T>) -> wasmtime::Result<UpdateDeadline> + use<T> {
        let meter = self.meter.clone();
        move |_| Ok(meter.deadline())
    }

    /// Sockets stay denied: a guest reaches others by outgoing HTTP.
    fn wasi(&self) -> WasiCtxBuilder {
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&self.arguments)
            .envs(&self.environment)
            .stdout(self.log.stream(Channel::Stdout))
            .stderr(self.log.stream(Channel::Stderr));
        if let Some(directory) = &self.working_directory {
            wasi.initial_cwd(directory);
        }
        wasi
    }
}

/// Opens the directories that are mounted.
///
/// # Errors
/// `Config` when one cannot be opened.
pub(crate) fn mount(directories: &[Directory]) -> Result<WasiFilesystemCtx> {
    let mut wasi = WasiCtxBuilder::new();
    for Directory { host_path, guest_path, read_only } in directories {
        let permissions = if *read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        wasi.preopened_dir(host_path, guest_path, permissions)
            .map_err(|error| Error::Config(format!("cannot open {} for {guest_path}: {error}", host_path.display())))?;
    }
    Ok(std::mem::take(wasi.build().filesystem()))
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}
