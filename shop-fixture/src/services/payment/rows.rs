//! Owns payment rows: their table, their state machine, and reading them.

use prost::Message;
use rusqlite::Row;
use tonic::Code;

use super::Purpose;
use super::schema::statements;
use crate::error::ApiError;
use crate::idempotency::Ticket;
use crate::ids::ulid;
use crate::proto::payments as proto;
use crate::store::{StoreError, Tx};

pub(super) const SCHEMA: &str = "
CREATE TABLE payments (
    payment_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    amount_cents INTEGER NOT NULL DEFAULT 1 CHECK (amount_cents > 0),
    currency TEXT NOT NULL,
    method TEXT NOT NULL,
    status TEXT NOT NULL,
    external_transaction_id TEXT,
    processed_at TEXT,
    failure_reason TEXT,
    refund_cents INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 1,
    trace_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX payments_order ON payments (order_id);
CREATE VIEW ledger_payments AS
    SELECT payment_id, order_id, status, amount_cents, refund_cents, attempts, idempotency_key,
           external_transaction_id, trace_id, failure_reason, created_at, updated_at, updated_at AS changed_at
    FROM payments;
";

/// One row per idempotency key: a repeated attempt counts up instead of adding a second payment.
pub(super) fn record_attempt(
    tx: &Tx<'_>,
    request: &proto::PaymentRequest,
    key: &str,
    trace_id: &str,
    recorded: bool,
) -> Result<String, StoreError> {
    let known = tx.one(
        "SELECT payments",
        "SELECT payment_id FROM payments WHERE idempotency_key = ?1",
        [key],
        |row| row.get::<_, String>(0),
    )?;
    if let Some(payment_id) = known.filter(|_| recorded) {
        tx.execute(
            "UPDATE payments",
            "UPDATE payments SET attempts = attempts + 1, updated_at = ?2 WHERE payment_id = ?1",
            (&payment_id, tx.now_text()),
        )?;
        return Ok(payment_id);
    }
    let payment_id = ulid("pay_");
    tx.execute(
        "INSERT payments",
        &statements().insert,
        rusqlite::params![
            payment_id,
            request.order_id,
            request.user_id,
            request.amount_cents,
            request.currency,
            request.payment_method_id,
            key,
            trace_id,
            tx.now_text(),
        ],
    )?;
    Ok(payment_id)
}

/// Writes the verdict and the idempotency record in one transaction.
pub(super) fn settle(
    tx: &Tx<'_>,
    payment_id: &str,
    verdict: Result<(), &'static str>,
    ticket: &Ticket,
    purpose: Purpose,
) -> Result<Result<proto::Payment, ApiError>, StoreError> {
    let approved = match purpose {
        Purpose::Charge => "COMPLETED",
        Purpose::Authorize => "AUTHORIZED",
    };
    let (status, transaction, reason) = match verdict {
        Ok(()) => (approved, Some(ulid("txn_")), None),
        Err(code) => ("FAILED", None, Some(code)),
    };
    tx.execute(
        "UPDATE payments",
        "UPDATE payments SET status = ?2, external_transaction_id = ?3, failure_reason = ?4, processed_at = ?5,
             updated_at = ?5 WHERE payment_id = ?1 AND status = 'PENDING'",
        (payment_id, status, transaction, reason, tx.now_text()),
    )?;
    match verdict {
        Ok(()) => {
            let payment = find(tx, payment_id)?;
            ticket.complete(tx, &payment.encode_to_vec())?;
            Ok(Ok(payment))
        }
        Err(code) => {
            let error = ApiError::new(
                Code::FailedPrecondition,
                "PAYMENT_FAILED",
                "the payment was rejected",
            )
            .fact("processor_code", code);
            ticket.refuse(tx, &error)?;
            Ok(Err(error))
        }
    }
}

/// `kept` is left out of what is given back.
pub(super) fn refund(
    tx: &Tx<'_>,
    request: &proto::RefundRequest,
    ticket: &Ticket,
    kept: i64,
) -> Result<Result<proto::Payment, ApiError>, StoreError> {
    let columns = &statements().columns;
    let sql = format!(
        "SELECT {columns} FROM payments WHERE order_id = ?1 AND (?2 = '' OR payment_id = ?2)
         ORDER BY status = 'COMPLETED' DESC, created_at DESC LIMIT 1"
    );
    let found = tx.one(
        "SELECT payments",
        &sql,
        (&request.order_id, &request.payment_id),
        read,
    )?;
    let Some(payment) = found else {
        // Nothing was ever charged, so there is nothing to give back: undoing it has succeeded.
        let nothing = proto::Payment {
            order_id: request.order_id.clone(),
            status: "ABSENT".to_owned(),
            ..proto::Payment::default()
        };
        ticket.complete(tx, &nothing.encode_to_vec())?;
        return Ok(Ok(nothing));
    };
    let left = payment.amount_cents - payment.refund_cents;
    let amount = if request.amount_cents == 0 {
        left
    } else {
        request.amount_cents
    };
    match payment.status.as_str() {
        "COMPLETED" if (1..=left).contains(&amount) => {
            let status = if amount == left {
                "REFUNDED"
            } else {
                "COMPLETED"
            };
            tx.execute(
                "UPDATE payments",
                "UPDATE payments SET status = ?2, refund_cents = refund_cents + ?3, updated_at = ?4
                 WHERE payment_id = ?1",
                (
                    &payment.payment_id,
                    status,
                    (amount - kept).max(1),
                    tx.now_text(),
                ),
            )?;
        }
        "COMPLETED" => {
            return Ok(Err(ApiError::new(
                Code::FailedPrecondition,
                "REFUND_TOO_LARGE",
                "more than is left to refund",
            )
            .fact("left_cents", left)));
        }
        // An attempt that never reached a verdict is closed, so that nothing can complete it later.
        "PENDING" => {
            tx.execute(
                "UPDATE payments",
                "UPDATE payments SET status = 'FAILED', failure_reason = 'CANCELLED', updated_at = ?2
                 WHERE payment_id = ?1",
                (&payment.payment_id, tx.now_text()),
            )?;
        }
        _ => {}
    }
    let payment = find(tx, &payment.payment_id)?;
    ticket.complete(tx, &payment.encode_to_vec())?;
    Ok(Ok(payment))
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<proto::Payment> {
    let text = |position| {
        Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(position)?.unwrap_or_default())
    };
    Ok(proto::Payment {
        payment_id: row.get(0)?,
        order_id: row.get(1)?,
        user_id: row.get(2)?,
        amount_cents: row.get(3)?,
        currency: row.get(4)?,
        method: row.get(5)?,
        status: row.get(6)?,
        external_transaction_id: text(7)?,
        processed_at: text(8)?,
        failure_reason: text(9)?,
        refund_cents: row.get(10)?,
        attempts: row.get(11)?,
    })
}

pub(super) fn find(tx: &Tx<'_>, payment_id: &str) -> Result<proto::Payment, StoreError> {
    let columns = &statements().columns;
    let sql = format!("SELECT {columns} FROM payments WHERE payment_id = ?1");
    tx.one("SELECT payments", &sql, [payment_id], read)?
        .ok_or_else(|| StoreError::Conflict(format!("payment {payment_id} is not there")))
}

/// The latest payment of that name, or of that order.
pub(super) fn named(
    tx: &Tx<'_>,
    payment_id: &str,
    order_id: &str,
) -> Result<Option<proto::Payment>, StoreError> {
    let columns = &statements().columns;
    let sql = format!(
        "SELECT {columns} FROM payments WHERE (?1 = '' OR payment_id = ?1) AND (?2 = '' OR order_id = ?2)
         ORDER BY created_at DESC LIMIT 1"
    );
    tx.one("SELECT payments", &sql, (payment_id, order_id), read)
}

fn wrong_state(payment: &proto::Payment, action: &str) -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        "INVALID_PAYMENT_STATE",
        format!("a payment that is {} cannot be {action}", payment.status),
    )
    .fact("status", &payment.status)
}

