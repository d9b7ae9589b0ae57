//! One drill while it goes on: the secret, what the person asked and answered, and the replies.
//!
//! The secret is in this process's memory alone until the drill is scored. Requests and replies are lines of JSON,
//! whether they come over a socket from other commands or over standard input from a script.

pub mod host;
pub(super) mod look;
mod request;
pub(super) mod review;
pub mod start;
pub mod talk;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use analyzers::engine::{self, Report};
use analyzers::evidence::Evidence;
use analyzers::rules;
use case::{Case, Nanos, Window};
use playbooks::drill::{self, Answered, Cited, Drill, Grade, Reference, Truth};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::Told;
use crate::error::CliError;
use crate::reading::threads;

pub use request::Request;

/// How far the drill is.
enum Stage {
    /// The shop runs, and the case fills.
    Running,
    /// The case is sealed.
    Ready(Box<Known>),
    Failed(String),
}

/// What the engine says of the sealed case, and what is true.
struct Known {
    report: Report,
    truth: Truth,
    hints: [String; 3],
}

/// What the person looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    pub command: String,
    pub after_s: u64,
}

/// A drill under way.
pub struct Session {
    drill: Drill,
    seed: u64,
    case: PathBuf,
    began: Instant,
    stage: Stage,
    looks: Vec<Look>,
    budget: Option<usize>,
    hints: usize,
    cited: Vec<Cited>,
    answers: Vec<Answered>,
    over: bool,
}

impl Session {
    pub fn new(drill: Drill, seed: u64, case: PathBuf, budget: Option<usize>) -> Session {
        Session {
            drill,
            seed,
            case,
            began: Instant::now(),
            stage: Stage::Running,
            looks: Vec::new(),
            budget,
            hints: 0,
            cited: Vec::new(),
            answers: Vec::new(),
            over: false,
        }
    }

    /// The shop has not ended yet.
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// The shop has ended and the case is sealed.
    pub(super) fn ready(&mut self, told: Told) -> Result<(), CliError> {
        let case = Case::open(&self.case)?;
        let window = Window {
            from: Nanos(0),
            until: Nanos(told.ended),
        };
        let evidence = Evidence::gather_on(&case, window, threads())?;
        let report = engine::diagnose(&evidence, &rules::ALL);
        let truth = Truth {
            expected: self
                .drill
                .incidents
                .iter()
                .map(|incident| incident.expect.clone())
                .collect(),
            instances: told.instances,
        };
        let hints = drill::hints(&report, &truth);
        self.stage = Stage::Ready(Box::new(Known {
            report,
            truth,
            hints,
        }));
        Ok(())
    }

    pub fn failed(&mut self, why: String) {
        self.stage = Stage::Failed(why);
    }

    /// What a person is told at the start. It gives nothing away.
    pub fn story(&self) -> Value {
        let stories: Vec<&str> = self
            .drill
            .incidents
            .iter()
            .map(|incident| incident.story.as_str())
            .collect();
        json!({
            "event": "started", "case": self.case, "level": self.drill.level,
            "about": self.drill.level.about(), "story": stories.join(" "), "faults": stories.len(),
            "watch_s": self.watch().as_secs(), "looks_left": self.budget,
        })
    }

    /// How long the shop runs.
    pub fn watch(&self) -> Duration {
        self.drill
            .incidents
            .iter()
            .map(|incident| incident.watch)
            .max()
            .unwrap_or_default()
    }

    /// The reply to a request.
    pub fn handle(&mut self, request: &Request) -> Value {
        match self.reply(request) {
            Ok(reply) => reply,
            Err(error) => {
                json!({ "event": "error", "error": error.message(), "hint": error.hint_text() })
            }
        }
    }

    fn reply(&mut self, request: &Request) -> Result<Value, CliError> {
        if let (
            Request::Hint | Request::Evidence { .. } | Request::Answer(_) | Request::Score,
            Stage::Running,
        ) = (request, &self.stage)
        {
            return Err(CliError::new("the shop still runs")
                .hint("wait until the case is sealed: `casefile drill status`"));
        }
        if let Stage::Failed(why) = &self.stage {
            self.over = true;
            return Err(CliError::new(format!("the drill failed: {why}")));
        }
        match request {
            Request::Status | Request::Wait => Ok(self.status()),
            Request::Look { command } => self.look(command),
            Request::Looked { command } => {
                self.note(command.clone());
                Ok(json!({ "event": "noted" }))
            }
            Request::Hint => self.hint(),
            Request::Evidence { reference } => self.cite(reference),
            Request::Answer(answer) => self.answer(answer),
            Request::Score => self.score(),
            Request::Stop => {
                self.over = true;
                Ok(json!({ "event": "stopped", "case": self.case }))
            }
        }
    }

