//! Which requests are durable already, so that one that is sent again is answered and not written again.

use std::collections::{HashMap, VecDeque};

use super::Done;
use crate::receipt::Receipt;

/// Requests remembered; a client that retries does so within seconds, not after a million others.
const REMEMBERED: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Seen {
    requests: HashMap<u128, State>,
    /// Durable ones, oldest first.
    order: VecDeque<u128>,
}

enum State {
    /// On its way to the disk; these wait for the same answer.
    Waiting(Vec<Done>),
    Durable {
        items: u64,
    },
}

/// What a look at a request's hash says.
pub(super) enum Look {
    New(Done),
    /// The first one is on its way; its answer will serve.
    Waiting,
    Durable(Receipt, Done),
}

fn again(items: u64) -> Receipt {
    Receipt {
        accepted: items,
        duplicate: true,
        ..Receipt::default()
    }
}

impl Seen {
    pub(super) fn look(&mut self, hash: u128, done: Done) -> Look {
        match self.requests.get_mut(&hash) {
            None => {
                self.requests.insert(hash, State::Waiting(Vec::new()));
                Look::New(done)
            }
            Some(State::Waiting(waiters)) => {
                waiters.push(done);
                Look::Waiting
            }
            Some(State::Durable { items }) => Look::Durable(again(*items), done),
        }
    }

    /// The request is on disk. Returns who else waits for it.
    pub(super) fn durable(&mut self, hash: u128, items: u64) -> Vec<Done> {
        let before = self.requests.insert(hash, State::Durable { items });
        if !matches!(before, Some(State::Durable { .. })) {
            self.order.push_back(hash);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.requests.remove(&oldest);
            }
        }
        match before {
            Some(State::Waiting(waiters)) => waiters,
            _ => Vec::new(),
        }
    }

    /// Nothing is on its way any more. Returns everybody who waits.
    pub(super) fn abandon(&mut self) -> Vec<Done> {
        let mut left = Vec::new();
        self.requests.retain(|_, state| match state {
            State::Waiting(waiters) => {
                left.append(waiters);
                false
            }
            State::Durable { .. } => true,
        });
        left
    }

    /// The request did not make it. Returns who else waits for it.
    pub(super) fn forget(&mut self, hash: u128) -> Vec<Done> {
        match self.requests.remove(&hash) {
            Some(State::Waiting(waiters)) => waiters,
            _ => Vec::new(),
        }
    }
}
