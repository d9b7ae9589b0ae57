//! Rules about how spans relate in a tree and in time.

mod lifecycle;
mod misassigned;
mod missing;
mod no_parents;
mod timing;

#[cfg(test)]
mod tests;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &no_parents::NoParents,
    &misassigned::ParentMisassigned,
    &missing::SpansMissing,
    &timing::TimingImpossible,
    &lifecycle::LifecycleBroken,
];
