//! Rules about logs and the traces they belong to.

mod missing_sometimes;
mod not_searchable;
mod other_request;
mod record_shape;

#[cfg(test)]
mod tests;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &not_searchable::NotSearchable,
    &missing_sometimes::MissingSometimes,
    &other_request::OtherRequest,
    &record_shape::RecordShape,
];
