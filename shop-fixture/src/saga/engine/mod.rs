//! Owns running a saga: `steps` takes it forward, `undo` back from the top of its stack when one fails for good. Every call
//! is journalled before and after, so that another process can go on where this one died.

mod steps;
mod undo;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::call::CallError;
use crate::context::{current, in_task};
use crate::error::ApiError;
use crate::messaging::Staged;
use crate::runtime::Rt;
use crate::saga::journal::{self, Entry, Writer};
use crate::saga::types::{Model, Saga, Status, StepDef, StepRow, StepStatus};
use crate::store::{StoreError, Tx};
use crate::telemetry::{Attributes, Kind, Span};

const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);

/// Why a saga turns back when the customer wants it to.
pub const CANCELLED: &str = "CANCELLED";

pub struct Engine {
    rt: Rt,
    models: Vec<Arc<dyn Model>>,
    writer: Writer,
    running: Mutex<HashSet<String>>,
}

impl Engine {
    #[must_use]
    pub fn new(rt: Rt, models: Vec<Arc<dyn Model>>) -> Arc<Self> {
        let lease_nano = rt.clock.scaled(LEASE).as_nanos() as u64;
        let writer = Writer::new(&rt, lease_nano);
        Arc::new(Self {
            rt,
            models,
            writer,
            running: Mutex::new(HashSet::new()),
        })
    }

    #[must_use]
    pub fn rt(&self) -> &Rt {
        &self.rt
    }

    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    pub fn model(&self, name: &str) -> Result<Arc<dyn Model>, ApiError> {
        self.models
            .iter()
            .find(|model| model.name() == name)
            .cloned()
            .ok_or_else(|| ApiError::invalid(format!("no saga model '{name}' runs here")))
    }

    /// Runs a saga that was just written, detached from the request that asked for it. The receiver gets its end.
    #[must_use]
    pub fn spawn(
        self: &Arc<Self>,
        saga: Saga,
        model: Arc<dyn Model>,
        origin: Origin,
    ) -> oneshot::Receiver<Saga> {
        let (done, end) = oneshot::channel();
        let engine = Arc::clone(self);
        // Spawned work that forgets its surroundings is the classic way to lose a trace.
        let forgets = crate::faults::loses_context(&self.rt, "async_spawn");
        let span = if forgets {
            self.rt.telemetry.root("saga execute", Kind::Internal)
        } else {
            self.rt.telemetry.span("saga execute", Kind::Internal)
        };
        let context = current().with_span(&span);
        tokio::spawn(context.scope(in_task("saga", async move {
            let saga = engine.execute(saga, model, &span, origin).await;
            // The request may be gone; the saga is not hers.
            let _ = done.send(saga);
        })));
        end
    }

