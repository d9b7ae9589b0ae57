//! OTLP protobuf read in place, and the texts of its values.
//!
//! A request is walked once, bounds-checked, without an allocation per span: the same walk validates what receivers
//! take and feeds the columns of a segment. What it yields borrows from the request.

pub mod any;
pub mod encode;
pub mod logs;
pub mod metrics;
pub mod origin;
pub mod owned;
pub mod proto;
pub mod spans;
pub mod text;

#[cfg(test)]
mod tests;

pub use any::{AnyView, KeyValueView};
pub use origin::{OriginView, ResourceView, ScopeView};
pub use proto::WireError;
