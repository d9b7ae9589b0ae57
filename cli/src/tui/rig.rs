//! The workbench without a terminal: keys given as text are pressed one after the other, each once all before it has been
//! answered. For pictures, bug reports and tests.

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::state::{Effect, State};
use super::theme::Settings;
use super::work::{Answer, Ask, Desk, Shop};
use super::{export, input, keys, screen, use_theme, view};
use crate::error::CliError;

/// A screen.
pub struct Snapshot {
    buffer: Buffer,
    light: bool,
}

impl Snapshot {
    pub fn text(&self) -> String {
        screen::text_of(&self.buffer)
    }

    pub fn svg(&self) -> String {
        screen::svg_of(&self.buffer, self.light)
    }
}

/// Answers a question in the place of the desk, or does not.
type Stand = Box<dyn Fn(&Ask) -> Option<Answer>>;

/// The workbench on a case, and who presses its keys.
pub struct Rig {
    pub state: State,
    pub settings: Settings,
    desk: Desk,
    stand_in: Option<Stand>,
    size: (u16, u16),
    /// What would have been put on the clipboard.
    pub copied: Vec<String>,
}

impl Rig {
    pub fn open(path: &Path, settings: Settings, size: (u16, u16)) -> Result<Rig, CliError> {
        Rig::with(path, settings, size, None)
    }

    /// A rig some of whose questions are answered by another than the desk.
    pub fn with(
        path: &Path,
        settings: Settings,
        size: (u16, u16),
        stand_in: Option<Stand>,
    ) -> Result<Rig, CliError> {
        let desk = Desk::open(path, Shop::beside(path))?;
        let mut state = State::new(desk.name());
        state.shop = desk.has_shop();
        state.height = usize::from(size.1);
        state.theme.clone_from(&settings.theme.name);
        let mut rig = Rig {
            state,
            settings,
            desk,
            stand_in,
            size,
            copied: Vec::new(),
        };
        rig.state.ask_overview();
        rig.state.ask_report();
        rig.state.ask_notebook();
        rig.settle();
        Ok(rig)
    }

    /// Presses keys until there are no more, or the workbench is left.
    pub fn press(&mut self, keys: &str) -> Result<(), CliError> {
        for key in keys::keys_of(keys)? {
            input::press(&mut self.state, &self.settings.keymap, key);
            self.settle();
            if self.state.quit {
                break;
            }
        }
        Ok(())
    }

    /// Does everything that was asked for, on this thread, until nothing is left.
    pub fn settle(&mut self) {
        loop {
            let effects = self.state.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Ask(ask) => self.answer(ask),
                    Effect::Theme(name) => use_theme(&mut self.state, &mut self.settings, &name),
                    Effect::Export(name) => {
                        let said = export::write(&self.state, &self.settings.keymap, &name);
                        self.state
                            .say(said.unwrap_or_else(|error| super::told(&error)));
                    }
                    Effect::Copy(text) => self.copied.push(text),
                    // There is no terminal to be left, and nothing runs that could be given up.
                    Effect::Cancel | Effect::Suspend | Effect::Redraw => {}
                }
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        if let Some(answer) = self.stand_in.as_ref().and_then(|stand_in| stand_in(&ask)) {
            return self.state.take(answer);
        }
        let mut answers = Vec::new();
        self.desk.work(ask, &mut |answer| answers.push(answer));
        answers
            .into_iter()
            .for_each(|answer| self.state.take(answer));
    }

    pub fn drawn(&self) -> view::Drawn {
        let (width, height) = self.size;
        view::draw(
            &self.state,
            &self.settings.keymap,
            usize::from(width),
            usize::from(height),
        )
    }

    pub fn screen(&self) -> Result<Snapshot, CliError> {
        let (width, height) = self.size;
        let failed = |error| CliError::new(format!("can't draw: {error}"));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(failed)?;
        let drawn = self.drawn();
        terminal
            .draw(|frame| screen::paint(&drawn, &self.settings.theme, true, frame))
            .map_err(failed)?;
        Ok(Snapshot {
            buffer: terminal.backend().buffer().clone(),
            light: self.settings.theme.light,
        })
    }
}
