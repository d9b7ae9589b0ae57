//! What running collectors tell about themselves: per task, when it last worked, what last went wrong, how much it
//! brought.
//!
//! Shared by scraper and watchers. Holds no signals; whatever is worth keeping goes into the case.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use case::Nanos;

/// The collector's own clock, for the moments it looked at something.
pub(crate) fn now() -> Nanos {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// How one task (a scrape target, a watched endpoint) is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskStatus {
    pub polls: u64,
    pub failures: u64,
    /// Failures since the last success.
    pub failing: u64,
    /// Rows, samples or points that reached the case.
    pub kept: u64,
    /// Rows that could not be brought to the case or that the case refused. Anything but 0 is a loss.
    pub given_up: u64,
    pub last_success: Option<Nanos>,
    pub last_error: Option<(Nanos, String)>,
}

/// The tasks of one collector by name.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, TaskStatus>>>);

impl Board {
    pub(crate) fn update(&self, task: &str, change: impl FnOnce(&mut TaskStatus)) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match tasks.get_mut(task) {
            Some(status) => change(status),
            None => change(tasks.entry(task.to_owned()).or_default()),
        }
    }

    pub(crate) fn worked(&self, task: &str) {
        self.update(task, |status| {
            status.polls += 1;
            status.failing = 0;
            status.last_success = Some(now());
        });
    }

    pub(crate) fn failed(&self, task: &str, reason: impl Into<String>) {
        let reason = reason.into();
        self.update(task, |status| {
            status.polls += 1;
            status.failures += 1;
            status.failing += 1;
            status.last_error = Some((now(), reason));
        });
    }

    /// Something worth telling went wrong although the poll itself worked.
    pub(crate) fn complain(&self, task: &str, reason: impl Into<String>) {
        let reason = reason.into();
        self.update(task, |status| status.last_error = Some((now(), reason)));
    }

    pub(crate) fn forget(&self, task: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(task);
    }

    pub fn tasks(&self) -> BTreeMap<String, TaskStatus> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
