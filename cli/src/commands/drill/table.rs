//! The results of `drill verify` as a table and a summary.

use serde::Serialize;

use super::proof::{Outcome, Proof};
use super::trial::Trial;
use crate::output::{Column, Line, Table, Tone};

/// All runs in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Summary {
    pub incidents: usize,
    pub symptoms_found: usize,
    pub causes_named_first: usize,
    /// Second or third, or open because a signal is missing, which is named.
    pub causes_named_later: usize,
    pub healthy_runs: usize,
    pub healthy_and_quiet: usize,
    /// Runs of either kind with a finding of warning or above that has nothing to do with them.
    pub runs_with_false_alarms: usize,
    pub broken_runs: usize,
    pub books: Books,
}

/// Where books ended, where they were walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Books {
    pub walked: usize,
    pub right: usize,
    pub cannot_tell_between: usize,
    /// A cause that is not the right one, the right one not even left open.
    pub wrong: usize,
    /// Of these, without leaving anything open.
    pub wrong_and_confident: usize,
    pub no_cause: usize,
}

impl Books {
    fn add(&mut self, proof: &Proof) {
        self.walked += 1;
        match proof.outcome {
            Outcome::Right => self.right += 1,
            Outcome::Open => self.cannot_tell_between += 1,
            Outcome::Wrong => {
                self.wrong += 1;
                self.wrong_and_confident += usize::from(proof.open.is_empty());
            }
            Outcome::CannotTell => self.no_cause += 1,
        }
    }
}

impl Summary {
    pub(super) fn of(trials: &[Trial]) -> Summary {
        let mut summary = Summary::default();
        for trial in trials {
            let Some(score) = &trial.score else {
                summary.broken_runs += 1;
                continue;
            };
            summary.runs_with_false_alarms += usize::from(!score.false_alarms.is_empty());
            if trial.healthy {
                summary.healthy_runs += 1;
                summary.healthy_and_quiet += usize::from(score.false_alarms.is_empty());
                continue;
            }
            summary.incidents += 1;
            summary.symptoms_found += usize::from(score.symptom_found);
            summary.causes_named_first += usize::from(score.is_right());
            if let Some(proof) = &trial.proof {
                summary.books.add(proof);
            }
            let later = !score.is_right()
                && (score.rank.is_some_and(|rank| rank <= 3) || !score.missing.is_empty());
            summary.causes_named_later += usize::from(later);
        }
        summary
    }
}

pub(super) fn lines(trials: &[Trial], width: usize) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("incident").shrinks_to(30),
        Column::left("symptom"),
        Column::left("cause"),
        Column::right("after s"),
        Column::left("false alarms").shrinks_to(12),
        Column::left("said first").shrinks_to(20),
    ]);
    for trial in trials {
        table.row(row(trial));
    }
    let mut lines = table.lines(width);
    lines.extend(proofs(trials, width));
    lines.push(Line::new());
    lines.push(Line::plain(summary(&Summary::of(trials))));
    lines
}

/// Where each book ended that was walked.
fn proofs(trials: &[Trial], width: usize) -> Vec<Line> {
    let proofs: Vec<(&Trial, &Proof)> = trials
        .iter()
        .filter_map(|trial| trial.proof.as_ref().map(|proof| (trial, proof)))
        .collect();
    if proofs.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(vec![
        Column::left("incident").shrinks_to(30),
        Column::left("book"),
        Column::right("questions"),
        Column::left("ends"),
        Column::left("at").shrinks_to(30),
    ]);
    for (trial, proof) in proofs {
        let tone = match proof.outcome {
            Outcome::Right => Tone::Plain,
            Outcome::Open | Outcome::CannotTell => Tone::Odd,
            Outcome::Wrong => Tone::Bad,
        };
        let mut at: Vec<&str> = proof.named.iter().map(String::as_str).collect();
        at.extend(proof.open.iter().map(String::as_str));
        table.row(vec![
            Line::plain(&trial.id),
            Line::plain(&proof.book),
            Line::plain(proof.questions.to_string()),
            Line::new().with(tone, proof.outcome.name()),
            Line::plain(at.join(" or ")),
        ]);
    }
    let mut lines = vec![Line::new()];
    lines.extend(table.lines(width));
    lines
}

