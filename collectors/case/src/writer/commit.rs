//! The log thread: appends what has gathered, flushes once, answers everybody.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Pending, SealMode, Shared, lock};
use crate::CaseError;
use crate::log::LogAppender;
use crate::receipt::AppendError;

/// Runs until the writer is closed and the queue is empty.
pub(super) fn run(shared: &Shared, active: LogAppender) {
    let _end = End(shared);
    let mut active = active;
    let most = shared.options.segment_bytes;
    let mut full = shared.options.first_segment_bytes.unwrap_or(most).min(most);
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
        // If that fails the old one simply grows on, and the next commit tries again.
        if active.raw_bytes() >= full && rotate(shared, &mut active).is_ok() {
            full = full.saturating_mul(2).min(most);
        }
    }
    if active.is_suspect() {
        // The last chance; at worst the next start finds frames that were refused.
        let _ = active.give_up();
    }
    if let Err(error) = keep_promise(shared, &mut active) {
        lock(&shared.sealing).lost = Some(error.to_string());
    }
    if !active.is_empty() {
        lock(&shared.sealing).full.push_back(active.id);
    }
}

/// However the thread ends: nobody is left waiting for it.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let left = {
            let mut queue = lock(&self.0.queue);
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        refuse(self.0, left, &AppendError::Closed);
        let waiters = lock(&self.0.seen).abandon();
        for waiter in waiters {
            waiter(Err(AppendError::Closed));
        }
    }
}

fn commit(shared: &Shared, active: &mut LogAppender, batch: Vec<Pending>) {
    let outcome = leave_suspect(shared, active)
        .and_then(|()| active.append(batch.iter().map(|pending| &pending.frame)));
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
            refuse(shared, batch, &refusal);
        }
    }
}

fn refuse(shared: &Shared, batch: Vec<Pending>, refusal: &AppendError) {
    for pending in batch {
        let waiters = lock(&shared.seen).forget(pending.frame.head.hash);
        for waiter in waiters {
            waiter(Err(refusal.clone()));
        }
        (pending.done)(Err(refusal.clone()));
    }
}

/// A log whose flush failed takes nothing more: it is cut behind what was acknowledged, and a new one begun. Until both
/// succeed everything is refused.
fn leave_suspect(shared: &Shared, active: &mut LogAppender) -> Result<(), CaseError> {
    if !active.is_suspect() {
        return Ok(());
    }
    active.give_up()?;
    rotate(shared, active)
}

/// Before a log is left, it is flushed; unless the sealer flushes what it makes of it and removes it.
fn keep_promise(shared: &Shared, active: &mut LogAppender) -> Result<(), CaseError> {
    match shared.options.seal {
        SealMode::Manual => active.keep_promise(),
        SealMode::Auto => Ok(()),
    }
}

/// Begins a new log.
fn rotate(shared: &Shared, active: &mut LogAppender) -> Result<(), CaseError> {
    keep_promise(shared, active)?;
    let fresh = LogAppender::create(&shared.path, active.id + 1, shared.options.promise)?;
    let full = std::mem::replace(active, fresh);
    lock(&shared.sealing).full.push_back(full.id);
    shared.wake_sealer.notify_one();
    Ok(())
}
