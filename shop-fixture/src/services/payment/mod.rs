//! Owns payment: charging, authorising and giving back, with the simulated processor behind it. The rows are `rows`'.

mod rows;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use serde_json::json;
use tonic::{Code, Request, Response, Status};

use super::Served;
use super::keyed::{self, Changed};
use super::processor::{self, Operation};
use crate::call::{CallOptions, grpc};
use crate::catalog::FRAUD;
use crate::context;
use crate::error::{ApiError, ShopError};
use crate::flags;
use crate::idempotency::{self, Begin, Ticket};
use crate::messaging::publisher::Cause;
use crate::messaging::{Event, Publisher, consumer, outbox};
use crate::proto::payments::payments_service_server::{PaymentsService, PaymentsServiceServer};
use crate::proto::{fraud, payments as proto};
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::store::{Store, StoreError};
use crate::telemetry::Attributes;
use schema::statements;

pub(super) use schema::MIGRATION;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    schema::set_level(rt.release.schema_level);
    let path = rt.config.db_path(rt.spec.name);
    let migrations = [
        rows::SCHEMA,
        idempotency::SCHEMA,
        outbox::SCHEMA,
        consumer::SCHEMA,
    ];
    rt.set_store(Store::open(
        &path,
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let publisher = Publisher::new(rt);
    let events = consumer::router(rt, None, consumer::record_only());
    let relay = outbox::relay(Arc::clone(&publisher));
    let service = PaymentsServiceServer::new(Payments {
        rt: Arc::clone(rt),
        publisher,
    });
    let background = vec![
        super::background(idempotency::purge(Arc::clone(rt))),
        super::background(relay),
    ];
    Ok(Served {
        grpc: Some(super::with_health(rt, service)),
        http: Some(events),
        background,
    })
}

struct Payments {
    rt: Rt,
    publisher: Arc<Publisher>,
}

/// Whether the money is taken or only set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Charge,
    Authorize,
}

impl Purpose {
    fn method(self) -> &'static str {
        match self {
            Self::Charge => "ProcessPayment",
            Self::Authorize => "AuthorizePayment",
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Charge => Operation::Charge,
            Self::Authorize => Operation::Authorize,
        }
    }
}

impl Payments {
    async fn process(
        &self,
        request: proto::PaymentRequest,
        purpose: Purpose,
    ) -> Result<proto::Payment, ApiError> {
        check(&request)?;
        crate::faults::refusal(&self.rt)?;
        let payload = json!({
            "order_id": request.order_id, "user_id": request.user_id, "amount_cents": request.amount_cents,
            "currency": request.currency, "payment_method_id": request.payment_method_id,
        });
        let key = context::current().shared.idempotency_key.clone();
        let ticket =
            match idempotency::begin(&self.rt, key.as_deref(), purpose.method(), &payload).await? {
                Begin::Replay(outcome) => return replayed(outcome?),
                Begin::Run(ticket) => ticket,
            };
        let key = key.unwrap_or_default();
        let charged = match self.rt.faults.find("capture_late") {
            Some(params) => {
                let after = Duration::from_millis(params["ms"].as_u64().unwrap_or_default());
                self.charge_late(after, &request, &key, &ticket, purpose)
                    .await
            }
            None => self.charge(&request, &key, &ticket, purpose).await,
        };
        match charged {
            Ok(payment) => Ok(payment),
            Err(error) => {
                // An effect that is there must keep its record, or a repetition would charge again.
                if !error.is_definite() && error.reason != "EVENT_NOT_PUBLISHED" {
                    ticket.settle_failure(&self.rt, &error).await?;
                }
                Err(error)
            }
        }
    }

    /// Charges after a while, whether or not anybody still waits for it.
    async fn charge_late(
        &self,
        after: Duration,
        request: &proto::PaymentRequest,
        key: &str,
        ticket: &Ticket,
        purpose: Purpose,
    ) -> Result<proto::Payment, ApiError> {
        let own = Self {
            rt: Arc::clone(&self.rt),
            publisher: Arc::clone(&self.publisher),
        };
        let (request, key, ticket) = (request.clone(), key.to_owned(), ticket.clone());
        let task = tokio::spawn(context::current().scope(async move {
            tokio::time::sleep(after.min(Duration::from_secs(600))).await;
            own.charge(&request, &key, &ticket, purpose).await
        }));
        task.await
            .unwrap_or_else(|_| Err(ApiError::internal("the payment was not finished")))
    }