    /// Drives a saga to its end inside `span`, from wherever its rows say it is.
    pub async fn execute(
        &self,
        mut saga: Saga,
        model: Arc<dyn Model>,
        span: &Span,
        origin: Origin,
    ) -> Saga {
        span.set("shop.saga.id", &saga.saga_id);
        span.set("shop.saga.model", &saga.model);
        span.set("shop.order.id", &saga.order_id);
        let in_flight = self.rt.enter();
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(saga.saga_id.clone());
        self.count_active();
        let started = tokio::time::Instant::now();
        let outcome = self.drive(&mut saga, &model, origin).await;
        // A saga that nobody turns back stays in hand, or recovery would take it up again and again.
        if saga.status.is_terminal() || !self.rt.faults.is_on("undo_never_starts") {
            self.running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&saga.saga_id);
        }
        self.count_active();
        match outcome {
            Ok(()) => {
                let shown = if saga.manual_intervention_required {
                    "incomplete"
                } else {
                    saga.status.as_str()
                };
                span.set("shop.saga.outcome", shown);
                if saga.manual_intervention_required {
                    span.fail("SAGA_INCOMPLETE", "a compensation did not succeed");
                }
                let metrics = self.rt.telemetry.metrics();
                let labels = [("model", saga.model.as_str()), ("outcome", shown)];
                metrics.add("shop_sagas_total", &labels, 1.0);
                metrics.observe(
                    "shop_saga_duration_seconds",
                    &labels,
                    started.elapsed().as_secs_f64(),
                );
            }
            Err(error) => {
                // The rows still say where it stands; recovery goes on from there.
                span.set("shop.saga.outcome", "interrupted");
                span.fail("STORE_FAILED", &error.to_string());
                self.rt.telemetry.error(
                    "exception",
                    "saga interrupted by its store",
                    about(&saga)
                        .with("error.code", "STORE_FAILED")
                        .with("error.details", error.to_string()),
                );
            }
        }
        span.end();
        drop(in_flight);
        saga
    }

    fn count_active(&self) {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        self.rt.telemetry.metrics().set(
            "shop_sagas_active",
            &[("service", self.rt.spec.name)],
            running as f64,
        );
    }

    pub fn is_running(&self, saga_id: &str) -> bool {
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(saga_id)
    }

    /// What is written with a new saga: its rows, and the intent of its first step, so that one flush serves both.
    #[must_use]
    pub fn opening(&self, model: &Arc<dyn Model>) -> Opening {
        Opening {
            writer: self.writer.clone(),
            model: Arc::clone(model),
            intent: !self.crashes_before(model, 0),
        }
    }

    async fn drive(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        origin: Origin,
    ) -> Result<(), StoreError> {
        let rows = match origin {
            Origin::Written { .. } => Vec::new(),
            Origin::Found => {
                let id = saga.saga_id.clone();
                self.store()?
                    .read::<_, StoreError, _>(move |tx| journal::steps(tx, &id))
                    .await?
            }
        };
        let is_done = |ordinal: usize| {
            rows.get(ordinal)
                .is_some_and(|row: &StepRow| row.status == StepStatus::Completed)
        };
        // What the opening, or the step before, has written already.
        let mut intended = false;
        if saga.status == Status::Initiated {
            intended = origin == Origin::Written { intended: true };
            saga.status = Status::Running;
            self.rt
                .telemetry
                .info("saga.started", "saga started", about(saga));
        }
        if saga.status == Status::Running {
            for (ordinal, step) in model.steps().iter().enumerate() {
                if is_done(ordinal) {
                    continue;
                }
                let next = if ordinal + 1 == model.steps().len() {
                    let crashes = self.crashes("before_finish", "");
                    if crashes { Next::Nothing } else { Next::Finish }
                } else if is_done(ordinal + 1) || self.crashes_before(model, ordinal + 1) {
                    Next::Nothing
                } else {
                    Next::Intent(ordinal + 1)
                };
                let at = Position {
                    ordinal,
                    step,
                    next,
                };
                if let Err(failure) = self.forward(saga, model, at, intended).await? {
                    if self.rt.faults.is_on("undo_never_starts") {
                        return Ok(());
                    }
                    self.turn_back(saga, model, ordinal, failure).await?;
                    break;
                }
                intended = matches!(at.next, Next::Intent(_));
            }
        }
        if saga.status == Status::Running {
            self.crash_point("before_finish", "");
            saga.status = Status::Completed;
            saga.current_state = "completed".to_owned();
            self.finish(saga, model).await?;
        } else if saga.status == Status::Compensating {
            self.unwind(saga, model, &rows).await?;
        }
        Ok(())
    }

    async fn save(&self, saga: &mut Saga, pending: Option<usize>) -> Result<(), StoreError> {
        let (writer, mut changed) = (self.writer.clone(), saga.clone());
        *saga = self
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                writer.save(tx, &mut changed)?;
                if let Some(pending) = pending {
                    writer.count_compensation(tx, &changed, pending)?;
                }
                writer.append(
                    tx,
                    &changed,
                    &Entry {
                        kind: "state",
                        outcome: Some(changed.status.as_str()),
                        ..Entry::default()
                    },
                )?;
                Ok(changed)
            })
            .await?;
        Ok(())
    }

    async fn finish(&self, saga: &mut Saga, model: &Arc<dyn Model>) -> Result<(), StoreError> {
        let (writer, mut changed, shared) = (self.writer.clone(), saga.clone(), Arc::clone(model));
        let (changed, staged) = self
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let staged = close(&writer, tx, &mut changed, shared.as_ref())?;
                Ok((changed, staged))
            })
            .await?;
        *saga = changed;
        model.publish(staged);
        Ok(())
    }

    fn store(&self) -> Result<&crate::store::Store, StoreError> {
        self.rt.store().map_err(|_| StoreError::Gone)
    }

    fn step_span(
        &self,
        verb: &str,
        saga: &Saga,
        step: &StepDef,
        ordinal: usize,
        attempt: u32,
        key: &str,
    ) -> Span {
        let span = self
            .rt
            .telemetry
            .span(format!("{verb} {}", step.name), Kind::Internal);
        span.set("shop.saga.id", &saga.saga_id);
        span.set("shop.saga.step", step.name);
        span.set("shop.saga.step.ordinal", ordinal + 1);
        span.set("shop.saga.attempt", attempt);
        span.set("shop.idempotency.key", key);
        span
    }

    /// Whether a fault on a step, or on all of them, strikes this one.
    pub(super) fn strikes(&self, kind: &str, step: &StepDef) -> bool {
        self.rt.faults.find(kind).is_some_and(|params| {
            params["step"]
                .as_str()
                .is_none_or(|wanted| wanted == step.name)
        })
    }

    fn crashes(&self, point: &str, step: &str) -> bool {
        let Some(params) = self.rt.faults.find("crash_at") else {
            return false;
        };
        let same_step = params["step"]
            .as_str()
            .is_none_or(|wanted| step.is_empty() || wanted == step);
        params["point"].as_str() == Some(point) && same_step
    }

    /// Whether the process is to end before a step: then nothing of the step may be written with what comes before it.
    fn crashes_before(&self, model: &Arc<dyn Model>, ordinal: usize) -> bool {
        let step = model.steps().get(ordinal);
        step.is_some_and(|step| self.crashes("before_step", step.name))
    }

    /// A `crash_at` fault ends the process here as SIGKILL would: nothing is flushed, nothing told.
    fn crash_point(&self, point: &str, step: &str) {
        if self.crashes(point, step) {
            std::process::abort();
        }
    }

    /// Keeps the leases of all running sagas alive.
    pub async fn keep_leases(self: Arc<Self>) {
        let mut stopping = self.rt.stopping();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.rt.clock.scaled(RENEW)) => {}
                _ = stopping.changed() => return,
            }
            if self
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
            {
                continue;
            }
            let (writer, Ok(store)) = (self.writer.clone(), self.store()) else {
                return;
            };
            if let Err(error) = store
                .write::<_, StoreError, _>(move |tx| writer.renew(tx))
                .await
            {
                self.rt.telemetry.warn(
                    "exception",
                    "saga leases could not be renewed",
                    Attributes::new()
                        .with("error.code", "STORE_FAILED")
                        .with("error.details", error.to_string()),
                );
            }
        }
    }
}

