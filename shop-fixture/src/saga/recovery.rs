//! Owns finding sagas that lost their process, and deciding whether each goes on or turns back.

use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Origin, about};
use super::journal::{self, Entry};
use super::types::{Failure, Model, Saga, Status};
use crate::clock::parse_rfc3339;
use crate::context::Context;
use crate::discovery;
use crate::propagation::TraceContext;
use crate::runtime::Rt;
use crate::store::{Store, StoreError};
use crate::telemetry::{Attributes, Kind};

const SCAN: Duration = Duration::from_secs(30);
/// A saga that stood still for longer turns back unless it has already been paid.
const FRESH: Duration = Duration::from_secs(300);

/// What becomes of a recovered saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Continue,
    Compensate,
}

/// The decision, from the state at the crash, the age of the last update and whether the next service can be reached.
#[must_use]
pub fn decide(
    status: Status,
    state: &str,
    paid: bool,
    fresh: bool,
    next_reachable: bool,
) -> Action {
    // Once the customer has paid, only the payment's row counts, whatever was reached after it.
    let state = if paid && state != "order_confirmed" && state != "shipped" {
        "payment_processed"
    } else {
        state
    };
    match (status, state) {
        // Turning back is never turned round again.
        (Status::Compensating | Status::Failed, _) => Action::Continue,
        (_, "payment_processed") if next_reachable => Action::Continue,
        (_, "payment_processed") => Action::Compensate,
        (_, "order_confirmed" | "shipped" | "completed") => Action::Continue,
        (_, "initiated") if fresh => Action::Continue,
        _ if fresh && next_reachable => Action::Continue,
        _ => Action::Compensate,
    }
}

/// Scans on start and then at its interval, until the process stops.
pub async fn run(engine: Arc<Engine>) {
    let mut stopping = engine.rt().stopping();
    let task = engine.rt().tasks.begin("saga_recovery");
    let mut search = Search::default();
    loop {
        if let Err(error) = search.scan(&engine).await {
            engine.rt().telemetry.warn(
                "exception",
                "scan for abandoned sagas failed",
                Attributes::new()
                    .with("error.code", "STORE_FAILED")
                    .with("error.details", error.to_string()),
            );
        }
        task.tick();
        tokio::select! {
            () = tokio::time::sleep(engine.rt().clock.scaled(SCAN)) => {}
            _ = stopping.changed() => return,
        }
    }
}

/// The search for abandoned sagas over the life of a process.
#[derive(Default)]
struct Search {
    scans: u64,
    /// A fault has ended it for good.
    over: bool,
    /// Sagas decided so far, for a decision that a fault leaves to chance.
    decided: usize,
}

impl Search {
    async fn scan(&mut self, engine: &Arc<Engine>) -> Result<(), StoreError> {
        let rt = engine.rt();
        let stops_early = rt.faults.is_on("recovery_stops_early");
        if rt.faults.is_on("recovery_off") || self.over && stops_early {
            return Ok(());
        }
        let store = rt.store().map_err(|_| StoreError::Gone)?;
        if self.scans == 0 && rt.faults.is_on("closed_meanwhile") {
            store
                .write::<_, StoreError, _>(journal::close_orders)
                .await?;
        }
        let find = if rt.faults.is_on("recovery_narrow") {
            journal::abandoned_at_the_start
        } else {
            journal::abandoned
        };
        let mut ids = store.read::<_, StoreError, _>(find).await?;
        ids.retain(|id| !engine.is_running(id));
        self.scans += 1;
        if ids.is_empty() && self.scans > 1 {
            return Ok(());
        }
        let span = rt.telemetry.root("saga recovery scan", Kind::Internal);
        span.set("shop.saga.scan.found", ids.len());
        if stops_early {
            if self.scans < 3 {
                return Ok(());
            }
            self.over = !ids.is_empty();
            ids.truncate(1);
        }
        crate::context::in_span(&span, self.take(engine, store, ids)).await
    }

