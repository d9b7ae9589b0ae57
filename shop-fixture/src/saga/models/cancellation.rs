//! Owns the way back for an order whose saga is over: a saga that begins as if everything had been done, and undoes it.
//! It never goes forward.

use std::sync::Arc;

use serde_json::Value;

use super::{CANCELLATION, calls};
use crate::call::CallError;
use crate::error::ApiError;
use crate::messaging::{Publisher, Staged};
use crate::runtime::Rt;
use crate::saga::types::{Calling, Model, Saga, StepDef};
use crate::store::{StoreError, Tx};

const STEPS: &[StepDef] = &[calls::RESERVE_INVENTORY, calls::PROCESS_PAYMENT];

pub struct Cancellation {
    rt: Rt,
    publisher: Arc<Publisher>,
}

impl Cancellation {
    #[must_use]
    pub fn new(rt: Rt, publisher: Arc<Publisher>) -> Arc<Self> {
        Arc::new(Self { rt, publisher })
    }
}

impl Model for Cancellation {
    fn name(&self) -> &'static str {
        CANCELLATION
    }

    fn steps(&self) -> &'static [StepDef] {
        STEPS
    }

    fn forward<'a>(&'a self, _: &'a Saga, _: &'static StepDef, _: &'a str) -> Calling<'a> {
        let error = ApiError::internal("a cancellation has no way forward");
        Box::pin(async { Err(CallError::definite(error)) })
    }

    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a> {
        match step.name {
            calls::RESERVE_INVENTORY_NAME => Box::pin(calls::release(&self.rt, saga, step, key)),
            _ => Box::pin(calls::refund(&self.rt, saga, step, key)),
        }
    }

    fn on_step(
        &self,
        _: &Tx<'_>,
        _: &Saga,
        _: &StepDef,
        _: &Value,
    ) -> Result<Vec<Staged>, StoreError> {
        Ok(Vec::new())
    }

    fn on_completed(&self, _: &Tx<'_>, _: &Saga) -> Result<Vec<Staged>, StoreError> {
        Ok(Vec::new())
    }

    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError> {
        calls::stage_cancelled(&self.publisher, tx, saga)
    }

    fn publish(&self, staged: Vec<Staged>) {
        self.publisher.publish_aside(staged);
    }
}
