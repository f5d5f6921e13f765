//! managed_fields
