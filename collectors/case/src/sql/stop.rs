//! When a query has to end before it is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Shared by SQLite's own loop and the scans under it.
#[derive(Debug)]
pub(super) struct Stop {
    deadline: Option<Instant>,
    late: AtomicBool,
}

impl Stop {
    pub(super) fn after(time: Option<Duration>) -> Stop {
        Stop {
            deadline: time.and_then(|time| Instant::now().checked_add(time)),
            late: AtomicBool::new(false),
        }
    }

    /// Whether the time is up; once it is, it stays so.
    pub(super) fn now(&self) -> bool {
        if self.late.load(Ordering::Relaxed) {
            return true;
        }
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if late {
            self.late.store(true, Ordering::Relaxed);
        }
        late
    }

    pub(super) fn was_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }
}
