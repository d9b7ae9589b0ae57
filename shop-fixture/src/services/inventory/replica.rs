//! Owns the read replica: a copy of the stock that lags by a fifth of a second and serves browsing. Reservations never
//! look here.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ShopError;
use crate::proto::inventory::{Availability, AvailabilityReply, Line};
use crate::runtime::Rt;
use crate::seed;
use crate::store::{Store, StoreError};

const INTERVAL: Duration = Duration::from_millis(200);

const SCHEMA: &str = "
CREATE TABLE replica (
    product_id TEXT PRIMARY KEY,
    available INTEGER NOT NULL,
    version INTEGER NOT NULL
);
";

#[derive(Clone)]
pub(super) struct Replica {
    store: Store,
}

impl Replica {
    pub(super) fn open(rt: &Rt) -> Result<Self, ShopError> {
        let path = rt.config.db_path("inventory-replica");
        Ok(Self {
            store: Store::open(
                &path,
                &[SCHEMA],
                Arc::clone(&rt.clock),
                rt.telemetry.clone(),
            )?,
        })
    }

    /// Copies what changed, until the process stops. Several instances copy the same rows, which does no harm.
    pub(super) async fn follow(self, rt: Rt) {
        let mut stopping = rt.stopping();
        let mut seen: std::collections::HashMap<String, i64> = std::collections::HashMap::new();
        loop {
            let lag = rt
                .faults
                .find("replica_lag")
                .and_then(|params| params["ms"].as_u64());
            let pause = lag.map_or(INTERVAL, Duration::from_millis);
            let Ok(store) = rt.store() else { return };
            let rows = store
                .read::<_, StoreError, _>(|tx| {
                    tx.all(
                        "SELECT stock",
                        "SELECT product_id, stock_quantity - reserved_quantity, version FROM stock",
                        [],
                        |row| {
                            Ok((
                                row.get::<_, String>(0)?,
                                row.get::<_, i64>(1)?,
                                row.get::<_, i64>(2)?,
                            ))
                        },
                    )
                })
                .await
                .unwrap_or_default();
            let changed: Vec<_> = rows
                .into_iter()
                .filter(|(id, _, version)| seen.get(id) != Some(version))
                .collect();
            if lag.is_some() {
                // The copy is taken now and arrives late, as a replica's does.
                tokio::time::sleep(pause).await;
            }
            if !changed.is_empty() {
                let copy = changed.clone();
                let stored = self
                    .store
                    .write::<_, StoreError, _>(move |tx| {
                        for (id, available, version) in &copy {
                            tx.execute(
                                "INSERT replica",
                                "INSERT INTO replica VALUES (?1, ?2, ?3) ON CONFLICT (product_id) DO UPDATE
                                 SET available = excluded.available, version = excluded.version
                                 WHERE excluded.version > version",
                                (id, available, version),
                            )?;
                        }
                        Ok(())
                    })
                    .await;
                if stored.is_ok() {
                    seen.extend(changed.into_iter().map(|(id, _, version)| (id, version)));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = stopping.changed() => return,
            }
        }
    }

    pub(super) async fn availability(
        &self,
        lines: Vec<Line>,
    ) -> Result<AvailabilityReply, StoreError> {
        self.store
            .read::<_, StoreError, _>(move |tx| {
                let mut items = Vec::new();
                for line in &lines {
                    let available = tx.one(
                        "SELECT replica",
                        "SELECT available FROM replica WHERE product_id = ?1",
                        [seed::product_id(&line.product_id)],
                        |row| row.get::<_, i64>(0),
                    )?;
                    let available = available.unwrap_or(0);
                    items.push(Availability {
                        product_id: line.product_id.clone(),
                        available,
                        enough: available >= line.quantity,
                        stale: false,
                    });
                }
                let all_available = items.iter().all(|item| item.enough);
                Ok(AvailabilityReply {
                    items,
                    all_available,
                })
            })
            .await
    }
}
