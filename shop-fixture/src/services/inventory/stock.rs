//! Owns stock and reservation rows. All lines of a reservation change in one transaction; the first writer wins.

use serde_json::json;
use tonic::Code;

use crate::clock::rfc3339;
use crate::error::ApiError;
use crate::ids::ulid;
use crate::messaging::Event;
use crate::proto::inventory::{Line, Reservation, ReserveRequest, Stock};
use crate::seed;
use crate::store::{StoreError, Tx};

pub(super) const SCHEMA: &str = "
CREATE TABLE stock (
    product_id TEXT PRIMARY KEY,
    stock_quantity INTEGER NOT NULL CHECK (stock_quantity >= 0),
    reserved_quantity INTEGER NOT NULL DEFAULT 0 CHECK (reserved_quantity >= 0 AND reserved_quantity <= stock_quantity),
    initial_quantity INTEGER NOT NULL,
    adjustments INTEGER NOT NULL DEFAULT 0,
    low_water INTEGER NOT NULL DEFAULT 10,
    version INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE reservations (
    reservation_id TEXT NOT NULL,
    order_id TEXT NOT NULL,
    product_id TEXT NOT NULL REFERENCES stock (product_id),
    quantity INTEGER NOT NULL,
    status TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (reservation_id, product_id)
);
CREATE INDEX reservations_order ON reservations (order_id);
CREATE INDEX reservations_held ON reservations (expires_at) WHERE status = 'HELD';
CREATE VIEW ledger_stock AS
    SELECT product_id, stock_quantity, reserved_quantity, initial_quantity, adjustments, version FROM stock;
CREATE VIEW ledger_reservations AS
    SELECT reservation_id, order_id, product_id, quantity, status, expires_at, updated_at AS changed_at
    FROM reservations;
";

/// The seed stock, as a migration of its own.
pub(super) fn seed_sql() -> String {
    let rows: Vec<String> = seed::products()
        .iter()
        .map(|product| {
            format!(
                "('{}', {}, {})",
                product.id.replace('\'', "''"),
                product.stock,
                product.stock
            )
        })
        .collect();
    format!(
        "INSERT INTO stock (product_id, stock_quantity, initial_quantity) VALUES {};",
        rows.join(", ")
    )
}

pub(super) fn stock_of(tx: &Tx<'_>, product_id: &str) -> Result<Option<Stock>, StoreError> {
    tx.one(
        "SELECT stock",
        "SELECT product_id, stock_quantity, reserved_quantity, version FROM stock WHERE product_id = ?1",
        [seed::product_id(product_id)],
        |row| {
            let (stock_quantity, reserved_quantity): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok(Stock {
                product_id: row.get(0)?,
                stock_quantity,
                reserved_quantity,
                available: stock_quantity - reserved_quantity,
                version: row.get(3)?,
            })
        },
    )
}

type Reserved = (Result<Reservation, ApiError>, Vec<Event>);

/// Holds every line or none.
pub(super) fn reserve(
    tx: &Tx<'_>,
    request: &ReserveRequest,
    ttl: u64,
) -> Result<Reserved, StoreError> {
    let mut wanted: Vec<Line> = Vec::new();
    for line in &request.items {
        let id = seed::product_id(&line.product_id);
        match wanted.iter_mut().find(|known| known.product_id == id) {
            Some(known) => known.quantity += line.quantity,
            None => wanted.push(Line {
                product_id: id.to_owned(),
                quantity: line.quantity,
            }),
        }
    }
    let mut crossings = Vec::new();
    for line in &wanted {
        let stock = stock_of(tx, &line.product_id)?;
        let available = stock.as_ref().map_or(0, |stock| stock.available);
        if available < line.quantity {
            let error = ApiError::new(
                Code::FailedPrecondition,
                "INSUFFICIENT_STOCK",
                "there is not enough in stock",
            )
            .fact("product_id", &line.product_id)
            .fact("requested", line.quantity)
            .fact("available", available);
            let event = Event {
                event_type: "StockReservationFailed",
                aggregate_type: "reservation",
                aggregate_id: request.order_id.clone(),
                order_id: Some(request.order_id.clone()),
                saga_id: None,
                data: json!({
                    "order_id": request.order_id, "reason": "INSUFFICIENT_STOCK", "product_id": line.product_id,
                    "available": available,
                }),
            };
            return Ok((Err(error), vec![event]));
        }
        crossings.push((line.product_id.clone(), available));
    }
    let reservation_id = ulid("res_");
    let now = tx.now();
    let expires_at = rfc3339(now + ttl);
    for line in &wanted {
        tx.execute(
            "UPDATE stock",
            "UPDATE stock SET reserved_quantity = reserved_quantity + ?2, version = version + 1 WHERE product_id = ?1",
            (&line.product_id, line.quantity),
        )?;
        tx.execute(
            "INSERT reservations",
            "INSERT INTO reservations VALUES (?1, ?2, ?3, ?4, 'HELD', ?5, ?6, ?6)",
            (
                &reservation_id,
                &request.order_id,
                &line.product_id,
                line.quantity,
                &expires_at,
                rfc3339(now),
            ),
        )?;
    }
    let mut events = vec![Event {
        event_type: "StockReserved",
        aggregate_type: "reservation",
        aggregate_id: request.order_id.clone(),
        order_id: Some(request.order_id.clone()),
        saga_id: None,
        data: json!({
            "reservation_id": reservation_id,
            "order_id": request.order_id,
            "items": wanted.iter().map(|line| json!({ "product_id": line.product_id, "quantity": line.quantity }))
                .collect::<Vec<_>>(),
        }),
    }];
    for (product_id, before) in crossings {
        events.extend(low_event(tx, &product_id, before)?);
    }
    let reservation = Reservation {
        reservation_id,
        order_id: request.order_id.clone(),
        items: wanted,
        status: "HELD".to_owned(),
        expires_at,
    };
    Ok((Ok(reservation), events))
}

/// Told once per crossing of the low-water mark, downwards.
fn low_event(tx: &Tx<'_>, product_id: &str, before: i64) -> Result<Option<Event>, StoreError> {
    let found = tx.one(
        "SELECT stock",
        "SELECT stock_quantity - reserved_quantity, low_water FROM stock WHERE product_id = ?1",
        [product_id],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    Ok(found
        .filter(|(available, low)| before >= *low && available < low)
        .map(|(available, _)| Event {
            event_type: "StockLevelLow",
            aggregate_type: "product",
            aggregate_id: product_id.to_owned(),
            order_id: None,
            saga_id: None,
            data: json!({ "product_id": product_id, "available": available }),
        }))
}

/// A held line: its reservation, product and quantity.
pub(super) type Held = (String, String, i64);

pub(super) fn held(
    tx: &Tx<'_>,
    reservation_id: &str,
    order_id: &str,
) -> Result<Vec<Held>, StoreError> {
    tx.all(
        "SELECT reservations",
        "SELECT reservation_id, product_id, quantity FROM reservations
         WHERE status = 'HELD' AND (?1 = '' OR reservation_id = ?1) AND (?2 = '' OR order_id = ?2)",
        (reservation_id, order_id),
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Brings every held line of a reservation, or of an order, to an end: COMMITTED, RELEASED or EXPIRED. Lines that have
/// ended already stay as they are.
pub(super) fn settle(
    tx: &Tx<'_>,
    reservation_id: &str,
    order_id: &str,
    to: &'static str,
) -> Result<Vec<Event>, StoreError> {
    let held = held(tx, reservation_id, order_id)?;
    for (reservation_id, product_id, quantity) in &held {
        let taken = if to == "COMMITTED" { *quantity } else { 0 };
        tx.execute(
            "UPDATE stock",
            "UPDATE stock SET reserved_quantity = reserved_quantity - ?2, stock_quantity = stock_quantity - ?3,
                 version = version + 1 WHERE product_id = ?1",
            (product_id, quantity, taken),
        )?;
        tx.execute(
            "UPDATE reservations",
            "UPDATE reservations SET status = ?3, updated_at = ?4 WHERE reservation_id = ?1 AND product_id = ?2",
            (reservation_id, product_id, to, tx.now_text()),
        )?;
    }
    Ok(Vec::new())
}

/// Marks a line as ended and sets its stock to these figures, whatever they have become since.
pub(super) fn overwrite(
    tx: &Tx<'_>,
    line: &Held,
    reserved: i64,
    version: i64,
) -> Result<(), StoreError> {
    let (reservation_id, product_id, _) = line;
    tx.execute(
        "UPDATE stock",
        "UPDATE stock SET reserved_quantity = max(?2, 0), version = ?3 WHERE product_id = ?1",
        (product_id, reserved, version),
    )?;
    end(tx, reservation_id, product_id, "RELEASED")
}

/// Marks a line as released, with so much of it given back.
pub(super) fn release_line(tx: &Tx<'_>, line: &Held, back: i64) -> Result<(), StoreError> {
    let (reservation_id, product_id, _) = line;
    tx.execute(
        "UPDATE stock",
        "UPDATE stock SET reserved_quantity = reserved_quantity - ?2, version = version + 1 WHERE product_id = ?1",
        (product_id, back),
    )?;
    end(tx, reservation_id, product_id, "RELEASED")
}

fn end(tx: &Tx<'_>, reservation: &str, product: &str, to: &'static str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE reservations",
        "UPDATE reservations SET status = ?3, updated_at = ?4 WHERE reservation_id = ?1 AND product_id = ?2",
        (reservation, product, to, tx.now_text()),
    )?;
    Ok(())
}

/// Deletes an order's reservation, its stock given back.
pub(super) fn purge(tx: &Tx<'_>, order_id: &str) -> Result<(), StoreError> {
    settle(tx, "", order_id, "EXPIRED")?;
    tx.execute(
        "DELETE reservations",
        "DELETE FROM reservations WHERE order_id = ?1 AND status = 'EXPIRED'",
        [order_id],
    )?;
    Ok(())
}

/// Frees what was held beyond its time; answers reservation and order of each.
pub(super) fn expire(tx: &Tx<'_>) -> Result<Vec<(String, String)>, StoreError> {
    let over = tx.all(
        "SELECT reservations",
        "SELECT DISTINCT reservation_id, order_id FROM reservations WHERE status = 'HELD' AND expires_at < ?1 LIMIT 200",
        [tx.now_text()],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
    )?;
    for (reservation_id, _) in &over {
        settle(tx, reservation_id, "", "EXPIRED")?;
    }
    Ok(over)
}

pub(super) fn find(
    tx: &Tx<'_>,
    reservation_id: &str,
    order_id: &str,
) -> Result<Option<Reservation>, StoreError> {
    let rows = tx.all(
        "SELECT reservations",
        "SELECT reservation_id, order_id, product_id, quantity, status, expires_at FROM reservations
         WHERE (?1 = '' OR reservation_id = ?1) AND (?2 = '' OR order_id = ?2) ORDER BY created_at DESC",
        (reservation_id, order_id),
        |row| {
            Ok(Reservation {
                reservation_id: row.get(0)?,
                order_id: row.get(1)?,
                items: vec![Line { product_id: row.get(2)?, quantity: row.get(3)? }],
                status: row.get(4)?,
                expires_at: row.get(5)?,
            })
        },
    )?;
    let mut rows = rows.into_iter();
    let Some(mut first) = rows.next() else {
        return Ok(None);
    };
    first.items.extend(
        rows.filter(|row| row.reservation_id == first.reservation_id)
            .flat_map(|row| row.items),
    );
    Ok(Some(first))
}

/// Adds to the stock, or takes away what is not reserved; false if that is not possible.
pub(super) fn adjust(tx: &Tx<'_>, product_id: &str, delta: i64) -> Result<bool, StoreError> {
    let changed = tx.execute(
        "UPDATE stock",
        "UPDATE stock SET stock_quantity = stock_quantity + ?2, adjustments = adjustments + ?2, version = version + 1
         WHERE product_id = ?1 AND stock_quantity + ?2 >= reserved_quantity",
        (seed::product_id(product_id), delta),
    )?;
    Ok(changed == 1)
}
