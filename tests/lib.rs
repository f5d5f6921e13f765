//! Tests of the whole: `tidy.rs` reads the sources, `e2e/` runs the built program with real clients.
