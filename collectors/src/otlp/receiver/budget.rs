//! One bound on the bytes of all requests in flight together.
//!
//! A request announces every growth before it happens and gives everything back when it is answered, whichever way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much all requests together may hold, and how much they do.
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A share of nothing yet.
    pub(super) fn share(self: &Arc<Budget>) -> Share {
        Share {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// What one request holds.
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// A share of nothing in the same budget.
    pub(super) fn sibling(&self) -> Share {
        self.budget.share()
    }

    /// `false` when there is no room, and nothing was taken.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let room = |used: usize| {
            used.checked_add(bytes)
                .filter(|total| *total <= self.budget.limit)
        };
        let taken = self
            .budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .is_ok();
        if taken {
            self.bytes += bytes;
        }
        taken
    }

    pub(super) fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    /// Gives back all but so much.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.shrink(self.bytes.saturating_sub(bytes));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}
