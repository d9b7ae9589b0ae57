//! What a person keeps of an investigation: findings acknowledged, notes, pins; and the id that is copied.

use std::collections::BTreeSet;

use case::TraceId;
use serde::{Deserialize, Serialize};

use super::{Effect, Screen, State};
use crate::render::report::forms::fingerprint;
use crate::tui::work::Request;

/// What stands in the case beside its signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notebook {
    /// Findings that are known, by what they are recognised by.
    pub acknowledged: BTreeSet<String>,
    pub notes: Vec<Note>,
}

/// A line somebody wrote, and what it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    pub about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    pub text: String,
}

/// A line of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub kind: &'static str,
    pub about: String,
    pub text: String,
    pub trace: Option<TraceId>,
}

impl State {
    /// Everything kept, notes first.
    pub fn kept(&self) -> Vec<Kept> {
        let mut out: Vec<Kept> = self
            .notebook
            .notes
            .iter()
            .map(|note| Kept {
                kind: "note",
                about: note.about.clone(),
                text: note.text.clone(),
                trace: note.trace,
            })
            .collect();
        out.extend(self.pinned.iter().map(|id| Kept {
            kind: "pin",
            about: "trace".to_owned(),
            text: id.to_string(),
            trace: Some(*id),
        }));
        out.extend(self.notebook.acknowledged.iter().map(|print| Kept {
            kind: "acknowledged",
            about: "finding".to_owned(),
            text: print.clone(),
            trace: None,
        }));
        out
    }

    pub fn is_acknowledged(&self, finding: &analyzers::engine::Finding) -> bool {
        self.notebook.acknowledged.contains(&fingerprint(finding))
    }

    pub(super) fn acknowledge(&mut self) {
        let (Screen::Findings(view), Some(report)) = (self.screen(), &self.report) else {
            return;
        };
        let Some(print) = view.finding(report).map(fingerprint) else {
            return;
        };
        if self.notebook.acknowledged.remove(&print) {
            self.say("no longer acknowledged");
        } else {
            self.notebook.acknowledged.insert(print);
            self.say("acknowledged; a again takes it back");
        }
        self.keep();
    }

    pub(super) fn write_note(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return self.say("a note says something");
        }
        let note = Note {
            about: self.subject(),
            trace: self.selected_trace(),
            text: text.to_owned(),
        };
        self.notebook.notes.push(note);
        self.say("noted; A lists what is kept");
        self.keep();
    }

    fn keep(&mut self) {
        let notebook = self.notebook.clone();
        self.ask(Request::Keep { notebook });
    }

    pub(super) fn pin(&mut self) {
        let Some(id) = self.selected_trace() else {
            return;
        };
        let on = !self.pinned.contains(&id);
        self.ask(Request::Pin { id, on });
    }

    fn selected_trace(&self) -> Option<TraceId> {
        match self.screen() {
            Screen::Trace(view) => Some(view.id),
            Screen::Traces(view) => view.selected_row().map(|row| row.id),
            Screen::Logs(view) => view.selected_trace().map(|(id, _)| id),
            Screen::Sheet(view) => view.trace(),
            Screen::Compare(view) => Some(view.side().id),
            _ => None,
        }
    }

    /// What is selected, in a few words.
    fn subject(&self) -> String {
        let place = self.screen().title();
        match self.selected_id() {
            Some(id) => format!("{place} {id}"),
            None => place.to_owned(),
        }
    }

    /// The id of what is selected.
    pub fn selected_id(&self) -> Option<String> {
        match self.screen() {
            Screen::Overview { selected } => self
                .overview
                .as_ref()
                .and_then(|overview| overview.services.get(*selected))
                .map(|service| service.name.clone()),
            Screen::Trace(view) => {
                let loaded = view.loaded.as_ref()?;
                let span = view.selected_span()?;
                let span = loaded
                    .waterfall
                    .span(loaded.waterfall.placed().get(span)?.span);
                // A trace is known by its id; further down, spans are what is meant.
                Some(if view.selected == 0 {
                    view.id.to_string()
                } else {
                    format!("{}:{}", view.id, span.span_id)
                })
            }
            Screen::Sheet(view) => view.id(view.selected),
            Screen::Findings(view) => {
                let report = self.report.as_ref()?;
                let finding = view.finding(report)?;
                let evidence = view.parts(report).into_iter().nth(view.part);
                match evidence {
                    Some(super::Part::Evidence(reference)) => Some(reference.command()),
                    Some(super::Part::Trace(id)) => Some(id.to_string()),
                    _ => Some(fingerprint(finding)),
                }
            }
            Screen::Playbooks(view) => view.lines.get(view.selected).map(|line| line.id.clone()),
            Screen::Faults(view) => view.selected_line().map(|line| line.kind.clone()),
            Screen::Notes { selected } => self.kept().get(*selected).map(|kept| kept.text.clone()),
            _ => self.selected_trace().map(|id| id.to_string()),
        }
    }

    pub(super) fn copy(&mut self) {
        match self.selected_id() {
            Some(id) => {
                self.say(format!("copied {id}"));
                self.effect(Effect::Copy(id));
            }
            None => self.say("nothing is selected"),
        }
    }
}
