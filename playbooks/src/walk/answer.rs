//! One question, answered: by a rule, a query, a comparison, a look from outside, a person, or another book.

use analyzers::engine::{Finding, Report};
use case::signal::ProbeResult;
use case::{Case, Window};

use super::record::{From, Given, Kept, Said, Taken};
use super::variables::Values;
use super::{Closing, DEEPEST, Kind, close, compare, on, query, rule};
use crate::book::{Book, Check, How, Name, Shelf, Step};

/// What a walk takes place in.
pub struct Scene<'a> {
    pub case: &'a Case,
    /// Never open at an end: the case's own time where nothing narrower is meant.
    pub window: Window,
    pub report: &'a Report,
    pub shelf: &'a Shelf,
    pub given: &'a Given,
    /// Whether a finding has to do with what the book was given.
    pub concerns: &'a dyn Fn(&Finding) -> bool,
}

/// What is asked of somebody outside the case.
pub struct Asked<'a> {
    pub book: &'a Book,
    pub step: &'a Step,
    /// The service that is meant, where one is.
    pub service: Option<&'a str>,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    pub said: Said,
    pub words: String,
}

/// Whoever knows what no signal of the case tells.
pub trait Outside {
    /// Looks at registered addresses; `None` where nobody may look, with the reason.
    fn probe(&mut self, asked: &Asked<'_>, check: Check) -> Result<Vec<ProbeResult>, String>;

    /// A person's word, if one is there to give it.
    fn person(&mut self, asked: &Asked<'_>) -> Option<Spoken>;
}

/// Nobody: what the case does not tell stays open.
pub struct Nobody;

impl Outside for Nobody {
    fn probe(&mut self, _: &Asked<'_>, _: Check) -> Result<Vec<ProbeResult>, String> {
        Err("nobody looks at addresses unless asked to with --probe".to_owned())
    }

    fn person(&mut self, _: &Asked<'_>) -> Option<Spoken> {
        None
    }
}

/// An answer before it is put down.
struct Raw {
    from: From,
    said: Said,
    words: String,
    evidence: Vec<Kept>,
}

impl Raw {
    fn untold(why: impl Into<String>) -> Raw {
        Raw {
            from: From::Evidence,
            said: Said::CannotTell,
            words: why.into(),
            evidence: Vec::new(),
        }
    }
}

/// Answers the question a walk stands at. `taken` is what was answered before it.
pub fn answer(
    scene: &Scene<'_>,
    book: &Book,
    step: &Step,
    taken: &[Taken],
    outside: &mut dyn Outside,
) -> Taken {
    answer_at(scene, book, step, taken, outside, 0)
}

pub(super) fn answer_at(
    scene: &Scene<'_>,
    book: &Book,
    step: &Step,
    taken: &[Taken],
    outside: &mut dyn Outside,
    depth: usize,
) -> Taken {
    let mut out = Taken {
        step: step.id.word.clone(),
        ask: step.ask.clone(),
        expect: step.expect.clone(),
        by: by(step),
        from: From::Evidence,
        said: Said::CannotTell,
        words: String::new(),
        evidence: Vec::new(),
        found: None,
        row: std::collections::BTreeMap::new(),
        inner: Vec::new(),
        came_to: None,
        note: None,
        pinned: false,
    };
    // What a finding before it filled in must be the finding of this way, not of one that ended.
    let way = way(book, taken, step);
    let raw = match &step.how {
        How::Rule { rule, finds } => by_rule(scene, rule, finds, way, &mut out),
        How::Query { sql, pass_if } => {
            match query::rows(scene.case, &sql.word, values(scene, taken), step.keep) {
                Err(why) => Raw::untold(why),
                Ok(rows) => {
                    let (said, words) = rows.judged(pass_if);
                    out.row = rows.first_row();
                    Raw {
                        from: From::Evidence,
                        said,
                        words,
                        evidence: rows.told(step.keep),
                    }
                }
            }
        }
        How::Compare { what } => {
            match compare::compare(scene.case, scene.window, scene.given, *what) {
                Err(why) => Raw::untold(why),
                Ok(compared) => {
                    if let Some(worst) = compared.worst {
                        out.row.insert("service".to_owned(), worst);
                    }
                    Raw {
                        from: From::Evidence,
                        said: compared.said,
                        words: compared.words,
                        evidence: compared.evidence,
                    }
                }
            }
        }
        How::Probe { check } => by_probe(scene, book, step, way, *check, outside),
        How::Person => match outside.person(&asked(scene, book, step, way)) {
            None => Raw::untold("only a person knows, and none was asked (--guided asks)"),
            Some(spoken) => Raw {
                from: From::Person,
                said: spoken.said,
                words: spoken.words,
                evidence: Vec::new(),
            },
        },
        How::Book { id } => by_book(scene, id, outside, depth, &mut out),
    };
    out.from = raw.from;
    out.said = raw.said;
    out.words = raw.words;
    out.evidence = raw.evidence;
    // What stood under a question before on this way need not stand there again.
    out.evidence
        .retain(|kept| !way.iter().any(|taken| taken.evidence.contains(kept)));
    out.evidence.truncate(step.keep);
    // Rows that explain a fail would only be noise where all is well.
    if let Some(show) = step.show.as_ref().filter(|_| out.said != Said::Pass) {
        let mut with_this = taken.to_vec();
        with_this.push(out.clone());
        match query::rows(scene.case, &show.word, values(scene, &with_this), step.keep) {
            Ok(rows) => out.evidence.extend(rows.told(step.keep)),
            Err(why) => out.evidence.push(Kept {
                what: why,
                command: None,
            }),
        }
    }
    out
}

/// What answers a step, in a word or two.
fn by(step: &Step) -> String {
    match &step.how {
        How::Rule { rule, .. } => format!("rule {}", rule.word),
        How::Query { .. } => "query".to_owned(),
        How::Compare { .. } => "comparison".to_owned(),
        How::Probe { .. } => "probe".to_owned(),
        How::Person => "person".to_owned(),
        How::Book { id } => format!("book {}", id.word),
    }
}

/// The answers since the opening question that leads to this step.
fn way<'t>(book: &Book, taken: &'t [Taken], step: &Step) -> &'t [Taken] {
    if book.opens(step) {
        return &[];
    }
    let opening = taken
        .iter()
        .rposition(|taken| book.step(&taken.step).is_some_and(|step| book.opens(step)));
    &taken[opening.unwrap_or(0)..]
}

