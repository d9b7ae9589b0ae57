//! One trace as a waterfall: a line for each span, its time as a bar, the critical path thick.

use std::sync::Arc;

use analyzers::tree::{Defect, Placed, Segment, Tree};
use case::Nanos;
use case::model::{LogRecord, Span, SpanKind, StatusCode};
use case::time::human_duration;

use super::names;
use crate::output::width::{columns, fit, left, right};
use crate::output::{Line, Tone, count};

/// Deeper levels are drawn at this depth, with their depth as a number.
const DEEPEST_DRAWN: usize = 12;
/// Logs under a waterfall; the rest is counted.
const LOGS_SHOWN: usize = 40;

/// A trace ready to be drawn.
pub struct Waterfall {
    spans: Arc<[Span]>,
    tree: Tree,
    lines: Vec<Placed>,
    self_times: Vec<u64>,
    /// Each span's own stretches of the critical path.
    critical: Vec<Vec<Segment>>,
    /// Whether a span or anything beneath it is on the critical path.
    on_path: Vec<bool>,
    from: Nanos,
    until: Nanos,
}

/// How the columns share the width.
struct Layout {
    service: usize,
    operation: usize,
    bar: usize,
}

/// Columns of the two figures on the right.
const FIGURE: usize = 8;
/// Columns of the mark and code between operation and bar.
const MARK: usize = 6;
const NARROWEST_BAR: usize = 8;

impl Layout {
    fn of(width: usize) -> Layout {
        let width = width.max(60);
        let service = (width / 5).clamp(14, 28);
        let fixed = service + 1 + 1 + MARK + 1 + 2 * (FIGURE + 1);
        let operation = (width * 3 / 10)
            .clamp(12, 44)
            .min(width - fixed - NARROWEST_BAR);
        Layout {
            service,
            operation,
            bar: width - fixed - operation,
        }
    }
}

impl Waterfall {
    pub fn new(spans: impl Into<Arc<[Span]>>) -> Waterfall {
        Waterfall::repaired(spans, &[])
    }

    /// The same with edges that are inferred: child, parent and confidence, as places in `spans`.
    pub fn repaired(spans: impl Into<Arc<[Span]>>, edges: &[(usize, usize, f64)]) -> Waterfall {
        let spans: Arc<[Span]> = spans.into();
        let mut tree = Tree::build(&spans);
        for (child, parent, confidence) in edges {
            tree.attach(&spans, *child, *parent, *confidence);
        }
        let lines = tree.lines();
        let mut critical = vec![Vec::new(); spans.len()];
        let mut on_path = vec![false; spans.len()];
        for &root in tree.roots() {
            for segment in tree.critical_path(&spans, root) {
                critical[segment.span].push(segment);
                let mut at = Some(segment.span);
                while let Some(span) = at.filter(|span| !on_path[*span]) {
                    on_path[span] = true;
                    at = tree.node(span).parent;
                }
            }
        }
        let from = spans
            .iter()
            .map(|span| span.start)
            .min()
            .unwrap_or_default();
        let until = spans
            .iter()
            .map(|span| span.end.max(span.start))
            .max()
            .unwrap_or_default();
        Waterfall {
            self_times: tree.self_times(&spans),
            spans,
            lines,
            critical,
            on_path,
            from,
            until,
            tree,
        }
    }

    /// The spans in the order they are drawn.
    pub fn placed(&self) -> &[Placed] {
        &self.lines
    }

