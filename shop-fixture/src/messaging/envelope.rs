//! Owns the envelope around an event: ids, producer, aggregate, data, and the trace it belongs to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::flags;
use crate::propagation::{Baggage, TraceContext, TraceState};
use crate::runtime::Rt;

/// What happened, before it is put into an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub event_type: &'static str,
    pub aggregate_type: &'static str,
    pub aggregate_id: String,
    pub order_id: Option<String>,
    pub saga_id: Option<String>,
    pub data: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    pub event_id: String,
    pub event_type: String,
    pub schema: String,
    pub timestamp: String,
    pub producer: Producer,
    pub aggregate: Aggregate,
    pub data: Value,
    pub metadata: Metadata,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Producer {
    pub service: String,
    pub instance: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    #[serde(rename = "type")]
    pub kind: String,
    pub id: String,
    pub version: u64,
}

/// How the event came about. The trace fields are those of the `send` span.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baggage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saga_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    pub publish_attempt: u32,
}

impl Envelope {
    /// An event as it leaves, with the context of its `send` span.
    pub fn seal(
        rt: &Rt,
        event_id: &str,
        event: &Event,
        timestamp: String,
        send: &TraceContext,
        baggage: &Baggage,
        attempt: u32,
    ) -> Self {
        let carried = baggage.to_header();
        let state = send.state.to_header();
        let lost = rt
            .faults
            .find("lost_context")
            .is_some_and(|params| params["mode"] == "bus_metadata");
        let mut metadata = Metadata {
            baggage: (!carried.is_empty()).then_some(carried),
            order_id: event.order_id.clone(),
            saga_id: event.saga_id.clone(),
            publish_attempt: attempt,
            ..Metadata::default()
        };
        if !lost {
            metadata.trace_id = Some(send.trace_hex());
            metadata.span_id = Some(send.span_hex());
            metadata.traceparent = Some(send.to_traceparent());
            metadata.tracestate = (!state.is_empty()).then_some(state);
        }
        Self {
            event_id: event_id.to_owned(),
            event_type: event.event_type.to_owned(),
            schema: schema(
                event.aggregate_type,
                event.event_type,
                rt.flags.is_set(flags::EVENTS_SCHEMA_V2),
            ),
            timestamp,
            producer: Producer {
                service: rt.spec.name.to_owned(),
                instance: rt.instance_id().to_owned(),
            },
            aggregate: Aggregate {
                kind: event.aggregate_type.to_owned(),
                id: event.aggregate_id.clone(),
                version: 1,
            },
            data: event.data.clone(),
            metadata,
        }
    }

    /// The producer's context, if the message still has it.
    #[must_use]
    pub fn origin(&self) -> Option<TraceContext> {
        let mut origin = TraceContext::parse(self.metadata.traceparent.as_deref()?).ok()?;
        origin.state =
            TraceState::from_headers(self.metadata.tracestate.iter().map(String::as_str));
        Some(origin)
    }

    #[must_use]
    pub fn baggage(&self) -> Baggage {
        Baggage::from_headers(self.metadata.baggage.iter().map(String::as_str))
    }

    #[must_use]
    pub fn order_id(&self) -> Option<&str> {
        self.data["order_id"]
            .as_str()
            .or(self.metadata.order_id.as_deref())
    }
}

/// `order.order_created.v1` from aggregate and type.
/// The two versions carry the same data: only their name differs.
fn schema(aggregate: &str, event_type: &str, second: bool) -> String {
    let mut snake = String::new();
    for letter in event_type.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    let version = if second { 2 } else { 1 };
    format!("{aggregate}.{snake}.v{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_named_after_the_event() {
        assert_eq!(
            schema("checkout", "OrderCreated", false),
            "checkout.order_created.v1"
        );
        assert_eq!(
            schema("order", "OrderShipped", true),
            "order.order_shipped.v2"
        );
    }
}
