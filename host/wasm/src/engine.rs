//! The engine of one process, its settings and the clock that interrupts guests. Compiler and runner use the same
//! settings, so what one writes the other can load.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::cpu::Ticker;
use crate::guest::{Guest, ModuleGuest};
use crate::link::Program;
use crate::{Error, Result, link};

/// Address space that one linear memory reserves: with all of its 4 GiB no access needs a bounds check.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
const MEMORY_GUARD_BYTES: u64 = 32 << 20;
const ASYNC_STACK_BYTES: usize = 1 << 20;
const WASM_STACK_BYTES: usize = 512 << 10;
/// Of each freed memory, kept mapped for the next instance: halves the cost of a request.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 2 << 20;
const TABLE_KEEP_RESIDENT_BYTES: usize = 512 << 10;
const STACK_KEEP_RESIDENT_BYTES: usize = 64 << 10;
const WARM_SLOTS_MAX: u32 = 100;
const DECOMMIT_BATCH: usize = 32;
const GC_HEAPS_MAX: u32 = 16;
const CORE_INSTANCES_PER_GUEST: u32 = 4;
const TABLES_PER_GUEST: u32 = 2;
const CORE_INSTANCE_BYTES: usize = 1 << 20;
const TABLE_ELEMENTS_MAX: usize = 100_000;
const TABLES_PER_MODULE_MAX: u32 = 16;
/// Pool sizes tried in turn: a process may have little address space (a limit, another tenant).
const SHRINK: [u32; 4] = [1, 4, 16, 64];

/// How much one process can run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Guests that live at the same time; more wait or fail.
    pub instances_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { instances_max: 4_000 }
    }
}

/// What every container of one worker shares: engine, linkers, loaded programs.
pub struct Host {
    pub(crate) engine: Engine,
    pub(crate) components: wasmtime::component::Linker<Guest>,
    pub(crate) modules: wasmtime::Linker<ModuleGuest>,
    pub(crate) ticker: Ticker,
    /// By file; gone with the last container of the image.
    programs: Mutex<HashMap<PathBuf, Weak<Program>>>,
}

impl Host {
    /// # Errors
    /// `Error::Host` when even the on-demand allocator cannot be set up.
    pub fn new(options: &Options) -> Result<Arc<Self>> {
        let engine = runner(options)?;
        let host_error = |error: wasmtime::Error| Error::Host(format!("cannot link the host's functions: {error:#}"));
        let components = link::components(&engine).map_err(host_error)?;
        let modules = link::modules(&engine).map_err(host_error)?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| Error::Host(error.to_string()))?;
        Ok(Arc::new(Self { engine, components, modules, ticker, programs: Mutex::default() }))
    }

    /// Loads what [`crate::compile`] wrote to `cwasm`; all containers of an image share one mapping.
    ///
    /// # Errors
    /// `Config` when the guest imports what this host does not have, `Image` when the file cannot be loaded.
    pub fn load(&self, cwasm: &std::path::Path) -> Result<Arc<Program>> {
        let mut programs = self.programs.lock();
        if let Some(program) = programs.get(cwasm).and_then(Weak::upgrade) {
            return Ok(program);
        }
        let program = Arc::new(link::load(self, cwasm)?);
        programs.retain(|_, program| program.strong_count() > 0);
        programs.insert(cwasm.to_path_buf(), Arc::downgrade(&program));
        Ok(program)
    }
}

/// Settings that change the code; equal in every process.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES);
    config
}

/// An engine with a pool as large as the address space allows, else without one.
pub(crate) fn runner(options: &Options) -> Result<Engine> {
    for divisor in SHRINK {
        let instances = (options.instances_max / divisor).max(1);
        match Engine::new(config().allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)))) {
            Ok(engine) => return Ok(engine),
            Err(error) => tracing::debug!(instances, "no address space for a pool: {error:#}"),
        }
    }
    Engine::new(&config()).map_err(|error| Error::Host(format!("cannot make an engine: {error:#}")))
}

fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_memories(instances)
        .total_stacks(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_PER_GUEST))
        .total_tables(instances.saturating_mul(TABLES_PER_GUEST))
        .total_gc_heaps(GC_HEAPS_MAX)
        .max_core_instance_size(CORE_INSTANCE_BYTES)
        .max_component_instance_size(CORE_INSTANCE_BYTES)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_tables_per_module(TABLES_PER_MODULE_MAX)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_SLOTS_MAX)
        .decommit_batch_size(DECOMMIT_BATCH);
    pool
}
