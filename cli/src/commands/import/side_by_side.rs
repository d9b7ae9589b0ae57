//! Imports several files at a time. Each is read, decoded and encoded on a thread of its own; what they hold goes into the
//! case file after file, in the order they were named: the same files make the same case. Knows nothing of formats.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZero;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use case::{AppendError, CaseWriter, Receipt};
use collectors::import::{self, Failure, Input, Options, Progress, Report};

use crate::commands::progress::ProgressLine;
use crate::error::CliError;
use crate::output;

/// Files read at a time; each holds a request's worth of rows.
const MOST: usize = 4;

type Outcome = Result<Report, Failure>;

/// Imports the inputs and tells of each, in their order, until one fails.
pub(super) fn import_all(
    inputs: Vec<Input>,
    options: &Options,
    writer: Option<&CaseWriter>,
    tell: &mut dyn FnMut(&str, Outcome) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let threads = std::thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(inputs.len())
        .clamp(1, MOST);
    let left: Mutex<VecDeque<(usize, Input)>> =
        Mutex::new(inputs.into_iter().enumerate().collect());
    let turns = Turns::default();
    let line = Mutex::new(ProgressLine::new());
    let (done, outcomes) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let done = done.clone();
            let (left, turns, line) = (&left, &turns, &line);
            scope.spawn(move || {
                loop {
                    let Some((place, input)) = lock(left).pop_front() else {
                        return;
                    };
                    if turns.over() {
                        return;
                    }
                    let turn = Turn { turns, place };
                    let name = input.name().to_owned();
                    let outcome = import_one(input, options, writer, &turn, line);
                    let ended = outcome.is_err();
                    drop(done.send((place, name, outcome)));
                    if ended {
                        // The files before it are imported all the same.
                        turn.wait();
                        return;
                    }
                    turn.pass();
                }
            });
        }
        drop(done);
        let told = in_order(&outcomes, &mut |name, outcome| {
            let mut line = lock(&line);
            line.clear();
            tell(name, outcome)
        });
        // However telling ended: nobody waits for a turn that does not come.
        turns.end();
        told
    })
}

/// Hands outcomes on in the order of the files, and none behind one that failed.
fn in_order(
    outcomes: &Receiver<(usize, String, Outcome)>,
    tell: &mut dyn FnMut(&str, Outcome) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (place, name, outcome) in outcomes {
        early.insert(place, (name, outcome));
        while let Some((name, outcome)) = early.remove(&next) {
            next += 1;
            let failed = outcome.is_err();
            tell(&name, outcome)?;
            if failed {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn import_one(
    input: Input,
    options: &Options,
    writer: Option<&CaseWriter>,
    turn: &Turn<'_>,
    line: &Mutex<ProgressLine>,
) -> Outcome {
    let name = input.name().to_owned();
    let mut sink = |signal, payload| match writer {
        None => Ok(Receipt::default()),
        Some(_) if !turn.wait() => Err(AppendError::Closed),
        Some(writer) => writer.append(signal, payload),
    };
    import::import(input, options, &mut sink, &mut |progress| {
        if turn.has_come() {
            show(&mut lock(line), &name, progress);
        }
    })
}

fn show(line: &mut ProgressLine, name: &str, progress: Progress) {
    line.show(progress.read, progress.total, || {
        let bad = match progress.bad {
            0 => String::new(),
            bad => format!(" · {} bad", output::thousands(bad)),
        };
        format!("{name} · {} items{bad}", output::thousands(progress.items))
    });
}

/// Whose requests may go into the case now.
#[derive(Default)]
struct Turns {
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Default)]
struct Now {
    place: usize,
    over: bool,
}

impl Turns {
    fn over(&self) -> bool {
        lock(&self.now).over
    }

    fn end(&self) {
        lock(&self.now).over = true;
        self.changed.notify_all();
    }
}

/// A file's place in the order. Dropped before it is passed on, nothing behind it is imported.
struct Turn<'t> {
    turns: &'t Turns,
    place: usize,
}

impl Turn<'_> {
    /// Waits for it; `false` if it does not come any more.
    fn wait(&self) -> bool {
        let mut now = lock(&self.turns.now);
        while now.place < self.place && !now.over {
            now = self
                .turns
                .changed
                .wait(now)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !now.over
    }

    fn has_come(&self) -> bool {
        lock(&self.turns.now).place == self.place
    }

    /// The next file's turn; this one's must have come, also where it had nothing to bring.
    fn pass(self) {
        if self.wait() {
            lock(&self.turns.now).place += 1;
            self.turns.changed.notify_all();
        }
        std::mem::forget(self);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use case::{Case, Window, WriterOptions};

    use super::*;

    fn logs(name: &str, rows: usize) -> Input {
        let text: String = (0..rows)
            .map(|row| {
                format!(
                    "{{\"time\":\"2026-11-20T10:00:00Z\",\"level\":\"info\",\"message\":\"{name} {row}\"}}\n"
                )
            })
            .collect();
        Input::memory(name, text)
    }

    #[test]
    fn files_come_in_their_order_and_none_behind_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..10 {
            let path = folder.path().join(format!("{round}.case"));
            let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
            // The first takes longest, the third fails at once.
            let inputs = vec![
                logs("a", 20_000),
                logs("b", 3),
                Input::memory("c", "neither fish nor fowl"),
                logs("d", 3),
            ];
            let mut told = Vec::new();
            import_all(
                inputs,
                &Options::default(),
                Some(&writer),
                &mut |name, outcome| {
                    told.push((name.to_owned(), outcome.map(|report| report.logs).ok()));
                    Ok(())
                },
            )
            .unwrap();
            writer.close().unwrap();
            let expected = [("a", Some(20_000)), ("b", Some(3)), ("c", None)];
            assert_eq!(told, expected.map(|(name, rows)| (name.to_owned(), rows)));
            let mut bodies = Vec::new();
            Case::open(&path)
                .unwrap()
                .logs(Window::ALL, &mut |record| {
                    bodies.push(record.body.to_string());
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            let expected = (0..20_000)
                .map(|row| format!("a {row}"))
                .chain((0..3).map(|row| format!("b {row}")));
            assert!(bodies.into_iter().eq(expected), "in the order of the files");
        }
    }
}
