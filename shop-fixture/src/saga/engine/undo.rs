//! Owns the way back: undoing the stack of completed steps from the top, with retries, and telling when a person is needed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Engine, StepFailure, about, mark};
use crate::call::{CallError, Certainty};
use crate::context::in_span;
use crate::error::ApiError;
use crate::saga::journal::{self, Entry, StepChange};
use crate::saga::types::{
    Failure, Model, Saga, Status, StepDef, StepRow, StepStatus, compensation_key, forward_key,
};
use crate::store::StoreError;

const ATTEMPTS: u32 = 8;
const PAUSE_CAP: Duration = Duration::from_secs(60);

impl Engine {
    /// Turns the saga round. A step whose outcome is unknown may have happened, so it is undone like a completed one.
    pub(super) async fn turn_back(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        ordinal: usize,
        failure: StepFailure,
    ) -> Result<(), StoreError> {
        let Some(step) = model.steps().get(ordinal) else {
            return Ok(());
        };
        let unanswered = failure.error.certainty == Certainty::Unknown;
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
        if unanswered && self.rt.faults.is_on("undo_bypassed") {
            saga.status = Status::Failed;
            saga.current_state = "failed".to_owned();
            return self.finish(saga, model).await;
        }
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
    pub(super) async fn unwind(
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
            let left_out = self.strikes("undo_handler_missing", step);
            let succeeded =
                compensated || left_out || self.undo(saga, model, ordinal, step).await?;
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
        let Some(mut key) = compensation_key(saga, step) else {
            self.record_undone(saga, model, ordinal, 1, Ok(())).await?;
            return Ok(true);
        };
        if self.strikes("undo_forward_key", step) {
            key = forward_key(saga, step);
        }
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
                    self.record_undone(saga, model, ordinal, attempt, Ok(()))
                        .await?;
                    self.rt.telemetry.info(
                        "saga.compensated",
                        "saga step compensated",
                        about(saga).with("step", step.name),
                    );
                    return Ok(true);
                }
                Err(error) => {
                    let last = attempt >= ATTEMPTS;
                    self.rt.telemetry.error(
                        "saga.compensation_failed",
                        "compensation failed",
                        about(saga)
                            .with("step", step.name)
                            .with("attempt", attempt)
                            .with("error.code", &error.api.reason)
                            .with("error.details", &error.api.message),
                    );
                    self.record_undone(saga, model, ordinal, attempt, Err((&error, last)))
                        .await?;
                    if last {
                        return Ok(false);
                    }
                    let pause = Duration::from_secs(1 << (attempt - 1).min(6)).min(PAUSE_CAP);
                    tokio::time::sleep(self.rt.clock.scaled(pause)).await;
                }
            }
        }
    }

    async fn record_undone(
        &self,
        saga: &Saga,
        model: &Arc<dyn Model>,
        ordinal: usize,
        attempt: u32,
        outcome: Result<(), (&CallError, bool)>,
    ) -> Result<(), StoreError> {
        let (writer, saga, shared) = (self.writer.clone(), saga.clone(), Arc::clone(model));
        let failure = outcome
            .err()
            .map(|(error, last)| (error.api.clone(), error.certainty, last));
        let staged = self
            .store()?
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
                match shared.steps().get(ordinal) {
                    Some(step) if status == StepStatus::Compensated => {
                        shared.on_undone(tx, &saga, step)
                    }
                    _ => Ok(Vec::new()),
                }
            })
            .await?;
        model.publish(staged);
        Ok(())
    }
}
