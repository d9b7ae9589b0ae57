//! Rows out of segment files, a page at a time.

mod logs;
mod metrics;
mod origin;
mod skeleton;
mod spans;
mod watched;

pub(crate) use logs::LogRows;
pub(crate) use metrics::metric_points;
pub(crate) use skeleton::add_skeleton;
pub(crate) use spans::SpanRows;
pub(crate) use watched::watched_rows;
