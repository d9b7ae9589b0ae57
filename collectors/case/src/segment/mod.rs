//! Segments: what a full log becomes. One Parquet file a table, with the column names of the OpenTelemetry ClickHouse
//! schema, and beside the spans an index by trace.
//!
//! Owns the way from frames to files, and back from files to rows. Which segments make up a case is the manifest's
//! business; when they are made is the writer's.

mod attributes;
mod build;
mod intern;
mod logs;
mod metrics;
mod origins;
mod parquet;
pub(crate) mod read;
mod spans;
pub(crate) mod trace_index;
pub(crate) mod watched;

pub(crate) use build::{Built, SegmentBuilder, build};
pub(crate) use parquet::Written;
