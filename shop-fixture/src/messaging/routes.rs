//! Owns which event types there are and who is told of each.

use crate::catalog::{
    ACCOUNTING, CART, ETL, FRAUD, INVENTORY, NOTIFICATION, PAYMENT, REVIEWS, SEARCH, SHIPPING,
    ServiceSpec,
};

/// Every event type, with its subscribers beside notification and etl, which are told of all.
const ROUTES: &[(&str, &[&str])] = &[
    ("OrderCreated", &[PAYMENT, FRAUD]),
    ("OrderUpdated", &[]),
    ("OrderCancelled", &[ACCOUNTING]),
    ("PaymentProcessed", &[INVENTORY, FRAUD, ACCOUNTING]),
    ("PaymentFailed", &[]),
    ("PaymentRefunded", &[ACCOUNTING]),
    ("StockReserved", &[SHIPPING]),
    ("StockReservationFailed", &[PAYMENT]),
    ("StockLevelLow", &[]),
    ("OrderShipped", &[INVENTORY, ACCOUNTING]),
    ("OrderDelivered", &[REVIEWS]),
    ("ProductUpdated", &[SEARCH]),
    ("PriceChanged", &[SEARCH, CART]),
    ("FraudFlagged", &[]),
    ("RideRequested", &[]),
    ("DriverAssigned", &[]),
    ("DriverEnroute", &[]),
    ("RideStarted", &[]),
    ("RideCompleted", &[ACCOUNTING]),
    (crate::services::trace_probe::EVENT, &[]),
];

/// The type as a constant, or `None` if there is no such event.
#[must_use]
pub fn known(event_type: &str) -> Option<&'static str> {
    ROUTES
        .iter()
        .map(|(name, _)| *name)
        .find(|name| *name == event_type)
}

/// The services that a type is delivered to.
#[must_use]
pub fn subscribers(event_type: &str) -> Vec<&'static str> {
    let Some((_, more)) = ROUTES.iter().find(|(name, _)| *name == event_type) else {
        return Vec::new();
    };
    [NOTIFICATION, ETL]
        .into_iter()
        .chain(more.iter().copied())
        .collect()
}

/// Every service that is told of anything.
#[must_use]
pub fn all_subscribers() -> Vec<&'static str> {
    let mut all: Vec<&'static str> = ROUTES
        .iter()
        .flat_map(|(name, _)| subscribers(name))
        .collect();
    all.sort_unstable();
    all.dedup();
    debug_assert!(all.iter().all(|name| ServiceSpec::find(name).is_some()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_is_told_of_everything() {
        assert!(
            ROUTES
                .iter()
                .all(|(name, _)| subscribers(name).contains(&NOTIFICATION))
        );
        assert_eq!(
            subscribers("OrderShipped"),
            [NOTIFICATION, ETL, INVENTORY, ACCOUNTING]
        );
        assert!(subscribers("Nothing").is_empty() && known("Nothing").is_none());
        assert_eq!(all_subscribers().len(), 10);
    }
}
