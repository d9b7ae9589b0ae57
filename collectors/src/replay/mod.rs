//! Replay: sends the signals of a case again, with the gaps they had.
//!
//! Owns the event-time clock, what is due when, shifting and renewing, and delivery with its retries. Reads rows as
//! exporters do and builds requests with their encoder. A time is shifted by one constant, so gaps stay to the
//! nanosecond; how precisely they are met on the way out is up to the network.

mod change;
pub mod clock;
mod renew;
mod schedule;
mod send;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use case::{CaseError, Nanos, Signal, Window};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use change::Change;
pub use clock::{EventClock, Speed, SpeedError};
pub use renew::Renewal;
pub use schedule::Extent;
pub use send::{Target, TargetError};

use crate::export::Rows;
use crate::export::otlp::{encode_logs, encode_metrics, encode_spans};
use schedule::{Row, Schedule};
use send::{Outbox, Verdict};

/// Rows to a request.
const REQUEST_ROWS: usize = 512;
/// Requests on their way at a time.
const IN_FLIGHT: usize = 4;
/// Between the last event of a pass and the first of the next.
const BETWEEN_PASSES: u64 = 1_000_000;
/// Reasons that are kept; all failures are counted.
const SHOWN_REASONS: usize = 5;
/// How long a wait goes on before progress is told again.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);

/// How to replay.
#[derive(Debug, Clone)]
pub struct Options {
    pub window: Window,
    pub speed: Speed,
    /// The moment the first event is moved to; `None` leaves times as they are.
    pub first_at: Option<Nanos>,
    /// How often all of it is sent, at least once. Every pass follows the one before in event time.
    pub passes: u64,
    /// New ids, from this seed; each pass gets its own.
    pub renew: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            window: Window::ALL,
            speed: Speed::ORIGINAL,
            first_at: None,
            passes: 1,
            renew: None,
        }
    }
}

/// What was sent and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub passes: u64,
    pub requests: u64,
    pub bytes: u64,
    /// Items in requests that were taken.
    pub spans: u64,
    pub logs: u64,
    pub points: u64,
    /// Of those, the items the receiver rejected.
    pub rejected: u64,
    /// Requests that were sent more than once, counted each time.
    pub retries: u64,
    /// Requests, and items in them, that were never taken.
    pub failed_requests: u64,
    pub failed_items: u64,
    /// The first reasons for rejected and failed ones.
    pub reasons: Vec<String>,
    /// None of the first requests was taken, so that the rest was not sent.
    pub gave_up: bool,
    /// The most that sending lagged behind the clock, in nanoseconds of real time.
    pub most_behind_nano: u64,
    pub took_nano: u64,
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub pass: u64,
    pub passes: u64,
    /// The event time it is, as the case has it.
    pub at: Nanos,
    /// Rows handed over of all rows of all passes.
    pub done: u64,
    pub rows: u64,
}

/// Why a replay ended early, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("there is nothing to replay in the window")]
    Nothing,
    #[error("the times would leave what a 64-bit nanosecond holds (1970 to 2554)")]
    Times,
}

impl ReplayError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ReplayError::Case(error) => error.hint(),
            ReplayError::Target(error) => Some(error.hint()),
            ReplayError::Nothing => {
                Some("`casefile info` says what the case holds and from when to when")
            }
            ReplayError::Times => Some("replay fewer passes, or shift to another moment"),
        }
    }
}

/// Replays `rows` to `target`. `progress` is told after every round of sending and a few times a second between;
/// answering `false` ends it after what is on its way.
pub async fn replay(
    rows: &dyn Rows,
    options: &Options,
    target: &Target,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Report, ReplayError> {
    let outbox = Outbox::new(target)?;
    let extent = Extent::of(rows, options.window)?;
    let (first, last) = extent.times.ok_or(ReplayError::Nothing)?;
    let passes = options.passes.max(1);
    let period = i128::from(last.0 - first.0) + i128::from(BETWEEN_PASSES);
    let shift = options
        .first_at
        .map_or(0, |at| i128::from(at.0) - i128::from(first.0));
    let begun = Instant::now();
    let mut delivery = Delivery::new(outbox);
    let mut done = 0;
    let state = |pass, at, done| Progress {
        pass,
        passes,
        at,
        done,
        rows: extent.rows * passes,
    };
    'passes: for pass in 0..passes {
        let change = Change {
            shift: shift + period * i128::from(pass),
            renewal: options.renew.map(|seed| Renewal::new(seed, pass)),
        };
        if change.shift != 0 && !change.fits(first.max(Nanos(1)), last) {
            return Err(ReplayError::Times);
        }
        let mut schedule = Schedule::new(rows, options.window, &extent);
        let mut clock = EventClock::new(
            Window {
                from: first,
                until: last,
            },
            options.speed,
        );
        clock.play();
        let mut told = Instant::now();
        while let Some(due) = schedule.next_due()? {
            let now = Instant::now();
            clock.advance(now - told);
            told = now;
            let wait = clock.until(due).unwrap_or(Duration::ZERO);
            if !wait.is_zero() {
                // Waits in parts, so that the end can be asked for, and the time be shown, during a long gap.
                tokio::time::sleep(wait.min(LONGEST_SLEEP)).await;
                if !progress(state(pass, clock.at(), done)) {
                    delivery.report.passes = pass;
                    break 'passes;
                }
                continue;
            }
            delivery.report.most_behind_nano =
                delivery.report.most_behind_nano.max(behind(&clock, due));
            let mut round = Round::default();
            let by = if options.speed == Speed::Max {
                Nanos::MAX
            } else {
                clock.at().max(due)
            };
            while let Some((_, row)) = schedule.take(by)? {
                done += 1;
                if round.push(row, &change) {
                    break;
                }
            }
            for (signal, payload, items) in round.requests() {
                delivery.send(signal, payload, items).await;
            }
            let at = if options.speed == Speed::Max {
                due
            } else {
                clock.at()
            };
            let go_on = progress(state(pass, at, done));
            if delivery.nobody_takes_anything() {
                delivery.report.gave_up = true;
                delivery.report.passes = pass;
                break 'passes;
            }
            if !go_on {
                delivery.report.passes = pass;
                break 'passes;
            }
        }
        delivery.report.passes = pass + 1;
    }
    let mut report = delivery.finish().await;
    report.took_nano = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(report)
}

