//! Owns the ladder of timeouts. Every caller must wait longer than what it calls, or it gives up on work that succeeds.

use std::time::Duration;

use crate::error::ShopError;

pub const CONNECT: Duration = Duration::from_secs(5);
pub const PROCESSOR: Duration = Duration::from_secs(8);
pub const FRAUD: Duration = Duration::from_secs(2);
pub const PAYMENT_STEP: Duration = Duration::from_secs(10);
pub const INVENTORY_STEP: Duration = Duration::from_secs(2);
pub const SHIPPING_STEP: Duration = Duration::from_secs(5);
pub const SAGA_WAIT: Duration = Duration::from_secs(25);
pub const CHECKOUT: Duration = Duration::from_secs(28);
pub const GATEWAY: Duration = Duration::from_secs(30);
pub const REGISTRY: Duration = Duration::from_secs(5);

/// Caller, its timeout, callee, its timeout.
const LADDER: &[(&str, Duration, &str, Duration)] = &[
    ("payment step", PAYMENT_STEP, "payment processor", PROCESSOR),
    ("payment step", PAYMENT_STEP, "fraud score", FRAUD),
    ("saga wait", SAGA_WAIT, "payment step", PAYMENT_STEP),
    ("saga wait", SAGA_WAIT, "inventory step", INVENTORY_STEP),
    ("saga wait", SAGA_WAIT, "shipping step", SHIPPING_STEP),
    ("checkout", CHECKOUT, "saga wait", SAGA_WAIT),
    ("gateway", GATEWAY, "checkout", CHECKOUT),
];

/// Run at start-up.
pub fn check_ladder() -> Result<(), ShopError> {
    check(LADDER)
}

fn check(ladder: &[(&str, Duration, &str, Duration)]) -> Result<(), ShopError> {
    for (caller, waits, callee, takes) in ladder {
        if waits <= takes {
            return Err(ShopError::Ladder(format!(
                "{caller} waits {waits:?}, {callee} takes up to {takes:?}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_rises_and_a_falling_one_is_refused() {
        assert!(check_ladder().is_ok());
        assert!(check(&[("a", CHECKOUT, "b", CHECKOUT)]).is_err());
    }
}
