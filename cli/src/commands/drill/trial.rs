//! One run of one incident: staged in a process group of its own, diagnosed from the case, scored.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use analyzers::engine::{self, Report};
use analyzers::evidence::Evidence;
use analyzers::rules;
use case::{Case, Nanos, Window};
use playbooks::book::Shelf;
use playbooks::incident::Incident;
use playbooks::score::{self, Score};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde::Serialize;

use super::plan::{Plan, Told, read_json, write_json};
use super::proof::{self, Proof};
use crate::commands::playbook::Walking;
use crate::error::CliError;
use crate::reading::{Reading, threads};

/// What starting and stopping a shop may take beside the time it is watched.
const AROUND: Duration = Duration::from_secs(240);
/// How exactly the moment of detection is found out.
const STEP: u64 = 500_000_000;

/// How runs are made and judged.
pub(super) struct How<'a> {
    /// The runs were made before and kept; they are judged again.
    pub again: bool,
    /// Walk the book of the incident's workflow too.
    pub books: Option<&'a Shelf>,
}

/// How a run came out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Trial {
    pub id: String,
    pub seed: u64,
    pub healthy: bool,
    /// The cause a right diagnosis names.
    pub cause: String,
    #[serde(flatten)]
    pub score: Option<Score>,
    /// How the book of its workflow came out, where books are walked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// The report's first sentence.
    pub headline: Option<String>,
    /// From the fault until the evidence was enough to find the symptom.
    pub detected_after_s: Option<f64>,
    pub requests: u64,
    pub failed_requests: u64,
    pub spans: u64,
    /// Why the run is worth nothing.
    pub error: Option<String>,
}

impl Trial {
    /// The run itself failed.
    pub(super) fn is_broken(&self) -> bool {
        self.error.is_some()
    }

    pub(super) fn is_good(&self) -> bool {
        let quiet = self
            .score
            .as_ref()
            .is_some_and(|score| score.false_alarms.is_empty());
        let right = self.healthy || self.score.as_ref().is_some_and(Score::is_right);
        quiet && right && !self.is_broken()
    }

    /// How it came out, in a line.
    pub(super) fn line(&self) -> String {
        let what = match (&self.error, &self.score) {
            (Some(error), _) => format!("failed: {error}"),
            (None, None) => "no diagnosis".to_owned(),
            (None, Some(score)) if self.healthy => match score.false_alarms.len() {
                0 => "quiet".to_owned(),
                number => format!("{number} false alarms"),
            },
            (None, Some(score)) if score.is_right() => "named first".to_owned(),
            (None, Some(score)) => match (score.rank, score.symptom_found) {
                (Some(1), _) => "named first, of the wrong one".to_owned(),
                (Some(rank), _) => format!("named in place {rank}"),
                (None, true) => "symptom found, cause not named".to_owned(),
                (None, false) => "not found".to_owned(),
            },
        };
        format!("{}: {what}", self.id)
    }

    /// Adds it to the results in a folder, so that a long matrix that is ended early leaves what it found.
    pub(super) fn note_in(&self, folder: &Path) -> Result<(), CliError> {
        let path = folder.join("results.jsonl");
        let line = crate::output::json::line(self)?;
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all((line + "\n").as_bytes()))
            .map_err(|error| CliError::io(format!("write {}", path.display()), &error))
    }
}

/// Stages an incident and judges its case. What goes wrong with the run is part of the trial; an error is for what goes
/// wrong around it.
pub(super) fn run(
    plan: &Plan,
    incident: &Incident,
    healthy: bool,
    how: &How<'_>,
) -> Result<Trial, CliError> {
    let mut trial = Trial {
        id: incident.id.clone(),
        seed: plan.seed,
        healthy,
        cause: incident.expect.cause.clone(),
        score: None,
        proof: None,
        headline: None,
        detected_after_s: None,
        requests: 0,
        failed_requests: 0,
        spans: 0,
        error: None,
    };
    let staged = match how.again {
        true if !plan.told_path().exists() => Err("it did not run to its end".to_owned()),
        true => Ok(read_json(&plan.told_path())?),
        false => stage(plan, incident)?,
    };
    match staged {
        Ok(told) => judge(plan, incident, &told, how, &mut trial)?,
        Err(why) => trial.error = Some(why),
    }
    Ok(trial)
}