fn values(scene: &Scene<'_>, taken: &[Taken]) -> Values {
    Values::at(scene.window, scene.given, taken)
}

fn asked<'a>(scene: &'a Scene<'_>, book: &'a Book, step: &'a Step, way: &'a [Taken]) -> Asked<'a> {
    let found = way.iter().rev().find_map(|taken| taken.found.as_ref());
    Asked {
        book,
        step,
        service: found
            .map(|found| found.service.as_str())
            .filter(|service| !service.is_empty())
            .or(scene.given.service.as_deref()),
    }
}

fn by_rule(scene: &Scene<'_>, rule: &Name, finds: &[Name], way: &[Taken], out: &mut Taken) -> Raw {
    let earlier = way.iter().rev().find_map(|taken| taken.found.as_ref());
    let verdict = rule::verdict(scene.report, &rule.word, finds, earlier, scene.concerns);
    out.found = verdict.found;
    Raw {
        from: From::Evidence,
        said: verdict.said,
        words: verdict.words,
        evidence: verdict.evidence,
    }
}

fn by_probe(
    scene: &Scene<'_>,
    book: &Book,
    step: &Step,
    way: &[Taken],
    check: Check,
    outside: &mut dyn Outside,
) -> Raw {
    let results = match outside.probe(&asked(scene, book, step, way), check) {
        Err(why) => return Raw::untold(why),
        Ok(results) if results.is_empty() => {
            return Raw::untold("the registry names no address to look at");
        }
        Ok(results) => results,
    };
    let failed = results.iter().filter(|result| !result.ok).count();
    let evidence = results
        .iter()
        .map(|result| Kept {
            what: format!(
                "{} {} {}: {}",
                result.instance.as_deref().unwrap_or("?"),
                result.check,
                result.address,
                match (&result.error, result.status) {
                    (Some(error), _) => error.clone(),
                    (None, Some(status)) => format!("answered {status}"),
                    (None, None) => "connects".to_owned(),
                }
            ),
            command: None,
        })
        .collect();
    Raw {
        from: From::Probe,
        said: if failed == 0 { Said::Pass } else { Said::Fail },
        words: format!("{failed} of {} looks failed", results.len()),
        evidence,
    }
}

fn by_book(
    scene: &Scene<'_>,
    id: &Name,
    outside: &mut dyn Outside,
    depth: usize,
    out: &mut Taken,
) -> Raw {
    let Some(inner) = scene.shelf.find(&id.word).filter(|_| depth < DEEPEST) else {
        return Raw::untold(format!("book {} can't be walked here", id.word));
    };
    let taken = on(scene, inner, Vec::new(), outside, depth + 1);
    let closing: Closing = close(inner, &taken);
    let (said, words) = match (closing.kind, &closing.ending) {
        (Kind::Cause | Kind::Between | Kind::Known, Some(ending)) => {
            (Said::Fail, ending.says.clone())
        }
        (Kind::Clear, _) => (Said::Pass, "everything it asks is as expected".to_owned()),
        _ => {
            let why = closing
                .unanswered
                .first()
                .map_or_else(String::new, |open| format!(": {}", open.why));
            (
                Said::CannotTell,
                format!("it found nothing, and could not tell all{why}"),
            )
        }
    };
    out.inner = taken;
    out.came_to = Some(Box::new(closing));
    Raw {
        from: From::Evidence,
        said,
        words,
        evidence: Vec::new(),
    }
}
