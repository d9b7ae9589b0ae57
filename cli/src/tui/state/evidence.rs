//! From a finding to where its evidence lies.

use analyzers::reference::Reference;

use super::findings::Part;
use super::sheets::{SheetView, Subject};
use super::trace::{LogMode, TraceView};
use super::{Screen, State, quoted_if_needed};

impl State {
    pub(super) fn open_finding(&mut self) {
        let Some(report) = self.report.clone() else {
            return;
        };
        let Some(Screen::Findings(view)) = self.screen_mut() else {
            return;
        };
        if view.opened.is_none() {
            if view.selected < report.findings().len() {
                view.opened = Some(Vec::new());
                view.part = 0;
            }
            return;
        }
        match view.parts(&report).get(view.part) {
            Some(Part::Consequence(steps)) => {
                view.opened = Some(steps.clone());
                view.part = 0;
            }
            Some(Part::Trace(id)) => {
                let id = *id;
                self.open_trace(TraceView::of(id));
            }
            Some(Part::Evidence(reference)) => {
                let reference = reference.clone();
                // A registry event is about an instance: the one that the finding is about first.
                let about = view
                    .finding(&report)
                    .and_then(|finding| finding.subjects.first())
                    .map(|subject| subject.instance.clone())
                    .filter(|instance| !instance.is_empty());
                match (&reference, about) {
                    (Reference::RegistryEvent { .. }, Some(instance)) => {
                        self.show_sheet(SheetView::at(Subject::Registry, &instance));
                        self.say(reference.command());
                    }
                    _ => self.open_reference(&reference),
                }
            }
            None => {}
        }
    }

    /// Opens what a piece of evidence points at.
    pub fn open_reference(&mut self, reference: &Reference) {
        match reference {
            Reference::Trace { trace_id } => self.open_trace(TraceView::of(*trace_id)),
            Reference::Span { trace_id, span_id } => {
                self.open_trace(TraceView::at(*trace_id, *span_id));
            }
            Reference::TraceLogs { trace_id } => {
                let mut view = TraceView::of(*trace_id);
                view.logs = LogMode::Trace;
                self.open_trace(view);
            }
            Reference::Traces {
                window,
                service,
                to,
                errors,
            } => {
                let mut terms = Vec::new();
                terms.extend(
                    service
                        .as_ref()
                        .map(|name| format!("service:{}", quoted_if_needed(name))),
                );
                if let Some((host, port)) = to.as_deref().and_then(|to| to.rsplit_once(':')) {
                    terms.push(format!("attr.server.address:{}", case::filter::quote(host)));
                    terms.push(format!("attr.server.port:{}", case::filter::quote(port)));
                }
                if *errors {
                    terms.push("status:error".to_owned());
                }
                self.show_traces(terms.join(" "), Some(*window));
            }
            Reference::Logs {
                window,
                service,
                filter,
            } => {
                let mut terms = Vec::new();
                terms.extend(
                    service
                        .as_ref()
                        .map(|name| format!("service:{}", quoted_if_needed(name))),
                );
                terms.extend(filter.as_ref().map(|filter| {
                    if filter.contains(" OR ") {
                        format!("({filter})")
                    } else {
                        filter.clone()
                    }
                }));
                self.show_logs(terms.join(" "), Some(*window));
            }
            Reference::Instance { instance } => {
                self.show_sheet(SheetView::at(Subject::Registry, instance));
            }
            Reference::RegistryEvent { seq } => {
                self.show_sheet(SheetView::of(Subject::Registry));
                self.say(format!(
                    "event {seq}: `{}` shows it whole",
                    reference.command()
                ));
            }
            Reference::Saga { saga_id } => self.show_sheet(SheetView::at(Subject::Sagas, saga_id)),
            Reference::Order { order_id } => {
                self.show_sheet(SheetView::at(Subject::Sagas, order_id))
            }
            Reference::Metric { .. } => {
                self.say(format!(
                    "metrics have no view; `{}` shows them",
                    reference.command()
                ));
            }
        }
    }
}
