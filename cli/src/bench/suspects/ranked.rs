//! Ranking measured: how often the culprit comes first, with all signals and with fewer, on cases nobody has sorted.
//!
//! Labels are used here alone, after the ranking is done. A tie counts as the worst rank in it.

use std::time::Instant;

use analyzers::suspects::{self, Cost, Ranking, Symptom};
use serde::Serialize;

use super::nezha::{self, Using};
use super::petshop;
use super::{Figures, ReadError};

/// Draws over which sampled traces are averaged.
const DRAWS: u64 = 5;
/// Rows of an issue, and so of a normal stretch that is held against it.
const STRETCH: usize = 5;
/// Suspects listed of a case.
const LISTED: usize = 5;

#[derive(Debug, Serialize)]
pub struct Listed {
    pub name: String,
    pub score: f64,
    pub why: Option<String>,
}

/// One case with its ranking.
#[derive(Debug, Serialize)]
pub struct Ranked {
    pub case: String,
    pub kind: String,
    pub culprit: String,
    /// Nothing where the culprit is not among the suspects.
    pub rank: Option<usize>,
    pub suspects: Vec<Listed>,
}

/// The worst rank among those that score the same.
fn rank_of(ranking: &Ranking, culprit: &str) -> Option<usize> {
    let score = ranking
        .suspects
        .iter()
        .find(|suspect| suspect.name == culprit)?
        .score;
    Some(
        ranking
            .suspects
            .iter()
            .filter(|suspect| suspect.score >= score)
            .count(),
    )
}

fn ranked(case: &str, kind: &str, culprit: &str, ranking: &Ranking) -> Ranked {
    let listed = ranking.suspects.iter().take(LISTED).map(|suspect| Listed {
        name: suspect.name.clone(),
        score: suspect.score,
        why: suspect.reasons.first().map(|reason| reason.what.clone()),
    });
    Ranked {
        case: case.to_owned(),
        kind: kind.to_owned(),
        culprit: culprit.to_owned(),
        rank: rank_of(ranking, culprit),
        suspects: listed.collect(),
    }
}

/// Share of cases whose culprit is within the first `most`.
fn share<'a>(cases: impl IntoIterator<Item = &'a Ranked>, most: usize) -> f64 {
    let (mut hits, mut all) = (0usize, 0usize);
    for case in cases {
        all += 1;
        hits += usize::from(case.rank.is_some_and(|rank| rank <= most));
    }
    hits as f64 / all.max(1) as f64
}

/// Cases in even and in odd places.
fn halves(cases: &[Ranked], most: usize) -> [f64; 2] {
    [0, 1].map(|odd| share(cases.iter().skip(odd).step_by(2), most))
}

/// All figures of a set of minutes with traces, logs and metrics.
pub(super) fn minutes(set: &nezha::Set, figures: &mut Figures) -> Result<Vec<Ranked>, ReadError> {
    let mut slowest: f64 = 0.0;
    let mut all = Vec::new();
    for case in &set.cases {
        let begun = Instant::now();
        let ranking = rank_minute(set, case, &case.baseline, Using::ALL)?;
        slowest = slowest.max(begun.elapsed().as_secs_f64());
        all.push(ranked(&case.case, &case.fault, case.culprit(), &ranking));
    }
    figures.add(
        "AS@1",
        share(&all, 1),
        Some("≥ 0.95; Nezha 0.867, MicroRCA 0.200, MicroRank 0.156"),
    );
    figures.add(
        "AS@3",
        share(&all, 3),
        Some("1.0; Nezha 0.978, MicroRCA 0.311, MicroRank 0.244"),
    );
    figures.add(
        "AS@5",
        share(&all, 5),
        Some("Nezha 0.978, MicroRCA 0.444, MicroRank 0.356"),
    );
    let [even, odd] = halves(&all, 1);
    figures.add("AS@1, cases 0, 2, 4 …", even, None);
    figures.add("AS@1, cases 1, 3, 5 …", odd, None);
    let mut kinds: Vec<&str> = all.iter().map(|case| case.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        figures.add(
            format!("AS@1, {kind}"),
            share(all.iter().filter(|case| case.kind == kind), 1),
            None,
        );
    }
    let mut with = |name: &str, using: Using, bar: Option<&'static str>| -> Result<(), ReadError> {
        let cases = repeated(set, using, |case| Some(case.baseline.as_str()))?;
        figures.add(format!("AS@1, {name}"), share(&cases, 1), bar);
        figures.add(format!("AS@3, {name}"), share(&cases, 3), None);
        Ok(())
    };
    with(
        "without logs",
        Using {
            logs: false,
            ..Using::ALL
        },
        None,
    )?;
    with(
        "without metrics",
        Using {
            metrics: false,
            ..Using::ALL
        },
        None,
    )?;
    with(
        "without traces",
        Using {
            traces: false,
            ..Using::ALL
        },
        None,
    )?;
    for (name, sampled, bar) in [("half", 500, Some("≥ 0.90")), ("a quarter", 250, None)] {
        let mut drawn = Vec::new();
        for draw in 1..=DRAWS {
            let using = Using {
                sampled,
                draw,
                ..Using::ALL
            };
            drawn.extend(repeated(set, using, |case| Some(case.baseline.as_str()))?);
        }
        figures.add(
            format!("AS@1, {name} of the traces, mean of {DRAWS} draws"),
            share(&drawn, 1),
            bar,
        );
    }
    let other = |case: &nezha::Case| {
        let baselines = set.cases.iter().map(|other| other.baseline.as_str());
        baselines
            .into_iter()
            .find(|baseline| *baseline != case.baseline)
    };
    let crossed = repeated(set, Using::ALL, other)?;
    if !crossed.is_empty() {
        figures.add(
            "AS@1, another day's baseline",
            share(&crossed, 1),
            Some("≥ 0.90"),
        );
    }
    figures.add(
        "slowest case, read and ranked, seconds",
        slowest,
        Some("≤ 1"),
    );
    Ok(all)
}

