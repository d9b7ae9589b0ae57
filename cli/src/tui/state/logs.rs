//! Log records and their patterns: which are seen, which is selected, and filters made from it.

use analyzers::patterns::{self, Patterns};
use case::model::LogRecord;
use case::{Nanos, SpanId, TraceId, Window};

use super::{Action, quoted_if_needed};
use crate::output::{Line, width};
use crate::render::waterfall::log_line;

/// Longest part of a record that is kept for the list; its trace has the rest.
const LONGEST: usize = 600;

/// A record as it is listed.
pub struct LogItem {
    pub at: Nanos,
    pub trace: TraceId,
    pub span: SpanId,
    pub service: String,
    pub pattern: String,
    pub line: Line,
}

impl LogItem {
    pub fn of(log: &LogRecord) -> LogItem {
        let message = patterns::message(log);
        LogItem {
            at: log.at(),
            trace: log.trace_id,
            span: log.span_id,
            service: log.origin.resource.service().to_owned(),
            pattern: patterns::pattern(&message),
            line: bounded(log_line(&shortened(log), false)),
        }
    }
}

/// A record whose message is no longer than what is shown, so that megabytes are not made harmless for nothing.
fn shortened(log: &LogRecord) -> std::borrow::Cow<'_, LogRecord> {
    use case::model::Value;
    match &log.body {
        Value::Text(text) if text.len() > 4 * LONGEST => {
            let cut: String = text.chars().take(LONGEST).collect();
            let mut log = log.clone();
            log.body = Value::Text(format!("{cut}…"));
            std::borrow::Cow::Owned(log)
        }
        _ => std::borrow::Cow::Borrowed(log),
    }
}

fn bounded(line: Line) -> Line {
    if line.columns() > LONGEST {
        line.fit(LONGEST)
    } else {
        line
    }
}

/// What was found for the view.
#[derive(Default)]
pub struct LogsFound {
    /// The newest, oldest of them first.
    pub records: Vec<LogItem>,
    pub left_out: u64,
    pub patterns: Patterns,
}

/// The view. Without content, it is still being read.
pub struct LogsView {
    pub filter: String,
    /// A stretch of time of its own, as evidence has.
    pub window: Option<Window>,
    pub found: Option<LogsFound>,
    pub selected: usize,
    pub patterns: bool,
    /// Whether the newest record stays selected as more come.
    pub follow: bool,
    pub asked: u64,
}

impl LogsView {
    pub fn of(filter: String, window: Option<Window>) -> LogsView {
        LogsView {
            filter,
            window,
            found: None,
            selected: usize::MAX,
            patterns: false,
            follow: true,
            asked: 0,
        }
    }

    pub fn rows(&self) -> usize {
        match &self.found {
            None => 0,
            Some(found) if self.patterns => found.patterns.patterns.len(),
            Some(found) => found.records.len(),
        }
    }

    pub fn move_by(&mut self, rows: isize) {
        let last = self.rows().saturating_sub(1);
        self.selected = self
            .selected
            .min(last)
            .saturating_add_signed(rows)
            .min(last);
        if rows != 0 && !self.patterns {
            self.follow = self.selected == last;
        }
    }

    pub fn take(&mut self, found: LogsFound) {
        // What was selected stays so, though more has come behind it.
        let kept = self
            .found
            .as_ref()
            .and_then(|old| old.records.get(self.selected))
            .map(|item| (item.at, item.span, item.pattern.clone()));
        self.found = Some(found);
        let last = self.rows().saturating_sub(1);
        if self.patterns {
            self.selected = if self.selected == usize::MAX {
                0
            } else {
                self.selected.min(last)
            };
            return;
        }
        if self.follow {
            self.selected = last;
        } else if let (Some((at, span, pattern)), Some(found)) = (kept, &self.found) {
            let same =
                |item: &LogItem| item.at == at && item.span == span && item.pattern == pattern;
            if let Some(place) = found.records.iter().position(same) {
                self.selected = place;
            }
        }
        self.selected = self.selected.min(last);
    }

    pub(super) fn apply(&mut self, action: Action) {
        match action {
            Action::Follow => {
                self.follow = !self.follow;
                if self.follow && !self.patterns {
                    self.selected = self.rows().saturating_sub(1);
                }
            }
            Action::Patterns => {
                self.patterns = !self.patterns;
                self.selected = if self.patterns {
                    0
                } else {
                    self.rows().saturating_sub(1)
                };
            }
            _ => {}
        }
    }

    /// The filter that only lets through, or keeps out, what is like the selected row.
    pub(super) fn like_selected(&self, out: bool) -> Option<String> {
        let found = self.found.as_ref()?;
        let pattern = if self.patterns {
            &found.patterns.patterns.get(self.selected)?.text
        } else {
            &found.records.get(self.selected)?.pattern
        };
        // The pattern's holes are the filter's wildcards.
        let value = case::filter::quote(pattern).replace("\\*", "*");
        let term = format!("{}body:{value}", if out { "-" } else { "" });
        Some(if self.filter.is_empty() {
            term
        } else if self.filter.contains(" OR ") {
            format!("({}) {term}", self.filter)
        } else {
            format!("{} {term}", self.filter)
        })
    }

    pub(super) fn selected_trace(&self) -> Option<(TraceId, SpanId)> {
        let item = self.found.as_ref()?.records.get(self.selected)?;
        item.trace.is_some().then_some((item.trace, item.span))
    }

    /// What says where a record comes from, for the bar under the list.
    pub fn selected_service_filter(&self) -> Option<String> {
        let item = self.found.as_ref()?.records.get(self.selected)?;
        Some(format!("service:{}", quoted_if_needed(&item.service)))
    }

    pub fn text(&self, row: usize) -> String {
        let Some(found) = &self.found else {
            return String::new();
        };
        if self.patterns {
            return found
                .patterns
                .patterns
                .get(row)
                .map(|pattern| pattern.text.clone())
                .unwrap_or_default();
        }
        found
            .records
            .get(row)
            .map(|item| width::fit(&item.line.text(), LONGEST))
            .unwrap_or_default()
    }
}