struct StepFailure {
    error: CallError,
}

/// Where a saga that is to be driven comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This process has just written it, with or without the intent of its first step.
    Written { intended: bool },
    /// Another process left it in the journal.
    Found,
}

/// What is written together with the result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Intent(usize),
    Finish,
    Nothing,
}

/// A step and what follows it.
#[derive(Debug, Clone, Copy)]
struct Position {
    ordinal: usize,
    step: &'static StepDef,
    next: Next,
}

/// The beginning of a saga, as part of the transaction that writes what it is about.
pub struct Opening {
    writer: Writer,
    model: Arc<dyn Model>,
    intent: bool,
}

impl Opening {
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::Written {
            intended: self.intent,
        }
    }

    pub fn write(&self, tx: &Tx<'_>, saga: &Saga) -> Result<(), StoreError> {
        // A saga whose first step is under way is running; in memory it becomes so when it is driven.
        let mut written = saga.clone();
        if self.intent {
            written.status = Status::Running;
        }
        self.writer.start(tx, &written, self.model.as_ref())?;
        if self.intent {
            self.writer.intend(tx, &written, 0, 1)?;
        }
        Ok(())
    }
}

/// The last records of a saga, with the business rows and events of its end.
fn close(
    writer: &Writer,
    tx: &Tx<'_>,
    saga: &mut Saga,
    model: &dyn Model,
) -> Result<Vec<Staged>, StoreError> {
    let staged = if saga.status == Status::Completed {
        model.on_completed(tx, saga)?
    } else {
        model.on_failed(tx, saga)?
    };
    writer.save(tx, saga)?;
    let outcome = Some(saga.status.as_str());
    let entry = Entry {
        kind: "finished",
        outcome,
        ..Entry::default()
    };
    writer.append(tx, saga, &entry)?;
    Ok(staged)
}

fn mark(span: &Span, error: &CallError) {
    span.fail(&error.api.reason, &error.api.message);
}

/// The attributes that every log record of a saga has.
pub fn about(saga: &Saga) -> Attributes {
    Attributes::new()
        .with("saga_id", &saga.saga_id)
        .with("order_id", &saga.order_id)
        .with("user_id", &saga.user_id)
}
