//! The real terminal: taking it over, giving it back whatever happens, and what comes from it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Once};

use base64::Engine as _;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{
    self, DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::input::Mouse;
use super::keys::Key;
use crate::error::CliError;

/// The terminal, drawn on through ratatui.
pub(super) type Screen = Terminal<CrosstermBackend<std::io::Stdout>>;

/// Whether the terminal is ours at this moment.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Something that happened at the terminal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Happening {
    Key(Key),
    Paste(String),
    Mouse(Mouse, (usize, usize)),
    Resized,
    /// SIGTERM, SIGHUP or SIGINT.
    Stop,
    /// SIGTSTP from outside.
    Suspend,
    /// The terminal is gone.
    Lost,
}

/// Holds the terminal; dropping it gives the terminal back.
pub(super) struct Hold;

fn failed(error: std::io::Error) -> CliError {
    CliError::io("use the terminal", &error)
}

impl Hold {
    pub(super) fn take() -> Result<(Hold, Screen), CliError> {
        give_back_on_panic();
        let hold = Hold;
        take()?;
        let screen = Terminal::new(CrosstermBackend::new(std::io::stdout())).map_err(failed)?;
        Ok((hold, screen))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> Result<(), CliError> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode().map_err(failed)?;
    execute!(
        std::io::stdout(),
        EnterAlternateScreen,
        EnableMouseCapture,
        EnableBracketedPaste,
        Hide
    )
    .map_err(failed)
}

/// Gives the terminal back. Nothing can be done where that fails, and more than once does no harm.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        drop(execute!(
            std::io::stdout(),
            DisableBracketedPaste,
            DisableMouseCapture,
            LeaveAlternateScreen,
            Show
        ));
        drop(disable_raw_mode());
    }
}

/// A panic of the thread that draws is told on an ordinary screen. One of another thread is told by that thread.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    let drawing = std::thread::current().id();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().id() == drawing {
                give_back();
            }
            if !TAKEN.load(Ordering::SeqCst) {
                before(panic);
            }
        }));
    });
}

/// To the shell, and back when it says so.
pub(super) fn suspend(screen: &mut Screen) -> Result<(), CliError> {
    give_back();
    let stopped =
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    take()?;
    screen.clear().map_err(failed)?;
    stopped.map_err(|error| CliError::new(format!("can't suspend: {error}")))
}

/// Asks the terminal to put a text on the clipboard (OSC 52). Terminals that can't do not mind.
pub(super) fn copy(text: &str) -> Result<(), CliError> {
    let coded = base64::engine::general_purpose::STANDARD.encode(text);
    let mut out = std::io::stdout();
    write!(out, "\x1b]52;c;{coded}\x07")
        .and_then(|()| out.flush())
        .map_err(failed)
}

/// The key of a terminal event; `None` for releases and keys nobody uses.
fn key_of(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    Some(match event.code {
        KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Ctrl(c.to_ascii_lowercase())
        }
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

fn happening(event: Event) -> Option<Happening> {
    match event {
        Event::Key(key) => key_of(key).map(Happening::Key),
        Event::Paste(text) => Some(Happening::Paste(text)),
        Event::Resize(..) => Some(Happening::Resized),
        Event::Mouse(mouse) => {
            let what = match mouse.kind {
                MouseEventKind::Down(MouseButton::Left) => Mouse::Down,
                MouseEventKind::Drag(MouseButton::Left) => Mouse::Drag,
                MouseEventKind::Up(MouseButton::Left) => Mouse::Up,
                MouseEventKind::ScrollUp => Mouse::WheelUp,
                MouseEventKind::ScrollDown => Mouse::WheelDown,
                _ => return None,
            };
            let at = (usize::from(mouse.column), usize::from(mouse.row));
            Some(Happening::Mouse(what, at))
        }
        Event::FocusGained | Event::FocusLost => None,
    }
}

/// Hears the terminal and signals on threads of their own, until nobody listens any more.
pub(super) fn listen<T: Send + 'static>(
    tell: &Sender<T>,
    wrap: impl Fn(Happening) -> T + Send + Sync + 'static,
) -> Result<(), CliError> {
    let wrap = Arc::new(wrap);
    let (keys, of_keys) = (tell.clone(), Arc::clone(&wrap));
    std::thread::spawn(move || {
        loop {
            let heard = match event::read() {
                Ok(event) => happening(event),
                Err(_) => Some(Happening::Lost),
            };
            let lost = heard == Some(Happening::Lost);
            if let Some(heard) = heard
                && (keys.send(of_keys(heard)).is_err() || lost)
            {
                return;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start the runtime", &error))?;
    let signals = tell.clone();
    std::thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            const SIGTSTP: i32 = 20;
            // Without signal handling the process ends, or stops, as it would have anyway.
            let Ok(mut suspended) = signal(SignalKind::from_raw(SIGTSTP)) else {
                return;
            };
            loop {
                let heard = tokio::select! {
                    asked = crate::collecting::asked_to_stop() => match asked {
                        Ok(()) => Happening::Stop,
                        Err(_) => return,
                    },
                    _ = suspended.recv() => Happening::Suspend,
                };
                if signals.send(wrap(heard)).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
