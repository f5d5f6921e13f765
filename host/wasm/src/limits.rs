//! The memory of one container: every linear memory and table of every instance is charged to one budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;
use wasmtime::ResourceLimiter;

/// What a table's slot costs.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Shared by all instances of a container.
pub(crate) struct Budget {
    limit_bytes: Option<u64>,
    used_bytes: AtomicU64,
    exceeded: AtomicBool,
    changed: Notify,
}

/// The error that ends a guest which wants more than its container may have.
#[derive(Debug, thiserror::Error)]
#[error("memory limit of {limit_bytes} bytes exceeded")]
pub(crate) struct OutOfMemory {
    limit_bytes: u64,
}

impl Budget {
    pub(crate) fn new(limit_bytes: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            exceeded: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Acquire)
    }

    /// Resolves once the limit was hit.
    pub(crate) async fn exceeded(&self) {
        let mut changed = std::pin::pin!(self.changed.notified());
        changed.as_mut().enable();
        if !self.is_exceeded() {
            changed.await;
        }
    }

    fn charge(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        match self.limit_bytes {
            Some(limit_bytes) if used > limit_bytes => {
                self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.exceeded.store(true, Ordering::Release);
                self.changed.notify_waiters();
                Err(OutOfMemory { limit_bytes })
            }
            _ => Ok(()),
        }
    }
}

/// One store's view of the budget; gives back what it took when the store is dropped.
pub(crate) struct Limiter {
    budget: Arc<Budget>,
    charged_bytes: u64,
    last_bytes: u64,
}

impl Limiter {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, charged_bytes: 0, last_bytes: 0 }
    }

    fn grow(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        let bytes = bytes as u64;
        self.budget.charge(bytes).map_err(wasmtime::Error::from)?;
        self.charged_bytes += bytes;
        self.last_bytes = bytes;
        Ok(true)
    }

    fn undo(&mut self) {
        self.budget.used_bytes.fetch_sub(self.last_bytes, Ordering::Relaxed);
        self.charged_bytes -= self.last_bytes;
        self.last_bytes = 0;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.charged_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_a_container_count_together() {
        let budget = Budget::new(Some(100));
        let mut first = Limiter::new(budget.clone());
        let mut second = Limiter::new(budget.clone());
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(second.memory_growing(0, 41, None).is_err());
        assert!(budget.is_exceeded());
        drop(first);
        assert!(second.memory_growing(0, 100, None).unwrap());
        assert_eq!(budget.used_bytes(), 100);
    }

    #[test]
    fn a_growth_that_failed_is_given_back() {
        let budget = Budget::new(None);
        let mut limiter = Limiter::new(budget.clone());
        limiter.table_growing(0, 10, None).unwrap();
        limiter.table_grow_failed(wasmtime::format_err!("no room")).unwrap();
        assert_eq!(budget.used_bytes(), 0);
        assert!(!limiter.memory_growing(0, 10, Some(9)).unwrap());
    }
}
