//! Rules about how a name becomes an address that answers.

mod address_unreachable;
mod empty_fatal;
mod no_healthy_instance;
mod not_found_then_found;
mod selective_failure;
pub(super) mod unhealthy_selected;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &address_unreachable::AddressUnreachable,
    &empty_fatal::EmptyFatal,
    &no_healthy_instance::NoHealthyInstance,
    &not_found_then_found::NotFoundThenFound,
    &selective_failure::SelectiveFailure,
    &unhealthy_selected::UnhealthySelected,
];
