//! Rules about how a name becomes an address that answers.

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[];
