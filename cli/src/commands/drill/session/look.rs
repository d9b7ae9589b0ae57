//! A look at the drill's case through this program's own commands, none of which changes anything.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use case::{Case, TraceId};
use playbooks::drill::{Reference, Truth};

use crate::error::CliError;

/// Commands that only read a case.
const READING: [&str; 15] = [
    "compare", "diagnose", "explain", "info", "logs", "map", "metrics", "orders", "playbook",
    "query", "registry", "sagas", "trace", "traces", "verify",
];
/// Of `playbook`, what only reads.
const OF_PLAYBOOK: [&str; 4] = ["list", "show", "suggest", "run"];
/// An answer longer than this is cut.
const LONGEST: usize = 256 << 10;

/// What was seen.
pub(in crate::commands::drill) struct Seen {
    pub exit: i32,
    pub output: String,
    pub error: String,
    pub cut: bool,
}

/// Whether this is a command at all, and not an answer.
pub(in crate::commands::drill) fn is_look(command: &[String]) -> bool {
    command
        .first()
        .is_some_and(|word| READING.contains(&word.as_str()))
}

/// Refuses what could change, run or write anything.
pub(in crate::commands::drill) fn check(command: &[String]) -> Result<(), CliError> {
    let word = |place: usize| command.get(place).map(String::as_str).unwrap_or_default();
    let reads =
        READING.contains(&word(0)) && (word(0) != "playbook" || OF_PLAYBOOK.contains(&word(1)));
    if !reads {
        return Err(CliError::new(format!("'{}' is no look", command.join(" ")))
            .hint(format!("looks are {}", READING.join(", "))));
    }
    let writes = [
        "--guided",
        "--keep",
        "--probe",
        "--write-known",
        "--output",
        "-o",
        "--case",
    ];
    let wrong = command.iter().find(|word| {
        writes.iter().any(|flag| {
            word == flag
                || word
                    .strip_prefix(flag)
                    .is_some_and(|rest| rest.starts_with('='))
        })
    });
    match wrong {
        Some(word) => Err(CliError::new(format!("a look takes no {word}"))),
        None => Ok(()),
    }
}

/// Runs it over the case.
pub(in crate::commands::drill) fn look(command: &[String], case: &Path) -> Result<Seen, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::io("find the running executable", &error))?;
    let mut child = Command::new(program);
    child.args(command);
    if command.first().is_none_or(|word| word != "explain") && !is_about_books(command) {
        child.arg("--case").arg(case);
    }
    let mut child = child
        .env_remove("CASEFILE_CASE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| CliError::io("run a look", &error))?;
    // Both are read, or a child that fills one would wait for ever.
    let stderr = child.stderr.take();
    let complaints = std::thread::spawn(move || stderr.map(bounded).unwrap_or_default());
    let (output, cut) = child.stdout.take().map(bounded).unwrap_or_default();
    let status = child
        .wait()
        .map_err(|error| CliError::io("wait for a look", &error))?;
    let (error, _) = complaints.join().unwrap_or_default();
    Ok(Seen {
        exit: status.code().unwrap_or(-1),
        output,
        error,
        cut,
    })
}

/// `playbook list` and `show` take a book, and no case.
fn is_about_books(command: &[String]) -> bool {
    matches!(command, [first, second, ..] if first == "playbook" && (second == "show" || second == "list"))
}

/// All of a stream, of which no more than [`LONGEST`] is kept.
fn bounded(mut from: impl Read) -> (String, bool) {
    let mut kept = Vec::new();
    let mut cut = false;
    let mut chunk = [0; 8192];
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 {
            break;
        }
        let room = LONGEST - kept.len();
        cut |= read > room;
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
    (String::from_utf8_lossy(&kept).into_owned(), cut)
}

/// Where the engine itself knows nothing of a cause: whether what is cited has to do with whom the fault is about.
pub(super) fn touches(path: &Path, truth: &Truth, cited: &Reference) -> Result<bool, CliError> {
    let services: Vec<&str> = truth
        .expected
        .iter()
        .flat_map(|expect| &expect.subjects)
        .filter_map(|subject| subject.split(':').next())
        .collect();
    Ok(match cited {
        Reference::Instance(id) => truth
            .instances
            .get(id)
            .and_then(|name| name.split(':').next())
            .is_some_and(|service| services.contains(&service)),
        Reference::Trace(id) => match TraceId::from_hex(id.as_bytes()) {
            None => false,
            Some(id) => Case::open(path)?
                .trace(id)?
                .iter()
                .any(|span| services.contains(&span.origin.resource.service())),
        },
        Reference::Saga(_) | Reference::Order(_) | Reference::Event(_) | Reference::Metric(_) => {
            false
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_read_and_nothing_else() {
        let of = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            check(&words).is_ok()
        };
        assert!(of("traces --errors") && of("playbook run health --format json"));
        assert!(
            !of("drill answer") && !of("shop fault list") && !of("seal") && !of("playbook lint x")
        );
        assert!(!of("diagnose --write-known /tmp/x") && !of("playbook run health --keep"));
        assert!(!of("traces --case=/elsewhere"));
    }

    #[test]
    fn long_answers_are_cut() {
        let (text, cut) = bounded(std::io::repeat(b'a').take(LONGEST as u64 + 1));
        assert!(cut && text.len() == LONGEST);
        let (text, cut) = bounded(&b"short"[..]);
        assert!(!cut && text == "short");
    }
}
