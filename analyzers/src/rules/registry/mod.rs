//! Rules about what a registry says and what callers make of it.

mod cached_after_removal;

pub(super) use cached_after_removal::CachedAfterRemoval;
