//! `casefile drill verify`: incident after incident, each staged by a process of its own, diagnosed from the case alone,
//! and compared with what its file says a right diagnosis would be.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::Args;
use playbooks::book::Shelf;
use playbooks::incident::Incident;
use serde::Serialize;
use shop_fixture::config::{Noise, Profile};

use super::plan::{self, Plan};
use super::{shop_of, table, trial};
use crate::commands::collect::duration;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use trial::{How, Trial};

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Only incidents of this workflow.
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Only these: an id, a symptom (all its causes), a number of `drill list`, or a file.
    #[arg(long, value_name = "INCIDENT")]
    incident: Vec<String>,
    /// Runs without any fault, after the incidents; alone, no incident is run.
    #[arg(long, value_name = "COUNT")]
    healthy: Option<usize>,
    /// How long a healthy run takes.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "3m")]
    healthy_for: Duration,
    /// The shop of healthy runs: tiny, default, full.
    #[arg(long, value_name = "PROFILE", default_value_t)]
    profile: Profile,
    /// Background errors in healthy runs: none, ta.
    #[arg(long, value_name = "KIND", default_value_t)]
    noise: Noise,
    /// Seeds every random choice; further rounds take the numbers after it.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How often each incident is run.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    rounds: u64,
    /// So many shops at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    jobs: u8,
    /// Keep the cases and the shops' files here, and a line of results for each run.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Walk the book of each incident's workflow too, with no hint, and say where it ends.
    #[arg(long)]
    books: bool,
    /// Run nothing: judge again what --keep left in this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keep", "healthy", "incident", "workflow"])]
    again: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One shop to be run.
struct Run {
    incident: Incident,
    healthy: bool,
    seed: u64,
}

/// All of it, as JSON.
#[derive(Serialize)]
struct VerifyObject<'a> {
    runs: &'a [Trial],
    summary: table::Summary,
}

pub(super) fn run(args: &VerifyArgs, console: &mut Console) -> Result<u8, CliError> {
    let shelf = match args.books {
        true => Some(Shelf::built_in()?),
        false => None,
    };
    let how = How {
        again: args.again.is_some(),
        books: shelf.as_ref(),
    };
    let trials = match &args.again {
        Some(folder) => again(folder, &how, console)?,
        None => {
            let runs = runs(args)?;
            let folder = Folder::make(args.keep.as_deref())?;
            all(&runs, &folder, &how, usize::from(args.jobs), console)?
        }
    };
    let summary = table::Summary::of(&trials);
    match args.format {
        Format::Json => console.json(&VerifyObject {
            runs: &trials,
            summary,
        })?,
        Format::Text => {
            let width = console.list_width();
            console.lines(&table::lines(&trials, width))?;
        }
    }
    Ok(if trials.iter().any(Trial::is_broken) {
        exit::ERROR
    } else if trials.iter().all(Trial::is_good) {
        exit::CLEAN
    } else {
        exit::FINDING
    })
}

/// What is to be run, in order; everything is checked before the first shop starts.
fn runs(args: &VerifyArgs) -> Result<Vec<Run>, CliError> {
    let only_healthy =
        args.healthy.is_some() && args.incident.is_empty() && args.workflow.is_none();
    let chosen = if only_healthy {
        Vec::new()
    } else {
        plan::chosen(args.workflow.as_deref(), &args.incident)?
    };
    let mut runs = Vec::new();
    for round in 0..args.rounds {
        for (_, incident) in &chosen {
            shop_of::check(incident)?;
            runs.push(Run {
                incident: incident.clone(),
                healthy: false,
                seed: args.seed.wrapping_add(round),
            });
        }
    }
    for number in 0..args.healthy.unwrap_or(0) {
        let id = format!("healthy-{}-{}-{}", args.profile, args.noise, number + 1);
        let text = format!(
            "title = \"nothing is wrong\"\nwatch = \"{}s\"\nfault = []\n[shop]\nprofile = \"{}\"\nnoise = \
             \"{}\"\n[expect]\ncause = \"none/none#none\"\n",
            args.healthy_for.as_secs().max(1),
            args.profile,
            args.noise
        );
        runs.push(Run {
            incident: Incident::parse(&id, &id, &text)?,
            healthy: true,
            seed: args.seed.wrapping_add(number as u64),
        });
    }
    Ok(runs)
}

