//! The facts of Kubernetes' types in one table, and everything that only needs those facts: strict JSON
//! parsing, protobuf decoding, patches, managed fields, literal defaults, OpenAPI. Pure: no IO, no clock.
