//! Findings: the list of them, one of them whole, and what of it can be opened.

use analyzers::engine::{Finding, Report};
use analyzers::reference::Reference;

use super::Action;

/// A part of an opened finding that can be selected.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Where evidence lies.
    Evidence(Reference),
    /// A trace it was seen in.
    Trace(case::TraceId),
    /// What follows from it: the steps to it, from consequence to consequence.
    Consequence(Vec<usize>),
}

/// The view.
#[derive(Debug, Clone, Default)]
pub struct FindingsView {
    /// Which of the list.
    pub selected: usize,
    /// Which consequence of which consequence … is opened; `None` while the list is seen.
    pub opened: Option<Vec<usize>>,
    /// Which part of the opened one.
    pub part: usize,
    pub unfolded: bool,
    pub why: bool,
}

/// Traces listed under an opened finding.
const TRACES: usize = 20;

impl FindingsView {
    /// The number of what is selected.
    pub fn at(&self) -> usize {
        if self.opened.is_some() {
            self.part
        } else {
            self.selected
        }
    }

    /// The finding that is opened, or else the one selected.
    pub fn finding<'a>(&self, report: &'a Report) -> Option<&'a Finding> {
        let mut finding = *report.findings().get(self.selected)?;
        for step in self.opened.iter().flatten() {
            finding = finding.consequences.get(*step)?;
        }
        Some(finding)
    }

    /// What of the opened finding can be selected, in the order it is drawn.
    pub fn parts(&self, report: &Report) -> Vec<Part> {
        let (Some(steps), Some(finding)) = (&self.opened, self.finding(report)) else {
            return Vec::new();
        };
        let mut out: Vec<Part> = finding
            .evidence
            .iter()
            .filter_map(|seen| seen.reference.clone())
            .map(Part::Evidence)
            .collect();
        out.extend(finding.traces.iter().take(TRACES).copied().map(Part::Trace));
        if self.unfolded {
            out.extend((0..finding.consequences.len()).map(|next| {
                let mut steps = steps.clone();
                steps.push(next);
                Part::Consequence(steps)
            }));
        }
        out
    }

    pub fn move_by(&mut self, rows: isize, report: Option<&Report>) {
        let Some(report) = report else { return };
        let within =
            |at: usize, len: usize| at.saturating_add_signed(rows).min(len.saturating_sub(1));
        if self.opened.is_some() {
            self.part = within(self.part, self.parts(report).len());
        } else {
            self.selected = within(self.selected, report.findings().len());
        }
    }

    /// Closes what is opened; false if nothing was.
    pub fn close(&mut self) -> bool {
        if self.why {
            self.why = false;
            return true;
        }
        match &mut self.opened {
            Some(steps) if steps.is_empty() => self.opened = None,
            Some(steps) => {
                steps.pop();
            }
            None => return false,
        }
        self.part = 0;
        true
    }

    pub(super) fn apply(&mut self, action: Action, report: Option<&Report>) {
        match action {
            Action::Why => self.why = !self.why,
            Action::Unfold => {
                if self.opened.is_none() {
                    self.opened = Some(Vec::new());
                    self.unfolded = true;
                } else {
                    self.unfolded = !self.unfolded;
                }
                self.part = 0;
                self.move_by(0, report);
            }
            _ => {}
        }
    }
}
