//! The workbench in the terminal.
//!
//! `state` holds what is seen and knows nothing of terminals; `keymap` says what keys mean, for `input` and for the help;
//! `work` reads the case on threads of its own; `view` draws the state as lines. Here they are put together: once over a
//! real terminal, once over keys given as text, for tests and pictures.

mod bare;
mod export;
pub mod input;
pub mod keymap;
pub mod keys;
mod rig;
mod screen;
pub mod state;
mod terminal;
pub mod theme;
pub mod view;
pub mod work;

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::error::CliError;
pub use bare::Bare;
pub use rig::{Rig, Snapshot};

use input::Pressed;
use state::{Effect, State};
use terminal::Happening;
use theme::{Settings, Theme};
use view::Drawn;
use work::{Answer, Desk, Shop, Worker};

/// How often a live case is looked at again, at most.
const REFRESH: Duration = Duration::from_secs(1);
/// Looking again takes no more than this share of the time.
const SHARE: u32 = 10;
/// How often a replay moves on, and progress is told.
const TICK: Duration = Duration::from_millis(200);

/// How the workbench is opened.
pub struct Options {
    pub settings: Settings,
    /// Ends by itself after this time.
    pub run_for: Option<Duration>,
    pub shop: Shop,
    /// Whether to go to where one stood, and to remember where one stands.
    pub remember: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "taken from the channel one by one"
)]
enum Event {
    Terminal(Happening),
    Answer(Answer),
}

/// When what is live is looked at again: the longer a look takes, the seldomer.
struct Pace {
    asked: Instant,
    took: Duration,
}

impl Pace {
    fn new() -> Pace {
        Pace {
            asked: Instant::now(),
            took: Duration::ZERO,
        }
    }

    fn is_due(&self) -> bool {
        self.asked.elapsed() >= REFRESH.max(self.took * SHARE)
    }
}

/// Runs the workbench on the terminal until it is quit, asked to end, or its time is over.
pub fn run(path: &Path, options: Options) -> Result<(), CliError> {
    // Opened first: what is wrong with the case is better said on an ordinary screen.
    let name = Desk::open(path, Shop::default())?.name();
    let place = work::Place::of(path).filter(|_| options.remember);
    let (tell, events) = channel();
    let answers = tell.clone();
    let mut workbench =
        Workbench::open(path, name, options.settings, &options.shop, move |answer| {
            answers.send(Event::Answer(answer)).is_ok()
        })?;
    match place.as_ref().map(work::load_place) {
        Some(saved) if !saved.steps.is_empty() => {
            if let (false, Some(theme)) = (workbench.settings.chosen, &saved.theme)
                && let Ok(theme) = Theme::named(theme)
            {
                workbench.state.theme.clone_from(&theme.name);
                workbench.settings.theme = theme;
            }
            workbench.state.restore(&saved);
        }
        _ => workbench.state.ask_overview(),
    }
    workbench.state.ask_notebook();
    let (hold, mut terminal) = terminal::Hold::take()?;
    terminal::listen(&tell, Event::Terminal)?;
    let outcome = workbench.serve(&mut terminal, &events, options.run_for);
    drop(hold);
    if let Some(place) = &place {
        work::save_place(place, &workbench.state.saved());
    }
    outcome
}

struct Workbench {
    state: State,
    settings: Settings,
    worker: Worker,
    color: bool,
    drawn: Option<Drawn>,
    pressed: Pressed,
    overview: Pace,
    report: Pace,
    screen: Pace,
    /// When a replay moved on last.
    passed: Instant,
    /// No overview has come yet.
    first: bool,
}

impl Workbench {
    fn open(
        path: &Path,
        name: String,
        settings: Settings,
        shop: &Shop,
        tell: impl Fn(Answer) -> bool + Clone + Send + 'static,
    ) -> Result<Workbench, CliError> {
        let worker = Worker::start(path, shop, tell)?;
        let mut state = State::new(name);
        state.shop = shop.0.is_some();
        state.theme.clone_from(&settings.theme.name);
        Ok(Workbench {
            state,
            settings,
            worker,
            color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            drawn: None,
            pressed: Pressed::default(),
            overview: Pace::new(),
            report: Pace::new(),
            screen: Pace::new(),
            passed: Instant::now(),
            first: true,
        })
    }

