//! Rules about what a registry says and what callers make of it.

mod cached_after_removal;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[&cached_after_removal::CachedAfterRemoval];
