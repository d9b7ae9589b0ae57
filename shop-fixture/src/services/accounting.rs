//! Owns accounting: a ledger of sales, refunds and fares, written from events and never changed.

use std::sync::Arc;

use rusqlite::Row;
use tonic::{Request, Response, Status};

use super::Served;
use crate::error::{ApiError, ShopError};
use crate::ids::ulid;
use crate::messaging::{Envelope, consumer};
use crate::proto::accounting as proto;
use crate::proto::accounting::accounting_service_server::{
    AccountingService, AccountingServiceServer,
};
use crate::runtime::Rt;
use crate::server::admin;
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id TEXT NOT NULL UNIQUE,
    order_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount_cents INTEGER NOT NULL CHECK (amount_cents >= 0),
    event_id TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL
);
CREATE INDEX ledger_order ON ledger (order_id, kind);
CREATE VIEW ledger_accounting AS SELECT *, at AS changed_at FROM ledger;
";
const MAX_ENTRIES: i64 = 1_000;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &[SCHEMA, consumer::SCHEMA],
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let effect: consumer::Effect = Arc::new(|tx, event: &Envelope| {
        book(tx, event)?;
        Ok(Vec::new())
    });
    let http = consumer::router(rt, None, effect).merge(admin::health(rt));
    let service = AccountingServiceServer::new(Accounting { rt: Arc::clone(rt) });
    Ok(Served {
        grpc: Some(super::with_health(rt, service)),
        http: Some(http),
        background: Vec::new(),
    })
}

/// Shipments and cancellations move no money; the inbox keeps them for the audit.
fn book(tx: &Tx<'_>, event: &Envelope) -> Result<(), StoreError> {
    let cents = |field: &str| event.data[field].as_i64().unwrap_or(0).max(0);
    let (kind, subject, amount) = match event.event_type.as_str() {
        "PaymentProcessed" => ("SALE", event.order_id(), cents("amount_cents")),
        "PaymentRefunded" => {
            let Some(order_id) = event.order_id() else {
                return Ok(());
            };
            // The event tells what is given back in all; what is booked already is not booked again.
            let booked = sum(tx, order_id, "REFUND")?;
            let fresh = (cents("refund_cents") - booked).max(0);
            ("REFUND", Some(order_id), fresh)
        }
        "RideCompleted" => ("FARE", event.data["ride_id"].as_str(), cents("fare")),
        _ => return Ok(()),
    };
    let Some(subject) = subject.filter(|id| !id.is_empty()) else {
        return Ok(());
    };
    tx.execute(
        "INSERT ledger",
        "INSERT INTO ledger (entry_id, order_id, kind, amount_cents, event_id, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            ulid("ent_"),
            subject,
            kind,
            amount,
            &event.event_id,
            tx.now_text(),
        ),
    )?;
    Ok(())
}

fn sum(tx: &Tx<'_>, order_id: &str, kind: &str) -> Result<i64, StoreError> {
    let found = tx.one(
        "SELECT ledger",
        "SELECT coalesce(sum(amount_cents), 0) FROM ledger WHERE order_id = ?1 AND kind = ?2",
        (order_id, kind),
        |row| row.get(0),
    )?;
    Ok(found.unwrap_or(0))
}

struct Accounting {
    rt: Rt,
}

fn read(row: &Row<'_>) -> rusqlite::Result<proto::Entry> {
    Ok(proto::Entry {
        seq: row.get(0)?,
        entry_id: row.get(1)?,
        order_id: row.get(2)?,
        kind: row.get(3)?,
        amount_cents: row.get(4)?,
        event_id: row.get(5)?,
        at: row.get(6)?,
    })
}

impl Accounting {
    async fn ledger(&self, ask: proto::LedgerRequest) -> Result<proto::Ledger, ApiError> {
        let limit = if ask.limit <= 0 {
            MAX_ENTRIES
        } else {
            ask.limit.min(MAX_ENTRIES)
        };
        let ledger = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| {
                let entries = tx.all(
                    "SELECT ledger",
                    "SELECT seq, entry_id, order_id, kind, amount_cents, event_id, at FROM ledger
                     WHERE seq > ?1 AND (?2 = '' OR order_id = ?2) ORDER BY seq LIMIT ?3",
                    (ask.after_seq, &ask.order_id, limit),
                    read,
                )?;
                let last = tx.one(
                    "SELECT ledger",
                    "SELECT coalesce(max(seq), 0) FROM ledger",
                    [],
                    |row| row.get(0),
                )?;
                Ok(proto::Ledger {
                    entries,
                    as_of: tx.now_text(),
                    last_seq: last.unwrap_or(0),
                })
            })
            .await?;
        Ok(ledger)
    }

    async fn balance(&self, order_id: String) -> Result<proto::Balance, ApiError> {
        let balance = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| {
                let sums = tx.one(
                    "SELECT ledger",
                    "SELECT coalesce(sum(iif(kind = 'SALE', amount_cents, 0)), 0),
                            coalesce(sum(iif(kind = 'REFUND', amount_cents, 0)), 0),
                            coalesce(sum(iif(kind = 'FARE', amount_cents, 0)), 0), count(*)
                     FROM ledger WHERE ?1 = '' OR order_id = ?1",
                    [order_id],
                    |row| {
                        Ok((
                            row.get::<_, i64>(0)?,
                            row.get::<_, i64>(1)?,
                            row.get::<_, i64>(2)?,
                            row.get::<_, i64>(3)?,
                        ))
                    },
                )?;
                let (sale_cents, refund_cents, fare_cents, entries) = sums.unwrap_or_default();
                Ok(proto::Balance {
                    sale_cents,
                    refund_cents,
                    fare_cents,
                    balance_cents: sale_cents - refund_cents + fare_cents,
                    entries,
                    as_of: tx.now_text(),
                })
            })
            .await?;
        Ok(balance)
    }
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl AccountingService for Accounting {
    async fn get_ledger(
        &self,
        request: Request<proto::LedgerRequest>,
    ) -> Result<Response<proto::Ledger>, Status> {
        answer(self.ledger(request.into_inner()).await)
    }

    async fn get_balance(
        &self,
        request: Request<proto::BalanceRequest>,
    ) -> Result<Response<proto::Balance>, Status> {
        answer(self.balance(request.into_inner().order_id).await)
    }
}
