//! placeholder
use std::sync::Arc;
use crate::Store;
pub async fn conformance(_make: impl AsyncFn() -> Arc<dyn Store>) {}
