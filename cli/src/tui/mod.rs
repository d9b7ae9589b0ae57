//! The workbench in the terminal.
//!
//! `state` holds what is seen and knows nothing of terminals; `input` turns keys into actions by one keymap, which also
//! writes the help; `work` reads the case on a thread of its own; `view` draws the state as lines. Here they are put
//! together: once over a real terminal, once over keys given as text, for tests and screenshots.

pub mod input;
mod screen;
pub mod state;
pub mod view;
pub mod work;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event};

use crate::error::CliError;
use input::Key;
use state::State;
use work::{Desk, Request, Worker};

/// How long to wait for a key before looking whether the worker has answered.
const PATIENCE: Duration = Duration::from_millis(40);
/// How often a live case is looked at again.
const REFRESH: Duration = Duration::from_secs(1);

/// Runs the workbench on the terminal until it is quit, asked to end, or `run_for` is over.
pub fn run(path: &Path, run_for: Option<Duration>) -> Result<(), CliError> {
    // Opened first: what is wrong with the case is better said on an ordinary screen.
    let desk = Desk::open(path)?;
    let stop = on_signal()?;
    let mut terminal =
        ratatui::try_init().map_err(|error| CliError::io("take over the terminal", &error))?;
    let outcome = serve(&mut terminal, desk, &stop, run_for);
    ratatui::try_restore().map_err(|error| CliError::io("give the terminal back", &error))?;
    outcome
}

fn serve(
    terminal: &mut ratatui::DefaultTerminal,
    desk: Desk,
    stop: &AtomicBool,
    run_for: Option<Duration>,
) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::io("use the terminal", &error);
    let mut state = State::new(desk.name());
    let worker = Worker::start(desk);
    worker.ask(Request::Overview);
    let began = Instant::now();
    let mut asked = Instant::now();
    let mut changed = true;
    while !state.quit
        && !stop.load(Ordering::Relaxed)
        && run_for.is_none_or(|time| began.elapsed() < time)
    {
        if changed {
            terminal
                .draw(|frame| screen::paint(&state, frame))
                .map_err(failed)?;
            changed = false;
        }
        if event::poll(PATIENCE).map_err(failed)? {
            changed = true;
            if let Event::Key(event) = event::read().map_err(failed)?
                && let Some(key) = Key::of(event)
                && let Some(request) = input::press(&mut state, key)
            {
                worker.ask(request);
            }
        }
        while let Some(answer) = worker.answer() {
            changed = true;
            state.take(answer);
        }
        if state.live() && !state.refreshing && asked.elapsed() >= REFRESH {
            asked = Instant::now();
            state.refreshing = true;
            worker.ask(Request::Overview);
        }
    }
    Ok(())
}

/// Presses `keys` one after the other, each once all before it has been answered, and gives the screen as text.
pub fn snapshot(path: &Path, keys: &str, width: u16, height: u16) -> Result<String, CliError> {
    let mut desk = Desk::open(path)?;
    let mut state = State::new(desk.name());
    state.take(desk.work(Request::Overview));
    for key in input::keys_of(keys)? {
        if let Some(request) = input::press(&mut state, key) {
            state.take(desk.work(request));
        }
        if state.quit {
            break;
        }
    }
    let mut terminal = Terminal::new(TestBackend::new(width, height))
        .map_err(|error| CliError::new(format!("can't draw: {error}")))?;
    terminal
        .draw(|frame| screen::paint(&state, frame))
        .map_err(|error| CliError::new(format!("can't draw: {error}")))?;
    Ok(screen::text_of(terminal.backend().buffer()))
}

/// A flag that SIGTERM, SIGHUP and SIGINT raise, so that the terminal is given back before the process ends.
fn on_signal() -> Result<Arc<AtomicBool>, CliError> {
    let raised = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start the runtime", &error))?;
    let flag = Arc::clone(&raised);
    std::thread::spawn(move || {
        // Without signal handling the flag is never raised, and the process ends as it would have anyway.
        if runtime.block_on(crate::collecting::asked_to_stop()).is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
    });
    Ok(raised)
}

#[cfg(test)]
mod tests;
