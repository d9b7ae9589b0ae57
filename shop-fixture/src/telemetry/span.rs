//! Owns a span while it runs: its attributes, links and status, and its end. A span ends once, when told or when its last
//! handle goes.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Attr, Attributes, Telemetry};
use crate::propagation::TraceContext;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Unset,
    Error(String),
}

#[derive(Debug, Clone)]
pub struct SpanLink {
    pub context: TraceContext,
    pub attributes: Attributes,
}

/// A finished span as the exporter takes it.
#[derive(Debug, Clone)]
pub struct SpanData {
    pub context: TraceContext,
    pub parent: Option<[u8; 8]>,
    pub name: String,
    pub kind: Kind,
    pub start: u64,
    pub end: u64,
    pub attributes: Attributes,
    pub links: Vec<SpanLink>,
    pub status: Status,
    /// Whether it is told to anyone.
    pub keep: bool,
}

/// A running span; clones are handles of the same one.
#[derive(Clone)]
pub struct Span {
    inner: Arc<Inner>,
}

struct Inner {
    telemetry: Telemetry,
    context: TraceContext,
    data: Mutex<Option<SpanData>>,
}

impl Span {
    pub(super) fn start(
        telemetry: Telemetry,
        context: TraceContext,
        parent: Option<[u8; 8]>,
        name: String,
        kind: Kind,
        keep: bool,
    ) -> Self {
        let start = telemetry.now();
        let data = SpanData {
            context: context.clone(),
            parent,
            name,
            kind,
            start,
            end: start,
            attributes: Attributes::new(),
            links: Vec::new(),
            status: Status::Unset,
            keep,
        };
        Self {
            inner: Arc::new(Inner {
                telemetry,
                context,
                data: Mutex::new(Some(data)),
            }),
        }
    }

    #[must_use]
    pub fn context(&self) -> &TraceContext {
        &self.inner.context
    }

    fn change(&self, change: impl FnOnce(&mut SpanData)) {
        let mut data = self
            .inner
            .data
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(data) = data.as_mut() {
            change(data);
        }
    }

    pub fn set(&self, key: &'static str, value: impl Into<Attr>) {
        self.change(|data| data.attributes.set(key, value));
    }

    pub fn set_all(&self, attributes: Attributes) {
        self.change(|data| data.attributes.extend(attributes));
    }

    pub fn set_start(&self, start: u64) {
        self.change(|data| data.start = start);
    }

    pub fn link(&self, context: TraceContext) {
        self.change(|data| {
            data.links.push(SpanLink {
                context,
                attributes: Attributes::new(),
            })
        });
    }

    /// Marks the span as failed: status and `error.type` belong together.
    pub fn fail(&self, error_type: &str, message: &str) {
        self.change(|data| {
            data.attributes.set("error.type", error_type);
            data.status = Status::Error(message.to_owned());
        });
    }

    pub fn end(&self) {
        self.end_at(self.inner.telemetry.now());
    }

    pub fn end_at(&self, end: u64) {
        let taken = self
            .inner
            .data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut data) = taken {
            data.end = end.max(data.start);
            self.inner.telemetry.finish(data);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let taken = self
            .data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(mut data) = taken {
            data.end = self.telemetry.now().max(data.start);
            self.telemetry.finish(data);
        }
    }
}