    /// Takes the leases, and recovers what nobody else took first.
    async fn take(
        &mut self,
        engine: &Arc<Engine>,
        store: &Store,
        ids: Vec<String>,
    ) -> Result<(), StoreError> {
        for id in ids {
            let (writer, wanted) = (engine.writer().clone(), id.clone());
            let taken = store
                .write::<_, StoreError, _>(move |tx| writer.take(tx, &wanted))
                .await;
            let taken = match taken {
                // One row that cannot be read must not hold up all others.
                Err(StoreError::Corrupt(what)) => salvage(engine, &id, what).await?,
                other => other?,
            };
            let Some(saga) = taken else { continue };
            match engine.model(&saga.model) {
                Ok(model) => {
                    self.decided += 1;
                    tokio::spawn(recover(Arc::clone(engine), saga, model, self.decided));
                }
                Err(error) => engine.rt().telemetry.error(
                    "exception",
                    "abandoned saga of an unknown model",
                    about(&saga)
                        .with("error.code", error.reason)
                        .with("error.details", error.message),
                ),
            }
        }
        Ok(())
    }
}

/// Takes over a saga whose row is damaged, and says so.
async fn salvage(
    engine: &Arc<Engine>,
    saga_id: &str,
    what: String,
) -> Result<Option<Saga>, StoreError> {
    engine.rt().telemetry.error(
        "exception",
        "the journal of a saga is damaged",
        Attributes::new()
            .with("saga_id", saga_id)
            .with("error.code", "JOURNAL_DAMAGED")
            .with("error.details", what),
    );
    let store = engine.rt().store().map_err(|_| StoreError::Gone)?;
    let (writer, id, shared) = (
        engine.writer().clone(),
        saga_id.to_owned(),
        Arc::clone(engine),
    );
    store
        .write::<_, StoreError, _>(move |tx| {
            let steps = |model: &str| shared.model(model).ok().map(|model| model.steps());
            super::salvage::salvage(tx, &writer, &id, steps)
        })
        .await
}

async fn recover(engine: Arc<Engine>, mut saga: Saga, model: Arc<dyn Model>, turn: usize) {
    let rt = engine.rt();
    let span = rt.telemetry.root("saga recover", Kind::Internal);
    if let Ok(original) = TraceContext::parse(&saga.traceparent) {
        span.link(original);
    }
    let now = rt.clock.now();
    // A row that does not say when it changed is as old as can be.
    let age =
        Duration::from_nanos(now.saturating_sub(parse_rfc3339(&saga.updated_at).unwrap_or(0)));
    let done = saga.completed_steps.len();
    let context = Context::default().with_span(&span);
    context
        .scope(async {
            let rest = model.steps().get(done..).unwrap_or_default();
            let next_reachable = match rest.first() {
                // What is left does not decide the saga.
                Some(_) if rest.iter().all(|step| !step.critical) => true,
                Some(step) => discovery::is_resolvable(rt, step.service).await,
                None => true,
            };
            let paid = saga
                .completed_steps
                .iter()
                .any(|step| step == "process_payment" || step == "authorize_payment");
            let fresh = age < rt.clock.scaled(FRESH);
            let action = decide(
                saga.status,
                &saga.current_state,
                paid,
                fresh,
                next_reachable,
            );
            let wanted = is_still_wanted(rt, &saga, &model).await;
            let action = spoilt(
                rt,
                &saga,
                if wanted { action } else { Action::Compensate },
                turn,
            );
            span.set("shop.saga.age_ms", age.as_millis() as u64);
            let word = if action == Action::Compensate {
                "compensate"
            } else {
                "continue"
            };
            span.set("shop.saga.recovery.action", word);
            rt.telemetry.info(
                "saga.recovered",
                "abandoned saga taken over",
                about(&saga).with("action", word),
            );
            if action == Action::Compensate {
                // The step in progress may have happened, so it is undone as well.
                if let Some(step) = model
                    .steps()
                    .get(done)
                    .filter(|step| step.compensation.is_some())
                {
                    saga.completed_steps.push(step.name.to_owned());
                }
                saga.status = Status::Compensating;
                let reason = if !wanted {
                    "the order was closed meanwhile"
                } else if next_reachable {
                    "abandoned for too long"
                } else {
                    "the next service is not reachable"
                };
                saga.compensation_reason = Some(format!("recovery: {reason}"));
                saga.data.failure = Some(Failure {
                    step: model
                        .steps()
                        .get(done)
                        .map_or_else(String::new, |step| step.name.to_owned()),
                    code: "RECOVERY_COMPENSATED".to_owned(),
                    message: reason.to_owned(),
                    http: 500,
                });
            }
            let restarts = rt.faults.is_on("recovery_from_start");
            if restarts {
                saga.completed_steps.clear();
                saga.current_state = "initiated".to_owned();
            }
            if restarts || rt.faults.is_on("recovery_new_keys") {
                saga.data.key_suffix = format!(":{}", crate::ids::random_u64() % 100_000);
            }
            let (writer, mut changed) = (engine.writer().clone(), saga);
            let Ok(store) = rt.store() else { return };
            let saved = store
                .write::<_, StoreError, _>(move |tx| {
                    if restarts {
                        writer.reset_steps(tx, &changed)?;
                    }
                    writer.save(tx, &mut changed)?;
                    writer.append(
                        tx,
                        &changed,
                        &Entry {
                            kind: "recovered",
                            outcome: Some(changed.status.as_str()),
                            ..Entry::default()
                        },
                    )?;
                    Ok(changed)
                })
                .await;
            if let Ok(saga) = saved {
                engine.execute(saga, model, &span, Origin::Found).await;
            }
        })
        .await;
}

