//! Owns running a saga: forward step by step, and back from the top of the stack when one fails for good. Every call is
//! journalled before and after, so that another process can go on where this one died.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::journal::{self, Entry, StepChange, Writer};
use super::types::{
    Failure, Model, Saga, Status, StepDef, StepRow, StepStatus, compensation_key, forward_key,
};
use crate::call::{CallError, Certainty};
use crate::context::{current, in_span};
use crate::error::ApiError;
use crate::runtime::Rt;
use crate::store::StoreError;
use crate::telemetry::{Attributes, Kind, Span};

const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// Pauses before a step is sent again whose outcome is unknown.
const RESEND: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const COMPENSATION_ATTEMPTS: u32 = 8;
const COMPENSATION_CAP: Duration = Duration::from_secs(60);

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
        let writer = Writer {
            instance_id: rt.instance_id().to_owned(),
            lease_nano,
        };
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
        tokio::spawn(context.scope(async move {
            let saga = engine.execute(saga, model, &span).await;
            // The request may be gone; the saga is not hers.
            let _ = done.send(saga);
        }));
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
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&saga.saga_id);
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

    /// One step: intent, call, result. The inner error is the step's own failure.
    async fn forward(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        ordinal: usize,
        step: &'static StepDef,
        opening: bool,
    ) -> Result<Result<(), StepFailure>, StoreError> {
        self.crash_point("before_step", step.name);
        let key = forward_key(saga, step);
        let mut attempt: u32 = 0;
        loop {
            attempt += 1;
            self.record_intent(saga, ordinal, attempt, opening && attempt == 1)
                .await?;
            self.crash_point("after_intent", step.name);
            let span = self.step_span("saga step", saga, step, ordinal, attempt, &key);
            let called = in_span(&span, async {
                let outcome = model.forward(saga, step, &key).await;
                if let Err(error) = &outcome {
                    mark(&span, error);
                }
                outcome
            })
            .await;
            self.crash_point("after_reply", step.name);
            match called {
                Ok(result) => {
                    self.record_success(saga, model, ordinal, step, attempt, result)
                        .await?;
                    return Ok(Ok(()));
                }
                Err(error) => {
                    let refused = error.certainty == Certainty::Definite
                        || error.api.reason == "CIRCUIT_OPEN";
                    let pause = if self.strikes("retry_forever", step) {
                        RESEND.last()
                    } else if refused {
                        None
                    } else {
                        RESEND.get(attempt as usize - 1)
                    };
                    let last = pause.is_none();
                    self.record_failure(saga, ordinal, step, attempt, &error, last)
                        .await?;
                    match pause {
                        Some(pause) => tokio::time::sleep(self.rt.clock.scaled(*pause)).await,
                        None => return Ok(Err(StepFailure { error })),
                    }
                }
            }
        }
    }

    async fn record_intent(
        &self,
        saga: &mut Saga,
        ordinal: usize,
        attempt: u32,
        opening: bool,
    ) -> Result<(), StoreError> {
        let (writer, mut changed) = (self.writer.clone(), saga.clone());
        *saga = self
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                if opening {
                    writer.save(tx, &mut changed)?;
                    let outcome = Some(changed.status.as_str());
                    writer.append(
                        tx,
                        &changed,
                        &Entry {
                            kind: "state",
                            outcome,
                            ..Entry::default()
                        },
                    )?;
                }
                let saga = &changed;
                writer.set_step(
                    tx,
                    saga,
                    &StepChange::to(ordinal, StepStatus::InProgress, attempt),
                )?;
                let id = journal::step_id(saga, ordinal);
                writer.append(
                    tx,
                    saga,
                    &Entry {
                        kind: "step_intent",
                        step: Some(&id),
                        attempt: Some(attempt),
                        ..Entry::default()
                    },
                )?;
                Ok(changed)
            })
            .await?;
        Ok(())
    }

    async fn record_success(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        ordinal: usize,
        step: &'static StepDef,
        attempt: u32,
        result: Value,
    ) -> Result<(), StoreError> {
        saga.completed_steps.push(step.name.to_owned());
        saga.current_state = step.milestone.to_owned();
        saga.data
            .results
            .insert(step.name.to_owned(), result.clone());
        let (writer, mut changed) = (self.writer.clone(), saga.clone());
        let shared = Arc::clone(model);
        let (changed, staged) = self
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let id = journal::step_id(&changed, ordinal);
                let change = StepChange {
                    result: Some(&result),
                    ..StepChange::to(ordinal, StepStatus::Completed, attempt)
                };
                writer.set_step(tx, &changed, &change)?;
                writer.append(
                    tx,
                    &changed,
                    &Entry {
                        kind: "step_result",
                        step: Some(&id),
                        attempt: Some(attempt),
                        outcome: Some("ok"),
                        error: None,
                    },
                )?;
                let staged = shared.on_step(tx, &changed, step, &result)?;
                writer.save(tx, &mut changed)?;
                Ok((changed, staged))
            })
            .await?;
        *saga = changed;
        model.publish(staged);
        self.rt.telemetry.info(
            "saga.step_completed",
            "saga step completed",
            about(saga).with("step", step.name),
        );
        Ok(())
    }

    async fn record_failure(
        &self,
        saga: &Saga,
        ordinal: usize,
        step: &StepDef,
        attempt: u32,
        error: &CallError,
        last: bool,
    ) -> Result<(), StoreError> {
        let outcome = if error.certainty == Certainty::Unknown {
            "unknown"
        } else {
            "definite_error"
        };
        let attributes = about(saga)
            .with("step", step.name)
            .with("attempt", attempt)
            .with("error.code", &error.api.reason)
            .with("error.details", &error.api.message);
        if last {
            self.rt
                .telemetry
                .error("saga.step_failed", "saga step failed", attributes);
        } else {
            self.rt.telemetry.warn(
                "retry.scheduled",
                "saga step will be sent again",
                attributes,
            );
        }
        let (writer, saga, api) = (self.writer.clone(), saga.clone(), error.api.clone());
        self.store()?
            .write(move |tx| {
                let id = journal::step_id(&saga, ordinal);
                let status = if last {
                    StepStatus::Failed
                } else {
                    StepStatus::InProgress
                };
                let change = StepChange {
                    error: Some(&api.message),
                    ..StepChange::to(ordinal, status, attempt)
                };
                writer.set_step(tx, &saga, &change)?;
                writer.append(
                    tx,
                    &saga,
                    &Entry {
                        kind: "step_result",
                        step: Some(&id),
                        attempt: Some(attempt),
                        outcome: Some(outcome),
                        error: Some((&api.reason, &api.message)),
                    },
                )
            })
            .await
    }

    /// Turns the saga round. A step whose outcome is unknown may have happened, so it is undone like a completed one.
    async fn turn_back(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        ordinal: usize,
        failure: StepFailure,
    ) -> Result<(), StoreError> {
        let Some(step) = model.steps().get(ordinal) else {
            return Ok(());
        };
        // Under strict publishing the effect is there although the step failed.
        let happened = failure.error.api.reason == "EVENT_NOT_PUBLISHED";
        if (happened || failure.error.certainty == Certainty::Unknown)
            && step.compensation.is_some()
        {
            saga.completed_steps.push(step.name.to_owned());
        }
        let api = failure.error.api;
        saga.data.failure = Some(Failure {
            step: step.name.to_owned(),
            code: api.reason.clone(),
            message: api.message.clone(),
            http: api.http_status(),
        });
        saga.status = Status::Compensating;
        saga.compensation_reason = Some(format!("{} failed: {}", step.name, api.reason));
        self.save(saga, Some(saga.completed_steps.len())).await?;
        if !saga.completed_steps.is_empty() {
            self.rt.telemetry.warn(
                "saga.compensation_started",
                "saga turns back",
                about(saga)
                    .with("step", step.name)
                    .with("error.code", &api.reason),
            );
        }
        Ok(())
    }

    /// Undoes the stack from the top, going on past a compensation that fails.
    async fn unwind(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        rows: &[StepRow],
    ) -> Result<(), StoreError> {
        let mut failed = Vec::new();
        while let Some(name) = saga.completed_steps.last().cloned() {
            let found = model
                .steps()
                .iter()
                .enumerate()
                .find(|(_, step)| step.name == name);
            let Some((ordinal, step)) = found else {
                return Err(StoreError::Corrupt(format!(
                    "saga {} knows a step {name}",
                    saga.saga_id
                )));
            };
            let compensated = rows
                .get(ordinal)
                .is_some_and(|row| row.status == StepStatus::Compensated);
            let succeeded = compensated || self.undo(saga, model, ordinal, step).await?;
            saga.completed_steps.pop();
            if !succeeded {
                failed.push(name);
            }
            saga.manual_intervention_required |= !succeeded;
            self.save(saga, None).await?;
        }
        // What could not be undone stays on the stack, for whoever intervenes.
        failed.reverse();
        saga.completed_steps = failed;
        saga.status = Status::Failed;
        saga.current_state = "failed".to_owned();
        self.finish(saga, model).await
    }

    async fn undo(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        ordinal: usize,
        step: &'static StepDef,
    ) -> Result<bool, StoreError> {
        saga.current_state = step.undoing.to_owned();
        let Some(key) = compensation_key(saga, step) else {
            self.record_undone(saga, ordinal, 1, Ok(())).await?;
            return Ok(true);
        };
        let mut attempt: u32 = 0;
        loop {
            attempt += 1;
            {
                let (writer, saga) = (self.writer.clone(), saga.clone());
                self.store()?
                    .write::<_, StoreError, _>(move |tx| {
                        let id = journal::step_id(&saga, ordinal);
                        writer.set_step(
                            tx,
                            &saga,
                            &StepChange::to(ordinal, StepStatus::Compensating, attempt),
                        )?;
                        writer.append(
                            tx,
                            &saga,
                            &Entry {
                                kind: "comp_intent",
                                step: Some(&id),
                                attempt: Some(attempt),
                                ..Entry::default()
                            },
                        )
                    })
                    .await?;
            }
            self.crash_point("during_compensation", step.name);
            let span = self.step_span("saga compensate", saga, step, ordinal, attempt, &key);
            let called = in_span(&span, async {
                if self.strikes("compensation_fail", step) {
                    let error = ApiError::internal("the compensation failed");
                    mark(&span, &CallError::definite(error.clone()));
                    return Err(CallError::definite(error));
                }
                if self.strikes("compensation_skip", step) {
                    // Marked as done below although nobody was called.
                    return Ok(Value::Null);
                }
                let outcome = model.compensate(saga, step, &key).await;
                if let Err(error) = &outcome {
                    mark(&span, error);
                }
                outcome
            })
            .await;
            let labels = [
                ("model", saga.model.as_str()),
                ("step", step.name),
                ("outcome", if called.is_ok() { "ok" } else { "failed" }),
            ];
            self.rt
                .telemetry
                .metrics()
                .add("shop_saga_compensations_total", &labels, 1.0);
            match called {
                Ok(_) => {
                    self.record_undone(saga, ordinal, attempt, Ok(())).await?;
                    self.rt.telemetry.info(
                        "saga.compensated",
                        "saga step compensated",
                        about(saga).with("step", step.name),
                    );
                    return Ok(true);
                }
                Err(error) => {
                    let last = attempt >= COMPENSATION_ATTEMPTS;
                    self.rt.telemetry.error(
                        "saga.compensation_failed",
                        "compensation failed",
                        about(saga)
                            .with("step", step.name)
                            .with("attempt", attempt)
                            .with("error.code", &error.api.reason)
                            .with("error.details", &error.api.message),
                    );
                    self.record_undone(saga, ordinal, attempt, Err((&error, last)))
                        .await?;
                    if last {
                        return Ok(false);
                    }
                    let pause =
                        Duration::from_secs(1 << (attempt - 1).min(6)).min(COMPENSATION_CAP);
                    tokio::time::sleep(self.rt.clock.scaled(pause)).await;
                }
            }
        }
    }

    async fn record_undone(
        &self,
        saga: &Saga,
        ordinal: usize,
        attempt: u32,
        outcome: Result<(), (&CallError, bool)>,
    ) -> Result<(), StoreError> {
        let (writer, saga) = (self.writer.clone(), saga.clone());
        let failure = outcome
            .err()
            .map(|(error, last)| (error.api.clone(), error.certainty, last));
        self.store()?
            .write::<_, StoreError, _>(move |tx| {
                let id = journal::step_id(&saga, ordinal);
                let (status, word) = match &failure {
                    None => (StepStatus::Compensated, "ok"),
                    Some((_, certainty, last)) => (
                        if *last {
                            StepStatus::CompensationFailed
                        } else {
                            StepStatus::Compensating
                        },
                        if *certainty == Certainty::Unknown {
                            "unknown"
                        } else {
                            "definite_error"
                        },
                    ),
                };
                let error = failure
                    .as_ref()
                    .map(|(api, _, _)| (api.reason.as_str(), api.message.as_str()));
                let change = StepChange {
                    error: error.map(|(_, text)| text),
                    ..StepChange::to(ordinal, status, attempt)
                };
                writer.set_step(tx, &saga, &change)?;
                writer.append(
                    tx,
                    &saga,
                    &Entry {
                        kind: "comp_result",
                        step: Some(&id),
                        attempt: Some(attempt),
                        outcome: Some(word),
                        error,
                    },
                )?;
                if matches!(
                    status,
                    StepStatus::Compensated | StepStatus::CompensationFailed
                ) {
                    writer.count_compensated(tx, &saga, status == StepStatus::Compensated)?;
                }
                Ok(())
            })
            .await
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
    fn strikes(&self, kind: &str, step: &StepDef) -> bool {
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