/// Real time since something was due.
fn behind(clock: &EventClock, due: Nanos) -> u64 {
    match clock.speed() {
        Speed::Max => 0,
        Speed::Thousandths(thousandths) => {
            let event = u128::from(clock.at().0.saturating_sub(due.0));
            u64::try_from(event * 1_000 / u128::from(thousandths)).unwrap_or(u64::MAX)
        }
    }
}

/// What goes out together.
#[derive(Default)]
struct Round {
    spans: Vec<case::model::Span>,
    logs: Vec<case::model::LogRecord>,
    points: Vec<case::model::MetricPoint>,
}

impl Round {
    /// True when one of the signals fills a request.
    fn push(&mut self, row: Row, change: &Change) -> bool {
        let held = match row {
            Row::Span(span) => {
                self.spans.push(change.span(*span));
                self.spans.len()
            }
            Row::Log(record) => {
                self.logs.push(change.log(*record));
                self.logs.len()
            }
            Row::Point(point) => {
                self.points.push(change.point(*point));
                self.points.len()
            }
        };
        held >= REQUEST_ROWS
    }

    fn requests(self) -> impl Iterator<Item = (Signal, Bytes, u64)> {
        let spans = self.spans.len() as u64;
        let logs = self.logs.len() as u64;
        let points = self.points.len() as u64;
        [
            (Signal::Traces, encode_spans(self.spans), spans),
            (Signal::Logs, encode_logs(self.logs), logs),
            (Signal::Metrics, encode_metrics(self.points), points),
        ]
        .into_iter()
        .filter(|(_, _, items)| *items > 0)
        .map(|(signal, payload, items)| (signal, payload.into(), items))
    }
}

/// Requests on their way, and what came back.
struct Delivery {
    outbox: Outbox,
    sending: JoinSet<(Signal, u64, send::Outcome)>,
    report: Report,
}

impl Delivery {
    fn new(outbox: Outbox) -> Delivery {
        Delivery {
            outbox,
            sending: JoinSet::new(),
            report: Report::default(),
        }
    }

    /// Sends, waiting only while as many are on their way as may be.
    async fn send(&mut self, signal: Signal, payload: Bytes, items: u64) {
        while self.sending.len() >= IN_FLIGHT {
            self.settle_one().await;
        }
        self.report.requests += 1;
        self.report.bytes += payload.len() as u64;
        let outbox = self.outbox.clone();
        self.sending
            .spawn(async move { (signal, items, outbox.send(signal, payload).await) });
    }

    /// Whether as many requests as can be on their way at once have failed, and none was ever taken.
    fn nobody_takes_anything(&self) -> bool {
        let report = &self.report;
        report.failed_requests >= IN_FLIGHT as u64
            && report.spans + report.logs + report.points == 0
    }

    async fn settle_one(&mut self) {
        // A task that was cancelled or broke has no answer to tell; neither is ever done to these.
        if let Some(Ok((signal, items, outcome))) = self.sending.join_next().await {
            self.settle(signal, items, outcome);
        }
    }

    fn settle(&mut self, signal: Signal, items: u64, outcome: send::Outcome) {
        let report = &mut self.report;
        report.retries += outcome.retries;
        let reason = match outcome.verdict {
            Verdict::Taken { rejected, message } => {
                match signal {
                    Signal::Logs => report.logs += items,
                    Signal::Metrics => report.points += items,
                    _ => report.spans += items,
                }
                report.rejected += rejected;
                message
            }
            Verdict::Failed(reason) => {
                report.failed_requests += 1;
                report.failed_items += items;
                reason
            }
        };
        if !reason.is_empty()
            && !report.reasons.contains(&reason)
            && report.reasons.len() < SHOWN_REASONS
        {
            report.reasons.push(reason);
        }
    }

    async fn finish(mut self) -> Report {
        while !self.sending.is_empty() {
            self.settle_one().await;
        }
        self.report
    }
}
