//! Runs a target over seeds and their mutations, and judges what it does.

pub(crate) mod mutate;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Mutator;

/// A decoder and what is worth feeding it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Good inputs to start from.
    pub(crate) seeds: fn() -> std::io::Result<Vec<Vec<u8>>>,
    /// Pieces of input that mean something to the decoder.
    pub(crate) words: &'static [&'static [u8]],
    /// Decodes, and checks what must hold of the result. `Ok`: what it had to say, in as few different ways as it
    /// has kinds of answer. `Err`: what did not hold. A panic is a failure too.
    pub(crate) run: fn(&[u8]) -> Result<String, String>,
}

/// Whichever comes first.
pub(crate) struct Bounds {
    pub(crate) runs: u64,
    pub(crate) time: Duration,
}

/// How a campaign went.
pub(crate) struct Report {
    pub(crate) runs: u64,
    pub(crate) answers: usize,
    pub(crate) slowest: Duration,
    pub(crate) failure: Option<Failure>,
}

/// The input that failed, made smaller as far as it still fails.
pub(crate) struct Failure {
    pub(crate) input: Vec<u8>,
    pub(crate) reason: String,
}

/// Longer inputs are cut: what they would find, shorter ones find sooner.
const LONGEST: usize = 64 << 10;

/// An input that takes longer than this, small as it is, is a failure.
const TOO_SLOW: Duration = Duration::from_secs(10);

/// So often in a row: a machine that stood still for a while is not the decoder's fault.
const TRIES: usize = 3;

/// Kinds of answer that are remembered, each with the first input that had it.
const MOST_KEPT: usize = 4096;

fn manifest() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The contents of a folder of this crate, by name; `README.md` aside.
pub(crate) fn files(folder: &str) -> std::io::Result<Vec<Vec<u8>>> {
    folder_contents(&manifest().join(folder))
}

fn folder_contents(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.file_name().is_none_or(|name| name != "README.md") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(std::fs::read).collect()
}

/// The target's own seeds and what earlier campaigns left in its corpus.
pub(crate) fn seeds(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let mut seeds = (target.seeds)()?;
    let corpus = manifest().join("examples/fuzz/corpus").join(target.name);
    if corpus.is_dir() {
        seeds.extend(folder_contents(&corpus)?);
    }
    if seeds.is_empty() {
        return Err(std::io::Error::other("no seeds"));
    }
    Ok(seeds)
}

/// Every seed as it is, then mutations until a bound is reached or an input fails.
pub(crate) fn campaign(target: &Target, seeds: &[Vec<u8>], bounds: Bounds, seed: u64) -> Report {
    let began = Instant::now();
    let mut mutator = Mutator::new(seed, target.words);
    let mut kept = seeds.to_vec();
    let mut answers = HashSet::new();
    let mut report = Report {
        runs: 0,
        answers: 0,
        slowest: Duration::ZERO,
        failure: None,
    };
    while report.runs < bounds.runs
        && (report.runs < seeds.len() as u64 || began.elapsed() < bounds.time)
    {
        let mut input = match seeds.get(report.runs as usize) {
            Some(seed) => seed.clone(),
            None => mutator.mutated(&kept),
        };
        input.truncate(LONGEST);
        report.runs += 1;
        let started = Instant::now();
        let outcome = judge(target, &input);
        report.slowest = report.slowest.max(started.elapsed());
        match outcome {
            Ok(answer) => {
                if answers.len() < MOST_KEPT && answers.insert(answer) {
                    kept.push(input);
                }
            }
            Err(_) => {
                report.failure = Some(shrink(target, input));
                break;
            }
        }
    }
    report.answers = answers.len();
    report
}

fn judge(target: &Target, input: &[u8]) -> Result<String, String> {
    let mut took = Duration::MAX;
    let mut answer = String::new();
    for _ in 0..TRIES {
        let started = Instant::now();
        answer = match catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
            Ok(answer) => answer?,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said =
                    said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
                return Err(format!("panicked: {}", said.unwrap_or_default()));
            }
        };
        took = took.min(started.elapsed());
        if took <= TOO_SLOW {
            break;
        }
    }
    if took > TOO_SLOW {
        return Err(format!(
            "took {} ms for {} bytes",
            took.as_millis(),
            input.len()
        ));
    }
    // Numbers in what is said tell places and sizes; without them, kinds of answer remain.
    Ok(answer
        .chars()
        .filter(|c| !c.is_ascii_digit())
        .take(80)
        .collect())
}

/// Takes pieces away, large ones first, as long as what is left still fails.
fn shrink(target: &Target, mut input: Vec<u8>) -> Failure {
    let mut piece = input.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at + piece <= input.len() {
            let smaller = [&input[..at], &input[at + piece..]].concat();
            if judge(target, &smaller).is_err() {
                input = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    let reason = match judge(target, &input) {
        Err(reason) => reason,
        Ok(_) => "it failed once, and not again".to_owned(),
    };
    Failure { input, reason }
}
