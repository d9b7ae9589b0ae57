//! After the score: the shortest path of evidence, beside what the person looked at; and the page of progress.

use std::path::{Path, PathBuf};

use analyzers::engine::Report;
use case::Window;
use clap::Args;
use playbooks::book::Shelf;
use playbooks::drill::Drill;
use playbooks::walk::{self, Nobody, Said};
use serde_json::{Value, json};

use crate::commands::playbook::Walking;
use crate::error::CliError;
use crate::exit;
use crate::output::{Column, Console, Format, Line, Table, Tone};
use crate::paths;
use crate::reading::Reading;

#[derive(Debug, Args)]
pub struct ReviewArgs {
    /// All drills so far, a line each, instead of the last one.
    #[arg(long)]
    all: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The questions that lead to each fault and the evidence under them: what it would have taken.
pub(super) fn shortest(
    case: &Path,
    report: &Report,
    drill: &Drill,
) -> Result<Vec<Value>, CliError> {
    let shelf = Shelf::built_in()?;
    let walking = Walking::diagnosed(Reading::at(case, Window::ALL)?, report.clone())?;
    let mut path = Vec::new();
    for incident in &drill.incidents {
        let Some(book) = shelf.for_cause(&incident.expect.cause) else {
            continue;
        };
        let taken = walking.scene(&shelf, |scene| walk::walk(scene, book, &mut Nobody));
        path.push(
            json!({ "look": format!("casefile playbook run {}", book.id), "tells": book.title }),
        );
        for step in taken.iter().filter(|taken| taken.said == Said::Fail) {
            let found = step
                .found
                .as_ref()
                .is_none_or(|found| found.cause == incident.expect.cause);
            if found {
                let look = step.evidence.iter().find_map(|kept| kept.command.clone());
                path.push(json!({ "look": look, "asks": step.ask, "tells": step.words }));
            }
        }
    }
    Ok(path)
}

fn page() -> Result<PathBuf, CliError> {
    Ok(paths::state()?.join("drills.jsonl"))
}

/// Adds a scored drill to the page of progress.
pub(super) fn keep(scored: &Value) -> Result<(), CliError> {
    use std::io::Write;
    let page = page()?;
    let failed = |error: std::io::Error| CliError::io(format!("write {}", page.display()), &error);
    if let Some(folder) = page.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let line = crate::output::json::line(scored)? + "\n";
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&page)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(failed)
}

pub(in crate::commands::drill) fn run(
    args: &ReviewArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let page = page()?;
    let text = std::fs::read_to_string(&page).unwrap_or_default();
    let drills: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let Some(last) = drills.last() else {
        return Err(CliError::new("no drill has been scored yet")
            .hint("`casefile drill start --random` begins one"));
    };
    match (args.all, args.format) {
        (true, Format::Json) => drills.iter().try_for_each(|drill| console.json(drill))?,
        (false, Format::Json) => console.json(last)?,
        (true, Format::Text) => console.lines(&progress(&drills, console.list_width()))?,
        (false, Format::Text) => console.lines(&lines(last))?,
    }
    Ok(exit::CLEAN)
}

fn texts<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn number(value: &Value, place: &str) -> u64 {
    value
        .pointer(place)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn progress(drills: &[Value], width: usize) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("when"),
        Column::right("level"),
        Column::left("incident").shrinks_to(30),
        Column::left("solved"),
        Column::right("points"),
        Column::right("wrong"),
        Column::right("hints"),
        Column::right("seconds"),
    ]);
    for drill in drills {
        let right = drill
            .pointer("/grade/right")
            .and_then(Value::as_bool)
            .unwrap_or_default();
        let incidents: Vec<&str> = list(drill, "truth")
            .iter()
            .map(|truth| texts(truth, "incident"))
            .collect();
        table.row(vec![
            Line::plain(texts(drill, "at").chars().take(16).collect::<String>()),
            Line::plain(number(drill, "/level").to_string()),
            Line::plain(incidents.join(", ")),
            Line::new().with(
                if right { Tone::Plain } else { Tone::Odd },
                if right { "yes" } else { "no" },
            ),
            Line::plain(number(drill, "/grade/points").to_string()),
            Line::plain(number(drill, "/grade/wrong_answers").to_string()),
            Line::plain(number(drill, "/grade/hints").to_string()),
            Line::plain(number(drill, "/grade/seconds").to_string()),
        ]);
    }
    let mut lines = table.lines(width);
    let solved = drills
        .iter()
        .filter(|drill| drill.pointer("/grade/right").and_then(Value::as_bool) == Some(true))
        .count();
    lines.push(Line::new());
    lines.push(Line::plain(format!("{solved} of {} solved", drills.len())));
    lines
}

/// A scored drill: the grade, the truth, the shortest path, and what was looked at.
pub(super) fn lines(scored: &Value) -> Vec<Line> {
    let grade = &scored["grade"];
    let right = grade
        .get("right")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    let mut out = vec![
        Line::new()
            .with(
                if right { Tone::Strong } else { Tone::Odd },
                if right { "solved" } else { "not solved" },
            )
            .with(
                Tone::Plain,
                format!("  {} points of 100", number(scored, "/grade/points")),
            ),
        Line::plain(format!(
            "  services {0} of {2} · causes {1} of {2} · evidence {3} of {4} bears on it · {5} wrong answers · {6} hints · {7} s",
            number(grade, "/services_right"),
            number(grade, "/causes_right"),
            number(grade, "/faults"),
            number(grade, "/evidence_good"),
            number(grade, "/evidence_cited"),
            number(grade, "/wrong_answers"),
            number(grade, "/hints"),
            number(grade, "/seconds"),
        )),
        Line::new(),
    ];
    for truth in list(scored, "truth") {
        out.push(
            Line::new()
                .with(Tone::Dim, "  it was    ")
                .with(Tone::Strong, texts(truth, "title")),
        );
        out.push(Line::new().with(Tone::Dim, format!("            {}", texts(truth, "cause"))));
    }
    out.push(Line::new());
    out.push(Line::new().with(Tone::Strong, "The shortest path"));
    for step in list(scored, "path") {
        let asks = texts(step, "asks");
        out.push(Line::plain(format!(
            "  {}{}{}",
            asks,
            if asks.is_empty() { "" } else { " " },
            texts(step, "tells")
        )));
        if !texts(step, "look").is_empty() {
            out.push(Line::new().with(Tone::Accent, format!("    {}", texts(step, "look"))));
        }
    }
    out.push(Line::new());
    out.push(Line::new().with(Tone::Strong, "What you looked at"));
    let looks = list(scored, "looks");
    if looks.is_empty() {
        out.push(Line::plain("  nothing"));
    }
    for look in looks {
        out.push(Line::plain(format!(
            "  {:>5} s  casefile {}",
            number(look, "/after_s"),
            texts(look, "command")
        )));
    }
    out
}
