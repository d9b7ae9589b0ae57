//! One trace: which of its lines are seen, and moving among them.

use std::collections::{BTreeSet, HashMap, HashSet};

use analyzers::gaps::Gap;
use analyzers::settled::Settled;
use analyzers::skew::Clocks;
use case::model::{LogRecord, StatusCode};
use case::{SpanId, TraceId};

use super::Action;
use crate::render::trace::Linked;
use crate::render::waterfall::Waterfall;
use crate::tui::work::Request;

/// A trace, ready to be drawn.
pub struct Loaded {
    pub waterfall: Waterfall,
    /// Clocks, if times are drawn as they would read on one.
    pub clocks: Option<Clocks>,
}

/// What was found near a trace.
#[derive(Debug, Clone, Default)]
pub struct Near {
    pub logs: Vec<LogRecord>,
    pub gaps: Vec<Gap>,
    pub settled: Option<Settled>,
}

/// The services a trace went through, and who called whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path {
    pub id: TraceId,
    pub services: BTreeSet<String>,
    pub calls: BTreeSet<(String, String)>,
}

/// Which logs are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogMode {
    #[default]
    None,
    /// Those of the selected span, in place of its attributes.
    Span,
    /// Those of the trace, each among the spans at its time.
    Trace,
}

/// A line of the trace. Numbers are places in what they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A line of the waterfall.
    Span(usize),
    Gap(usize),
    /// A record, and how deep it stands.
    Log(usize, usize),
    /// A link of a waterfall's line.
    Link(usize, usize),
    /// A trace that is linked to this one, or this one to it.
    Linked(usize),
}

/// Depth up to which all is seen when the rest is folded.
const SHALLOW: usize = 2;
/// A span is slow if the trace waited this share of its duration for it.
const SLOW: f64 = 0.05;

/// One trace. Without content, it is still being read.
pub struct TraceView {
    pub id: TraceId,
    pub loaded: Option<Loaded>,
    pub near: Option<Near>,
    pub linked: Vec<Linked>,
    pub rows: Vec<Row>,
    pub selected: usize,
    pub logs: LogMode,
    pub critical: bool,
    pub skew: bool,
    /// How far the lower part is scrolled.
    pub detail: usize,
    pub folded: HashSet<usize>,
    /// A span to go to once it is there.
    pub target: Option<SpanId>,
}

impl TraceView {
    pub fn of(id: TraceId) -> TraceView {
        TraceView {
            id,
            loaded: None,
            near: None,
            linked: Vec::new(),
            rows: Vec::new(),
            selected: 0,
            logs: LogMode::default(),
            critical: false,
            skew: false,
            detail: 0,
            folded: HashSet::new(),
            target: None,
        }
    }

    /// A trace with one of its spans to go to.
    pub fn at(id: TraceId, span: SpanId) -> TraceView {
        TraceView {
            target: span.is_some().then_some(span),
            ..TraceView::of(id)
        }
    }

    pub fn take(&mut self, loaded: Loaded) {
        self.loaded = Some(loaded);
        self.rebuild();
    }

    /// Works out anew which lines there are, keeping the selected one if it still is.
    pub fn rebuild(&mut self) {
        let kept = self.rows.get(self.selected).copied();
        self.rows = self.all_rows();
        let target = self.target.take_if(|_| self.loaded.is_some());
        let wanted = match (target, &self.loaded) {
            (Some(id), Some(loaded)) => {
                let placed = loaded.waterfall.placed();
                self.rows.iter().position(|row| match row {
                    Row::Span(at) => loaded.waterfall.span(placed[*at].span).span_id == id,
                    _ => false,
                })
            }
            _ => kept.and_then(|kept| self.rows.iter().position(|row| *row == kept)),
        };
        self.selected = wanted
            .unwrap_or(self.selected)
            .min(self.rows.len().saturating_sub(1));
    }

