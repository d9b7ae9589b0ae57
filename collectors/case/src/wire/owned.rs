//! From views to rows that own what they hold.

use std::sync::Arc;

use super::any::owned;
use super::logs::LogView;
use super::spans::{Scratch, SpanView};
use super::{KeyValueView, OriginView, WireError};
use crate::model::{LogRecord, Origin, Span, SpanEvent, SpanKind, SpanLink, StatusCode};
use crate::time::Nanos;

/// Makes owned origins, one for each run of items from the same resource and scope.
#[derive(Debug, Default)]
pub struct Origins<'a> {
    last: Option<(OriginView<'a>, Origin)>,
}

impl<'a> Origins<'a> {
    pub fn of(&mut self, view: &OriginView<'a>) -> Result<Origin, WireError> {
        if let Some((seen, origin)) = &self.last
            && seen == view
        {
            return Ok(origin.clone());
        }
        let resource = match &self.last {
            Some((seen, origin)) if seen.resource == view.resource => origin.resource.clone(),
            _ => Arc::new(view.resource.read()?),
        };
        let origin = Origin {
            resource,
            scope: Arc::new(view.scope.read()?),
        };
        self.last = Some((*view, origin.clone()));
        Ok(origin)
    }
}

/// A span with everything it holds.
pub fn span(origin: Origin, view: &SpanView<'_>, lists: &Scratch<'_>) -> Span {
    Span {
        origin,
        trace_id: view.trace_id,
        span_id: view.span_id,
        parent_span_id: view.parent_span_id,
        trace_state: view.trace_state.to_owned(),
        flags: view.flags,
        name: view.name.to_owned(),
        kind: SpanKind::from_number(view.kind),
        start: Nanos(view.start),
        end: Nanos(view.end),
        status: StatusCode::from_number(view.status_code),
        status_message: view.status_message.to_owned(),
        attributes: owned(&lists.attributes),
        dropped_attributes: view.dropped_attributes,
        events: lists
            .events
            .iter()
            .map(|event| SpanEvent {
                at: Nanos(event.at),
                name: event.name.to_owned(),
                attributes: owned(lists.attributes_of(event.attributes)),
                dropped_attributes: event.dropped_attributes,
            })
            .collect(),
        dropped_events: view.dropped_events,
        links: lists
            .links
            .iter()
            .map(|link| SpanLink {
                trace_id: link.trace_id,
                span_id: link.span_id,
                trace_state: link.trace_state.to_owned(),
                flags: link.flags,
                attributes: owned(lists.attributes_of(link.attributes)),
                dropped_attributes: link.dropped_attributes,
            })
            .collect(),
        dropped_links: view.dropped_links,
    }
}

/// A log record with everything it holds.
pub fn log(origin: Origin, view: &LogView<'_>, attributes: &[KeyValueView<'_>]) -> LogRecord {
    LogRecord {
        origin,
        time: Nanos(view.time),
        observed: Nanos(view.observed),
        severity_number: view.severity_number,
        severity_text: view.severity_text.to_owned(),
        body: view.body.to_value(),
        trace_id: view.trace_id,
        span_id: view.span_id,
        flags: view.flags,
        event_name: view.event_name.to_owned(),
        attributes: owned(attributes),
        dropped_attributes: view.dropped_attributes,
    }
}