fn repeated<'a>(
    set: &'a nezha::Set,
    using: Using,
    baseline: impl Fn(&'a nezha::Case) -> Option<&'a str>,
) -> Result<Vec<Ranked>, ReadError> {
    let mut out = Vec::new();
    for case in &set.cases {
        if let Some(baseline) = baseline(case) {
            let ranking = rank_minute(set, case, baseline, using)?;
            out.push(ranked(&case.case, &case.fault, case.culprit(), &ranking));
        }
    }
    Ok(out)
}

fn rank_minute(
    set: &nezha::Set,
    case: &nezha::Case,
    baseline: &str,
    using: Using,
) -> Result<Ranking, ReadError> {
    let baseline = set.baseline(case, baseline, using)?;
    let incident = set.incident(case, using)?;
    Ok(suspects::rank(&baseline, &incident, None))
}

/// All figures of a set of issues with metrics of nodes and a graph.
pub(super) fn issues(set: &petshop::Set, figures: &mut Figures) -> Result<Vec<Ranked>, ReadError> {
    let baseline = set.baseline();
    let (first_half, stretches) = set.normal_windows(STRETCH);
    let mut out = Vec::new();
    for (cost, kind, bars) in [
        (
            Cost::Latency,
            "latency",
            [
                "≥ 0.85; traversal 0.57, CIRCA 0.36",
                "1.0; traversal 0.57, CIRCA 0.86",
            ],
        ),
        (
            Cost::Errors,
            "availability",
            ["≥ 0.92; traversal 0.83", "1.0; traversal 1.00"],
        ),
    ] {
        let mut all = Vec::new();
        let mut flagged = 0usize;
        let mut symptom = None;
        for issue in set.issues.iter().filter(|issue| issue.symptom.cost == cost) {
            let ranking = suspects::rank(&baseline, &set.incident(issue)?, Some(&issue.symptom));
            flagged += usize::from(ranking.suspected().next().is_some());
            all.push(ranked(&issue.name, kind, &issue.culprit, &ranking));
            symptom = Some(issue.symptom.clone());
        }
        let Some(symptom) = symptom else { continue };
        figures.add(format!("{kind}, top-1"), share(&all, 1), Some(bars[0]));
        figures.add(format!("{kind}, top-3"), share(&all, 3), Some(bars[1]));
        let [even, odd] = halves(&all, 1);
        figures.add(format!("{kind}, top-1, issues 0, 2, 4 …"), even, None);
        figures.add(format!("{kind}, top-1, issues 1, 3, 5 …"), odd, None);
        figures.add(
            format!("{kind}, always the commonest culprit"),
            commonest(&all),
            None,
        );
        figures.add(
            format!("{kind}, issues with a suspect"),
            flagged as f64 / all.len() as f64,
            Some("≥ 0.95"),
        );
        let quiet = stretches
            .iter()
            .filter(|stretch| is_quiet(&first_half, stretch, &symptom))
            .count();
        let quiet = quiet as f64 / stretches.len().max(1) as f64;
        figures.add(
            format!("{kind}, normal windows without one"),
            quiet,
            Some("≥ 0.90"),
        );
        out.extend(all);
    }
    Ok(out)
}

fn is_quiet(baseline: &suspects::Sight, stretch: &suspects::Sight, symptom: &Symptom) -> bool {
    suspects::rank(baseline, stretch, Some(symptom))
        .suspected()
        .next()
        .is_none()
}

/// What naming the commonest culprit every time would score.
fn commonest(cases: &[Ranked]) -> f64 {
    let of = |case: &Ranked| {
        cases
            .iter()
            .filter(|other| other.culprit == case.culprit)
            .count()
    };
    cases.iter().map(of).max().unwrap_or(0) as f64 / cases.len().max(1) as f64
}
