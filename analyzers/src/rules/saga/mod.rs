//! Rules about sagas against their declared models.

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[];
