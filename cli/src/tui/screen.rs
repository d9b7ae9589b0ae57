//! Lines onto ratatui's buffer, and a buffer back to text or to a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color as Ink, Modifier, Style};
use ratatui::text;

use super::theme::{Color, Look, Theme};
use super::view::Drawn;
use crate::output::width;

fn ink(color: Color) -> Ink {
    match color {
        Color::Rgb(r, g, b) => Ink::Rgb(r, g, b),
        Color::Ansi(number) => match number {
            0 => Ink::Black,
            1 => Ink::Red,
            2 => Ink::Green,
            3 => Ink::Yellow,
            4 => Ink::Blue,
            5 => Ink::Magenta,
            6 => Ink::Cyan,
            7 => Ink::Gray,
            8 => Ink::DarkGray,
            9 => Ink::LightRed,
            10 => Ink::LightGreen,
            11 => Ink::LightYellow,
            12 => Ink::LightBlue,
            13 => Ink::LightMagenta,
            14 => Ink::LightCyan,
            _ => Ink::White,
        },
    }
}

fn style(look: Look, color: bool) -> Style {
    let mut style = Style::new();
    if color {
        style.fg = look.fg.map(ink);
        style.bg = look.bg.map(ink);
    } else if look.bg.is_some() {
        // Without colour, a ground of another colour is one turned round.
        style = style.add_modifier(Modifier::REVERSED);
    }
    for (on, modifier) in [
        (look.bold, Modifier::BOLD),
        (look.dim, Modifier::DIM),
        (look.reversed, Modifier::REVERSED),
        (look.underlined, Modifier::UNDERLINED),
    ] {
        if on {
            style = style.add_modifier(modifier);
        }
    }
    style
}

/// Draws what was drawn as lines.
pub(super) fn paint(drawn: &Drawn, theme: &Theme, color: bool, frame: &mut Frame<'_>) {
    let area = frame.area();
    for (number, (row, line)) in (area.y..area.bottom()).zip(&drawn.lines).enumerate() {
        let spans: Vec<text::Span<'_>> = line
            .pieces()
            .iter()
            .map(|piece| {
                text::Span::styled(piece.text.as_str(), style(theme.look(piece.tone), color))
            })
            .collect();
        frame
            .buffer_mut()
            .set_line(area.x, row, &text::Line::from(spans), area.width);
        if drawn.selected == Some(number) {
            let whole = ratatui::layout::Rect {
                y: row,
                height: 1,
                ..area
            };
            frame
                .buffer_mut()
                .set_style(whole, style(theme.selected, color));
        }
    }
    if let Some((column, line)) = drawn.cursor {
        let at = |value: usize, most: u16| (value as u16).min(most.saturating_sub(1));
        frame.set_cursor_position((
            area.x + at(column, area.width),
            area.y + at(line, area.height),
        ));
    }
}

/// The cells of a row, without those that a wide character before them covers.
fn cells(buffer: &Buffer, y: u16) -> impl Iterator<Item = (u16, &Cell)> {
    let mut hidden = 0;
    (buffer.area.left()..buffer.area.right()).filter_map(move |x| {
        let cell = buffer.cell((x, y))?;
        if hidden > 0 {
            hidden -= 1;
            return None;
        }
        hidden = width::columns(cell.symbol()).saturating_sub(1);
        Some((x, cell))
    })
}

/// What a buffer shows, a line for each row, without spaces at the ends.
pub(super) fn text_of(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in buffer.area.top()..buffer.area.bottom() {
        let row: String = cells(buffer, y).map(|(_, cell)| cell.symbol()).collect();
        out.push_str(row.trim_end());
        out.push('\n');
    }
    out
}

/// Width and height of a character of the picture.
const CELL: (f64, u32) = (8.4, 18);

