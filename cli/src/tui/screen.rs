//! The only file that knows ratatui's drawing: lines onto a frame, and a buffer back to text.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text;

use super::state::State;
use super::view;
use crate::output::Tone;

fn style(tone: Tone, color: bool) -> Style {
    let plain = Style::new();
    match (tone, color) {
        (Tone::Plain, _) => plain,
        (Tone::Dim, _) => plain.add_modifier(Modifier::DIM),
        (Tone::Strong, _) => plain.add_modifier(Modifier::BOLD),
        (Tone::Bad, true) => plain.fg(Color::Red),
        (Tone::Odd, true) => plain.fg(Color::Yellow),
        (Tone::Accent, true) => plain.fg(Color::Cyan).add_modifier(Modifier::BOLD),
        (Tone::Bad | Tone::Odd, false) => plain,
        (Tone::Accent, false) => plain.add_modifier(Modifier::REVERSED),
    }
}

/// Draws the state.
pub(super) fn paint(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let lines = view::lines(state, usize::from(area.width), usize::from(area.height));
    for (row, line) in (area.y..area.bottom()).zip(&lines) {
        let spans: Vec<text::Span<'_>> = line
            .pieces()
            .iter()
            .map(|piece| text::Span::styled(piece.text.as_str(), style(piece.tone, state.color)))
            .collect();
        frame
            .buffer_mut()
            .set_line(area.x, row, &text::Line::from(spans), area.width);
    }
}

/// What a buffer shows, a line for each row, without spaces at the ends.
pub(super) fn text_of(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut row = String::new();
        let mut hidden = 0;
        for x in buffer.area.left()..buffer.area.right() {
            let Some(cell) = buffer.cell((x, y)) else {
                continue;
            };
            // The cell after a wide character belongs to it.
            if hidden > 0 {
                hidden -= 1;
                continue;
            }
            hidden = crate::output::width::columns(cell.symbol()).saturating_sub(1);
            row.push_str(cell.symbol());
        }
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}
