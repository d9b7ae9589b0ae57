//! Bringing what scrapers and watchers found to the case, and waiting until it is durable.
//!
//! There is no queue to overflow: a task hands over one payload and goes on only when the case has answered. While the
//! case is busy the task waits and tries again, so pressure reaches the poller, which then looks less often. Only when
//! patience ends, or the case refuses for good, is something given up, and then it is counted and said.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use case::{AppendError, Receipt, Signal};
use serde::Serialize;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::otlp::receiver::Sink;
use crate::status::Board;

/// Rows travel in payloads of about this size.
const PAYLOAD_BYTES: usize = 1 << 20;

/// Why a payload did not reach the case.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Undelivered {
    #[error("the case refused it: {0}")]
    Refused(AppendError),
    #[error("gave up after {0:?}: {1}")]
    Patience(Duration, AppendError),
    #[error("stopped while the case was busy")]
    Stopped,
    #[error("the case went away without an answer")]
    Vanished,
    #[error("can't write {what} as JSON: {reason}")]
    Unwritable { what: &'static str, reason: String },
}

/// The way to the case, shared by all tasks of one collector.
#[derive(Clone)]
pub(crate) struct Delivery {
    sink: Arc<dyn Sink>,
    board: Board,
    patience: Duration,
    stop: watch::Receiver<bool>,
}

impl Delivery {
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        board: Board,
        patience: Duration,
        stop: watch::Receiver<bool>,
    ) -> Delivery {
        Delivery {
            sink,
            board,
            patience,
            stop,
        }
    }

    /// Waits until the payload is durable. `items` is what is lost to the count when it can't be.
    pub(crate) async fn bring(
        &self,
        task: &str,
        signal: Signal,
        payload: Bytes,
        items: u64,
    ) -> Result<Receipt, Undelivered> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(20);
        let mut stop = self.stop.clone();
        let outcome = loop {
            let (tell, told) = oneshot::channel();
            self.sink.submit(
                signal,
                payload.clone(),
                Box::new(move |answer| {
                    // Nobody listens any more only when the task was dropped, which no one waits for.
                    let _ = tell.send(answer);
                }),
            );
            let busy = match told.await {
                Ok(Ok(receipt)) => break Ok(receipt),
                Ok(Err(refusal @ (AppendError::Malformed { .. } | AppendError::Closed))) => {
                    break Err(Undelivered::Refused(refusal));
                }
                Ok(Err(busy)) => busy,
                Err(_) => break Err(Undelivered::Vanished),
            };
            if started.elapsed() >= self.patience {
                break Err(Undelivered::Patience(self.patience, busy));
            }
            self.board.complain(task, format!("waiting: {busy}"));
            let told_to_wait = match &busy {
                AppendError::Busy { retry_after, .. }
                | AppendError::Storage { retry_after, .. } => *retry_after,
                _ => Duration::ZERO,
            };
            let wait = pause
                .max(told_to_wait)
                .min(Duration::from_secs(5))
                .min(self.patience.saturating_sub(started.elapsed()));
            pause = (pause * 2).min(Duration::from_secs(2));
            if *stop.borrow_and_update() {
                break Err(Undelivered::Stopped);
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = stop.changed() => {
                    if changed.is_err() {
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        };
        match &outcome {
            Ok(receipt) => self.board.update(task, |status| {
                status.kept += receipt.accepted;
                status.given_up += receipt.rejected;
                if let Some(message) = receipt.message.as_ref().filter(|_| receipt.rejected > 0) {
                    status.last_error = Some((
                        crate::status::now(),
                        format!(
                            "the case refused {} of {items}: {message}",
                            receipt.rejected
                        ),
                    ));
                }
            }),
            Err(reason) => self.board.update(task, |status| {
                status.given_up += items;
                status.last_error = Some((
                    crate::status::now(),
                    format!("{items} {} lost: {reason}", signal.name()),
                ));
            }),
        }
        outcome
    }

    /// Rows as JSON lines, in payloads of bounded size. The rows of a failed payload and all after it are not kept.
    pub(crate) async fn bring_rows<T: Serialize>(
        &self,
        task: &str,
        signal: Signal,
        rows: &[T],
    ) -> Result<(), Undelivered> {
        let mut lines = Vec::new();
        let mut count = 0;
        for (index, row) in rows.iter().enumerate() {
            serde_json::to_writer(&mut lines, row).map_err(|error| Undelivered::Unwritable {
                what: signal.name(),
                reason: error.to_string(),
            })?;
            lines.push(b'\n');
            count += 1;
            if lines.len() >= PAYLOAD_BYTES || index + 1 == rows.len() {
                self.bring(task, signal, Bytes::from(std::mem::take(&mut lines)), count)
                    .await?;
                count = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
