//! Owns the way forward: one step with its intent, its call and its result, sent again while its outcome is unknown.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{CANCELLED, Engine, Next, Position, StepFailure, about, close, mark};
use crate::call::{CallError, Certainty};
use crate::context::in_span;
use crate::error::ApiError;
use crate::messaging::Staged;
use crate::saga::journal::{self, Entry, StepChange, Writer};
use crate::saga::types::{Model, Saga, Status, StepDef, StepStatus, forward_key};
use crate::store::{StoreError, Tx};

/// Pauses before a step is sent again whose outcome is unknown.
const RESEND: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// How long a request is given to leave before the process ends under `after_send`.
const SENT: Duration = Duration::from_millis(5);

impl Engine {
    /// One step: intent, call, result. The inner error is the step's own failure.
    pub(super) async fn forward(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        at: Position,
        mut intended: bool,
    ) -> Result<Result<(), StepFailure>, StoreError> {
        let Position { ordinal, step, .. } = at;
        self.crash_point("before_step", step.name);
        let key = forward_key(saga, step);
        let mut attempt: u32 = 0;
        loop {
            attempt += 1;
            if !std::mem::take(&mut intended) {
                self.record_intent(saga, ordinal, attempt).await?;
            }
            self.crash_point("after_intent", step.name);
            let span = self.step_span("saga step", saga, step, ordinal, attempt, &key);
            let called = in_span(&span, async {
                let outcome = self.send(saga, model, step, &key).await;
                if let Err(error) = &outcome {
                    mark(&span, error);
                }
                outcome
            })
            .await;
            self.crash_point("after_reply", step.name);
            match called {
                Ok(result) => {
                    let cancelled = self
                        .record_success(saga, model, at, attempt, result)
                        .await?;
                    return Ok(if cancelled {
                        Err(cancelled_by_customer())
                    } else {
                        Ok(())
                    });
                }
                Err(error) => {
                    let refused = error.certainty == Certainty::Definite
                        || error.api.reason == "CIRCUIT_OPEN";
                    let pause = if self.strikes("retry_forever", step)
                        || self.strikes("retry_count_lost", step)
                    {
                        RESEND.last()
                    } else if refused || !step.critical {
                        None
                    } else {
                        RESEND.get(attempt as usize - 1)
                    };
                    let last = pause.is_none();
                    let failed = Failed {
                        attempt,
                        error: &error,
                        last,
                    };
                    self.record_failure(saga, model, at, failed).await?;
                    if last && !step.critical {
                        return Ok(Ok(()));
                    }
                    match pause {
                        Some(pause) => tokio::time::sleep(self.rt.clock.scaled(*pause)).await,
                        None => return Ok(Err(StepFailure { error })),
                    }
                }
            }
        }
    }

    /// The step's call. A `crash_at` fault may strike once it is on its way: the callee works on it, nobody listens.
    async fn send(
        &self,
        saga: &Saga,
        model: &Arc<dyn Model>,
        step: &'static StepDef,
        key: &str,
    ) -> Result<Value, CallError> {
        let call = model.forward(saga, step, key);
        if self.crashes("after_send", step.name) {
            // Long enough for the request to leave, short enough for no answer to be noted: it is thrown away either way.
            let _ = tokio::time::timeout(SENT, call).await;
            self.crash_point("after_send", step.name);
            return Err(CallError::unknown(ApiError::internal(
                "the fault was lifted meanwhile",
            )));
        }
        call.await
    }