    fn serve(
        &mut self,
        terminal: &mut terminal::Screen,
        events: &Receiver<Event>,
        run_for: Option<Duration>,
    ) -> Result<(), CliError> {
        let failed = |error: std::io::Error| CliError::io("use the terminal", &error);
        let began = Instant::now();
        loop {
            self.effects(terminal)?;
            if self.state.quit || run_for.is_some_and(|time| began.elapsed() >= time) {
                return Ok(());
            }
            let size = terminal.size().map_err(failed)?;
            self.state.height = usize::from(size.height);
            let drawn = view::draw(
                &self.state,
                &self.settings.keymap,
                usize::from(size.width),
                usize::from(size.height),
            );
            terminal
                .draw(|frame| screen::paint(&drawn, &self.settings.theme, self.color, frame))
                .map_err(failed)?;
            self.drawn = Some(drawn);
            // Waits for something that changes the screen, and takes with it all that has come meanwhile.
            let until = run_for.map(|time| time.saturating_sub(began.elapsed()));
            let mut changed = false;
            while !changed {
                let patience = self.patience().min(until.unwrap_or(Duration::MAX));
                match events.recv_timeout(patience) {
                    Ok(event) => {
                        self.take(event, terminal)?;
                        changed = true;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                while let Ok(event) = events.try_recv() {
                    self.take(event, terminal)?;
                }
                changed |= self.tick() || self.state.quit;
                self.effects(terminal)?;
                if run_for.is_some_and(|time| began.elapsed() >= time) {
                    return Ok(());
                }
            }
        }
    }

    fn patience(&self) -> Duration {
        if self.state.moment.playing || self.worker.is_at_work() {
            TICK
        } else {
            REFRESH
        }
    }

    fn take(&mut self, event: Event, terminal: &mut terminal::Screen) -> Result<(), CliError> {
        match event {
            Event::Answer(answer) => self.answered(answer),
            Event::Terminal(happening) => match happening {
                Happening::Key(key) => input::press(&mut self.state, &self.settings.keymap, key),
                Happening::Paste(text) => input::paste(&mut self.state, &text),
                Happening::Mouse(what, at) => {
                    if let Some(drawn) = &self.drawn {
                        input::mouse(
                            &mut self.state,
                            &self.settings.keymap,
                            &mut self.pressed,
                            drawn,
                            what,
                            at,
                        );
                    }
                }
                Happening::Resized => {}
                Happening::Suspend => terminal::suspend(terminal)?,
                Happening::Stop | Happening::Lost => self.state.quit = true,
            },
        }
        Ok(())
    }

    fn answered(&mut self, answer: Answer) {
        let (took, before) = (answer.took, self.state.is_waiting());
        self.state.take(answer);
        match (before, self.state.is_waiting()) {
            ((true, _), (false, _)) => {
                self.overview.took = took;
                // The diagnosis takes longer; it begins once the first screen is there.
                if std::mem::take(&mut self.first) && self.state.report.is_none() {
                    self.state.ask_report();
                }
            }
            ((_, true), (_, false)) => self.report.took = took,
            _ => self.screen.took = took,
        }
    }

    /// What time alone brings; true if the screen changes by it.
    fn tick(&mut self) -> bool {
        let mut changed = false;
        let busy = self.worker.busy();
        if busy != self.state.busy {
            self.state.busy = busy;
            changed = true;
        }
        if self.state.moment.playing {
            if self.passed.elapsed() >= TICK {
                self.state.pass(self.passed.elapsed());
                self.passed = Instant::now();
                changed = true;
            }
        } else {
            self.passed = Instant::now();
        }
        if self.state.head.live && self.state.moment.at.is_none() {
            let (overview, report) = self.state.is_waiting();
            if !overview && self.overview.is_due() {
                self.overview.asked = Instant::now();
                self.state.ask_overview();
            }
            if !report && !self.first && self.report.is_due() {
                self.report.asked = Instant::now();
                self.state.ask_report();
            }
            if self.screen.is_due() && self.state.follows() {
                self.screen.asked = Instant::now();
                self.state.ask_again();
            }
        }
        changed
    }

    /// Does what the state asked for.
    fn effects(&mut self, terminal: &mut terminal::Screen) -> Result<(), CliError> {
        for effect in self.state.effects() {
            match effect {
                Effect::Ask(ask) => self.worker.ask(ask),
                Effect::Cancel => self.worker.cancel(),
                Effect::Copy(text) => terminal::copy(&text)?,
                Effect::Suspend => terminal::suspend(terminal)?,
                Effect::Redraw => terminal
                    .clear()
                    .map_err(|error| CliError::io("use the terminal", &error))?,
                Effect::Theme(name) => use_theme(&mut self.state, &mut self.settings, &name),
                Effect::Export(name) => export(&mut self.state, &self.settings, &name),
            }
        }
        Ok(())
    }
}

fn use_theme(state: &mut State, settings: &mut Settings, name: &str) {
    match Theme::named(name) {
        Ok(theme) => {
            settings.theme = theme;
            state.theme = name.to_owned();
            state.say(format!("theme {name}"));
        }
        Err(error) => state.say(told(&error)),
    }
}

fn export(state: &mut State, settings: &Settings, name: &str) {
    let said = match export::write(state, &settings.keymap, name) {
        Ok(said) => said,
        Err(error) => told(&error),
    };
    state.say(said);
}

fn told(error: &CliError) -> String {
    match error.hint_text() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
