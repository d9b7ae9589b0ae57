//! Owns the `shopflow` model: pay first, then reserve, then ship. The order is written PENDING before the first step.

use std::sync::Arc;

use serde_json::{Value, json};

use super::SHOPFLOW;
use crate::call::{CallOptions, grpc};
use crate::catalog::PAYMENT;
use crate::proto::payments;
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::saga::types::{Calling, Model, Saga, StepDef};
use crate::services::order_management::orders::{self, Event};
use crate::store::{StoreError, Tx};

pub const PROCESS_PAYMENT: &str = "process_payment";

const STEPS: &[StepDef] = &[StepDef {
    name: PROCESS_PAYMENT,
    service: PAYMENT,
    forward: "payments.v1.PaymentsService/ProcessPayment",
    timeout: timeouts::PAYMENT_STEP,
    op: "payment",
    compensation: Some(("payments.v1.PaymentsService/RefundPayment", "refund")),
    milestone: "payment_processed",
    undoing: "compensate_payment",
}];

pub struct Shopflow {
    rt: Rt,
}

impl Shopflow {
    #[must_use]
    pub fn new(rt: Rt) -> Arc<Self> {
        Arc::new(Self { rt })
    }

    fn options<'a>(&self, step: &StepDef, key: &'a str) -> CallOptions<'a> {
        // The engine repeats steps itself, so the call below it does not.
        CallOptions {
            service: step.service,
            timeout: step.timeout,
            retry: retry::Class::None,
            key: Some(key),
        }
    }
}

impl Model for Shopflow {
    fn name(&self) -> &'static str {
        SHOPFLOW
    }

    fn steps(&self) -> &'static [StepDef] {
        STEPS
    }

    fn forward<'a>(&'a self, saga: &'a Saga, step: &'static StepDef, key: &'a str) -> Calling<'a> {
        Box::pin(async move {
            let request = payments::PaymentRequest {
                order_id: saga.order_id.clone(),
                user_id: saga.user_id.clone(),
                amount_cents: saga.data.total_cents,
                currency: saga.data.currency.clone(),
                payment_method_id: saga.data.payment_method_id.clone(),
            };
            let payment: payments::Payment =
                grpc::unary(&self.rt, step.forward, self.options(step, key), request).await?;
            Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
        })
    }

    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a> {
        Box::pin(async move {
            let request = payments::RefundRequest {
                payment_id: result_text(saga, PROCESS_PAYMENT, "payment_id"),
                order_id: saga.order_id.clone(),
                amount_cents: 0,
                reason: saga.compensation_reason.clone().unwrap_or_default(),
            };
            let method = step.compensation.map_or(step.forward, |(method, _)| method);
            let payment: payments::Payment =
                grpc::unary(&self.rt, method, self.options(step, key), request).await?;
            Ok(json!({ "payment_id": payment.payment_id, "status": payment.status }))
        })
    }

    fn on_step(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        step: &StepDef,
        result: &Value,
    ) -> Result<(), StoreError> {
        let change = match step.name {
            PROCESS_PAYMENT => Event {
                to: "PAID",
                event: "payment completed",
                payment_id: result["payment_id"].as_str(),
                ..Event::default()
            },
            _ => return Ok(()),
        };
        orders::advance(tx, saga, step.name, &change)
    }

    fn on_completed(&self, _tx: &Tx<'_>, _saga: &Saga) -> Result<(), StoreError> {
        Ok(())
    }

    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<(), StoreError> {
        let failure = crate::saga::journal::failure_of(saga);
        let change = Event {
            to: "FAILED",
            event: "saga failed",
            reason: Some("PAYMENT_ERROR"),
            ..Event::default()
        };
        orders::advance(tx, saga, &failure.step, &change)
    }

    fn after_commit(&self) {}
}

fn result_text(saga: &Saga, step: &str, field: &str) -> String {
    saga.data
        .results
        .get(step)
        .and_then(|result| result[field].as_str())
        .unwrap_or_default()
        .to_owned()
}
