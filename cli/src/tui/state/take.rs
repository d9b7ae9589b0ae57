//! Answers coming in. Those to questions nobody asks any more are dropped.

use super::{Baseline, Content, Screen, State, TraceView};
use crate::tui::work::{Answer, Found};

impl State {
    /// Takes in what was found.
    pub fn take(&mut self, answer: Answer) {
        let serial = answer.serial;
        match answer.found {
            Found::Overview(found) => {
                if self.overview_asked.is_some_and(|asked| asked != serial) {
                    return;
                }
                self.partial = found.partial;
                if !found.partial {
                    self.overview_asked = None;
                }
                self.head = found.head;
                // Rows move as their figures do; who was selected stays so.
                let kept = match (&self.overview, self.trail.first()) {
                    (Some(old), Some(Screen::Overview { selected })) if *selected > 0 => old
                        .services
                        .get(*selected)
                        .map(|service| service.name.clone()),
                    _ => None,
                };
                let place = kept.and_then(|name| {
                    found
                        .overview
                        .services
                        .iter()
                        .position(|service| service.name == name)
                });
                if let (Some(place), Some(Screen::Overview { selected })) =
                    (place, self.trail.first_mut())
                {
                    *selected = place;
                }
                self.overview = Some(found.overview);
                self.baseline = found
                    .baseline
                    .map(|(window, services)| Baseline { window, services });
                self.pinned = found.pinned;
                self.move_by(0);
            }
            Found::Report(report) => {
                if self.report_asked != Some(serial) {
                    return;
                }
                self.report_asked = None;
                self.diagnosing = false;
                self.keep_finding(&report);
                self.report = Some(report);
                self.move_by(0);
            }
            Found::Traces {
                rows,
                left_out,
                window,
            } => {
                if let Some(Screen::Traces(view)) = self
                    .wanted(|screen| matches!(screen, Screen::Traces(view) if view.asked == serial))
                {
                    view.take(rows, left_out, window);
                }
            }
            Found::Logs(found) => {
                if let Some(Screen::Logs(view)) = self
                    .wanted(|screen| matches!(screen, Screen::Logs(view) if view.asked == serial))
                {
                    view.take(found);
                }
            }
            Found::Sheet(content) => self.take_sheet(serial, content),
            Found::Trace { id, skew, loaded } => {
                let mut loaded = Some(loaded);
                for screen in self.trail.iter_mut().rev() {
                    match screen {
                        Screen::Trace(view) if view.id == id && view.skew == skew => {
                            if let Some(loaded) = loaded.take() {
                                view.take(loaded);
                                self.lit = view.path();
                                return;
                            }
                        }
                        Screen::Compare(view) => {
                            let side = match () {
                                () if view.left.id == id && view.left.loaded.is_none() => {
                                    &mut view.left
                                }
                                () if view.right.id == id && view.right.loaded.is_none() => {
                                    &mut view.right
                                }
                                () => continue,
                            };
                            if let Some(loaded) = loaded.take() {
                                side.take(loaded);
                                view.rebuild();
                                return;
                            }
                        }
                        _ => {}
                    }
                }
            }
            Found::Near { id, near } => self.with_trace(id, |view| {
                view.near = Some(near);
                view.rebuild();
            }),
            Found::Linked { id, linked } => self.with_trace(id, |view| {
                view.linked = linked;
                view.rebuild();
            }),
            Found::Pins(pinned, said) => {
                self.pinned = pinned;
                self.say(said);
            }
            Found::Notebook(notebook) => self.notebook = notebook,
            Found::Faults { lines, said } => {
                if let Some(Screen::Faults(view)) =
                    self.wanted(|screen| matches!(screen, Screen::Faults(_)))
                {
                    view.lines = lines;
                }
                self.move_by(0);
                if let Some(said) = said {
                    self.say(said);
                }
            }
            Found::Books { lines, said } => {
                let found = self.wanted(|screen| matches!(screen, Screen::Playbooks(_)));
                if let Some(Screen::Playbooks(view)) = found {
                    view.lines = lines;
                }
                self.move_by(0);
                if let Some(said) = said {
                    self.say(said);
                }
            }
            Found::Walk(run) => {
                let found = self.wanted(|screen| matches!(screen, Screen::Playbooks(_)));
                if let Some(Screen::Playbooks(view)) = found {
                    view.take(*run);
                }
            }
            Found::Failed(what) => {
                self.settle(serial);
                self.say(what);
            }
            Found::Stopped => {
                self.settle(serial);
                self.say("given up; r asks again");
            }
        }
    }

    /// A question that will never be answered is no longer waited for: a list says so instead of promising.
    fn settle(&mut self, serial: u64) {
        if self.overview_asked == Some(serial) {
            self.overview_asked = None;
        }
        if self.report_asked == Some(serial) {
            self.report_asked = None;
            self.diagnosing = false;
        }
        if let Some(Screen::Traces(view)) =
            self.wanted(|screen| matches!(screen, Screen::Traces(view) if view.asked == serial))
        {
            view.rows.get_or_insert_default();
        }
        if let Some(Screen::Logs(view)) =
            self.wanted(|screen| matches!(screen, Screen::Logs(view) if view.asked == serial))
        {
            view.found.get_or_insert_default();
        }
    }

    fn take_sheet(&mut self, serial: u64, content: Content) {
        let found =
            self.wanted(|screen| matches!(screen, Screen::Sheet(view) if view.asked == serial));
        if let Some(Screen::Sheet(view)) = found {
            let target = view.target.clone();
            if !view.take(content) {
                let target = target.unwrap_or_default();
                self.say(format!("there is no {target} here"));
            }
        }
    }

    /// Findings move as more become known; the one that was selected stays so.
    fn keep_finding(&mut self, report: &analyzers::engine::Report) {
        use crate::render::report::forms::fingerprint;
        let Some(old) = self.report.clone() else {
            return;
        };
        for screen in &mut self.trail {
            let Screen::Findings(view) = screen else {
                continue;
            };
            let print = old
                .findings()
                .get(view.selected)
                .map(|finding| fingerprint(finding));
            let place = print.and_then(|print| {
                report
                    .findings()
                    .iter()
                    .position(|finding| fingerprint(finding) == print)
            });
            match place {
                Some(place) => view.selected = place,
                None => {
                    // It is no longer found: the list is where one can go on from.
                    view.opened = None;
                    view.why = false;
                }
            }
        }
    }

    fn with_trace(&mut self, id: case::TraceId, change: impl FnOnce(&mut TraceView)) {
        let found = self.wanted(|screen| matches!(screen, Screen::Trace(view) if view.id == id));
        if let Some(Screen::Trace(view)) = found {
            change(view);
        }
    }

    fn wanted(&mut self, wanted: impl Fn(&Screen) -> bool) -> Option<&mut Screen> {
        self.trail.iter_mut().rev().find(|screen| wanted(screen))
    }
}
