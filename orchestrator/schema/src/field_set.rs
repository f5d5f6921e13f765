//! field_set