/// A buffer as a picture (SVG): every run of one style at its column, so that it looks the same whatever the font.
pub(super) fn svg_of(buffer: &Buffer, light: bool) -> String {
    let (ground, plain) = if light {
        ("#fafafa", "#24292e")
    } else {
        ("#101418", "#d0d7de")
    };
    let area = buffer.area;
    let (wide, high) = (
        f64::from(area.width) * CELL.0,
        u32::from(area.height) * CELL.1,
    );
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    let mut body = String::new();
    for y in area.top()..area.bottom() {
        let mut runs: Vec<(u16, String, String, usize)> = Vec::new();
        for (x, cell) in cells(buffer, y) {
            let look = css(cell, ground, plain);
            let columns = width::columns(cell.symbol()).max(1);
            match runs.last_mut() {
                Some((_, last, text, taken)) if *last == look => {
                    text.push_str(cell.symbol());
                    *taken += columns;
                }
                _ => runs.push((x, look, cell.symbol().to_owned(), columns)),
            }
        }
        let top = u32::from(y) * CELL.1;
        for (x, look, text, columns) in runs {
            let (fill, ground) = look.split_once('|').unwrap_or((&look, ""));
            let left = f64::from(x) * CELL.0;
            if !ground.is_empty() {
                let _ = write!(
                    body,
                    "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" fill=\"{ground}\"/>",
                    columns as f64 * CELL.0,
                    CELL.1
                );
            }
            let shown = text.trim_end();
            if shown.trim_start().is_empty() {
                continue;
            }
            // Spaces in front are only a place further on.
            let skipped = shown.len() - shown.trim_start().len();
            let shown = shown.trim_start();
            let next = classes.len();
            let class = *classes.entry(fill.to_owned()).or_insert(next);
            let _ = write!(
                body,
                "<text class=\"c{class}\" x=\"{:.1}\" y=\"{}\" textLength=\"{:.1}\">{}</text>",
                left + skipped as f64 * CELL.0,
                top + 14,
                width::columns(shown) as f64 * CELL.0,
                escaped(shown)
            );
        }
        body.push('\n');
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide:.0} {high}\" width=\"{wide:.0}\" height=\"{high}\">\n<style>text{{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}}"
    );
    for (look, class) in &classes {
        let _ = write!(out, ".c{class}{{{look}}}");
    }
    let _ = write!(
        out,
        "</style>\n<rect width=\"100%\" height=\"100%\" fill=\"{ground}\"/>\n{body}</svg>\n"
    );
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// How a cell looks, as a style, and behind a bar the colour of its ground if it has one of its own.
fn css(cell: &Cell, ground: &str, plain: &str) -> String {
    let mut fill = color_of(cell.fg).unwrap_or_else(|| plain.to_owned());
    let mut behind = color_of(cell.bg);
    if cell.modifier.contains(Modifier::REVERSED) {
        let turned = behind.take().unwrap_or_else(|| ground.to_owned());
        behind = Some(std::mem::replace(&mut fill, turned));
    }
    let mut out = format!("fill:{fill}");
    if cell.modifier.contains(Modifier::BOLD) {
        out.push_str(";font-weight:bold");
    }
    if cell.modifier.contains(Modifier::DIM) {
        out.push_str(";opacity:.6");
    }
    if cell.modifier.contains(Modifier::UNDERLINED) {
        out.push_str(";text-decoration:underline");
    }
    out.push('|');
    out.push_str(&behind.unwrap_or_default());
    out
}

fn color_of(color: Ink) -> Option<String> {
    let (r, g, b) = match color {
        Ink::Rgb(r, g, b) => (r, g, b),
        Ink::Black => (0, 0, 0),
        Ink::Red => (244, 96, 96),
        Ink::Green => (106, 190, 106),
        Ink::Yellow => (226, 192, 84),
        Ink::Blue => (98, 150, 238),
        Ink::Magenta => (196, 130, 230),
        Ink::Cyan => (86, 196, 208),
        Ink::Gray => (190, 196, 202),
        Ink::DarkGray => (110, 118, 126),
        Ink::LightRed => (255, 130, 130),
        Ink::LightGreen => (140, 220, 140),
        Ink::LightYellow => (250, 220, 120),
        Ink::LightBlue => (130, 176, 255),
        Ink::LightMagenta => (220, 160, 250),
        Ink::LightCyan => (120, 220, 230),
        Ink::White => (245, 247, 249),
        _ => return None,
    };
    Some(format!("#{r:02x}{g:02x}{b:02x}"))
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    #[test]
    fn a_picture_holds_the_text_and_can_not_be_broken_out_of() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 2));
        buffer.set_string(0, 0, "a <script> & 支付", Style::new().fg(Ink::Red));
        buffer.set_string(0, 1, "plain", Style::new().add_modifier(Modifier::REVERSED));
        let svg = svg_of(&buffer, false);
        assert!(svg.contains("a &lt;script&gt; &amp; 支付"), "{svg}");
        assert!(svg.contains("fill=\"#d0d7de\""), "turned round: {svg}");
        assert_eq!(text_of(&buffer), "a <script> & 支付\nplain\n");
    }
}
