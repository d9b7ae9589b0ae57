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
use crate::runtime::Rt;
use crate::saga::journal::{self, Entry, Writer};
use crate::saga::types::{Model, Saga, Status, StepDef, StepStatus};
use crate::store::StoreError;
use crate::telemetry::{Attributes, Kind, Span};

const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);

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
    pub fn spawn(self: &Arc<Self>, saga: Saga, model: Arc<dyn Model>) -> oneshot::Receiver<Saga> {
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
            let saga = engine.execute(saga, model, &span).await;
            // The request may be gone; the saga is not hers.
            let _ = done.send(saga);
        })));
        end
    }

    /// Drives a saga to its end inside `span`, from wherever its rows say it is.
    pub async fn execute(&self, mut saga: Saga, model: Arc<dyn Model>, span: &Span) -> Saga {
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
        let outcome = self.drive(&mut saga, &model).await;
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

    async fn drive(&self, saga: &mut Saga, model: &Arc<dyn Model>) -> Result<(), StoreError> {
        let rows = {
            let id = saga.saga_id.clone();
            self.store()?
                .read::<_, StoreError, _>(move |tx| journal::steps(tx, &id))
                .await?
        };
        // The first intent writes that the saga runs, so that beginning costs no flush of its own.
        let mut opening = saga.status == Status::Initiated;
        if opening {
            saga.status = Status::Running;
            self.rt
                .telemetry
                .info("saga.started", "saga started", about(saga));
        }
        if saga.status == Status::Running {
            for (ordinal, step) in model.steps().iter().enumerate() {
                if rows
                    .get(ordinal)
                    .is_some_and(|row| row.status == StepStatus::Completed)
                {
                    continue;
                }
                if let Err(failure) = self.forward(saga, model, ordinal, step, opening).await? {
                    if self.rt.faults.is_on("undo_never_starts") {
                        return Ok(());
                    }
                    self.turn_back(saga, model, ordinal, failure).await?;
                    break;
                }
                opening = false;
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
                let staged = if changed.status == Status::Completed {
                    shared.on_completed(tx, &changed)?
                } else {
                    shared.on_failed(tx, &changed)?
                };
                writer.save(tx, &mut changed)?;
                writer.append(
                    tx,
                    &changed,
                    &Entry {
                        kind: "finished",
                        outcome: Some(changed.status.as_str()),
                        ..Entry::default()
                    },
                )?;
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

    /// A `crash_at` fault ends the process here as SIGKILL would: nothing is flushed, nothing told.
    fn crash_point(&self, point: &str, step: &str) {
        let Some(params) = self.rt.faults.find("crash_at") else {
            return;
        };
        let same_step = params["step"]
            .as_str()
            .is_none_or(|wanted| step.is_empty() || wanted == step);
        if params["point"].as_str() == Some(point) && same_step {
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
