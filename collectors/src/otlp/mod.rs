//! OTLP as it arrives and leaves: the receivers and the JSON encoding.
//!
//! Knows the wire and nothing of what the signals mean: the case validates and keeps them.

pub mod compression;
pub mod json;
pub mod receiver;
