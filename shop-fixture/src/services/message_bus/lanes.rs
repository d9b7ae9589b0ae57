//! Owns what is under way in memory: for each subscriber the deliveries of each aggregate, one after the other. The rows on
//! disk are the truth; memory holds no more of them than a bound, and takes the rest up when there is room again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::Bus;
use super::delivery::carry;
use super::queue::{self, Delivery};
use crate::store::StoreError;

/// Pushes to one subscriber at a time.
const AT_A_TIME: usize = 16;
/// Deliveries to one subscriber that memory holds, and how few are left before more are taken from disk.
const MOST: usize = 4_000;
const FEW: usize = 1_000;
const TAKEN_UP: usize = 1_000;

pub(super) struct Lanes {
    subscribers: HashMap<&'static str, Subscriber>,
}

struct Subscriber {
    state: Mutex<State>,
    slots: Semaphore,
}

#[derive(Default)]
struct State {
    /// An aggregate that stands here has a task that makes its deliveries in order.
    lanes: HashMap<String, VecDeque<Delivery>>,
    held: usize,
    /// The highest number that ever was in memory.
    newest: i64,
    /// Whether there may be rows above `newest` that are not in memory.
    behind: bool,
}

impl Lanes {
    /// Every queue begins behind: an earlier process may have left rows.
    pub(super) fn new(names: &[&'static str]) -> Self {
        let subscriber = || Subscriber {
            state: Mutex::new(State {
                behind: true,
                ..State::default()
            }),
            slots: Semaphore::new(AT_A_TIME),
        };
        Self {
            subscribers: names.iter().map(|name| (*name, subscriber())).collect(),
        }
    }

    fn lock(&self, subscriber: &str) -> Option<MutexGuard<'_, State>> {
        let found = self.subscribers.get(subscriber)?;
        Some(found.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for one of the subscriber's places.
    pub(super) async fn slot(&self, subscriber: &str) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.subscribers.get(subscriber)?.slots.acquire().await.ok()
    }

    /// How many deliveries to each subscriber are under way.
    pub(super) fn depths(&self) -> Vec<(&'static str, usize)> {
        let names = self.subscribers.keys();
        names
            .map(|name| (*name, self.lock(name).map_or(0, |state| state.held)))
            .collect()
    }

    fn next(&self, subscriber: &str, aggregate: &str) -> Option<Delivery> {
        let mut state = self.lock(subscriber)?;
        let next = state.lanes.get_mut(aggregate).and_then(VecDeque::pop_front);
        if next.is_none() {
            state.lanes.remove(aggregate);
        }
        next
    }

    fn carried(&self, subscriber: &str) {
        if let Some(mut state) = self.lock(subscriber) {
            state.held -= 1;
        }
    }
}

/// Puts new deliveries on their way, unless memory is full: then they stay on disk until they are taken up.
pub(super) fn add(bus: &Arc<Bus>, subscriber: &'static str, delivery: Delivery) {
    let Some(mut state) = bus.lanes.lock(subscriber) else {
        return;
    };
    if state.held >= MOST {
        state.behind = true;
    }
    // What is behind comes in the order of its numbers.
    if !state.behind {
        begin(bus, &mut state, subscriber, delivery);
    }
}

/// Puts a delivery on its way whatever the state of the queue.
pub(super) fn add_now(bus: &Arc<Bus>, subscriber: &'static str, delivery: Delivery) {
    if let Some(mut state) = bus.lanes.lock(subscriber) {
        let newest = state.newest;
        begin(bus, &mut state, subscriber, delivery);
        state.newest = newest;
    }
}

fn begin(bus: &Arc<Bus>, state: &mut State, subscriber: &'static str, delivery: Delivery) {
    state.held += 1;
    state.newest = state.newest.max(delivery.id);
    let aggregate = delivery.message.envelope.aggregate.id.clone();
    if let Some(lane) = state.lanes.get_mut(&aggregate) {
        lane.push_back(delivery);
        return;
    }
    state
        .lanes
        .insert(aggregate.clone(), VecDeque::from([delivery]));
    tokio::spawn(run(Arc::clone(bus), subscriber, aggregate));
}

/// Makes the deliveries of one aggregate until there are no more.
async fn run(bus: Arc<Bus>, subscriber: &'static str, aggregate: String) {
    while let Some(delivery) = bus.lanes.next(subscriber, &aggregate) {
        if bus.rt.is_draining() {
            // The row stays, for the next process.
            return;
        }
        carry(&bus, subscriber, delivery).await;
        bus.lanes.carried(subscriber);
    }
    take_up(&bus, subscriber).await;
}

/// Brings rows into memory that are not there yet, if there is room.
pub(super) async fn take_up(bus: &Arc<Bus>, subscriber: &'static str) {
    let Ok(store) = bus.rt.store() else { return };
    let newest = match bus.lanes.lock(subscriber) {
        Some(state) if state.behind && state.held < FEW => state.newest,
        _ => return,
    };
    let owner = bus.owner();
    // The read does not wait for anybody, so nothing is added between it and what follows.
    let found = store
        .read::<_, StoreError, _>(|tx| queue::after(tx, subscriber, owner, newest, TAKEN_UP))
        .await;
    match found {
        Ok(found) => {
            let Some(mut state) = bus.lanes.lock(subscriber) else {
                return;
            };
            state.behind = found.len() == TAKEN_UP;
            for delivery in found {
                begin(bus, &mut state, subscriber, delivery);
            }
        }
        Err(error) => bus.complain("the queue could not be read", &error),
    }
}