    fn status(&self) -> Value {
        let state = match &self.stage {
            Stage::Running => "running",
            Stage::Ready(_) => "sealed",
            Stage::Failed(_) => "failed",
        };
        json!({
            "event": "status", "state": state, "case": self.case, "level": self.drill.level,
            "seconds": self.began.elapsed().as_secs(), "watch_s": self.watch().as_secs(),
            "looks": self.looks.len(), "looks_left": self.looks_left(), "hints": self.hints,
            "evidence": self.cited.len(), "answers": self.answers.len(),
        })
    }

    fn looks_left(&self) -> Option<usize> {
        self.budget
            .map(|budget| budget.saturating_sub(self.looks.len()))
    }

    fn note(&mut self, command: String) {
        /// A person types no more; a script that does learns nothing from the rest.
        const MOST: usize = 2000;
        if self.looks.len() < MOST {
            self.looks.push(Look {
                command,
                after_s: self.began.elapsed().as_secs(),
            });
        }
    }

    fn look(&mut self, command: &[String]) -> Result<Value, CliError> {
        if self.looks_left() == Some(0) {
            return Err(CliError::new("no looks are left").hint("answer, or ask for the score"));
        }
        look::check(command)?;
        self.note(command.join(" "));
        let seen = look::look(command, &self.case)?;
        Ok(json!({
            "event": "seen", "exit": seen.exit, "output": seen.output, "cut": seen.cut,
            "error": seen.error, "looks_left": self.looks_left(),
        }))
    }

    fn known(&self) -> Result<&Known, CliError> {
        match &self.stage {
            Stage::Ready(known) => Ok(known),
            _ => Err(CliError::new("the case is not sealed yet")),
        }
    }

    fn hint(&mut self) -> Result<Value, CliError> {
        let known = self.known()?;
        let Some(hint) = known.hints.get(self.hints).cloned() else {
            return Err(CliError::new("there are no more than three hints"));
        };
        self.hints += 1;
        Ok(json!({ "event": "hint", "strength": self.hints, "hint": hint }))
    }

    fn cite(&mut self, reference: &Reference) -> Result<Value, CliError> {
        let known = self.known()?;
        let bears = match drill::bears(&known.report, &known.truth, reference) {
            Some(bears) => bears,
            None => look::touches(&self.case, &known.truth, reference)?,
        };
        if self.cited.iter().any(|cited| cited.reference == *reference) {
            return Err(CliError::new("it is cited already"));
        }
        // Whether it bears on the fault is told with the score; else citing would be asking.
        self.cited.push(Cited {
            reference: reference.clone(),
            bears,
        });
        Ok(json!({ "event": "cited", "evidence": self.cited.len() }))
    }

    fn answer(&mut self, answer: &Answered) -> Result<Value, CliError> {
        let all = rules::ALL
            .iter()
            .flat_map(|rule| rule.about().causes)
            .map(|cause| cause.id);
        if !all.clone().any(|cause| cause == answer.cause) {
            let error = CliError::new(format!("no cause {:?}", answer.cause));
            return Err(match case::nearest::nearest(&answer.cause, all) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("a cause is written symptom#cause; `casefile explain RULE` lists those of a rule"),
            });
        }
        let known = self.known()?;
        let right = known.truth.is_right(answer);
        let faults = known.truth.expected.len();
        self.answers.push(answer.clone());
        Ok(
            json!({ "event": "answered", "right": right, "answers": self.answers.len(), "faults": faults }),
        )
    }

    fn score(&mut self) -> Result<Value, CliError> {
        let known = self.known()?;
        let grade = self.grade(known);
        let truth: Vec<Value> = self
            .drill
            .incidents
            .iter()
            .map(|incident| {
                json!({
                    "incident": incident.id, "title": incident.title, "cause": incident.expect.cause,
                    "subjects": incident.expect.subjects,
                })
            })
            .collect();
        let path = review::shortest(&self.case, &known.report, &self.drill)?;
        let reply = json!({
            "event": "scored", "grade": grade, "truth": truth, "decoy": self.drill.decoy,
            "missing": self.drill.missing, "level": self.drill.level, "seed": self.seed, "case": self.case,
            "answers": self.answers, "evidence": self.cited, "looks": self.looks, "path": path,
            "at": case::writer::wall_clock().to_string(),
        });
        review::keep(&reply)?;
        self.over = true;
        Ok(reply)
    }

    fn grade(&self, known: &Known) -> Grade {
        drill::grade(
            &known.truth,
            &self.answers,
            &self.cited,
            self.hints,
            self.began.elapsed().saturating_sub(self.watch()),
        )
    }
}
