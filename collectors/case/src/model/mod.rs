//! Signals as rows a program can hold: what readers hand out and exporters take.
//!
//! Strings are owned, resources and scopes shared. The write path never builds these.

mod log;
mod metric;
mod span;
mod value;

use std::sync::Arc;

pub use log::LogRecord;
pub use metric::{Buckets, Exemplar, MetricPoint, PointData, Quantile, Temporality};
pub use span::{Span, SpanEvent, SpanKind, SpanLink, StatusCode};
pub use value::{Attributes, Value};

/// Who sent a signal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    pub attributes: Attributes,
    pub dropped_attributes: u32,
    pub schema_url: String,
}

impl Resource {
    /// `service.name`, or nothing.
    pub fn service(&self) -> &str {
        self.attributes.text("service.name").unwrap_or("")
    }

    /// `service.instance.id`, or nothing.
    pub fn instance(&self) -> &str {
        self.attributes.text("service.instance.id").unwrap_or("")
    }
}

/// Which library made a signal.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scope {
    pub name: String,
    pub version: String,
    pub attributes: Attributes,
    pub dropped_attributes: u32,
    pub schema_url: String,
}

/// A resource and a scope, shared by the rows under them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    pub resource: Arc<Resource>,
    pub scope: Arc<Scope>,
}
