//! OTLP protobuf read in place, and the texts of its values.

pub mod text;
