//! What the state asks for: which questions belong to what is seen, and within which stretch of time.

use case::Window;

use super::{Ask, Effect, Request, Screen, State};

impl State {
    /// Asks for something to be found out within the stretch of time that is looked at.
    pub(super) fn ask(&mut self, request: Request) -> u64 {
        let window = self.moment.window();
        self.ask_within(request, window)
    }

    pub(super) fn ask_within(&mut self, request: Request, window: Window) -> u64 {
        self.serial += 1;
        let ask = Ask {
            serial: self.serial,
            window,
            request,
        };
        self.effects.push(Effect::Ask(ask));
        self.serial
    }

    /// Asks for what stands in the head and on the overview.
    pub fn ask_overview(&mut self) {
        let baseline = self.moment.baseline;
        self.overview_asked = Some(self.ask(Request::Overview { baseline }));
    }

    /// Asks what is wrong.
    pub fn ask_report(&mut self) {
        self.diagnosing = true;
        self.report_asked = Some(self.ask(Request::Diagnosis));
    }

    /// Asks for everything on screen again, as after a change of the stretch of time.
    pub(super) fn ask_all(&mut self) {
        self.ask_overview();
        self.ask_report();
        self.ask_screen();
    }

    /// Asks for what was kept before.
    pub fn ask_notebook(&mut self) {
        self.ask(Request::Notebook);
    }

    /// Whether the screen in front goes along with what is arriving.
    pub fn follows(&self) -> bool {
        match self.screen() {
            Screen::Traces(view) => {
                view.rows.is_some() && view.selected == 0 && view.window.is_none()
            }
            Screen::Logs(view) => view.found.is_some() && view.follow && view.window.is_none(),
            Screen::Sheet(view) => view.content.is_some(),
            _ => false,
        }
    }

    /// Asks for what the screen in front shows, as it is by now.
    pub fn ask_again(&mut self) {
        self.ask_screen();
    }

    /// Whether an answer about the overview or the report is on its way.
    pub fn is_waiting(&self) -> (bool, bool) {
        (self.overview_asked.is_some(), self.report_asked.is_some())
    }

    /// Asks for what the screen in front shows.
    pub(super) fn ask_screen(&mut self) {
        let own = self.screen().window();
        let whole = self.moment.window();
        let window = own.map_or(whole, |own| Window {
            until: own.until.min(whole.until),
            ..own
        });
        match self.screen() {
            Screen::Traces(view) => {
                let filter = view.filter.clone();
                let serial = self.ask_within(Request::Traces { filter }, window);
                if let Some(Screen::Traces(view)) = self.screen_mut() {
                    view.asked = serial;
                }
            }
            Screen::Logs(view) => {
                let filter = view.filter.clone();
                let baseline = self.moment.baseline;
                let serial = self.ask_within(Request::Logs { filter, baseline }, window);
                if let Some(Screen::Logs(view)) = self.screen_mut() {
                    view.asked = serial;
                }
            }
            Screen::Sheet(view) => {
                let subject = view.subject;
                let serial = self.ask(Request::Sheet { subject });
                if let Some(Screen::Sheet(view)) = self.screen_mut() {
                    view.asked = serial;
                }
            }
            Screen::Trace(view) => {
                let (id, skew) = (view.id, view.skew);
                self.ask(Request::Trace { id, skew });
                self.ask(Request::Near { id });
                self.ask(Request::Linked { id });
            }
            Screen::Compare(view) => {
                for id in [view.left.id, view.right.id] {
                    self.ask(Request::Trace { id, skew: false });
                }
            }
            Screen::Playbooks(_) => {
                let report = self.report.clone();
                self.ask(Request::Books { report });
            }
            Screen::Faults(_) => {
                self.ask(Request::Faults);
            }
            Screen::Overview { .. } | Screen::Findings(_) | Screen::Notes { .. } => {}
        }
    }
}
