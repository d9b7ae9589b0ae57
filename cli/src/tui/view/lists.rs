//! Small lists: faults of the bundled shop, and what is kept of an investigation.

use super::body::Body;
use super::{in_sight, rule};
use crate::output::{Line, Tone, width};
use crate::tui::state::{FaultsView, State};

pub(super) fn faults(view: &FaultsView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    body.line(
        Line::new()
            .with(Tone::Strong, " faults of the bundled shop")
            .with(Tone::Dim, "  ⏎ starts one, or ends it; each ends by itself after five minutes of the shop's time"),
    );
    if view.lines.is_empty() {
        body.line(super::reading());
        return body;
    }
    let sight = in_sight(view.selected, view.lines.len(), body.left(room, 1));
    for place in sight {
        let fault = &view.lines[place];
        let on = fault.active.is_some();
        let line = Line::new()
            .with(
                if on { Tone::Bad } else { Tone::Dim },
                if on { "● on  " } else { "      " },
            )
            .with(Tone::Plain, width::left(&fault.kind, 26))
            .with(Tone::Dim, width::left(&fault.target, 18))
            .with(Tone::Plain, &fault.what);
        body.row(
            place,
            place == view.selected,
            line.fit(columns.saturating_sub(2)),
        );
    }
    body
}

pub(super) fn notes(state: &State, selected: usize, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    body.line(Line::new().with(Tone::Strong, " kept of this investigation"));
    let kept = state.kept();
    if kept.is_empty() {
        body.line(Line::plain(
            "   nothing yet: + writes a note, p pins a trace, a acknowledges a finding",
        ));
        return body;
    }
    for place in in_sight(selected, kept.len(), body.left(room, 0)) {
        let row = &kept[place];
        let line = Line::new()
            .with(Tone::Dim, width::left(row.kind, 14))
            .with(Tone::Plain, &row.text)
            .with(Tone::Dim, format!("  {}", row.about));
        body.row(
            place,
            place == selected,
            line.fit(columns.saturating_sub(2)),
        );
    }
    body
}
