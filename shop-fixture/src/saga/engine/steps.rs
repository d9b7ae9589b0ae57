//! Owns the way forward: one step with its intent, its call and its result, sent again while its outcome is unknown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Engine, StepFailure, about, mark};
use crate::call::{CallError, Certainty};
use crate::context::in_span;
use crate::saga::journal::{self, Entry, StepChange};
use crate::saga::types::{Model, Saga, StepDef, StepStatus, forward_key};
use crate::store::StoreError;

/// Pauses before a step is sent again whose outcome is unknown.
const RESEND: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

impl Engine {
    /// One step: intent, call, result. The inner error is the step's own failure.
    pub(super) async fn forward(
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
                    let pause = if self.strikes("retry_forever", step)
                        || self.strikes("retry_count_lost", step)
                    {
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
}