/// Whether what the saga is about still stands. Nobody changes an order of a saga but the saga and the customer.
async fn is_still_wanted(rt: &Rt, saga: &Saga, model: &Arc<dyn Model>) -> bool {
    let (Ok(store), Status::Initiated | Status::Running) = (rt.store(), saga.status) else {
        return true;
    };
    if rt.faults.is_on("recovery_blind") {
        return true;
    }
    let wanted = store
        .read::<_, StoreError, _>(|tx| model.is_still_wanted(tx, saga))
        .await;
    // What can not be read is decided without it.
    wanted.unwrap_or(true)
}

/// The decision as faults turn it round.
fn spoilt(rt: &Rt, saga: &Saga, action: Action, turn: usize) -> Action {
    let other = match action {
        Action::Continue => Action::Compensate,
        Action::Compensate => Action::Continue,
    };
    if saga.status == Status::Compensating {
        return action;
    }
    if let Some(params) = rt.faults.find("recovery_misreads")
        && params["state"].as_str() == Some(&saga.current_state)
    {
        return other;
    }
    if rt.faults.is_on("recovery_by_chance") && turn.is_multiple_of(2) {
        return other;
    }
    action
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_paid_is_carried_on_while_the_next_service_answers() {
        let decided = |fresh, reachable| {
            decide(
                Status::Running,
                "inventory_reserved",
                true,
                fresh,
                reachable,
            )
        };
        assert_eq!(decided(false, true), Action::Continue);
        assert_eq!(decided(true, false), Action::Compensate);
        assert_eq!(
            decide(Status::Running, "shipped", true, false, false),
            Action::Continue
        );
    }

    #[test]
    fn the_matrix_of_recovery() {
        use Action::{Compensate, Continue};
        for (status, state, fresh, reachable, expected) in [
            (Status::Running, "initiated", true, true, Continue),
            (Status::Running, "initiated", true, false, Continue),
            (Status::Running, "initiated", false, true, Compensate),
            (Status::Running, "inventory_reserved", true, true, Continue),
            (
                Status::Running,
                "inventory_reserved",
                true,
                false,
                Compensate,
            ),
            (Status::Running, "user_validated", false, true, Compensate),
            (Status::Running, "order_created", false, false, Compensate),
            (Status::Running, "payment_processed", false, true, Continue),
            (
                Status::Running,
                "payment_processed",
                true,
                false,
                Compensate,
            ),
            (Status::Running, "order_confirmed", false, false, Continue),
            (Status::Running, "shipped", false, true, Continue),
            (
                Status::Compensating,
                "payment_processed",
                false,
                false,
                Continue,
            ),
            (
                Status::Compensating,
                "inventory_reserved",
                false,
                true,
                Continue,
            ),
        ] {
            assert_eq!(
                decide(status, state, false, fresh, reachable),
                expected,
                "{state} {fresh} {reachable}"
            );
        }
    }
}
