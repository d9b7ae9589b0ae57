//! Rules about health checks: what they say against what is so.

mod check_overreaches;
mod dead_still_routed;
mod false_unhealthy;
mod green_while_requests_fail;
mod status_flaps;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &check_overreaches::CheckOverreaches,
    &dead_still_routed::DeadStillRouted,
    &false_unhealthy::FalseUnhealthy,
    &green_while_requests_fail::GreenWhileRequestsFail,
    &status_flaps::StatusFlaps,
];