    fn all_rows(&self) -> Vec<Row> {
        let Some(loaded) = &self.loaded else {
            return Vec::new();
        };
        let waterfall = &loaded.waterfall;
        let mut gaps: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut logs: HashMap<SpanId, Vec<usize>> = HashMap::new();
        let mut stray: Vec<usize> = Vec::new();
        if let Some(near) = &self.near {
            for (at, gap) in near.gaps.iter().enumerate() {
                gaps.entry(gap.span).or_default().push(at);
            }
            if self.logs == LogMode::Trace {
                let known: HashSet<SpanId> = waterfall
                    .placed()
                    .iter()
                    .map(|placed| waterfall.span(placed.span).span_id)
                    .collect();
                for (at, log) in near.logs.iter().enumerate() {
                    if known.contains(&log.span_id) {
                        logs.entry(log.span_id).or_default().push(at);
                    } else {
                        stray.push(at);
                    }
                }
            }
        }
        let mut out = Vec::new();
        // Spans whose children are under way, each with those of its logs that are not placed yet.
        let mut open: Vec<(usize, std::vec::IntoIter<usize>)> = Vec::new();
        let close = |open: &mut Vec<(usize, std::vec::IntoIter<usize>)>,
                     depth: usize,
                     out: &mut Vec<Row>| {
            while open.last().is_some_and(|(at, _)| *at >= depth) {
                if let Some((depth, rest)) = open.pop() {
                    out.extend(rest.map(|log| Row::Log(log, depth + 1)));
                }
            }
        };
        let mut hidden: Option<usize> = None;
        for (at, placed) in waterfall.placed().iter().enumerate() {
            if hidden.is_some_and(|depth| placed.depth > depth) {
                continue;
            }
            hidden = None;
            if self.critical && !waterfall.is_on_path(placed.span) {
                continue;
            }
            close(&mut open, placed.depth, &mut out);
            let span = waterfall.span(placed.span);
            if let (Some((depth, rest)), Some(near)) = (open.last_mut(), &self.near) {
                while let Some(log) = rest.as_slice().first().copied() {
                    if near.logs[log].at() > span.start {
                        break;
                    }
                    rest.next();
                    out.push(Row::Log(log, *depth + 1));
                }
            }
            out.push(Row::Span(at));
            out.extend((0..span.links.len()).map(|link| Row::Link(at, link)));
            if let Some(gaps) = gaps.get(&placed.span) {
                out.extend(gaps.iter().map(|gap| Row::Gap(*gap)));
            }
            if self.folded.contains(&placed.span) {
                hidden = Some(placed.depth);
                continue;
            }
            let own = logs.remove(&span.span_id).unwrap_or_default();
            open.push((placed.depth, own.into_iter()));
        }
        close(&mut open, 0, &mut out);
        out.extend(stray.into_iter().map(|log| Row::Log(log, 0)));
        out.extend((0..self.linked.len()).map(Row::Linked));
        out
    }

    /// The span that the selected line is, or belongs to: its place in the waterfall.
    pub fn selected_span(&self) -> Option<usize> {
        self.rows
            .get(..=self.selected)?
            .iter()
            .rev()
            .find_map(|row| match row {
                Row::Span(at) => Some(*at),
                _ => None,
            })
    }

    pub fn move_by(&mut self, rows: isize) {
        self.detail = 0;
        self.selected = self
            .selected
            .saturating_add_signed(rows)
            .min(self.rows.len().saturating_sub(1));
    }

    /// The trace that the selected line leads to.
    pub fn linked_trace(&self) -> Option<TraceId> {
        match self.rows.get(self.selected)? {
            Row::Link(at, link) => {
                let loaded = self.loaded.as_ref()?;
                let span = loaded.waterfall.span(loaded.waterfall.placed()[*at].span);
                let id = span.links.get(*link)?.trace_id;
                (id != self.id).then_some(id)
            }
            Row::Linked(at) => self.linked.get(*at).map(|linked| linked.id),
            _ => None,
        }
    }

    pub fn fold_selected(&mut self) {
        let (Some(at), Some(loaded)) = (self.selected_span(), &self.loaded) else {
            return;
        };
        let span = loaded.waterfall.placed()[at].span;
        if !self.folded.remove(&span) {
            if loaded.waterfall.tree().node(span).children.is_empty() {
                return;
            }
            self.folded.insert(span);
        }
        self.rebuild();
    }

    fn fold_all(&mut self) {
        let Some(loaded) = &self.loaded else { return };
        if self.folded.is_empty() {
            let waterfall = &loaded.waterfall;
            self.folded = waterfall
                .placed()
                .iter()
                .filter(|placed| placed.depth == SHALLOW)
                .map(|placed| placed.span)
                .filter(|span| !waterfall.tree().node(*span).children.is_empty())
                .collect();
        } else {
            self.folded.clear();
        }
        self.rebuild();
    }