/// Where the runs write; removed in the end unless it was asked for.
struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Folder, CliError> {
        let path = match keep {
            Some(path) => std::path::absolute(path)
                .map_err(|error| CliError::io(format!("resolve {}", path.display()), &error))?,
            None => std::env::temp_dir().join(format!("casefile-drill-{}", std::process::id())),
        };
        std::fs::create_dir_all(&path)
            .map_err(|error| CliError::io(format!("create {}", path.display()), &error))?;
        Ok(Folder {
            path,
            kept: keep.is_some(),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            // What can't be removed lies in the folder for temporary files.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Runs all, some at a time, and tells of each as it is done.
fn all(
    runs: &[Run],
    folder: &Folder,
    how: &How<'_>,
    jobs: usize,
    console: &Console,
) -> Result<Vec<Trial>, CliError> {
    let next = AtomicUsize::new(0);
    let (sender, done) = channel();
    let mut trials = std::thread::scope(|scope| {
        for _ in 0..jobs.min(runs.len()) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::SeqCst);
                    let Some(run) = runs.get(place) else { return };
                    let trial = one(run, place, folder, how);
                    let failed = trial.is_err();
                    // Nobody listens any more once another run has failed.
                    if sender.send((place, trial)).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut trials = Vec::with_capacity(runs.len());
        for (place, trial) in done {
            let trial = trial?;
            trials.push((place, trial));
            if let Some((_, trial)) = trials.last() {
                console.remark(&format!("{}/{} {}", trials.len(), runs.len(), trial.line()));
            }
        }
        Ok::<_, CliError>(trials)
    })?;
    trials.sort_by_key(|(place, _)| *place);
    Ok(trials.into_iter().map(|(_, trial)| trial).collect())
}

/// Judges again what was kept, in the order of the files' names.
fn again(folder: &Path, how: &How<'_>, console: &Console) -> Result<Vec<Trial>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::io(format!("read the folder {}", folder.display()), &error)
    };
    let mut plans: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.to_string_lossy().ends_with(".plan.json"))
        .collect();
    plans.sort();
    let mut trials = Vec::new();
    for path in plans {
        let mut plan: Plan = plan::read_json(&path)?;
        // The folder may have been moved since.
        let beside = |old: &Path| match old.file_name() {
            Some(name) => folder.join(name),
            None => old.to_owned(),
        };
        plan.case = beside(&plan.case);
        plan.run_dir = beside(&plan.run_dir);
        if !plan.told_path().exists() {
            console.remark(&format!("{}: the run was not finished", plan.id));
            continue;
        }
        let incident = Incident::parse(&plan.id, &plan.id, &plan.incident)?;
        let healthy = incident.faults.is_empty();
        let trial = trial::run(&plan, &incident, healthy, how)?;
        console.remark(&trial.line());
        trials.push(trial);
    }
    if trials.is_empty() {
        return Err(
            CliError::new(format!("no finished run in {}", folder.display()))
                .hint("`casefile drill verify --keep DIR` leaves them"),
        );
    }
    Ok(trials)
}

fn one(run: &Run, place: usize, folder: &Folder, how: &How<'_>) -> Result<Trial, CliError> {
    let name = format!(
        "{:03}-{}-{}",
        place + 1,
        run.incident.id.replace('/', "-"),
        run.seed
    );
    let plan = Plan {
        id: run.incident.id.clone(),
        incident: run.incident.text().to_owned(),
        case: folder.path.join(format!("{name}.case")),
        run_dir: folder.path.join(&name),
        seed: run.seed,
    };
    let trial = trial::run(&plan, &run.incident, run.healthy, how)?;
    trial.note_in(&folder.path)?;
    if !folder.kept {
        drop(std::fs::remove_dir_all(&plan.case));
        drop(std::fs::remove_dir_all(&plan.run_dir));
    }
    Ok(trial)
}
