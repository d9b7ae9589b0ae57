//! Log records, newest last, or their patterns; severities over time above them.

use analyzers::patterns::{BANDS, Pattern, band};

use super::body::Body;
use super::{clock, in_sight, reading, rule, strip};
use crate::output::{Line, Tone, count, thousands, width};
use crate::render::spark::{resample, spark};
use crate::tui::state::{LogsFound, LogsView, State};

const NAMES: [&str; BANDS] = ["debug", "info", "warn", "error", "fatal"];
/// Columns of a pattern's chart.
const CHART: usize = 16;

fn tone(band: usize) -> Tone {
    match band {
        3.. => Tone::Bad,
        2 => Tone::Odd,
        1 => Tone::Plain,
        _ => Tone::Dim,
    }
}

pub(super) fn body(state: &State, view: &LogsView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    let mut title = Line::new().with(
        Tone::Strong,
        if view.patterns {
            " patterns of logs"
        } else {
            " logs"
        },
    );
    if !view.filter.is_empty() {
        title.push(Tone::Plain, " that mean ");
        title.push(Tone::Accent, &view.filter);
    }
    if let Some(window) = view.window {
        title.push(
            Tone::Odd,
            format!("  {} → {}", clock(window.from), clock(window.until)),
        );
    }
    if let Some(found) = &view.found {
        title.push(
            Tone::Dim,
            format!("  {}", count(found.patterns.records, "record", "records")),
        );
        title.push(
            Tone::Dim,
            format!(
                " · {}",
                count(found.patterns.patterns.len() as u64, "pattern", "patterns")
            ),
        );
    }
    if view.follow && !view.patterns {
        title.push(Tone::Accent, "  ⏵ following");
    }
    body.line(rule(columns));
    body.line(title);
    let Some(found) = &view.found else {
        body.line(reading());
        return body;
    };
    if found.patterns.records == 0 {
        body.line(Line::plain("   none"));
        return body;
    }
    severities(&mut body, state, found, columns);
    if view.patterns {
        patterns(&mut body, view, found, columns, room);
    } else {
        records(&mut body, view, found, columns, room);
    }
    body
}

/// A line for each severity that was said, the worst at the top.
fn severities(body: &mut Body, state: &State, found: &LogsFound, columns: usize) {
    let cells = strip::width(columns, 16);
    let top = body.len();
    for severity in (0..BANDS).rev() {
        let values: Vec<f64> = found
            .patterns
            .severities
            .iter()
            .map(|slot| f64::from(slot[severity]))
            .collect();
        let total: u64 = found
            .patterns
            .severities
            .iter()
            .map(|slot| u64::from(slot[severity]))
            .sum();
        if total == 0 {
            continue;
        }
        let chart = spark(&resample(&values, cells), 0.0);
        let behind = Line::new().with(tone(severity), format!("  {}", thousands(total)));
        body.line(strip::chart(
            NAMES[severity],
            &chart,
            tone(severity),
            behind,
            &state.moment,
        ));
    }
    strip::axis(body, found.patterns.window, cells, &state.moment, top);
}

fn records(body: &mut Body, view: &LogsView, found: &LogsFound, columns: usize, room: usize) {
    let sight = in_sight(view.selected, found.records.len(), body.left(room, 1));
    let earlier = sight.start as u64 + found.left_out;
    for place in sight {
        let item = &found.records[place];
        let mut line = item.line.clone();
        if item.trace.is_some() {
            line = Line::new().with(Tone::Dim, "⌁").joined(line);
        } else {
            line = Line::plain(" ").joined(line);
        }
        body.row(
            place,
            place == view.selected,
            line.fit(columns.saturating_sub(2)),
        );
    }
    if earlier > 0 {
        let text = format!(
            "  … {} · ⌁ belongs to a trace",
            count(earlier, "earlier record", "earlier records")
        );
        body.line(Line::new().with(Tone::Dim, text));
    }
}

fn patterns(body: &mut Body, view: &LogsView, found: &LogsFound, columns: usize, room: usize) {
    let wide = columns >= 100;
    let against = match found.patterns.baseline {
        Some(before) => format!("vs {}–{}", clock(before.from), clock(before.until)),
        None => String::new(),
    };
    let chart = if wide { CHART + 2 } else { 0 };
    let header = format!(
        "  {}  {}{}  {}  pattern",
        width::right("count", 9),
        " ".repeat(chart),
        width::left("severity", 8),
        width::left(&against, 20),
    );
    body.line(Line::new().with(Tone::Dim, header));
    let list = &found.patterns.patterns;
    let sight = in_sight(view.selected, list.len(), body.left(room, 1));
    for (place, pattern) in list.iter().enumerate().take(sight.end).skip(sight.start) {
        body.row(
            place,
            place == view.selected,
            row(pattern, wide, columns.saturating_sub(2)),
        );
    }
    let hidden = list.len() - sight.len();
    if hidden > 0 {
        body.line(Line::new().with(Tone::Dim, format!("  … {hidden} more")));
    }
}

fn row(pattern: &Pattern, wide: bool, columns: usize) -> Line {
    let severity = band(pattern.severity);
    let mut line = Line::plain(width::right(&thousands(pattern.count), 9));
    if wide {
        let values: Vec<f64> = pattern
            .over_time
            .iter()
            .map(|count| f64::from(*count))
            .collect();
        line.push(
            Tone::Dim,
            format!("  {}", spark(&resample(&values, CHART), 0.0)),
        );
    }
    line.push(
        tone(severity),
        format!("  {}", width::left(NAMES[severity], 8)),
    );
    let (tone, text) = match (pattern.new, pattern.ratio) {
        (true, _) => (Tone::Odd, "! new".to_owned()),
        (_, Some(ratio)) if ratio >= 3.0 => (Tone::Odd, format!("! ×{ratio:.1}")),
        (_, Some(ratio)) => (Tone::Dim, format!("×{ratio:.1}")),
        (_, None) => (Tone::Dim, "·".to_owned()),
    };
    line.push(tone, format!("  {}", width::left(&text, 20)));
    line.push(Tone::Plain, format!("  {}", pattern.text));
    line.push(Tone::Dim, format!("  {}", pattern.services.join(", ")));
    line.fit(columns)
}
