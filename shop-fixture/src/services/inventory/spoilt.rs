//! Owns how releasing goes wrong while a fault is on: in part, late, not at all, or over what others have written.

use std::sync::Arc;
use std::time::Duration;

use tonic::Code;

use super::stock;
use crate::error::ApiError;
use crate::proto::inventory as proto;
use crate::runtime::Rt;
use crate::store::StoreError;

/// What becomes of a reservation soon after it was made.
pub(super) fn after_reserving(rt: &Rt, order_id: &str) {
    let purged = rt.faults.find("reservation_purged");
    let wait = purged
        .as_ref()
        .and_then(|params| params["ms"].as_u64())
        .unwrap_or_default();
    if purged.is_none() && !rt.faults.is_on("reservation_taken") {
        return;
    }
    let (rt, order_id, delete) = (Arc::clone(rt), order_id.to_owned(), purged.is_some());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let Ok(store) = rt.store() else { return };
        // An order whose reservation is gone by itself has nothing left to spoil.
        let _ = store
            .write::<_, StoreError, _>(move |tx| {
                if delete {
                    stock::purge(tx, &order_id)
                } else {
                    stock::settle(tx, "", &order_id, "COMMITTED").map(|_| ())
                }
            })
            .await;
    });
}

/// How releasing is answered where the reservation is no longer what it was.
pub(super) async fn refusal(rt: &Rt, ask: &proto::ReservationRef) -> Result<(), ApiError> {
    let (taken, purged) = (
        rt.faults.is_on("reservation_taken"),
        rt.faults.is_on("reservation_purged"),
    );
    if !taken && !purged {
        return Ok(());
    }
    let ask = ask.clone();
    let found = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| stock::find(tx, &ask.reservation_id, &ask.order_id))
        .await?;
    match found {
        None if purged => Err(ApiError::not_found(
            "RESERVATION_NOT_FOUND",
            "there is no such reservation",
        )),
        Some(reservation) if taken && reservation.status == "COMMITTED" => Err(ApiError::new(
            Code::FailedPrecondition,
            "INVALID_RESERVATION_STATE",
            "it was taken from the shelf already",
        )),
        _ => Ok(()),
    }
}

/// Releases as a fault wants it; false if none does, or there is nothing to release.
pub(super) async fn release(rt: &Rt, ask: &proto::ReservationRef) -> Result<bool, ApiError> {
    let part = rt.faults.is_on("release_part");
    let short = rt.faults.is_on("release_stops_short");
    let races = rt.faults.find("release_races");
    if !part && !short && races.is_none() {
        return Ok(false);
    }
    let wanted = ask.clone();
    let read = rt
        .store()?
        .read::<_, StoreError, _>(move |tx| {
            let mut lines = Vec::new();
            for line in stock::held(tx, &wanted.reservation_id, &wanted.order_id)? {
                if let Some(stock) = stock::stock_of(tx, &line.1)? {
                    lines.push((line, stock));
                }
            }
            Ok(lines)
        })
        .await?;
    if read.is_empty() {
        return Ok(false);
    }
    if let Some(params) = &races {
        let ms = params["ms"].as_u64().unwrap_or_default().min(10_000);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let overwrites = races.is_some();
    rt.store()?
        .write::<_, StoreError, _>(move |tx| {
            for (line, stock) in read {
                if overwrites {
                    let left = stock.reserved_quantity - line.2;
                    stock::overwrite(tx, &line, left, stock.version + 1)?;
                } else {
                    let back = if part { 1.min(line.2) } else { line.2 };
                    stock::release_line(tx, &line, back)?;
                }
                if short {
                    break;
                }
            }
            Ok(())
        })
        .await?;
    Ok(true)
}
