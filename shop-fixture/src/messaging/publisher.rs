//! Owns sending events to the bus. `outbox` writes them with the state change and sends them after it; `direct` posts
//! once after the commit and loses what fails; `strict` makes the step fail with it.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;
use tonic::Code;

use super::dispatch::Lanes;
use super::envelope::{Envelope, Event};
use super::outbox::{self, Claim, Waiting};
use crate::call::http::{HttpAsk, send};
use crate::call::{CallError, CallOptions};
use crate::catalog::BUS;
use crate::config::Publish;
use crate::context::{Context, Shared, current, in_span};
use crate::error::ApiError;
use crate::ids::ulid;
use crate::propagation::{Baggage, TraceContext, TraceState};
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};
use crate::telemetry::{Attributes, Kind, Span};

const TIMEOUT: Duration = Duration::from_secs(2);
/// A claim that was not settled in this time is free again: its owner died. No shorter than a post may take.
const CLAIM: Duration = Duration::from_secs(10);
const SHORTEST_CLAIM: Duration = Duration::from_secs(3);
const BACKOFF_CAP: Duration = Duration::from_secs(60);

/// An event that is to be published once its transaction is through.
#[derive(Debug, Clone)]
pub struct Staged {
    pub event_id: String,
    pub event: Event,
    /// Its row, when there is an outbox.
    pub(super) row: Option<Box<OutboxRow>>,
}

#[derive(Debug, Clone)]
pub(super) struct OutboxRow {
    pub(super) id: i64,
    pub(super) created_at: String,
    pub(super) cause: Cause,
}

pub struct Publisher {
    rt: Rt,
    claim: Claim,
    lanes: Lanes,
    wake: Notify,
}

impl Publisher {
    #[must_use]
    pub fn new(rt: &Rt) -> Arc<Self> {
        let hold = rt.clock.scaled(CLAIM).max(SHORTEST_CLAIM);
        Arc::new(Self {
            rt: Arc::clone(rt),
            claim: Claim {
                owner: rt.telemetry.identity().label.clone(),
                hold_nano: hold.as_nanos() as u64,
            },
            lanes: Lanes::new(),
            wake: Notify::new(),
        })
    }

    #[must_use]
    pub fn rt(&self) -> &Rt {
        &self.rt
    }

    /// Part of the transaction that changes the state. `cause` is the context that the event comes from.
    pub fn stage(&self, tx: &Tx<'_>, event: Event, cause: &Cause) -> Result<Staged, StoreError> {
        let event_id = ulid("evt_");
        let row = if self.rt.config.publish == Publish::Outbox {
            let (id, created_at) = outbox::insert(tx, &event_id, &event, cause, &self.claim)?;
            let cause = cause.clone();
            Some(Box::new(OutboxRow {
                id,
                created_at,
                cause,
            }))
        } else {
            None
        };
        Ok(Staged {
            event_id,
            event,
            row,
        })
    }

    /// After the commit: waits for the answer of each post, and in `strict` mode fails with the first that fails.
    pub async fn publish_and_wait(self: &Arc<Self>, staged: Vec<Staged>) -> Result<(), ApiError> {
        if staged.is_empty() {
            return Ok(());
        }
        if self.rt.config.publish == Publish::Outbox {
            self.dispatch(staged);
            return Ok(());
        }
        for staged in staged {
            let posted = self.post_once(&staged).await;
            if let Err(error) = posted
                && self.rt.config.publish == Publish::Strict
            {
                return Err(ApiError::new(
                    Code::Unavailable,
                    "EVENT_NOT_PUBLISHED",
                    format!(
                        "{} could not be published: {}",
                        staged.event.event_type, error.api.message
                    ),
                ));
            }
        }
        Ok(())
    }

