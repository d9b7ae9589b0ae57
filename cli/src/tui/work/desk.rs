//! Reading a case for the workbench: every question answered in one place, from the same functions as on the command
//! line.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use analyzers::engine;
use analyzers::evidence::Evidence;
use analyzers::patterns;
use analyzers::red;
use analyzers::rules;
use analyzers::skew::Observations;
use case::filter::{LogFilter, SpanFilter};
use case::model::Span;
use case::{
    CaseError, CaseState, Follower, Nanos, Progress, Signal, SpanTable, TraceId, Window, pins,
};

use super::{Answer, Ask, Found, OverviewFound, Request, books, faults, files};
use crate::commands::newest::Newest;
use crate::commands::trace::{logs_of, on_one_clock};
use crate::commands::traces::newest_traces;
use crate::error::CliError;
use crate::reading::{Reading, threads};
use crate::render::waterfall::Waterfall;
use crate::tui::state::{Content, Head, Loaded, LogItem, LogsFound, Near, SLOTS, Subject};
use crate::views;

/// Traces a list holds; older ones are counted.
const LISTED: usize = 500;
/// Log records a list holds.
const RECORDS: usize = 1_000;
/// Spans of a case that is written no more are read at once up to here; of more, the newest are shown first.
const AT_ONCE: u64 = 1_500_000;
/// Spans whose skeleton is kept for the next question.
const KEPT: usize = 4_000_000;
/// How far around a trace clocks are learnt from.
const NEAR: u64 = 120_000_000_000;
/// Shorter cases are too short to be compared with their own beginning.
const LONG_ENOUGH: u64 = 20_000_000_000;

/// The bundled shop that runs beside the workbench, if one does: where its files are.
#[derive(Debug, Clone, Default)]
pub struct Shop(pub Option<PathBuf>);

/// A case with somebody who reads in it.
pub struct Desk {
    reading: Reading,
    progress: Arc<Progress>,
    follower: Follower,
    shop: Shop,
}

