//! The commands of a drill that is under way: each asks the process that keeps it, and prints the reply.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use playbooks::drill::{Answered, Reference};
use serde_json::Value;

use super::{Request, review};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format, Line, Tone};
use crate::paths;

#[derive(Debug, Args)]
pub struct PlainArgs {
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Args)]
pub struct EvidenceArgs {
    #[arg(value_name = "add", value_parser = ["add"])]
    add: String,
    /// What it is.
    #[arg(value_enum, value_name = "KIND")]
    kind: ReferenceKind,
    /// Which one: an id, an event's number, a metric's name.
    #[arg(value_name = "ID")]
    id: String,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReferenceKind {
    Trace,
    Saga,
    Order,
    Instance,
    Event,
    Metric,
}

#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// Who is to blame: a service, or an instance's id.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// What it is: symptom#cause, as `casefile explain RULE` lists them.
    #[arg(long, value_name = "CAUSE")]
    cause: String,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// No reply takes longer; the score looks at the whole case once more.
const LONGEST: Duration = Duration::from_secs(120);

/// Where the drill's process is asked. The folder is the person's own.
pub(super) fn socket() -> Result<PathBuf, CliError> {
    let folder = paths::state()?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
    Ok(folder.join("drill.sock"))
}

/// Whether a drill is under way. A socket nobody listens on any more is taken away.
pub(super) fn is_running(socket: &Path) -> bool {
    let running = UnixStream::connect(socket).is_ok();
    if !running {
        drop(std::fs::remove_file(socket));
    }
    running
}

/// Asks the drill that is under way.
fn ask(request: &Request) -> Result<Value, CliError> {
    let socket = socket()?;
    let stream = UnixStream::connect(&socket).map_err(|_| {
        CliError::new("no drill is under way").hint("`casefile drill start --random` begins one")
    })?;
    let failed = |error: std::io::Error| CliError::io("speak with the drill's process", &error);
    let line = crate::output::json::line(request)?;
    stream.set_read_timeout(Some(LONGEST)).map_err(failed)?;
    writeln!(&stream, "{line}").map_err(failed)?;
    let mut reply = String::new();
    BufReader::new(&stream)
        .read_line(&mut reply)
        .map_err(failed)?;
    let reply: Value = serde_json::from_str(&reply)
        .map_err(|_| CliError::new("the drill's process ended without an answer"))?;
    match reply
        .get("error")
        .and_then(Value::as_str)
        .filter(|_| reply["event"] == "error")
    {
        None => Ok(reply),
        Some(error) => {
            let error = CliError::new(error);
            Err(match reply.get("hint").and_then(Value::as_str) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
    }
}

/// Waits until the case is sealed.
pub(super) fn wait() -> Result<(), CliError> {
    // Asked again and again: a request that waits would keep other commands waiting.
    while ask(&Request::Status)?["state"] == "running" {
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Tells a drill that is under way that the person ran a command on its case. There mostly is none.
pub fn looked(case: &Path) {
    let Ok(folder) = paths::state() else { return };
    let socket = folder.join("drill.sock");
    if !socket.exists() {
        return;
    }
    let Ok(status) = ask(&Request::Status) else {
        return;
    };
    let same = status
        .get("case")
        .and_then(Value::as_str)
        .zip(std::path::absolute(case).ok())
        .is_some_and(|(theirs, ours)| Path::new(theirs) == ours);
    if same {
        let command: Vec<String> = std::env::args().skip(1).collect();
        drop(ask(&Request::Looked {
            command: command.join(" "),
        }));
    }
}

fn print(
    reply: &Value,
    format: Format,
    console: &mut Console,
    lines: &[Line],
) -> Result<u8, CliError> {
    match format {
        Format::Json => console.json(reply)?,
        Format::Text => console.lines(lines)?,
    }
    Ok(exit::CLEAN)
}

pub(in crate::commands::drill) fn status(
    args: &PlainArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let reply = ask(&Request::Status)?;
    let line = Line::plain(format!(
        "{} · {} s · {} looks · {} hints · {} pieces of evidence · {} answers · case {}",
        reply["state"].as_str().unwrap_or_default(),
        reply["seconds"],
        reply["looks"],
        reply["hints"],
        reply["evidence"],
        reply["answers"],
        reply["case"].as_str().unwrap_or_default(),
    ));
    print(&reply, args.format, console, &[line])
}

pub(in crate::commands::drill) fn hint(
    args: &PlainArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let reply = ask(&Request::Hint)?;
    let line = Line::new()
        .with(Tone::Dim, format!("{} of 3  ", reply["strength"]))
        .with(Tone::Plain, reply["hint"].as_str().unwrap_or_default());
    print(&reply, args.format, console, &[line])
}

pub(in crate::commands::drill) fn evidence(
    args: &EvidenceArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let id = args.id.clone();
    let reference = match args.kind {
        ReferenceKind::Trace => Reference::Trace(id.to_ascii_lowercase()),
        ReferenceKind::Saga => Reference::Saga(id),
        ReferenceKind::Order => Reference::Order(id),
        ReferenceKind::Instance => Reference::Instance(id),
        ReferenceKind::Metric => Reference::Metric(id),
        ReferenceKind::Event => Reference::Event(
            id.parse()
                .map_err(|_| CliError::new(format!("{id:?} is no number of an event")))?,
        ),
    };
    let reply = ask(&Request::Evidence { reference })?;
    let line = Line::plain(format!(
        "cited, {} in all; whether it bears on the fault comes with the score",
        reply["evidence"]
    ));
    print(&reply, args.format, console, &[line])
}

pub(in crate::commands::drill) fn answer(
    args: &AnswerArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let reply = ask(&Request::Answer(Answered {
        service: args.service.clone(),
        cause: args.cause.clone(),
    }))?;
    let right = reply["right"].as_bool().unwrap_or_default();
    let line = Line::new().with(
        if right { Tone::Strong } else { Tone::Odd },
        if right { "right" } else { "not right" },
    );
    print(&reply, args.format, console, &[line])?;
    Ok(if right { exit::CLEAN } else { exit::FINDING })
}

pub(in crate::commands::drill) fn score(
    args: &PlainArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let reply = ask(&Request::Score)?;
    let lines = review::lines(&reply);
    print(&reply, args.format, console, &lines)
}

pub(in crate::commands::drill) fn stop(
    args: &PlainArgs,
    console: &mut Console,
) -> Result<u8, CliError> {
    let reply = ask(&Request::Stop)?;
    print(
        &reply,
        args.format,
        console,
        &[Line::plain("stopped, without a score")],
    )
}
