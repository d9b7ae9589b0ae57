//! Owns noticing deliveries: orders on their way are asked about at shipping, because order-management consumes no
//! events.

use std::time::Duration;

use http::Method;
use rusqlite::Row;

use super::orders::{self, Event, Which};
use crate::call::CallOptions;
use crate::call::http::{HttpAsk, send};
use crate::catalog::SHIPPING;
use crate::clock::rfc3339;
use crate::context;
use crate::error::ApiError;
use crate::resilience::{retry, timeouts};
use crate::runtime::Rt;
use crate::store::StoreError;
use crate::telemetry::{Attributes, Kind};

const INTERVAL: Duration = Duration::from_secs(10);
/// Shipping confirms after thirty seconds; nobody needs to be asked before.
const ON_ITS_WAY: Duration = Duration::from_secs(35);
const BATCH: i64 = 20;

struct Shipped {
    order_id: String,
    shipment_id: String,
    saga_id: String,
    trace_id: String,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Shipped> {
    Ok(Shipped {
        order_id: row.get(0)?,
        shipment_id: row.get(1)?,
        saga_id: row.get(2)?,
        trace_id: row.get(3)?,
    })
}

pub(super) async fn follow(rt: Rt) {
    let mut stopping = rt.stopping();
    let age = rt.clock.scaled(ON_ITS_WAY).as_nanos() as u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep(rt.clock.scaled(INTERVAL)) => {}
            _ = stopping.changed() => return,
        }
        let Ok(store) = rt.store() else { return };
        let due = store
            .read::<_, StoreError, _>(move |tx| {
                tx.all(
                    "SELECT orders",
                    "SELECT order_id, shipment_id, saga_id, trace_id FROM orders
                     WHERE status = 'SHIPPED' AND shipment_id IS NOT NULL AND updated_at < ?1
                     ORDER BY updated_at LIMIT ?2",
                    (rfc3339(tx.now().saturating_sub(age)), BATCH),
                    read,
                )
            })
            .await
            .unwrap_or_default();
        if due.is_empty() {
            continue;
        }
        let span = rt.telemetry.root("follow deliveries", Kind::Internal);
        context::in_span(&span, async {
            for shipped in due {
                if let Err(error) = ask(&rt, &shipped).await {
                    // It is asked again at the next round.
                    rt.telemetry.warn(
                        "upstream.failed",
                        "a delivery could not be asked about",
                        Attributes::new()
                            .with("order_id", &shipped.order_id)
                            .with("error.code", error.reason)
                            .with("error.details", error.message),
                    );
                    return;
                }
            }
        })
        .await;
    }
}

async fn ask(rt: &Rt, shipped: &Shipped) -> Result<(), ApiError> {
    let path = format!("/shipments/{}", shipped.shipment_id);
    let ask = HttpAsk {
        method: Method::GET,
        template: "/shipments/{id}",
        path: &path,
        body: None,
    };
    let options = CallOptions {
        service: SHIPPING,
        timeout: timeouts::SHIPPING_STEP,
        retry: retry::Class::Read,
        key: None,
    };
    let shipment = send(rt, &ask, options).await?.body;
    if shipment["status"] != "DELIVERED" {
        return Ok(());
    }
    let (order_id, saga_id, trace_id) = (
        shipped.order_id.clone(),
        shipped.saga_id.clone(),
        shipped.trace_id.clone(),
    );
    rt.store()?
        .write::<_, StoreError, _>(move |tx| {
            let which = Which {
                order_id: &order_id,
                saga_id: &saga_id,
                trace_id: &trace_id,
            };
            let change = Event {
                to: "DELIVERED",
                event: "delivery confirmed",
                ..Event::default()
            };
            orders::advance(tx, which, "delivery", &change)
        })
        .await?;
    Ok(())
}
