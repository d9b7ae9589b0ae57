//! Opening what is selected: each screen leads to the next one.

use super::trace::TraceView;
use super::{Action, Request, Screen, State, quoted_if_needed};

impl State {
    pub(super) fn open(&mut self) {
        if self.moment.brush.is_some() {
            return self.apply_time(Action::Brush);
        }
        match self.trail.last_mut() {
            Some(Screen::Overview { selected }) => {
                let selected = *selected;
                let service = self
                    .overview
                    .as_ref()
                    .and_then(|overview| overview.services.get(selected));
                if let Some(service) = service {
                    let filter = format!("service:{}", quoted_if_needed(&service.name));
                    self.show_traces(filter, None);
                }
            }
            Some(Screen::Traces(view)) => {
                if let Some(row) = view.selected_row() {
                    let id = row.id;
                    self.open_trace(TraceView::of(id));
                }
            }
            Some(Screen::Sheet(view)) => {
                if !view.open()
                    && let Some(id) = view.trace()
                {
                    self.open_trace(TraceView::of(id));
                }
            }
            Some(Screen::Trace(view)) => {
                if let Some(id) = view.linked_trace() {
                    self.open_trace(TraceView::of(id));
                } else {
                    view.fold_selected();
                }
            }
            Some(Screen::Logs(view)) => {
                if view.patterns {
                    let (filter, window) = (view.like_selected(false), view.window);
                    view.patterns = false;
                    if let Some(filter) = filter {
                        self.show_logs(filter, window);
                        if let Some(Screen::Logs(view)) = self.screen_mut() {
                            view.patterns = false;
                        }
                    }
                } else if let Some((trace, span)) = view.selected_trace() {
                    self.open_trace(TraceView::at(trace, span));
                } else {
                    self.say("this record names no trace");
                }
            }
            Some(Screen::Compare(view)) => {
                let id = view.side().id;
                self.open_trace(TraceView::of(id));
            }
            Some(Screen::Findings(_)) => self.open_finding(),
            Some(Screen::Playbooks(view)) => {
                if let Some(book) = view.open()
                    && let Some(report) = self.report.clone()
                {
                    self.ask(Request::Walk { book, report });
                }
            }
            Some(Screen::Faults(view)) => {
                if let Some(line) = view.selected_line() {
                    let request = match &line.active {
                        Some(id) => Request::StopFault { id: id.clone() },
                        None => Request::StartFault {
                            kind: line.kind.clone(),
                            target: line.target.clone(),
                        },
                    };
                    self.ask(request);
                }
            }
            Some(Screen::Notes { selected }) => {
                let selected = *selected;
                if let Some(id) = self.kept().get(selected).and_then(|kept| kept.trace) {
                    self.open_trace(TraceView::of(id));
                }
            }
            None => {}
        }
    }
}
