//! The workbench with its threads and without a terminal: for measuring what a frame takes while others work.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::state::{Effect, Screen};
use super::theme::Settings;
use super::work::{Answer, Desk, Shop};
use super::{Workbench, input, keys, screen, view};
use crate::error::CliError;

pub struct Bare {
    workbench: Workbench,
    answers: Receiver<Answer>,
    terminal: Terminal<TestBackend>,
}

impl Bare {
    /// Opens a case and asks for its overview; nothing has been answered yet.
    pub fn open(path: &Path, (width, height): (u16, u16)) -> Result<Bare, CliError> {
        let name = Desk::open(path, Shop::default())?.name();
        let (tell, answers) = channel();
        let settings = Settings::of_text("")?;
        let mut workbench =
            Workbench::open(path, name, settings, &Shop::default(), move |answer| {
                tell.send(answer).is_ok()
            })?;
        workbench.state.height = usize::from(height);
        workbench.state.ask_overview();
        let terminal = Terminal::new(TestBackend::new(width, height))
            .map_err(|error| CliError::new(format!("can't draw: {error}")))?;
        Ok(Bare {
            workbench,
            answers,
            terminal,
        })
    }

    /// Presses keys, takes in what has been answered, and draws. How long that took.
    pub fn frame(&mut self, keys: &str) -> Result<Duration, CliError> {
        let began = Instant::now();
        for key in keys::keys_of(keys)? {
            input::press(
                &mut self.workbench.state,
                &self.workbench.settings.keymap,
                key,
            );
        }
        while let Ok(answer) = self.answers.try_recv() {
            self.workbench.answered(answer);
        }
        self.workbench.tick();
        for effect in self.workbench.state.effects() {
            if let Effect::Ask(ask) = effect {
                self.workbench.worker.ask(ask);
            }
        }
        let area = *self.terminal.backend().buffer().area();
        let drawn = view::draw(
            &self.workbench.state,
            &self.workbench.settings.keymap,
            usize::from(area.width),
            usize::from(area.height),
        );
        let theme = &self.workbench.settings.theme;
        self.terminal
            .draw(|frame| screen::paint(&drawn, theme, true, frame))
            .map_err(|error| CliError::new(format!("can't draw: {error}")))?;
        Ok(began.elapsed())
    }

    /// Whether the screen in front has what it shows.
    pub fn is_there(&self) -> bool {
        let state = &self.workbench.state;
        match state.screen() {
            Screen::Overview { .. } => state
                .overview
                .as_ref()
                .is_some_and(|found| !found.services.is_empty()),
            Screen::Traces(view) => view.rows.is_some(),
            Screen::Trace(view) => view.loaded.is_some(),
            Screen::Logs(view) => view.found.is_some(),
            Screen::Sheet(view) => view.content.is_some(),
            Screen::Findings(_) => state.report.is_some(),
            Screen::Compare(_)
            | Screen::Faults(_)
            | Screen::Notes { .. }
            | Screen::Playbooks(_) => true,
        }
    }

    /// Draws until the screen in front is there; how long that took, or nothing if it never was.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<Duration>, CliError> {
        let began = Instant::now();
        while began.elapsed() < patience {
            self.frame("")?;
            if self.is_there() {
                return Ok(Some(began.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    /// Waits for the diagnosis as well.
    pub fn wait_for_report(&mut self, patience: Duration) -> Result<Option<Duration>, CliError> {
        let began = Instant::now();
        while began.elapsed() < patience {
            self.frame("")?;
            if self.workbench.state.report.is_some() {
                return Ok(Some(began.elapsed()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}
