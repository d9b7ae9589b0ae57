//! Owns the first attempt of an outbox row: made at once by the process that wrote it, in order per aggregate, within the
//! trace of its cause. What fails is left to the relay, and with it all that follows in its aggregate.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::outbox::{self, Waiting};
use super::publisher::{Publisher, Staged};
use crate::store::StoreError;

/// Posts under way at a time.
const AT_A_TIME: usize = 32;
/// Rows that wait in memory; more are left to the relay, which has them on disk.
const MOST: usize = 10_000;
/// Blocked aggregates that are looked at in one go.
const LOOKED_AT: usize = 500;

pub(super) struct Lanes {
    state: Mutex<State>,
    slots: Semaphore,
}

#[derive(Default)]
struct State {
    /// Rows by aggregate; an aggregate that stands here has a task that sends its rows one after the other.
    lanes: HashMap<String, VecDeque<Waiting>>,
    held: usize,
    /// Aggregates whose earlier rows are with the relay; later ones must not overtake them.
    blocked: HashSet<String>,
    sent: Vec<i64>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State::default()),
            slots: Semaphore::new(AT_A_TIME),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next row of an aggregate; without one its lane ends.
    fn next(&self, aggregate: &str) -> Option<Waiting> {
        let mut state = self.lock();
        let next = state.lanes.get_mut(aggregate).and_then(VecDeque::pop_front);
        match next {
            Some(_) => state.held -= 1,
            None => {
                state.lanes.remove(aggregate);
            }
        }
        next
    }

    /// Ends a lane whose row failed; answers the rows that stood behind it.
    fn block(&self, aggregate: &str) -> Vec<i64> {
        let mut state = self.lock();
        state.blocked.insert(aggregate.to_owned());
        let left = state.lanes.remove(aggregate).unwrap_or_default();
        state.held -= left.len();
        left.into_iter().map(|waiting| waiting.id).collect()
    }
}

impl Publisher {
    /// Sends rows whose transaction is through.
    pub(super) fn dispatch(self: &Arc<Self>, staged: Vec<Staged>) {
        let mut left = Vec::new();
        let stalled = self.rt().faults.is_on("outbox_stall");
        for staged in staged {
            let Some(row) = staged.row.clone() else {
                continue;
            };
            let aggregate = staged.event.aggregate_id.clone();
            let waiting = Waiting {
                id: row.id,
                cause: row.cause,
                created_at: row.created_at,
                attempts: 1,
                staged,
            };
            let mut state = self.lanes().lock();
            if stalled || state.held >= MOST {
                state.blocked.insert(aggregate.clone());
            }
            if state.blocked.contains(&aggregate) {
                left.push(waiting.id);
                continue;
            }
            state.held += 1;
            if let Some(lane) = state.lanes.get_mut(&aggregate) {
                lane.push_back(waiting);
                continue;
            }
            state
                .lanes
                .insert(aggregate.clone(), VecDeque::from([waiting]));
            drop(state);
            tokio::spawn(send_lane(Arc::clone(self), aggregate));
        }
        if !left.is_empty() {
            let publisher = Arc::clone(self);
            tokio::spawn(async move { give_back(&publisher, left, None).await });
        }
    }

    /// Lets an aggregate's rows be sent at once again.
    pub(super) fn unblock(&self, aggregate: &str) {
        self.lanes().lock().blocked.remove(aggregate);
    }

    /// Some of the aggregates that are blocked.
    pub(super) fn blocked(&self) -> Vec<String> {
        let state = self.lanes().lock();
        state.blocked.iter().take(LOOKED_AT).cloned().collect()
    }

    pub(super) fn take_sent(&self) -> Vec<i64> {
        std::mem::take(&mut self.lanes().lock().sent)
    }

    pub(super) fn put_sent_back(&self, sent: Vec<i64>) {
        self.lanes().lock().sent.extend(sent);
    }
}

async fn send_lane(publisher: Arc<Publisher>, aggregate: String) {
    while let Some(waiting) = publisher.lanes().next(&aggregate) {
        // The semaphore is never closed.
        let slot = publisher.lanes().slots.acquire().await;
        let posted = publisher.post_row(&waiting, waiting.cause.trace()).await;
        drop(slot);
        match posted {
            Ok(()) => {
                publisher.lanes().lock().sent.push(waiting.id);
                publisher.wake();
            }
            Err(error) => {
                let left = publisher.lanes().block(&aggregate);
                let failed = (waiting.id, publisher.backoff(1), error.to_string());
                give_back(&publisher, left, Some(failed)).await;
                return;
            }
        }
    }
}

/// Leaves rows to the relay: one that failed after its pause, the others as soon as it is their turn.
async fn give_back(publisher: &Publisher, left: Vec<i64>, failed: Option<(i64, u64, String)>) {
    let Ok(store) = publisher.rt().store() else {
        return;
    };
    // Should this not get through, the rows become free when their claim runs out.
    let _ = store
        .note::<_, StoreError, _>(move |tx| {
            if let Some((id, pause, error)) = &failed {
                outbox::failed(tx, *id, *pause, error)?;
            }
            outbox::release(tx, &left)
        })
        .await;
}