    /// Asks fraud-detection first; an order that somebody has to look at is not charged.
    async fn without_suspicion(
        &self,
        request: &proto::PaymentRequest,
    ) -> Result<processor::Decision, ApiError> {
        let ask = fraud::ScoreRequest {
            order_id: request.order_id.clone(),
            user_id: request.user_id.clone(),
            total_cents: request.amount_cents,
            payment_method_id: request.payment_method_id.clone(),
            ..fraud::ScoreRequest::default()
        };
        let options = CallOptions {
            service: FRAUD,
            timeout: timeouts::FRAUD,
            retry: retry::Class::None,
            key: None,
        };
        let score: fraud::Score =
            grpc::unary(&self.rt, "fraud.v1.FraudService/ScoreOrder", options, ask).await?;
        Ok(if score.verdict == "REVIEW" {
            Err("FRAUD")
        } else {
            Ok(())
        })
    }

    /// Records the attempt, asks the processor, and settles both together.
    async fn charge(
        &self,
        request: &proto::PaymentRequest,
        key: &str,
        ticket: &Ticket,
        purpose: Purpose,
    ) -> Result<proto::Payment, ApiError> {
        let store = self.rt.store()?;
        let trace_id = context::current()
            .trace
            .map(|trace| trace.trace_hex())
            .unwrap_or_default();
        let (request, key) = (request.clone(), key.to_owned());
        let (attempt, method) = (request.clone(), request.payment_method_id.clone());
        let recorded = ticket.is_recorded();
        // Flushed with the verdict: the processor lives in this process and remembers nothing that this row does not.
        let payment_id = store
            .note::<_, StoreError, _>(move |tx| {
                rows::record_attempt(tx, &attempt, &key, &trace_id, recorded)
            })
            .await?;
        let suspicion = if flags::is_on(&self.rt, flags::FRAUD_SYNC) {
            self.without_suspicion(&request).await?
        } else {
            Ok(())
        };
        let verdict = match suspicion {
            Ok(()) => {
                processor::ask(&self.rt, purpose.operation(), &method, request.amount_cents).await?
            }
            refused => refused,
        };
        let (ticket, id) = (ticket.clone(), payment_id.clone());
        let (publisher, cause) = (Arc::clone(&self.publisher), Cause::here());
        let (settled, staged) = store
            .write::<_, StoreError, _>(move |tx| {
                let settled = rows::settle(tx, &id, verdict, &ticket, purpose)?;
                let payment = rows::find(tx, &id)?;
                // Money that is only set aside is news to nobody yet.
                let kind = match (&settled, purpose) {
                    (Ok(_), Purpose::Charge) => Some("PaymentProcessed"),
                    (Ok(_), Purpose::Authorize) => None,
                    (Err(_), _) => Some("PaymentFailed"),
                };
                let mut staged = Vec::new();
                if let Some(kind) = kind {
                    staged.push(publisher.stage(tx, event(kind, &payment), &cause)?);
                }
                Ok((settled, staged))
            })
            .await?;
        let metrics = self.rt.telemetry.metrics();
        let about = Attributes::new()
            .with("payment_id", &payment_id)
            .with("order_id", &request.order_id)
            .with("user_id", &request.user_id);
        let published = self.publisher.publish_and_wait(staged).await;
        match settled {
            Ok(payment) => {
                let labels = [("status", payment.status.as_str())];
                metrics.add("shop_payments_total", &labels, 1.0);
                self.rt
                    .telemetry
                    .info("payment.processed", "payment processed", about);
                published.map(|()| payment)
            }
            Err(error) => {
                metrics.add("shop_payments_total", &[("status", "FAILED")], 1.0);
                let about = about
                    .with("error.code", &error.reason)
                    .with("error.details", &error.message);
                self.rt
                    .telemetry
                    .error("payment.failed", "payment rejected", about);
                Err(error)
            }
        }
    }

