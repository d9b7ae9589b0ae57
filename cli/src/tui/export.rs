//! What is on screen as a file: markdown for issues and post-mortems, JSON for programs.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::keymap::Keymap;
use super::state::{Content, Screen, State, listed};
use super::view;
use crate::error::CliError;
use crate::output::rows::{LogRow, SpanRow};
use crate::output::sanitise::clean;
use crate::render::report::{Shown, markdown, object};

/// Lines of a list that are written, whatever fits on the screen.
const LINES: usize = 2_000;
const COLUMNS: usize = 160;

/// Writes the screen to a new file, in the form that its name's ending says.
pub(super) fn write(state: &State, keymap: &Keymap, name: &str) -> Result<String, CliError> {
    if name.is_empty() {
        return Err(CliError::new(
            "a file's name is needed, such as screen.md or screen.json",
        ));
    }
    let path = Path::new(name);
    let text = match path.extension().and_then(|ending| ending.to_str()) {
        Some("md") => as_markdown(state, keymap),
        Some("json") => crate::output::json::line(&as_json(state))? + "\n",
        _ => {
            return Err(
                CliError::new(format!("{name:?} does not say in which form"))
                    .hint("name it .md or .json"),
            );
        }
    };
    let failed = |error: std::io::Error| CliError::io(format!("write {name}"), &error);
    // What is there already is not written over: it may be the evidence of another moment.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(format!("written to {name}"))
}

fn as_markdown(state: &State, keymap: &Keymap) -> String {
    let mut out = format!(
        "# {}: {}\n\n",
        clean(&state.name).replace(['*', '_', '`', '<'], " "),
        state.screen().title()
    );
    if let (Screen::Findings(_), Some(report)) = (state.screen(), &state.report) {
        for line in markdown::lines(&Shown::whole(report)) {
            out.push_str(&line);
            out.push('\n');
        }
        return out;
    }
    let drawn = view::draw(state, keymap, COLUMNS, LINES);
    let last = drawn.lines.len().saturating_sub(1);
    let mut lines: Vec<String> = drawn.lines[..last]
        .iter()
        .map(|line| line.text().trim_end().to_owned())
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    // A fence longer than any in the text.
    out.push_str("````text\n");
    for line in lines {
        out.push_str(&line.replace("````", "'''' "));
        out.push('\n');
    }
    out.push_str("````\n");
    out
}

fn value(what: impl serde::Serialize) -> Value {
    serde_json::to_value(what).unwrap_or(Value::Null)
}

fn as_json(state: &State) -> Value {
    let shown = match state.screen() {
        Screen::Overview { .. } => value(&state.overview),
        Screen::Traces(view) => view
            .rows
            .iter()
            .flatten()
            .map(|row| {
                json!({
                    "trace_id": row.id, "start_unix_nano": row.start, "duration_nano": row.duration,
                    "service": row.service, "name": row.name, "status": value(row.status.name()),
                    "spans": row.spans, "errors": row.errors,
                })
            })
            .collect(),
        Screen::Trace(view) => view
            .loaded
            .iter()
            .flat_map(|loaded| {
                let of = |span| value(SpanRow(loaded.waterfall.span(span)));
                loaded.waterfall.placed().iter().map(move |placed| of(placed.span))
            })
            .collect(),
        Screen::Logs(view) => match &view.found {
            Some(found) if view.patterns => value(&found.patterns),
            Some(found) => found
                .records
                .iter()
                .map(|item| {
                    json!({
                        "time_unix_nano": item.at, "service": item.service, "trace_id": item.trace,
                        "span_id": item.span, "text": item.line.text(),
                    })
                })
                .collect(),
            None => Value::Null,
        },
        Screen::Sheet(view) => match &view.content {
            Some(Content::Map(map)) => value(&**map),
            Some(Content::Registry(roster)) => value(&**roster),
            Some(Content::Sagas(sagas)) => listed(sagas)
                .into_iter()
                .map(|story| crate::output::sagas::whole(sagas, story))
                .collect(),
            None => Value::Null,
        },
        Screen::Findings(_) => match &state.report {
            Some(report) => value(object::ReportObject::of(&Shown::whole(report))),
            None => Value::Null,
        },
        Screen::Compare(view) => view
            .pairs
            .iter()
            .map(|pair| {
                let of = |side: &super::state::TraceView, span: Option<usize>| {
                    let loaded = side.loaded.as_ref()?;
                    Some(value(SpanRow(loaded.waterfall.span(span?))))
                };
                json!({ "depth": pair.depth, "a": of(&view.left, pair.left), "b": of(&view.right, pair.right) })
            })
            .collect(),
        Screen::Faults(view) => view
            .lines
            .iter()
            .map(|fault| json!({ "kind": fault.kind, "service": fault.target, "on": fault.active }))
            .collect(),
        Screen::Notes { .. } => value(&state.notebook),
        Screen::Playbooks(view) => match &view.walk {
            Some(walk) => value(&walk.run),
            None => view.lines.iter().map(|line| value(&line.id)).collect(),
        },
    };
    let mut out = json!({
        "case": state.name,
        "view": state.screen().title(),
        "window": state.overview.as_ref().map(|overview| overview.window),
        "shown": shown,
    });
    // The logs of a trace belong to what is on screen.
    if let Screen::Trace(view) = state.screen()
        && let Some(near) = &view.near
    {
        out["logs"] = near.logs.iter().map(|log| value(LogRow(log))).collect();
    }
    out
}
