//! The log thread: appends what has gathered, flushes once, answers everybody.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pending, Shared, lock};
use crate::log::LogAppender;
use crate::receipt::AppendError;

/// Runs until the writer is closed and the queue is empty.
pub(super) fn run(shared: &Shared, active: LogAppender) {
    let mut active = active;
    loop {
        let batch = {
            let mut queue = lock(&shared.queue);
            while queue.waiting.is_empty() && !queue.closed {
                queue = shared
                    .wake_log
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::take(&mut queue.waiting)
        };
        if batch.is_empty() {
            break;
        }
        commit(shared, &mut active, batch);
        if active.raw_bytes() >= shared.options.segment_bytes {
            rotate(shared, &mut active);
        }
    }
    if !active.is_empty() {
        lock(&shared.sealing).full.push_back(active.id);
    }
}

fn commit(shared: &Shared, active: &mut LogAppender, batch: Vec<Pending>) {
    let outcome = active.append(batch.iter().map(|pending| &pending.frame));
    let bytes = batch
        .iter()
        .map(|p| p.frame.bytes.len() as u64)
        .sum::<u64>();
    lock(&shared.queue).bytes -= bytes;
    shared.committed.fetch_add(bytes, Ordering::Relaxed);
    match outcome {
        Ok(()) => {
            for pending in batch {
                let hash = pending.frame.head.hash;
                let waiters = lock(&shared.seen).durable(hash, pending.receipt.accepted);
                let again = crate::Receipt {
                    duplicate: true,
                    ..pending.receipt.clone()
                };
                let folded = waiters.len() as u64 * again.accepted;
                shared.folded_items.fetch_add(folded, Ordering::Relaxed);
                for waiter in waiters {
                    waiter(Ok(again.clone()));
                }
                (pending.done)(Ok(pending.receipt));
            }
        }
        Err(error) => {
            let refusal = AppendError::Storage {
                reason: error.to_string(),
                retry_after: Duration::from_secs(5),
            };
            for pending in batch {
                let waiters = lock(&shared.seen).forget(pending.frame.head.hash);
                for waiter in waiters {
                    waiter(Err(refusal.clone()));
                }
                (pending.done)(Err(refusal.clone()));
            }
        }
    }
}

/// Begins a new log. If that fails the old one simply grows on, and the next commit tries again.
fn rotate(shared: &Shared, active: &mut LogAppender) {
    let Ok(fresh) = LogAppender::create(&shared.path, active.id + 1) else {
        return;
    };
    let full = std::mem::replace(active, fresh);
    lock(&shared.sealing).full.push_back(full.id);
    shared.wake_sealer.notify_one();
}