/// Runs the staging process; what it told, or why there is nothing to tell.
fn stage(plan: &Plan, incident: &Incident) -> Result<Result<Told, String>, CliError> {
    let plan_path = plan.run_dir.with_extension("plan.json");
    let complaints = plan.run_dir.with_extension("stderr");
    write_json(&plan_path, plan)?;
    let stderr = std::fs::File::create(&complaints)
        .map_err(|error| CliError::io(format!("create {}", complaints.display()), &error))?;
    let program = std::env::current_exe()
        .map_err(|error| CliError::io("find the running executable", &error))?;
    let mut child = Command::new(program)
        .args(["drill", "stage", "--plan"])
        .arg(&plan_path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0)
        .spawn()
        .map_err(|error| CliError::io("start the staging process", &error))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = until(&mut child, Instant::now() + incident.watch + AROUND)?;
    let left = end(group);
    let why = match ended {
        None => format!(
            "it was not over after {:.0} s",
            (incident.watch + AROUND).as_secs_f64()
        ),
        Some(status) if !status.success() => {
            let said = std::fs::read_to_string(&complaints).unwrap_or_default();
            let last = said.trim().lines().next_back().unwrap_or("it said nothing");
            format!("{status}: {last}")
        }
        Some(_) if left => "it left processes behind, which were killed".to_owned(),
        Some(_) => return Ok(Ok(read_json(&plan.told_path())?)),
    };
    Ok(Err(why))
}

/// Waits for a process; `None` if it took too long and was killed.
fn until(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>, CliError> {
    let failed = |error: std::io::Error| CliError::io("wait for the staging process", &error);
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Kills whatever is left of a process group; whether anything was.
fn end(group: Option<Pid>) -> bool {
    let Some(group) = group else { return false };
    let left = test_kill_process_group(group).is_ok();
    if left {
        // It may have ended by now.
        let _ = kill_process_group(group, Signal::KILL);
    }
    left
}

/// Diagnoses what was collected up to the moment the run ended. Nothing but the case is looked at for that.
fn judge(
    plan: &Plan,
    incident: &Incident,
    told: &Told,
    how: &How<'_>,
    trial: &mut Trial,
) -> Result<(), CliError> {
    let case = Case::open(&plan.case)?;
    let report = |until: u64| -> Result<(Report, u64), CliError> {
        let window = Window {
            from: Nanos(0),
            until: Nanos(until),
        };
        let evidence = Evidence::gather_on(&case, window, threads())?;
        Ok((
            engine::diagnose(&evidence, &rules::ALL),
            evidence.counts.spans,
        ))
    };
    let scored = |report: &Report| {
        score::score(report, &incident.expect, |wanted, service, instance| {
            is_meant(&told.instances, wanted, service, instance)
        })
    };
    let (whole, spans) = report(told.ended)?;
    trial.spans = spans;
    trial.requests = told.requests;
    trial.failed_requests = told.failed;
    trial.headline = whole
        .findings()
        .first()
        .map(|finding| finding.headline.clone());
    let mut score = scored(&whole);
    if trial.healthy {
        score.false_alarms = score::alarms(&whole);
    }
    if let Some(shelf) = how.books.filter(|_| !trial.healthy) {
        let window = Window {
            from: Nanos(0),
            until: Nanos(told.ended),
        };
        let walking = Walking::diagnosed(Reading::at(&plan.case, window)?, whole)?;
        trial.proof = proof::prove(&walking, shelf, incident, |wanted, service, instance| {
            is_meant(&told.instances, wanted, service, instance)
        });
    }
    // Runs that are judged again were found in time, or not, when they were run.
    if score.symptom_found && told.struck > 0 && !how.again {
        // The earliest end of the window at which it is found; that more evidence finds less is not provided for.
        let (mut unfound, mut found) = (told.struck, told.ended);
        while found.saturating_sub(unfound) > STEP {
            let middle = unfound + (found - unfound) / 2;
            if scored(&report(middle)?.0).symptom_found {
                found = middle;
            } else {
                unfound = middle;
            }
        }
        trial.detected_after_s = Some(found.saturating_sub(told.struck) as f64 / 1e9);
    }
    trial.score = Some(score);
    Ok(())
}

/// Whether `payment` or `payment:1` means this service or instance.
fn is_meant(
    instances: &BTreeMap<String, String>,
    wanted: &str,
    service: &str,
    instance: &str,
) -> bool {
    if wanted.contains(':') {
        instances.get(instance).is_some_and(|name| name == wanted)
    } else {
        wanted == service
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read;

    use super::*;

    #[test]
    fn an_instance_is_meant_by_its_place_and_a_service_by_its_name() {
        let instances = BTreeMap::from([("payment-host-1-abc".to_owned(), "payment:1".to_owned())]);
        let meant = |wanted, instance| is_meant(&instances, wanted, "payment", instance);
        assert!(meant("payment:1", "payment-host-1-abc"));
        assert!(!meant("payment:0", "payment-host-1-abc") && !meant("payment:1", "other"));
        assert!(meant("payment", "") && !meant("inventory", ""));
    }

    #[test]
    fn nothing_of_a_group_is_left() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo begun; sleep 1000"])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut begun = [0; 6];
        child.stdout.take().unwrap().read_exact(&mut begun).unwrap();
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        assert!(until(&mut child, Instant::now()).unwrap().is_none());
        assert!(end(group), "the first of the two sleeps was left");
        let deadline = Instant::now() + Duration::from_secs(10);
        while test_kill_process_group(group.unwrap()).is_ok() {
            assert!(Instant::now() < deadline, "it is still there");
            std::thread::yield_now();
        }
    }
}
