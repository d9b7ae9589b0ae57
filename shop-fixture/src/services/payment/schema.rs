//! Owns how payment's table changes from amounts in `amount_cents` to amounts in `amount_minor`, and which of the two this
//! process's release reads and writes.

use std::sync::OnceLock;

use crate::services::migrations::{MigrationPhase, Step};

/// Amounts are copied either way as they are written, so that releases on both sides of the change see all of them.
pub(in crate::services) const MIGRATION: &[Step] = &[
    Step {
        phase: MigrationPhase::Expand,
        sql: "
ALTER TABLE payments ADD COLUMN amount_minor INTEGER;
CREATE TABLE IF NOT EXISTS migration_progress (phase TEXT PRIMARY KEY, rows INTEGER NOT NULL, updated_at TEXT NOT NULL);
CREATE TRIGGER payments_amount_forth AFTER INSERT ON payments WHEN NEW.amount_minor IS NULL BEGIN
    UPDATE payments SET amount_minor = NEW.amount_cents WHERE payment_id = NEW.payment_id;
END;
CREATE TRIGGER payments_amount_back AFTER INSERT ON payments
WHEN NEW.amount_minor IS NOT NULL AND NEW.amount_minor <> NEW.amount_cents BEGIN
    UPDATE payments SET amount_cents = NEW.amount_minor WHERE payment_id = NEW.payment_id;
END;
",
        batch: "",
    },
    Step {
        phase: MigrationPhase::Backfill,
        sql: "",
        batch: "UPDATE payments SET amount_minor = amount_cents WHERE payment_id IN
                    (SELECT payment_id FROM payments WHERE amount_minor IS NULL LIMIT 500)",
    },
    Step {
        phase: MigrationPhase::Contract,
        sql: "
DROP TRIGGER payments_amount_forth;
DROP TRIGGER payments_amount_back;
DROP VIEW ledger_payments;
ALTER TABLE payments DROP COLUMN amount_cents;
CREATE VIEW ledger_payments AS
    SELECT payment_id, order_id, status, amount_minor AS amount_cents, refund_cents, attempts, idempotency_key,
           external_transaction_id, trace_id, failure_reason, created_at, updated_at, updated_at AS changed_at
    FROM payments;
",
        batch: "",
    },
];

/// The statements of one release.
#[derive(Debug)]
pub(super) struct Statements {
    /// All columns of a payment, with the amount where readers look for it.
    pub(super) columns: String,
    pub(super) insert: String,
    pub(super) left: String,
}

impl Statements {
    fn of(level: u32) -> Self {
        let (amount, written, values) = match level {
            0 | 1 => ("amount_cents", "amount_cents", "?4"),
            2 => ("amount_minor", "amount_cents, amount_minor", "?4, ?4"),
            _ => ("amount_minor", "amount_minor", "?4"),
        };
        Self {
            columns: format!(
                "payment_id, order_id, user_id, {amount}, currency, method, status, external_transaction_id, \
                 processed_at, failure_reason, refund_cents, attempts"
            ),
            insert: format!(
                "INSERT INTO payments (payment_id, order_id, user_id, {written}, currency, method, status,
                     idempotency_key, trace_id, created_at, updated_at)
                 VALUES (?1, ?2, ?3, {values}, ?5, ?6, 'PENDING', ?7, ?8, ?9, ?9)"
            ),
            left: format!(
                "SELECT method, {amount} - refund_cents FROM payments WHERE order_id = ?1 AND status = 'COMPLETED'"
            ),
        }
    }
}

static STATEMENTS: OnceLock<Statements> = OnceLock::new();

/// A process is one release from its start to its end.
pub(super) fn set_level(level: u32) {
    let _ = STATEMENTS.set(Statements::of(level));
}

pub(super) fn statements() -> &'static Statements {
    STATEMENTS.get_or_init(|| Statements::of(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rusqlite::Connection;

    use super::*;

    fn pay(store: &Connection, level: u32, id: &str) -> rusqlite::Result<usize> {
        let insert = Statements::of(level).insert;
        store.execute(
            &insert,
            rusqlite::params![id, "ord", "usr", 700, "USD", "card", id, "trace", "now"],
        )
    }

    fn amount(store: &Connection, level: u32, id: &str) -> i64 {
        let columns = Statements::of(level).columns;
        let sql = format!("SELECT {columns} FROM payments WHERE payment_id = ?1");
        store.query_row(&sql, [id], |row| row.get(3)).unwrap()
    }

    fn take(store: &Connection, phase: MigrationPhase) {
        let step = MIGRATION.iter().find(|step| step.phase == phase).unwrap();
        store.execute_batch(step.sql).unwrap();
        while !step.batch.is_empty() && store.execute(step.batch, []).unwrap() > 0 {}
    }

    #[test]
    fn releases_on_both_sides_of_the_change_see_every_amount() {
        let store = Connection::open_in_memory().unwrap();
        store.execute_batch(super::super::rows::SCHEMA).unwrap();
        pay(&store, 1, "before").unwrap();
        assert!(pay(&store, 2, "too-early").is_err());
        take(&store, MigrationPhase::Expand);
        pay(&store, 1, "meanwhile").unwrap();
        take(&store, MigrationPhase::Backfill);
        for level in [1, 2, 3] {
            pay(&store, level, &format!("by-{level}")).unwrap();
        }
        for id in ["before", "meanwhile", "by-1", "by-2", "by-3"] {
            assert_eq!(
                (amount(&store, 1, id), amount(&store, 3, id)),
                (700, 700),
                "{id}"
            );
        }
        take(&store, MigrationPhase::Contract);
        assert!(pay(&store, 1, "old").is_err() && pay(&store, 2, "both").is_err());
        pay(&store, 3, "new").unwrap();
        assert_eq!(amount(&store, 3, "by-1"), 700);
        let told: i64 = store
            .query_row("SELECT sum(amount_cents) FROM ledger_payments", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(told, 6 * 700);
    }
}
