//! How far a reading has come, and the word that it is no longer wanted. Whoever waits holds the other end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::CaseError;

/// Shared between a reading and who waits for it.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Rows read so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Begins to count anew, for a new reading.
    pub fn reset(&self) {
        self.done.store(0, Ordering::Relaxed);
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Ends the reading at its next row; it fails with [`CaseError::Stopped`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Counts rows; false if no more are wanted.
    pub(super) fn pass(&self, rows: u64) -> bool {
        self.done.fetch_add(rows, Ordering::Relaxed);
        !self.is_stopped()
    }

    pub(super) fn check(&self) -> Result<(), CaseError> {
        if self.is_stopped() {
            Err(CaseError::Stopped)
        } else {
            Ok(())
        }
    }
}