    /// Has the processor give the money back, if it ever took it.
    async fn give_back(&self, request: &proto::RefundRequest) -> Result<(), ApiError> {
        let order_id = request.order_id.clone();
        let taken = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| {
                tx.one("SELECT payments", &statements().left, [order_id], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
                })
            })
            .await?;
        let Some((method, left)) = taken else {
            return Ok(());
        };
        let amount = match request.amount_cents {
            0 => left,
            asked => asked,
        };
        processor::ask(&self.rt, Operation::Refund, &method, amount)
            .await?
            // Not for good: whoever settles it with the processor wants the next attempt to succeed.
            .map_err(|code| ApiError::new(Code::Internal, code, "the processor refused the refund"))
    }

    async fn refund(&self, request: proto::RefundRequest) -> Result<proto::Payment, ApiError> {
        if request.amount_cents < 0 || request.order_id.is_empty() {
            return Err(ApiError::invalid(
                "a refund needs an order and an amount that is not negative",
            ));
        }
        let payload = json!({
            "payment_id": request.payment_id, "order_id": request.order_id, "amount_cents": request.amount_cents,
        });
        let key = context::current().shared.idempotency_key.clone();
        let ticket =
            match idempotency::begin(&self.rt, key.as_deref(), "RefundPayment", &payload).await? {
                Begin::Replay(outcome) => return replayed(outcome?),
                Begin::Run(ticket) => ticket,
            };
        if let Err(error) = self.give_back(&request).await {
            ticket.settle_failure(&self.rt, &error).await?;
            return Err(error);
        }
        let (ask, settle) = (request.clone(), ticket.clone());
        let (publisher, cause) = (Arc::clone(&self.publisher), Cause::here());
        let kept = self
            .rt
            .faults
            .find("refund_part")
            .and_then(|params| params["cents"].as_i64())
            .unwrap_or(0);
        let outcome = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                let refunded = rows::refund(tx, &ask, &settle, kept)?;
                let mut staged = Vec::new();
                if let Ok(payment) = &refunded
                    && payment.refund_cents > 0
                {
                    staged.push(publisher.stage(tx, event("PaymentRefunded", payment), &cause)?);
                }
                Ok(refunded.map(|payment| (payment, staged)))
            })
            .await;
        let (payment, staged) = match outcome {
            Ok(Ok(refunded)) => refunded,
            Ok(Err(error)) => {
                ticket.settle_failure(&self.rt, &error).await?;
                return Err(error);
            }
            Err(error) => {
                let error = ApiError::from(error);
                ticket.settle_failure(&self.rt, &error).await?;
                return Err(error);
            }
        };
        self.rt
            .telemetry
            .metrics()
            .add("shop_payments_total", &[("status", "REFUNDED")], 1.0);
        self.rt.telemetry.info(
            "payment.refunded",
            "payment refunded",
            Attributes::new()
                .with("payment_id", &payment.payment_id)
                .with("order_id", &payment.order_id),
        );
        self.publisher.publish_and_wait(staged).await?;
        Ok(payment)
    }
}

impl Payments {
    /// Has the processor take or let go of the money, if it still holds some for this payment.
    async fn change_what_was_set_aside(
        &self,
        operation: Operation,
        payment_id: &str,
        order_id: &str,
    ) -> Result<(), ApiError> {
        let (payment_id, order_id) = (payment_id.to_owned(), order_id.to_owned());
        let known = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| rows::named(tx, &payment_id, &order_id))
            .await?;
        let Some(payment) = known.filter(|payment| payment.status == "AUTHORIZED") else {
            return Ok(());
        };
        processor::ask(&self.rt, operation, &payment.method, payment.amount_cents)
            .await?
            .map_err(|code| ApiError::new(Code::Internal, code, "the processor refused"))
    }

    /// Takes the money that was set aside.
    async fn capture(&self, request: proto::CaptureRequest) -> Result<proto::Payment, ApiError> {
        named(&request.payment_id, &request.order_id)?;
        self.change_what_was_set_aside(Operation::Capture, &request.payment_id, &request.order_id)
            .await?;
        let payload = json!({ "payment_id": request.payment_id, "order_id": request.order_id });
        let (publisher, cause) = (Arc::clone(&self.publisher), Cause::here());
        let changed = keyed::run(&self.rt, "CapturePayment", &payload, move |tx| {
            let captured = rows::capture(tx, &request.payment_id, &request.order_id)?;
            let Ok(payment) = captured else {
                return Ok(captured.map(Changed::new));
            };
            let told = event("PaymentProcessed", &payment);
            let mut changed = Changed::new(payment);
            changed.staged.push(publisher.stage(tx, told, &cause)?);
            Ok(Ok(changed))
        })
        .await?;
        if !changed.replayed {
            let labels = [("status", "COMPLETED")];
            let metrics = self.rt.telemetry.metrics();
            metrics.add("shop_payments_total", &labels, 1.0);
            self.rt.telemetry.info(
                "payment.processed",
                "payment captured",
                Attributes::new()
                    .with("payment_id", &changed.answer.payment_id)
                    .with("order_id", &changed.answer.order_id),
            );
        }
        self.publisher.publish_and_wait(changed.staged).await?;
        Ok(changed.answer)
    }

    /// Lets go of money that was set aside.
    async fn void(&self, request: proto::VoidRequest) -> Result<proto::Payment, ApiError> {
        named(&request.payment_id, &request.order_id)?;
        self.change_what_was_set_aside(Operation::Void, &request.payment_id, &request.order_id)
            .await?;
        let payload = json!({ "payment_id": request.payment_id, "order_id": request.order_id });
        let changed = keyed::run(&self.rt, "VoidPayment", &payload, move |tx| {
            let voided = rows::void(tx, &request.payment_id, &request.order_id)?;
            Ok(voided.map(Changed::new))
        })
        .await?;
        Ok(changed.answer)
    }
}

