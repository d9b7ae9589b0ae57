//! Standard output and error of the process: colour only where it is wanted, and quiet when the reader has gone.

use std::io::{self, BufWriter, IsTerminal, Write};

use super::line::{Line, Tone};
use super::{json, sanitise};
use crate::error::CliError;

/// Width of what is drawn, not listed (a waterfall), when no terminal says one.
const DRAWING_WITHOUT_TERMINAL: usize = 120;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

/// Where a command writes. Once the reader has closed its end, further output goes nowhere and [`Console::is_closed`]
/// says so; the command's verdict, and with it the exit code, stays what it is.
pub struct Console {
    out: Box<dyn Write>,
    color: bool,
    error_color: bool,
    width: Option<usize>,
    closed: bool,
}

impl Console {
    /// The process's own streams.
    pub fn of_process(choice: ColorChoice) -> Console {
        let stdout = io::stdout();
        let on_terminal = stdout.is_terminal();
        let wanted = |terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Console {
            color: wanted(on_terminal),
            error_color: wanted(io::stderr().is_terminal()),
            width: on_terminal
                .then(|| crossterm::terminal::size().ok())
                .flatten()
                .map(|(columns, _)| usize::from(columns).max(20)),
            out: Box::new(BufWriter::new(stdout)),
            closed: false,
        }
    }

    /// Columns a list may take: those of the terminal; without one, nothing is cut.
    pub fn list_width(&self) -> usize {
        self.width.unwrap_or(usize::MAX)
    }

    /// Columns to draw in.
    pub fn drawing_width(&self) -> usize {
        self.width.unwrap_or(DRAWING_WITHOUT_TERMINAL)
    }

    /// Whether the reader has gone, so that further work for it is wasted.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    pub fn line(&mut self, line: &Line) -> Result<(), CliError> {
        let text = painted(line, self.color);
        self.raw(&text)
    }

    /// Text of our own, which may have several lines.
    pub fn text(&mut self, text: &str) -> Result<(), CliError> {
        text.lines()
            .try_for_each(|line| self.line(&Line::plain(line)))
    }

    pub fn lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a Line>) -> Result<(), CliError> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// `value` as one line of JSON.
    pub fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CliError> {
        let line = json::line(value)?;
        self.raw(&line)
    }

    /// Bytes that are already in the form asked for (completions, CSV, man pages).
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let result = self.out.write_all(bytes);
        self.settle(result)
    }

    pub fn flush(&mut self) -> Result<(), CliError> {
        let result = self.out.flush();
        self.settle(result)
    }

    /// A line on standard error: progress and remarks, never part of an answer.
    pub fn remark(&self, text: &str) {
        self.on_error_stream(&Line::new().with(Tone::Dim, text));
    }

    /// A line on standard error that others wait for.
    pub fn notice(&self, text: &str) {
        self.on_error_stream(&Line::plain(text));
    }

    /// Tells of `error` on standard error.
    pub fn report(&self, error: &CliError) {
        let label = |name: &str, tone| Line::new().with(tone, name).with(Tone::Plain, ": ");
        let mut line = label("error", Tone::Bad);
        line.push(Tone::Plain, error.message());
        self.on_error_stream(&line);
        if let Some(hint) = error.hint_text() {
            let mut line = label(" hint", Tone::Accent);
            line.push(Tone::Plain, hint);
            self.on_error_stream(&line);
        }
    }

    fn on_error_stream(&self, line: &Line) {
        // There is nobody left to tell when standard error itself is gone.
        drop(writeln!(
            io::stderr(),
            "{}",
            painted(line, self.error_color)
        ));
    }

    fn raw(&mut self, line: &str) -> Result<(), CliError> {
        let result = self
            .out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.write_all(b"\n"));
        self.settle(result)
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), CliError> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                self.out = Box::new(io::sink());
                Ok(())
            }
            Err(error) => Err(CliError::io("write to standard output", &error)),
        }
    }
}

fn painted(line: &Line, color: bool) -> String {
    let mut out = String::new();
    for piece in line.pieces() {
        debug_assert!(!piece.text.chars().any(sanitise::is_hazard));
        let code = match piece.tone {
            Tone::Plain => "",
            Tone::Dim => "\x1b[2m",
            Tone::Strong => "\x1b[1m",
            Tone::Bad => "\x1b[31m",
            Tone::Odd => "\x1b[33m",
            Tone::Accent => "\x1b[36m",
        };
        if color && !code.is_empty() {
            out.push_str(code);
            out.push_str(&piece.text);
            out.push_str("\x1b[0m");
        } else {
            out.push_str(&piece.text);
        }
    }
    // Padding at the end of a line is of no use to anybody.
    if !color {
        out.truncate(out.trim_end().len());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn console(out: impl Write + 'static) -> Console {
        Console {
            out: Box::new(out),
            color: false,
            error_color: false,
            width: None,
            closed: false,
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        let mut console = console(Gone);
        assert!(console.text("hello").is_ok());
        assert!(console.is_closed());
        assert!(console.text("again").is_ok());
    }

    #[test]
    fn colour_wraps_text_that_was_made_harmless() {
        let line = Line::plain("a").with(Tone::Bad, "\x1b[0mb");
        assert_eq!(painted(&line, true), "a\x1b[31m\\x1b[0mb\x1b[0m");
        assert_eq!(painted(&line, false), "a\\x1b[0mb");
    }
}