fn row(trial: &Trial) -> Vec<Line> {
    let name = Line::plain(&trial.id);
    let Some(score) = &trial.score else {
        let why = trial.error.as_deref().unwrap_or("no diagnosis");
        return vec![
            name,
            Line::new().with(Tone::Bad, "failed"),
            Line::new(),
            Line::new(),
            Line::new(),
            Line::new().with(Tone::Bad, why),
        ];
    };
    let (found, cause) = if trial.healthy {
        (Line::plain("none"), Line::plain("none"))
    } else {
        (
            if score.symptom_found {
                Line::plain("found")
            } else {
                Line::new().with(Tone::Bad, "missed")
            },
            match score.rank {
                Some(1) if score.subject_right => Line::plain("first"),
                Some(1) => Line::new().with(Tone::Odd, "first, wrong one"),
                Some(rank) => Line::new().with(Tone::Odd, format!("place {rank}")),
                None => Line::new().with(Tone::Bad, "not named"),
            },
        )
    };
    let alarms = if score.false_alarms.is_empty() {
        Line::plain("-")
    } else {
        Line::new().with(Tone::Bad, score.false_alarms.join(", "))
    };
    let after = trial
        .detected_after_s
        .map_or_else(String::new, |seconds| format!("{seconds:.1}"));
    vec![
        name,
        found,
        cause,
        Line::plain(after),
        alarms,
        Line::plain(score.named_first.as_deref().unwrap_or("nothing")),
    ]
}

fn summary(summary: &Summary) -> String {
    let mut parts = Vec::new();
    if summary.incidents > 0 {
        parts.push(format!(
            "{} incidents: {} symptoms found, {} causes named first, {} later",
            summary.incidents,
            summary.symptoms_found,
            summary.causes_named_first,
            summary.causes_named_later
        ));
    }
    if summary.healthy_runs > 0 {
        parts.push(format!(
            "{} healthy runs: {} quiet",
            summary.healthy_runs, summary.healthy_and_quiet
        ));
    }
    let books = &summary.books;
    if books.walked > 0 {
        parts.push(format!(
            "{} books: {} right, {} cannot tell between causes, {} without a cause, {} wrong ({} confidently)",
            books.walked,
            books.right,
            books.cannot_tell_between,
            books.no_cause,
            books.wrong,
            books.wrong_and_confident
        ));
    }
    parts.push(format!(
        "{} with false alarms",
        summary.runs_with_false_alarms
    ));
    if summary.broken_runs > 0 {
        parts.push(format!("{} failed to run", summary.broken_runs));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use playbooks::score::Score;

    use super::*;

    fn trial(rank: Option<usize>, alarms: &[&str]) -> Trial {
        Trial {
            id: "resolution/stale-cache--ttl-too-long".into(),
            seed: 1,
            healthy: false,
            cause: "resolution/stale-cache#ttl-too-long".into(),
            score: Some(Score {
                symptom_found: rank.is_some(),
                rank,
                subject_right: true,
                named_first: rank.map(|_| "resolution/stale-cache#ttl-too-long".to_owned()),
                missing: Vec::new(),
                false_alarms: alarms.iter().map(|alarm| (*alarm).to_owned()).collect(),
            }),
            proof: None,
            headline: None,
            detected_after_s: rank.map(|_| 4.25),
            requests: 1,
            failed_requests: 0,
            spans: 1,
            error: None,
        }
    }

    #[test]
    fn a_row_says_how_it_came_out_and_the_summary_counts() {
        let mut healthy = trial(None, &[]);
        healthy.healthy = true;
        let mut broken = trial(None, &[]);
        broken.score = None;
        broken.error = Some("no shop".into());
        let trials = [
            trial(Some(1), &[]),
            trial(Some(2), &["health/flapping"]),
            trial(None, &[]),
            healthy,
            broken,
        ];
        let text: Vec<String> = lines(&trials, 200).iter().map(Line::text).collect();
        assert!(
            text[1].contains("found") && text[1].contains("first") && text[1].contains("4.3")
                || text[1].contains("4.2")
        );
        assert!(text[2].contains("place 2") && text[2].contains("health/flapping"));
        assert!(text[3].contains("missed") && text[3].contains("not named"));
        assert!(text[5].contains("failed") && text[5].contains("no shop"));
        assert_eq!(
            text[7],
            "3 incidents: 2 symptoms found, 1 causes named first, 1 later · 1 healthy runs: 1 quiet · 1 with false \
             alarms · 1 failed to run"
        );
    }
}