    /// After the commit, for those who go on meanwhile.
    pub fn publish_aside(self: &Arc<Self>, staged: Vec<Staged>) {
        if staged.is_empty() {
            return;
        }
        if self.rt.config.publish == Publish::Outbox {
            self.dispatch(staged);
            return;
        }
        let publisher = Arc::clone(self);
        tokio::spawn(current().scope(async move {
            for staged in staged {
                // A failed post was logged; the event is lost, which is what `direct` means.
                let _ = publisher.post_once(&staged).await;
            }
        }));
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// How long a row waits after its nth attempt failed, in nanoseconds of this run.
    pub(super) fn backoff(&self, attempts: u32) -> u64 {
        let pause = Duration::from_secs(1 << attempts.saturating_sub(1).min(6)).min(BACKOFF_CAP);
        self.rt.clock.scaled(pause).as_nanos() as u64
    }

    /// One post of a row, below `parent`.
    pub(super) async fn post_row(
        &self,
        waiting: &Waiting,
        parent: Option<TraceContext>,
    ) -> Result<(), CallError> {
        let baggage = Baggage::from_headers(std::iter::once(waiting.cause.baggage.as_str()));
        let shared = Shared {
            baggage: baggage.clone(),
            ..Shared::default()
        };
        let context = Context {
            trace: parent.clone(),
            span: None,
            shared: Arc::new(shared),
        };
        context
            .scope(async {
                let staged = &waiting.staged;
                let span = self.send_span(&staged.event, &staged.event_id, parent.as_ref());
                let written = waiting.created_at.clone();
                self.post(&span, staged, written, &baggage, waiting.attempts)
                    .await
            })
            .await
    }

    /// Has what was sent noted soon.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Posts an event that belongs to no change of state, once and at once.
    pub async fn publish_now(&self, event_id: &str, event: Event) -> Result<(), CallError> {
        let staged = Staged {
            event_id: event_id.to_owned(),
            event,
            row: None,
        };
        self.post_once(&staged).await
    }

    async fn post_once(&self, staged: &Staged) -> Result<(), CallError> {
        let span = self.send_span(&staged.event, &staged.event_id, None);
        let baggage = current().shared.baggage.clone();
        self.post(&span, staged, self.rt.clock.now_text(), &baggage, 1)
            .await
    }

    pub(super) fn send_span(
        &self,
        event: &Event,
        event_id: &str,
        parent: Option<&TraceContext>,
    ) -> Span {
        let name = format!("send {}", event.event_type);
        let span = match parent {
            Some(parent) => self.rt.telemetry.child_of(parent, name, Kind::Producer),
            None => self.rt.telemetry.span(name, Kind::Producer),
        };
        span.set("messaging.system", "shop_bus");
        span.set("messaging.operation.name", "send");
        span.set("messaging.operation.type", "send");
        span.set("messaging.destination.name", event.event_type);
        span.set("messaging.message.id", event_id);
        span.set("shop.publish.mode", self.rt.config.publish.as_str());
        span
    }

    /// One post inside its `send` span.
    pub(super) async fn post(
        &self,
        span: &Span,
        staged: &Staged,
        timestamp: String,
        baggage: &Baggage,
        attempt: u32,
    ) -> Result<(), CallError> {
        let rt = &self.rt;
        let (event, event_id) = (&staged.event, staged.event_id.as_str());
        let envelope = Envelope::seal(
            rt,
            event_id,
            event,
            timestamp,
            span.context(),
            baggage,
            attempt,
        );
        let body = serde_json::to_value(&envelope)
            .map_err(|error| CallError::not_sent(ApiError::internal(error.to_string())))?;
        let path = format!("/events/{}", event.event_type);
        let ask = HttpAsk {
            method: Method::POST,
            template: "/events/{type}",
            path: &path,
            body: Some(&body),
        };
        let options = CallOptions {
            service: BUS,
            timeout: TIMEOUT,
            retry: retry::Class::None,
            key: None,
        };
        let started = std::time::Instant::now();
        let outcome = in_span(span, async {
            let outcome = send(rt, &ask, options).await;
            if let Err(error) = &outcome {
                span.fail(&error.api.reason, &error.api.message);
            }
            outcome
        })
        .await;
        let labels = [
            ("messaging.system", "shop_bus"),
            ("messaging.operation.name", "send"),
            ("messaging.destination.name", event.event_type),
        ];
        rt.telemetry.metrics().observe(
            "messaging.client.operation.duration",
            &labels,
            started.elapsed().as_secs_f64(),
        );
        let about = Attributes::new()
            .with("event_id", event_id)
            .with("type", event.event_type)
            .with("attempt", attempt)
            .with_some("order_id", event.order_id.as_deref());
        match outcome {
            Ok(_) => {
                rt.telemetry
                    .info("event.published", "event published", about);
                Ok(())
            }
            Err(error) => {
                let about = about
                    .with("error.code", &error.api.reason)
                    .with("error.details", &error.api.message);
                if rt.config.publish == Publish::Outbox {
                    rt.telemetry.warn(
                        "event.publish_failed",
                        "event not published, will be tried again",
                        about,
                    );
                } else {
                    rt.telemetry
                        .error("event.publish_failed", "event not published", about);
                }
                Err(error)
            }
        }
    }
}

/// Where an event comes from, as its outbox row keeps it.
#[derive(Debug, Clone, Default)]
pub struct Cause {
    pub traceparent: Option<String>,
    /// What others have put beside it; absent when there is nothing.
    pub tracestate: Option<String>,
    pub baggage: String,
}

impl Cause {
    /// The span that it names, if it is one.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        let text = self.traceparent.as_deref()?;
        let mut context = TraceContext::parse(text).ok()?;
        context.state = TraceState::from_headers(self.tracestate.iter().map(String::as_str));
        Some(context)
    }

    /// The surroundings of the running code.
    #[must_use]
    pub fn here() -> Self {
        let context = current();
        Self {
            traceparent: context.trace.as_ref().map(TraceContext::to_traceparent),
            tracestate: context
                .trace
                .as_ref()
                .map(|trace| trace.state.to_header())
                .filter(|state| !state.is_empty()),
            baggage: context.shared.baggage.to_header(),
        }
    }
}
