//! Rules about how the spans of a trace relate.

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[];
