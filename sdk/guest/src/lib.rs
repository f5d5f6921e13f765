//! What the author of an in-process sidecar or init container imports: bindings of `wit/pod.wit`.
//! The first world is the head filter; the others follow as the host learns to link them.
//!
//! ```ignore
//! use amphipod_guest::head_filter::{Guest, RequestHead, ResponseHead, Verdict};
//!
//! struct Deny;
//! impl Guest for Deny {
//!     fn on_request(head: RequestHead) -> Verdict {
//!         if head.path.starts_with("/admin") { Verdict::Drop } else { Verdict::Pass }
//!     }
//!     fn on_response(_: ResponseHead) -> Verdict { Verdict::Pass }
//! }
//! amphipod_guest::export!(Deny with_types_in amphipod_guest::bindings);
//! ```

/// Generated from the world `head-filter`.
#[allow(missing_docs, unsafe_code, clippy::all, clippy::unwrap_used)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "head-filter",
        pub_export_macro: true,
        generate_all,
    });
}

pub use bindings::export;

/// Judges the heads of requests and responses.
pub mod head_filter {
    pub use crate::bindings::exports::amphipod::pod::http_head::*;
}
