//! Rules about trace context on its way from caller to callee.

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[];
