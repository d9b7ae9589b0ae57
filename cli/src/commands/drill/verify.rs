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
use super::{kept, shop_of, table, trial};
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
    /// Of those meant only one for each rule, the shortest: what a change can be checked with in minutes.
    #[arg(long)]
    slice: bool,
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
    /// Run nothing: judge again what --keep left in this folder, all of it or what is chosen.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["keep", "healthy", "seed", "rounds"])]
    again: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One shop to be run.
struct Run {
    incident: Incident,
    plan: Plan,
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
        Some(folder) => {
            let runs = kept_runs(args, folder)?;
            let judge = |run: &Run| trial::run(&run.plan, &run.incident, run.is_healthy(), &how);
            all(&runs, &judge, usize::from(args.jobs), console)?
        }
        None => {
            let folder = Folder::make(args.keep.as_deref())?;
            let runs = runs(args, &folder.path)?;
            let play = |run: &Run| one(run, &folder, &how);
            all(&runs, &play, usize::from(args.jobs), console)?
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
fn runs(args: &VerifyArgs, folder: &Path) -> Result<Vec<Run>, CliError> {
    let only_healthy = args.healthy.is_some()
        && args.incident.is_empty()
        && args.workflow.is_none()
        && !args.slice;
    let chosen = if only_healthy {
        Vec::new()
    } else {
        chosen(args)?
    };
    let mut runs: Vec<Run> = Vec::new();
    for round in 0..args.rounds {
        for (_, incident) in &chosen {
            shop_of::check(incident)?;
            let seed = args.seed.wrapping_add(round);
            runs.push(Run::planned(folder, runs.len(), incident.clone(), seed));
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
        let incident = Incident::parse(&id, &id, &text)?;
        let seed = args.seed.wrapping_add(number as u64);
        runs.push(Run::planned(folder, runs.len(), incident, seed));
    }
    Ok(runs)
}

fn chosen(args: &VerifyArgs) -> Result<Vec<(usize, Incident)>, CliError> {
    let chosen = plan::chosen(args.workflow.as_deref(), &args.incident)?;
    Ok(if args.slice {
        plan::slice(chosen)
    } else {
        chosen
    })
}

/// The kept runs of a folder, of those chosen.
fn kept_runs(args: &VerifyArgs, folder: &Path) -> Result<Vec<Run>, CliError> {
    let known = plan::chosen(None, &[])?;
    let picks = args.workflow.is_some() || !args.incident.is_empty() || args.slice;
    let wanted: Option<Vec<(usize, Incident)>> = match picks {
        true => Some(chosen(args)?),
        false => None,
    };
    let is_wanted = |id: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|(_, incident)| incident.id == id))
    };
    kept::plans(folder)?
        .into_iter()
        .filter(|plan| is_wanted(&plan.id))
        .map(|plan| {
            let incident = kept::incident(&plan, &known)?;
            Ok(Run { incident, plan })
        })
        .collect()
}

impl Run {
    fn planned(folder: &Path, place: usize, incident: Incident, seed: u64) -> Run {
        let name = format!("{:03}-{}-{seed}", place + 1, incident.id.replace('/', "-"));
        let plan = Plan {
            id: incident.id.clone(),
            incident: incident.text().to_owned(),
            case: folder.join(format!("{name}.case")),
            run_dir: folder.join(&name),
            seed,
        };
        Run { incident, plan }
    }

    fn is_healthy(&self) -> bool {
        self.incident.faults.is_empty()
    }
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
    each: &(dyn Fn(&Run) -> Result<Trial, CliError> + Sync),
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
                    let trial = each(run);
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

fn one(run: &Run, folder: &Folder, how: &How<'_>) -> Result<Trial, CliError> {
    let trial = trial::run(&run.plan, &run.incident, run.is_healthy(), how)?;
    trial.note_in(&folder.path)?;
    if !folder.kept {
        drop(std::fs::remove_dir_all(&run.plan.case));
        drop(std::fs::remove_dir_all(&run.plan.run_dir));
    }
    Ok(trial)
}