fn named(payment_id: &str, order_id: &str) -> Result<(), ApiError> {
    if payment_id.is_empty() && order_id.is_empty() {
        return Err(ApiError::invalid("name the payment or its order"));
    }
    Ok(())
}

fn event(event_type: &'static str, payment: &proto::Payment) -> Event {
    let mut data = json!({
        "payment_id": payment.payment_id, "order_id": payment.order_id, "amount_cents": payment.amount_cents,
    });
    match event_type {
        "PaymentFailed" => data["failure_reason"] = payment.failure_reason.as_str().into(),
        "PaymentRefunded" => data["refund_cents"] = payment.refund_cents.into(),
        _ => {}
    }
    Event {
        event_type,
        aggregate_type: "payment",
        aggregate_id: payment.order_id.clone(),
        order_id: Some(payment.order_id.clone()),
        saga_id: None,
        data,
    }
}

fn check(request: &proto::PaymentRequest) -> Result<(), ApiError> {
    if request.order_id.is_empty() || request.user_id.is_empty() || request.amount_cents <= 0 {
        return Err(ApiError::invalid(
            "a payment needs an order, a user and a positive amount",
        ));
    }
    if request.currency.len() != 3
        || !request
            .currency
            .bytes()
            .all(|byte| byte.is_ascii_uppercase())
    {
        return Err(ApiError::invalid("the currency must be an ISO 4217 code"));
    }
    Ok(())
}

fn replayed(bytes: Vec<u8>) -> Result<proto::Payment, ApiError> {
    proto::Payment::decode(bytes.as_slice())
        .map_err(|_| ApiError::internal("the stored answer is not readable"))
}

#[tonic::async_trait]
impl PaymentsService for Payments {
    async fn process_payment(
        &self,
        request: Request<proto::PaymentRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.process(request.into_inner(), Purpose::Charge)
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn authorize_payment(
        &self,
        request: Request<proto::PaymentRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.process(request.into_inner(), Purpose::Authorize)
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn capture_payment(
        &self,
        request: Request<proto::CaptureRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.capture(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn void_payment(
        &self,
        request: Request<proto::VoidRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.void(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn refund_payment(
        &self,
        request: Request<proto::RefundRequest>,
    ) -> Result<Response<proto::Payment>, Status> {
        self.refund(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }

    async fn get_payment(
        &self,
        request: Request<proto::PaymentRef>,
    ) -> Result<Response<proto::Payment>, Status> {
        let ask = request.into_inner();
        let columns = &statements().columns;
        let sql = format!("SELECT {columns} FROM payments WHERE payment_id = ?1 OR order_id = ?2");
        let found = async {
            self.rt
                .store()?
                .read::<_, StoreError, _>(move |tx| {
                    tx.one(
                        "SELECT payments",
                        &sql,
                        (&ask.payment_id, &ask.order_id),
                        rows::read,
                    )
                })
                .await?
                .ok_or_else(|| ApiError::not_found("PAYMENT_NOT_FOUND", "there is no such payment"))
        };
        found
            .await
            .map(Response::new)
            .map_err(|error: ApiError| error.to_status())
    }

    async fn validate_payment_method(
        &self,
        request: Request<proto::PaymentMethodRef>,
    ) -> Result<Response<proto::PaymentMethodReply>, Status> {
        let reply = match processor::refusal(&request.into_inner().payment_method_id) {
            None => proto::PaymentMethodReply {
                valid: true,
                reason: String::new(),
            },
            Some(code) => proto::PaymentMethodReply {
                valid: false,
                reason: code.to_owned(),
            },
        };
        Ok(Response::new(reply))
    }
}
