//! A strip of time: small charts over the same columns, an axis, the cursor and the brush on them.

use case::Window;

use super::body::{Body, Strip};
use super::clock;
use crate::output::width::left;
use crate::output::{Line, Tone};
use crate::tui::state::{Moment, SLOTS};

/// Columns in front of a strip, for its name.
pub(super) const LABEL: usize = 8;

/// How wide a strip is drawn, with so many columns kept behind it.
pub(super) fn width(columns: usize, behind: usize) -> usize {
    columns.saturating_sub(LABEL + behind).clamp(10, 180)
}

/// Shares from none to all, as ever darker cells.
pub(super) fn heat(shares: &[f64]) -> String {
    shares
        .iter()
        .map(|share| match share {
            share if *share <= 0.0 => '░',
            share if *share < 0.05 => '▒',
            share if *share < 0.25 => '▓',
            _ => '█',
        })
        .collect()
}

/// A chart with its name before and a figure behind. What is brushed stands out.
pub(super) fn chart(name: &str, cells: &str, tone: Tone, behind: Line, moment: &Moment) -> Line {
    let mut line = Line::new().with(Tone::Dim, format!(" {}", left(name, LABEL - 1)));
    let all: Vec<char> = cells.chars().collect();
    for (at, cell) in all.iter().enumerate() {
        let slot = at * SLOTS / all.len().max(1);
        let brushed = moment
            .brushed()
            .is_some_and(|(first, last)| (first..=last).contains(&slot));
        line.push(if brushed { Tone::Accent } else { tone }, cell.to_string());
    }
    line.joined(behind)
}

/// The axis: times, and under the cursor a mark with its time.
pub(super) fn axis(body: &mut Body, window: Window, width: usize, moment: &Moment, top: usize) {
    let length = window.until.0.saturating_sub(window.from.0);
    let at = |cell: usize| {
        let since = u128::from(length) * cell as u128 / width.max(1) as u128;
        window.from.saturating_add(since as u64)
    };
    let mut ticks = String::new();
    for cell in (0..width).step_by(16) {
        if cell + 8 <= width {
            ticks = left(&ticks, cell);
            ticks.push_str(&clock(at(cell)));
        }
    }
    let mut line = Line::new().with(Tone::Dim, " ".repeat(LABEL));
    match moment.cursor {
        None => line.push(Tone::Dim, left(&ticks, width)),
        Some(slot) => {
            let (first, last) = moment.brushed().unwrap_or((slot, slot));
            let cell = |slot: usize| slot * width / SLOTS;
            let (from, to) = (
                cell(first),
                (cell(last + 1)).max(cell(first) + 1).min(width),
            );
            let text = if first == last {
                format!(" {}", clock(at(from)))
            } else {
                format!(" {} → {}", clock(at(from)), clock(at(to)))
            };
            line.push(Tone::Dim, "·".repeat(from));
            line.push(Tone::Accent, "▔".repeat(to - from));
            let behind = width.saturating_sub(to);
            if text.len() <= behind {
                line.push(Tone::Accent, &text);
                line.push(Tone::Dim, "·".repeat(behind - text.chars().count()));
            } else {
                line.push(Tone::Dim, "·".repeat(behind));
                line.push(Tone::Accent, text);
            }
        }
    }
    body.line(line);
    body.strip = Some(Strip {
        top,
        bottom: body.len(),
        left: LABEL,
        width,
        window,
    });
}