fn set_status(tx: &Tx<'_>, payment_id: &str, status: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE payments",
        "UPDATE payments SET status = ?2, updated_at = ?3 WHERE payment_id = ?1",
        (payment_id, status, tx.now_text()),
    )?;
    Ok(())
}

/// Takes authorised money. The processor that was asked before says yes at once.
pub(super) fn capture(
    tx: &Tx<'_>,
    payment_id: &str,
    order_id: &str,
) -> Result<Result<proto::Payment, ApiError>, StoreError> {
    let Some(payment) = named(tx, payment_id, order_id)? else {
        return Ok(Err(ApiError::not_found(
            "PAYMENT_NOT_FOUND",
            "there is no such payment",
        )));
    };
    if payment.status != "AUTHORIZED" {
        return Ok(Err(wrong_state(&payment, "captured")));
    }
    set_status(tx, &payment.payment_id, "PROCESSING")?;
    set_status(tx, &payment.payment_id, "COMPLETED")?;
    find(tx, &payment.payment_id).map(Ok)
}

/// Lets go of authorised money; what was never set aside, or let go before, is as good as let go.
pub(super) fn void(
    tx: &Tx<'_>,
    payment_id: &str,
    order_id: &str,
) -> Result<Result<proto::Payment, ApiError>, StoreError> {
    let Some(payment) = named(tx, payment_id, order_id)? else {
        return Ok(Ok(proto::Payment {
            order_id: order_id.to_owned(),
            status: "ABSENT".to_owned(),
            ..proto::Payment::default()
        }));
    };
    match payment.status.as_str() {
        "AUTHORIZED" => set_status(tx, &payment.payment_id, "VOIDED")?,
        // An attempt that never reached a verdict is closed, so that nothing can complete it later.
        "PENDING" => set_status(tx, &payment.payment_id, "FAILED")?,
        "VOIDED" | "FAILED" => {}
        _ => return Ok(Err(wrong_state(&payment, "voided"))),
    }
    find(tx, &payment.payment_id).map(Ok)
}