    /// Goes to the next line in a direction that is a span of which `wanted` holds.
    fn go_to(&mut self, forward: bool, wanted: impl Fn(&Waterfall, usize) -> bool) -> bool {
        let Some(loaded) = &self.loaded else {
            return false;
        };
        let placed = loaded.waterfall.placed();
        let meant = |row: &usize| match self.rows[*row] {
            Row::Span(at) => wanted(&loaded.waterfall, placed[at].span),
            _ => false,
        };
        let found = if forward {
            (self.selected + 1..self.rows.len()).find(meant)
        } else {
            (0..self.selected.min(self.rows.len())).rev().find(meant)
        };
        if let Some(row) = found {
            self.selected = row;
            self.detail = 0;
        }
        found.is_some()
    }

    pub(super) fn apply(&mut self, action: Action, asks: &mut Vec<Request>) -> Option<String> {
        let failed =
            |waterfall: &Waterfall, span: usize| waterfall.span(span).status == StatusCode::Error;
        let slow = |waterfall: &Waterfall, span: usize| {
            waterfall.critical_time(span) as f64 >= SLOW * waterfall.duration() as f64
        };
        let told = |found: bool, what: &str| (!found).then(|| what.to_owned());
        match action {
            Action::NextError => told(self.go_to(true, failed), "no failed span below"),
            Action::PreviousError => told(self.go_to(false, failed), "no failed span above"),
            Action::NextSlow => told(self.go_to(true, slow), "no slow span below"),
            Action::PreviousSlow => told(self.go_to(false, slow), "no slow span above"),
            Action::TraceLogs => {
                self.logs = match self.logs {
                    LogMode::None => LogMode::Span,
                    LogMode::Span => LogMode::Trace,
                    LogMode::Trace => LogMode::None,
                };
                self.rebuild();
                let said = match self.logs {
                    LogMode::None => "no logs",
                    LogMode::Span => "logs of the selected span",
                    LogMode::Trace => "logs of the trace among its spans",
                };
                Some(said.to_owned())
            }
            Action::Critical => {
                self.critical = !self.critical;
                self.rebuild();
                None
            }
            Action::Skew => {
                self.skew = !self.skew;
                let (id, skew) = (self.id, self.skew);
                asks.push(Request::Trace { id, skew });
                None
            }
            Action::Fold => {
                self.fold_selected();
                None
            }
            Action::FoldAll => {
                self.fold_all();
                None
            }
            Action::Detail => {
                self.detail += 4;
                None
            }
            _ => None,
        }
    }

    /// Who called whom in it.
    pub fn path(&self) -> Option<Path> {
        let waterfall = &self.loaded.as_ref()?.waterfall;
        let mut path = Path {
            id: self.id,
            ..Path::default()
        };
        for placed in waterfall.placed() {
            let service = waterfall.span(placed.span).service();
            path.services.insert(service.to_owned());
            if let Some(parent) = waterfall.tree().node(placed.span).parent {
                let caller = waterfall.span(parent).service();
                if caller != service {
                    path.calls.insert((caller.to_owned(), service.to_owned()));
                }
            }
        }
        Some(path)
    }

    /// The text of a line, to search in.
    pub fn text(&self, row: usize) -> String {
        let (Some(row), Some(loaded)) = (self.rows.get(row), &self.loaded) else {
            return String::new();
        };
        let waterfall = &loaded.waterfall;
        match *row {
            Row::Span(at) => {
                let span = waterfall.span(waterfall.placed()[at].span);
                let mut text = format!(
                    "{} {} {} {}",
                    span.service(),
                    span.name,
                    span.status_message,
                    span.span_id
                );
                for (key, value) in span.attributes.iter() {
                    text.push_str(&format!(" {key}={value}"));
                }
                text
            }
            Row::Log(at, _) => self
                .near
                .as_ref()
                .and_then(|near| near.logs.get(at))
                .map(|log| analyzers::patterns::message(log).into_owned())
                .unwrap_or_default(),
            Row::Gap(at) => self
                .near
                .as_ref()
                .and_then(|near| near.gaps.get(at))
                .map(|gap| format!("{} {} {}", gap.service, gap.instance, gap.address))
                .unwrap_or_default(),
            Row::Linked(at) => self
                .linked
                .get(at)
                .map(|linked| format!("{} {} {}", linked.id, linked.service, linked.name))
                .unwrap_or_default(),
            Row::Link(..) => String::new(),
        }
    }
}
