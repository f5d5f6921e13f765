//! Get, list, watch.