impl Desk {
    pub fn open(path: &Path, shop: Shop) -> Result<Desk, CliError> {
        let mut reading = Reading::at_once(path)?;
        let progress = Arc::new(Progress::default());
        reading.case.report_to(Arc::clone(&progress));
        Ok(Desk {
            reading,
            progress,
            follower: Follower::default(),
            shop,
        })
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    pub fn has_shop(&self) -> bool {
        self.shop.0.is_some()
    }

    /// What the case is called.
    pub fn name(&self) -> String {
        self.reading.path.file_name().map_or_else(
            || self.reading.path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Finds out what is asked. The answer goes to `tell`; a first, partial one may go before it.
    pub fn work(&mut self, ask: Ask, tell: &mut dyn FnMut(Answer)) {
        let began = Instant::now();
        let serial = ask.serial;
        let mut tell = |found| {
            tell(Answer {
                serial,
                took: began.elapsed(),
                found,
            });
        };
        let found = self.find(ask, &mut tell).unwrap_or_else(|error| {
            if self.progress.is_stopped() {
                return Found::Stopped;
            }
            Found::Failed(match error.hint_text() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            })
        });
        tell(found);
    }

    fn find(&mut self, ask: Ask, tell: &mut dyn FnMut(Found)) -> Result<Found, CliError> {
        self.reading.case.refresh()?;
        self.reading.window = ask.window;
        match ask.request {
            Request::Overview { baseline } => self.overview(ask.window, baseline, tell),
            Request::Diagnosis => {
                let case = &self.reading.case;
                let models = crate::models::of_case(case.path())?;
                let evidence = Evidence::gather_with(case, ask.window, threads(), &models)?;
                Ok(Found::Report(Arc::new(engine::diagnose(
                    &evidence,
                    &rules::ALL,
                ))))
            }
            Request::Traces { filter } => self.traces(&filter),
            Request::Logs { filter, baseline } => self.logs(&filter, ask.window, baseline),
            Request::Sheet { subject } => self.sheet(subject, ask.window),
            Request::Trace { id, skew } => self.trace(id, skew, ask.window),
            Request::Near { id } => self.near(id, ask.window),
            Request::Linked { id } => {
                let spans = self.spans_of(id, ask.window)?;
                let asked = views::AroundTrace {
                    clocks: false,
                    links: true,
                };
                let linked = views::around_trace(&self.reading, &spans, asked)?.linked;
                Ok(Found::Linked { id, linked })
            }
            Request::Pin { id, on } => self.pin(id, on),
            Request::Notebook => Ok(Found::Notebook(files::load_notebook(&self.reading.path)?)),
            Request::Keep { notebook } => {
                files::save_notebook(&self.reading.path, &notebook)?;
                Ok(Found::Notebook(notebook))
            }
            Request::Books { report } => books::list(&self.reading.path, report.as_deref()),
            Request::Walk { book, report } => {
                books::walk(&self.reading.path, ask.window, &book, &report)
            }
            Request::Faults => faults::list(&self.shop, None),
            Request::StartFault { kind, target } => faults::start(&self.shop, &kind, &target),
            Request::StopFault { id } => faults::stop(&self.shop, &id),
        }
    }

    fn overview(
        &mut self,
        asked: Window,
        baseline: Option<Window>,
        tell: &mut dyn FnMut(Found),
    ) -> Result<Found, CliError> {
        let info = self.reading.case.info()?;
        let count = |signal| info.items.get(&signal).copied().unwrap_or(0);
        let mut head = Head {
            live: info.state == CaseState::Live,
            sealed: info.state == CaseState::Sealed,
            window: None,
            spans: count(Signal::Traces),
            logs: count(Signal::Logs),
        };
        let pinned = pins::list(&self.reading.path)?;
        if !head.live && head.spans > AT_ONCE && self.follower.table.is_empty() {
            return self.big_overview(head, asked, baseline, tell);
        }
        self.follower.look(&self.reading.case)?;
        head.window = self.follower.window();
        let seen = within(asked, head.window);
        let before = baseline.or_else(|| better_time(seen, head.window));
        Ok(Found::Overview(OverviewFound {
            overview: red::overview(&self.follower.table, seen, SLOTS),
            baseline: before.map(|before| {
                (
                    before,
                    red::overview(&self.follower.table, before, 1).services,
                )
            }),
            partial: false,
            head,
            pinned,
        }))
    }

    /// A case too big to be read before anything is shown: its newest part first.
    fn big_overview(
        &mut self,
        mut head: Head,
        asked: Window,
        baseline: Option<Window>,
        tell: &mut dyn FnMut(Found),
    ) -> Result<Found, CliError> {
        let case = &self.reading.case;
        head.window = case.window()?;
        let pinned = pins::list(&self.reading.path)?;
        let seen = within(asked, head.window);
        let length = seen.until.0.saturating_sub(seen.from.0);
        // As much of the end as holds so many spans, if they come evenly.
        let share = (AT_ONCE / 4) as f64 / head.spans.max(1) as f64;
        let newest = Window {
            from: seen.until.saturating_sub((length as f64 * share) as u64),
            until: seen.until,
        };
        let found = |table: &SpanTable, window: Window, before: Option<Window>, partial: bool| {
            Found::Overview(OverviewFound {
                head: head.clone(),
                overview: red::overview(table, window, SLOTS),
                baseline: before.map(|before| (before, red::overview(table, before, 1).services)),
                partial,
                pinned: pinned.clone(),
            })
        };
        tell(found(&case.skeleton(newest)?, newest, None, true));
        let before = baseline.or_else(|| better_time(seen, head.window));
        let both = Window {
            from: before.map_or(seen.from, |before| before.from.min(seen.from)),
            until: before.map_or(seen.until, |before| before.until.max(seen.until)),
        };
        let table = case.skeleton(both)?;
        let answer = found(&table, seen, before, false);
        drop(table);
        if head.spans <= KEPT as u64 {
            self.follower.look(&self.reading.case)?;
        }
        Ok(answer)
    }

    fn traces(&mut self, filter: &str) -> Result<Found, CliError> {
        let parsed = SpanFilter::parse(filter)?;
        if !parsed.services().is_empty() {
            self.reading.check_services(&parsed.services())?;
        }
        let (rows, left_out) = newest_traces(&self.reading, &parsed, Some(LISTED))?;
        let first = rows.iter().map(|row| row.start).min();
        let last = rows.iter().map(|row| row.start).max();
        let window = first.zip(last).map(|(from, last)| Window {
            from,
            until: last.saturating_add(1),
        });
        Ok(Found::Traces {
            rows,
            left_out,
            window,
        })
    }

    fn logs(
        &mut self,
        filter: &str,
        asked: Window,
        baseline: Option<Window>,
    ) -> Result<Found, CliError> {
        let parsed = LogFilter::parse(filter)?;
        if !parsed.services().is_empty() {
            self.reading.check_services(&parsed.services())?;
        }
        let case = &self.reading.case;
        let known = match self.follower.window() {
            Some(window) => Some(window),
            None => case.window()?,
        };
        let seen = within(asked, known);
        let before = baseline.or_else(|| better_time(seen, known));
        let mut gather = patterns::Gather::new(seen, before, SLOTS);
        let mut newest = Newest::new(Some(RECORDS));
        let read = Window {
            from: before.map_or(seen.from, |before| before.from.min(seen.from)),
            until: before.map_or(seen.until, |before| before.until.max(seen.until)),
        };
        case.logs(read, &mut |log| {
            if parsed.matches(&log) {
                gather.take(&log);
                if seen.contains(log.at()) {
                    newest.offer(log.at(), log);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(Found::Logs(LogsFound {
            left_out: newest.left_out(),
            records: newest.into_rows().iter().map(LogItem::of).collect(),
            patterns: gather.settle(),
        }))
    }

    fn sheet(&mut self, subject: Subject, window: Window) -> Result<Found, CliError> {
        let case = &self.reading.case;
        let content = match subject {
            Subject::Map => {
                let gather = views::map(case, window, &SpanFilter::parse("")?)?;
                Content::Map(gather.settle(SLOTS).into())
            }
            Subject::Registry => Content::Registry(views::roster(case, window)?.into()),
            Subject::Sagas => Content::Sagas(
                views::sagas(case, window, false, crate::models::of_case(case.path())?)?.into(),
            ),
        };
        Ok(Found::Sheet(content))
    }

    /// The spans of a trace that had begun by the end of the window: in a replay the rest is not known yet.
    fn spans_of(&self, id: TraceId, window: Window) -> Result<Vec<Span>, CaseError> {
        let mut spans = self.reading.case.trace(id)?;
        if window.until != Nanos::MAX {
            spans.retain(|span| span.start < window.until);
        }
        Ok(spans)
    }

    fn trace(&mut self, id: TraceId, skew: bool, window: Window) -> Result<Found, CliError> {
        let spans = self.spans_of(id, window)?;
        let clocks = match (skew, spans.iter().map(|span| span.start).min()) {
            (true, Some(begun)) => {
                let ended = spans.iter().map(|span| span.end).max().unwrap_or(begun);
                let near = Window {
                    from: begun.saturating_sub(NEAR),
                    until: ended.saturating_add(NEAR),
                };
                let mut observations = Observations::default();
                self.reading.case.spans(near, &mut |span| {
                    observations.take(&span);
                    ControlFlow::Continue(())
                })?;
                Some(observations.settle())
            }
            _ => None,
        };
        let spans = match &clocks {
            Some(clocks) => on_one_clock(spans, clocks),
            None => spans,
        };
        Ok(Found::Trace {
            id,
            skew,
            loaded: Loaded {
                waterfall: Waterfall::new(spans),
                clocks,
            },
        })
    }

    fn near(&mut self, id: TraceId, window: Window) -> Result<Found, CliError> {
        let spans = self.spans_of(id, window)?;
        let logs = logs_of(&self.reading.case, id, &spans)?;
        self.reading.now = self
            .reading
            .case
            .window()?
            .map_or(Nanos(0), |known| known.until);
        let around = views::around_trace(&self.reading, &spans, views::AroundTrace::default())?;
        Ok(Found::Near {
            id,
            near: Near {
                logs,
                gaps: around.gaps,
                settled: Some(around.settled),
            },
        })
    }

    fn pin(&mut self, id: TraceId, on: bool) -> Result<Found, CliError> {
        let path = &self.reading.path;
        let said = if on {
            pins::pin(path, id)?;
            "pinned: retention keeps this trace; p lets it go"
        } else {
            pins::unpin(path, id)?;
            "no longer pinned"
        };
        Ok(Found::Pins(pins::list(path)?, said.to_owned()))
    }
}

/// The part of what is asked for in which something is known.
fn within(asked: Window, known: Option<Window>) -> Window {
    let known = known.unwrap_or_default();
    let from = asked.from.max(known.from);
    Window {
        from,
        until: asked.until.min(known.until).max(from),
    }
}

/// What to compare with if nobody says: what came before, or else the first quarter.
fn better_time(seen: Window, known: Option<Window>) -> Option<Window> {
    let known = known?;
    if seen.from > known.from {
        return Some(Window {
            from: known.from,
            until: seen.from,
        });
    }
    let length = seen.until.0.saturating_sub(seen.from.0);
    (length >= LONG_ENOUGH).then(|| Window {
        from: seen.from,
        until: seen.from.saturating_add(length / 4),
    })
}