    async fn record_intent(
        &self,
        saga: &mut Saga,
        ordinal: usize,
        attempt: u32,
    ) -> Result<(), StoreError> {
        let (writer, mut changed) = (self.writer.clone(), saga.clone());
        *saga = self
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                if ordinal == 0 && attempt == 1 {
                    // A saga that begins without its opening's intent is written as running here.
                    writer.save(tx, &mut changed)?;
                }
                writer.intend(tx, &changed, ordinal, attempt)?;
                Ok(changed)
            })
            .await?;
        Ok(())
    }

    /// The result of a step, and what follows it, in one transaction: a flush before the next call is a flush after this one.
    async fn record_success(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        at: Position,
        attempt: u32,
        result: Value,
    ) -> Result<bool, StoreError> {
        let Position {
            ordinal,
            step,
            next,
        } = at;
        saga.completed_steps.push(step.name.to_owned());
        saga.current_state = step.milestone.to_owned();
        saga.data
            .results
            .insert(step.name.to_owned(), result.clone());
        let (writer, mut changed) = (self.writer.clone(), saga.clone());
        let shared = Arc::clone(model);
        let (changed, staged, cancelled) = self
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
                let mut staged = shared.on_step(tx, &changed, step, &result)?;
                // Who asks to cancel is heard between two steps, and no more once the last one is done.
                let cancelled =
                    next != Next::Finish && journal::is_cancel_requested(tx, &changed.saga_id)?;
                let next = if cancelled { Next::Nothing } else { next };
                staged.extend(go_on(&writer, tx, &mut changed, shared.as_ref(), next)?);
                Ok((changed, staged, cancelled))
            })
            .await?;
        *saga = changed;
        model.publish(staged);
        self.rt.telemetry.info(
            "saga.step_completed",
            "saga step completed",
            about(saga).with("step", step.name),
        );
        Ok(cancelled)
    }

    async fn record_failure(
        &self,
        saga: &mut Saga,
        model: &Arc<dyn Model>,
        at: Position,
        failed: Failed<'_>,
    ) -> Result<(), StoreError> {
        let Position {
            ordinal,
            step,
            next,
        } = at;
        let Failed {
            attempt,
            error,
            last,
        } = failed;
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
        let telemetry = &self.rt.telemetry;
        if last {
            telemetry.error("saga.step_failed", "saga step failed", attributes);
        } else {
            telemetry.warn(
                "retry.scheduled",
                "saga step will be sent again",
                attributes,
            );
        }
        let (writer, mut changed, api) = (self.writer.clone(), saga.clone(), error.api.clone());
        let (shared, skipped) = (Arc::clone(model), last && !step.critical);
        let (changed, staged) = self
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let id = journal::step_id(&changed, ordinal);
                let status = if last {
                    StepStatus::Failed
                } else {
                    StepStatus::InProgress
                };
                let change = StepChange {
                    error: Some(&api.message),
                    ..StepChange::to(ordinal, status, attempt)
                };
                writer.set_step(tx, &changed, &change)?;
                writer.append(
                    tx,
                    &changed,
                    &Entry {
                        kind: "step_result",
                        step: Some(&id),
                        attempt: Some(attempt),
                        outcome: Some(outcome),
                        error: Some((&api.reason, &api.message)),
                    },
                )?;
                let mut staged = Vec::new();
                if skipped {
                    shared.on_skipped(tx, &changed, step)?;
                    staged = go_on(&writer, tx, &mut changed, shared.as_ref(), next)?;
                }
                Ok((changed, staged))
            })
            .await?;
        *saga = changed;
        model.publish(staged);
        Ok(())
    }
}

fn cancelled_by_customer() -> StepFailure {
    let error = ApiError::new(tonic::Code::Aborted, CANCELLED, "the customer cancelled");
    StepFailure {
        error: CallError::definite(error),
    }
}

/// How an attempt failed, and whether it was the last.
#[derive(Clone, Copy)]
struct Failed<'a> {
    attempt: u32,
    error: &'a CallError,
    last: bool,
}

/// What is written behind the result of a step.
fn go_on(
    writer: &Writer,
    tx: &Tx<'_>,
    saga: &mut Saga,
    model: &dyn Model,
    next: Next,
) -> Result<Vec<Staged>, StoreError> {
    match next {
        Next::Finish => {
            saga.status = Status::Completed;
            saga.current_state = "completed".to_owned();
            return close(writer, tx, saga, model);
        }
        Next::Intent(next) => {
            writer.save(tx, saga)?;
            writer.intend(tx, saga, next, 1)?;
        }
        Next::Nothing => writer.save(tx, saga)?,
    }
    Ok(Vec::new())
}
