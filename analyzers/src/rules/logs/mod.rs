//! Rules about logs and the traces they belong to.

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[];
