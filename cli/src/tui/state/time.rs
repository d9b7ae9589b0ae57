//! Which stretch of time is looked at: all of it, a part, or what was known at a moment of a replay. Time is event time;
//! how much of it passes in a replay is told from outside.

use case::{Nanos, Window};

use super::{Action, State};

/// Stretches that a window is cut into, for strips, cursors and brushes.
pub const SLOTS: usize = 60;
/// Steps a window is replayed in, at the first speed.
const STEPS: u64 = 60;

/// The stretch of time that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// A part of time that was chosen.
    pub range: Option<Window>,
    /// What came after this is not known yet: replay, or frozen.
    pub at: Option<Nanos>,
    pub playing: bool,
    /// Event time per time that passes.
    pub speed: f64,
    /// A better time that was chosen to compare with.
    pub baseline: Option<Window>,
    /// The slot of the strip that the cursor is on.
    pub cursor: Option<usize>,
    /// Where the brush began.
    pub brush: Option<usize>,
}

impl Default for Moment {
    fn default() -> Moment {
        Moment {
            range: None,
            at: None,
            playing: false,
            speed: 1.0,
            baseline: None,
            cursor: None,
            brush: None,
        }
    }
}

impl Moment {
    /// What to ask within.
    pub fn window(&self) -> Window {
        let range = self.range.unwrap_or(Window::ALL);
        let until = match self.at {
            Some(at) => range.until.min(at).max(range.from),
            None => range.until,
        };
        Window {
            from: range.from,
            until,
        }
    }

    /// The slots that are brushed, both ends included.
    pub fn brushed(&self) -> Option<(usize, usize)> {
        let (from, to) = (self.brush?, self.cursor?);
        Some((from.min(to), from.max(to)))
    }
}

/// The stretch of a window that is a run of its slots.
pub(super) fn of_slots(window: Window, first: usize, last: usize) -> Window {
    let length = u128::from(window.until.0.saturating_sub(window.from.0));
    let at = |slot: usize| {
        let since = length * slot as u128 / SLOTS as u128;
        window
            .from
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    };
    Window {
        from: at(first),
        until: at(last + 1).max(at(first).saturating_add(1)),
    }
}

impl State {
    /// The window of the strip at the top.
    pub fn strip_window(&self) -> Option<Window> {
        let own = match self.screen() {
            super::Screen::Traces(view) => view.strip,
            super::Screen::Logs(view) => view.found.as_ref().map(|found| found.patterns.window),
            _ => None,
        };
        own.or_else(|| self.overview.as_ref().map(|overview| overview.window))
    }

    pub(super) fn apply_time(&mut self, action: Action) {
        match action {
            Action::CursorLeft => self.move_cursor(-1),
            Action::CursorRight => self.move_cursor(1),
            Action::Brush => self.brush(),
            Action::WholeTime => {
                let baseline = self.moment.baseline;
                let speed = self.moment.speed;
                self.moment = Moment {
                    baseline,
                    speed,
                    ..Moment::default()
                };
                self.ask_all();
            }
            Action::Play => self.play(),
            Action::Step => self.step(1),
            Action::StepBack => self.step(-1),
            Action::Slower | Action::Faster => {
                let by = if action == Action::Faster { 2.0 } else { 0.5 };
                self.moment.speed = (self.moment.speed * by).clamp(1.0 / 64.0, 4096.0);
                self.say(format!("replay at {}× the speed", self.moment.speed));
            }
            _ => {}
        }
    }

    fn move_cursor(&mut self, by: isize) {
        let start = if by > 0 { 0 } else { SLOTS - 1 };
        self.moment.cursor = Some(match self.moment.cursor {
            None => start,
            Some(at) => at.saturating_add_signed(by).min(SLOTS - 1),
        });
    }

    fn brush(&mut self) {
        match (self.moment.brushed(), self.strip_window()) {
            (Some((first, last)), Some(window)) => {
                self.moment.brush = None;
                self.moment.cursor = None;
                self.look_within(of_slots(window, first, last));
            }
            _ => {
                let at = *self.moment.cursor.get_or_insert(SLOTS - 1);
                self.moment.brush = Some(at);
                self.say("← → select a stretch of time, ⏎ looks at it alone, esc gives up");
            }
        }
    }

    /// Puts the brush's two ends where a mouse was pressed and where it is now, as shares of the strip.
    pub fn drag(&mut self, from: f64, to: f64, done: bool) {
        let slot = |share: f64| ((share * SLOTS as f64) as usize).min(SLOTS - 1);
        self.moment.brush = Some(slot(from));
        self.moment.cursor = Some(slot(to));
        if done {
            if slot(from) == slot(to) {
                // A click only puts the cursor there.
                self.moment.brush = None;
            } else {
                self.brush();
            }
        }
    }

    /// Looks at a part of time alone.
    pub fn look_within(&mut self, range: Window) {
        self.moment.range = Some(range);
        if self.moment.at.is_some_and(|at| at <= range.from) {
            self.moment.at = None;
            self.moment.playing = false;
        }
        self.ask_all();
    }

    /// To a moment of the replay.
    pub fn seek(&mut self, at: Nanos) {
        self.moment.at = Some(at);
        self.ask_all();
    }

    /// What a replay goes over.
    fn replayed(&self) -> Option<Window> {
        let known = self.head.window?;
        Some(match self.moment.range {
            Some(range) => Window {
                from: range.from.max(known.from),
                until: range.until.min(known.until),
            },
            None => known,
        })
    }

    fn play(&mut self) {
        let Some(window) = self.replayed() else {
            return self.say("no signals yet");
        };
        if self.moment.playing {
            self.moment.playing = false;
            return;
        }
        match self.moment.at {
            // What is live is frozen first; pressed again it plays on from there.
            None if self.head.live => {
                self.moment.at = Some(window.until);
                self.say("frozen; 0 goes back to what is arriving now");
            }
            Some(at) if at < window.until => self.moment.playing = true,
            _ => {
                self.moment.playing = true;
                self.seek(window.from);
            }
        }
    }

    fn step(&mut self, by: i64) {
        let Some(window) = self.replayed() else {
            return;
        };
        let step = (window.until.0.saturating_sub(window.from.0) / STEPS).max(1);
        let at = self.moment.at.unwrap_or(window.until);
        let to = Nanos(at.0.saturating_add_signed(by.saturating_mul(step as i64)))
            .clamp(window.from, window.until);
        self.moment.playing = false;
        self.seek(to);
    }

    /// Lets time pass in a replay. Asks for what is on screen only when what was asked before has come.
    pub fn pass(&mut self, time: std::time::Duration) {
        if !self.moment.playing {
            return;
        }
        let (Some(window), Some(at)) = (self.replayed(), self.moment.at) else {
            self.moment.playing = false;
            return;
        };
        let by = time.as_nanos() as f64 * self.moment.speed;
        let to = at.saturating_add(by as u64);
        self.moment.at = Some(to.min(window.until));
        if to >= window.until {
            self.moment.playing = false;
            self.say("the replay is at its end");
            self.ask_all();
        } else if self.overview_asked.is_none() {
            self.ask_overview();
            self.ask_screen();
            if self.report_asked.is_none() {
                self.ask_report();
            }
        }
    }
}