    pub fn span(&self, span: usize) -> &Span {
        &self.spans[span]
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn self_time(&self, span: usize) -> u64 {
        self.self_times[span]
    }

    /// Time the trace waited for the span itself.
    pub fn critical_time(&self, span: usize) -> u64 {
        self.critical[span]
            .iter()
            .map(|s| s.until.0 - s.from.0)
            .sum()
    }

    /// The span's own stretches of the critical path.
    pub fn critical_path_of(&self, span: usize) -> impl Iterator<Item = Segment> {
        self.critical[span].iter().copied()
    }

    /// Whether a span, or anything beneath it, is on the critical path.
    pub fn is_on_path(&self, span: usize) -> bool {
        self.on_path[span]
    }

    /// When the trace begins.
    pub fn from(&self) -> Nanos {
        self.from
    }

    pub fn duration(&self) -> u64 {
        self.until.0 - self.from.0
    }

    pub fn services(&self) -> usize {
        let mut names: Vec<&str> = self.spans.iter().map(Span::service).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    /// What the trace is, in one line.
    pub fn title(&self, width: usize) -> Line {
        let Some(first) = self.tree.roots().first().map(|root| &self.spans[*root]) else {
            return Line::plain("a trace without spans");
        };
        let failed = first.status == StatusCode::Error;
        let mut line = Line::new()
            .with(Tone::Dim, "trace ")
            .with(Tone::Strong, first.trace_id.to_string());
        line.push(Tone::Plain, format!("  {}", first.name));
        if let Some(code) = names::status_code(&first.attributes) {
            line.push(
                if failed { Tone::Bad } else { Tone::Plain },
                format!("  {code}"),
            );
        } else if failed {
            line.push(Tone::Bad, "  ✗");
        }
        line.push(
            Tone::Strong,
            format!("  {}", human_duration(self.duration())),
        );
        line.push(
            Tone::Dim,
            format!(
                "   {} · {} · {}",
                count(self.spans.len() as u64, "span", "spans"),
                count(self.services() as u64, "service", "services"),
                self.from
            ),
        );
        line.fit(width)
    }

    /// How sure the edge to a span's parent is, if it is inferred.
    pub fn inferred(&self, span: usize) -> Option<f64> {
        self.tree.inferred(span)
    }

    /// The place of a span's parent.
    pub fn parent(&self, span: usize) -> Option<usize> {
        self.tree.node(span).parent
    }

    /// The header over the bars, with ticks in time since the trace began.
    pub fn header(&self, width: usize) -> Line {
        let layout = Layout::of(width);
        let mut ticks = String::new();
        let step = 10;
        for at in (0..layout.bar).step_by(step) {
            let nanos = (self.duration() as f64 * at as f64 / layout.bar as f64) as u64;
            let tick = if at == 0 {
                "0".to_owned()
            } else {
                human_duration(nanos)
            };
            if columns(&ticks) <= at && at + columns(&tick) <= layout.bar {
                ticks = left(&ticks, at);
                ticks.push_str(&tick);
            }
        }
        Line::new()
            .with(
                Tone::Dim,
                format!(
                    "{} {} {} {} {} {}",
                    left("service", layout.service),
                    left("operation", layout.operation),
                    " ".repeat(MARK),
                    left(&ticks, layout.bar),
                    right("time", FIGURE),
                    right("self", FIGURE),
                ),
            )
            .fit(width)
    }

    /// The line of one span.
    pub fn row(&self, placed: Placed, width: usize) -> Line {
        let layout = Layout::of(width);
        let span = &self.spans[placed.span];
        let failed = span.status == StatusCode::Error;
        let indent = " ".repeat(placed.depth.min(DEEPEST_DRAWN));
        let deep = if placed.depth > DEEPEST_DRAWN {
            format!("+{} ", placed.depth - DEEPEST_DRAWN)
        } else {
            String::new()
        };
        let service = format!("{indent}{deep}{}", names::service(span.service()));
        let mut line = Line::new();
        cell(&mut line, Tone::Plain, &service, layout.service);
        // An edge that is inferred is never drawn like one that is told.
        let guessed = self.inferred(placed.span).is_some();
        let name = |room: usize| match guessed {
            true => format!("≈ {}", names::operation(&span.name, room.saturating_sub(2))),
            false => names::operation(&span.name, room).to_string(),
        };
        let operation = match span.kind {
            SpanKind::Client | SpanKind::Producer => format!("→ {}", name(layout.operation - 2)),
            SpanKind::Consumer => format!("⇢ {}", name(layout.operation - 2)),
            _ => name(layout.operation).to_owned(),
        };
        line.push(Tone::Plain, " ");
        cell(&mut line, Tone::Plain, &operation, layout.operation);
        line.push(Tone::Plain, " ");
        self.mark(&mut line, placed.span);
        line.push(Tone::Plain, " ");
        let tone = if failed {
            Tone::Bad
        } else if self.on_path[placed.span] {
            Tone::Plain
        } else {
            Tone::Dim
        };
        line.push(tone, self.bar(placed.span, layout.bar));
        line.push(Tone::Plain, " ");
        line.push(Tone::Plain, right(&human_duration(span.duration()), FIGURE));
        line.push(Tone::Plain, " ");
        line.push(
            Tone::Dim,
            right(&human_duration(self.self_times[placed.span]), FIGURE),
        );
        line.fit(width)
    }

    fn mark(&self, line: &mut Line, span: usize) {
        let row = &self.spans[span];
        // A gRPC code in words has no room here; the note under the line and the JSON have it.
        let code = names::status_code(&row.attributes)
            .filter(|code| columns(code) < MARK)
            .unwrap_or_default();
        if row.status == StatusCode::Error {
            cell(line, Tone::Bad, &format!("✗{code}"), MARK);
        } else if self
            .tree
            .defects()
            .iter()
            .any(|defect| concerns(defect, span))
        {
            cell(line, Tone::Odd, "?", MARK);
        } else {
            cell(line, Tone::Dim, &code, MARK);
        }
    }

    fn bar(&self, span: usize, width: usize) -> String {
        let row = &self.spans[span];
        let total = self.duration().max(1) as f64;
        let place = |at: Nanos| (at.0.saturating_sub(self.from.0)) as f64 / total * width as f64;
        let (start, end) = (place(row.start), place(row.end.max(row.start)));
        let first = (start.floor() as usize).min(width - 1);
        let last = ((end.ceil() as usize).max(first + 1)).min(width);
        let mut out = " ".repeat(first);
        if end - start < 0.75 {
            out.push('▏');
        } else {
            let own: Vec<(f64, f64)> = self.critical[span]
                .iter()
                .map(|s| (place(s.from), place(s.until)))
                .collect();
            for cell in first..last {
                // The part of the cell that the span fills; its middle speaks for it.
                let middle = ((cell as f64).max(start) + (cell as f64 + 1.0).min(end)) / 2.0;
                out.push(
                    if own
                        .iter()
                        .any(|(from, until)| *from <= middle && middle < *until)
                    {
                        '█'
                    } else if self.on_path[span] {
                        '━'
                    } else {
                        '─'
                    },
                );
            }
        }
        left(&out, width)
    }

    /// What stands under a span's line: what the other side of a failed call left behind.
    pub fn notes(&self, placed: Placed) -> Option<Line> {
        let span = &self.spans[placed.span];
        let calls = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        if !calls
            || span.status != StatusCode::Error
            || !self.tree.node(placed.span).children.is_empty()
        {
            return None;
        }
        let callee = names::callee_address(span).unwrap_or_else(|| "the other side".to_owned());
        let mut why = Vec::new();
        why.extend(names::status_code(&span.attributes));
        why.extend(span.attributes.text("error.type").map(str::to_owned));
        if !span.status_message.is_empty() {
            why.push(span.status_message.clone());
        }
        why.dedup();
        let why = if why.is_empty() {
            String::new()
        } else {
            format!(": {}", why.join(", "))
        };
        let indent = " ".repeat(placed.depth.min(DEEPEST_DRAWN) + 2);
        Some(Line::new().with(
            Tone::Odd,
            format!("{indent}⌁ {callee} left no span here{why}"),
        ))
    }

    /// What the tree had to mend, one line each kind.
    pub fn defects(&self) -> Vec<Line> {
        let mut counts = [0u64; 5];
        for defect in self.tree.defects() {
            let kind = match defect {
                Defect::MissingParent { .. } => 0,
                Defect::Cycle { .. } => 1,
                Defect::Repeated { .. } => 2,
                Defect::SharedId { .. } => 3,
                Defect::EndsBeforeStart { .. } => 4,
            };
            counts[kind] += 1;
        }
        let texts = [
            "parent is not in the case (lost, not yet arrived, or sampled away)",
            "cut out of a circle of parents",
            "sent twice, drawn once",
            "id shared with a different span",
            "ends before it begins",
        ];
        counts
            .iter()
            .zip(texts)
            .filter(|(number, _)| **number > 0)
            .map(|(number, text)| {
                Line::new().with(
                    Tone::Odd,
                    format!("? {}: {text}", count(*number, "span", "spans")),
                )
            })
            .collect()
    }

    /// The whole of it.
    pub fn lines(&self, logs: &[LogRecord], width: usize) -> Vec<Line> {
        let mut out = vec![self.title(width), self.header(width)];
        for &placed in &self.lines {
            out.push(self.row(placed, width));
            out.extend(self.notes(placed).map(|line| line.fit(width)));
        }
        out.push(legend().fit(width));
        out.extend(self.defects().into_iter().map(|line| line.fit(width)));
        if !logs.is_empty() {
            out.push(Line::new().with(Tone::Dim, "logs of this trace"));
            out.extend(
                logs.iter()
                    .take(LOGS_SHOWN)
                    .map(|log| log_line(log, false).fit(width)),
            );
            if logs.len() > LOGS_SHOWN {
                let more = count(
                    (logs.len() - LOGS_SHOWN) as u64,
                    "more record",
                    "more records",
                );
                out.push(Line::new().with(
                    Tone::Dim,
                    format!("… {more}: casefile logs 'trace:{}'", logs[0].trace_id),
                ));
            }
        }
        out
    }
}

/// What the bars are made of.
pub fn legend() -> Line {
    Line::new().with(
        Tone::Dim,
        "━ on the critical path   █ what the trace waited for   ─ beside it",
    )
}

fn cell(line: &mut Line, tone: Tone, text: &str, width: usize) {
    // Made harmless before it is measured, or escapes would make the cell wider than it was counted.
    let clean = crate::output::sanitise::clean(names::brief(text));
    line.push(tone, left(&fit(&clean, width), width));
}

fn concerns(defect: &Defect, of: usize) -> bool {
    match *defect {
        Defect::MissingParent { span, .. }
        | Defect::Cycle { span }
        | Defect::Repeated { span, .. }
        | Defect::SharedId { span, .. }
        | Defect::EndsBeforeStart { span } => span == of,
    }
}

/// A log record on one line. With `dated`, its full time, else the time of day.
pub fn log_line(log: &LogRecord, dated: bool) -> Line {
    let at = log.at();
    let mut line = Line::new().with(Tone::Dim, if dated { at.to_string() } else { at.clock() });
    let severity = if log.severity_text.is_empty() && log.severity_number > 0 {
        let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
        let range = usize::try_from((log.severity_number - 1) / 4).unwrap_or(0);
        names.get(range).copied().unwrap_or("").to_owned()
    } else {
        log.severity_text.to_uppercase()
    };
    let tone = match log.severity_number {
        17.. => Tone::Bad,
        13..=16 => Tone::Odd,
        _ => Tone::Plain,
    };
    line.push(Tone::Plain, "  ");
    cell(&mut line, tone, &severity, 5);
    line.push(
        Tone::Plain,
        format!("  {}  ", names::service(log.origin.resource.service())),
    );
    line.push(Tone::Plain, log.body.to_string());
    if !log.event_name.is_empty() && log.body == case::model::Value::Empty {
        line.push(Tone::Plain, &log.event_name);
    }
    for (key, value) in log.attributes.iter() {
        line.push(Tone::Dim, format!("  {key}="));
        line.push(Tone::Plain, value.to_string());
    }
    line
}

#[cfg(test)]
mod tests;
