//! What a walk comes to: of all ends that were reached, the one that the evidence carries best.

use serde::{Deserialize, Serialize};

use super::record::{Found, Other, Said, Taken};
use super::{Reached, follow, takes_over, variables};
use crate::book::Book;

/// The outcome of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One cause.
    Cause,
    /// Some causes, between which the evidence does not tell.
    Between,
    /// Something is wrong or known, and no cause is named.
    Known,
    /// Everything asked was as expected.
    Clear,
    /// Nothing was found, and something could not be told.
    CannotTell,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cause => "cause",
            Kind::Between => "between",
            Kind::Known => "known",
            Kind::Clear => "clear",
            Kind::CannotTell => "cannot_tell",
        }
    }
}

/// An end that was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub book: String,
    pub end: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub sure: bool,
    /// One sentence.
    pub says: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub because: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verify: String,
    /// Causes that are left open, each with what would tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Other>,
    /// The finding it follows from, which another book proves: rule and headline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<(String, String)>,
    /// The less the better carried.
    pub place: usize,
}

/// A question without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    pub ask: String,
    pub why: String,
}

/// What a walk comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Other ends that were reached, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Ending>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unanswered: Vec<Unanswered>,
}

/// Ends without a finding stand behind all that have one.
const NO_FINDING: usize = 1_000_000;
/// Ends that name no cause stand behind those that do.
const NO_CAUSE: usize = 2_000_000;

/// Weighs what the answers reached.
pub fn close(book: &Book, taken: &[Taken]) -> Closing {
    let (_, reached) = follow(book, taken);
    let mut endings: Vec<Ending> = reached
        .iter()
        .filter_map(|reached| ending(book, taken, reached))
        .collect();
    endings.sort_by_key(|ending| ending.place);
    // Two opening questions may come upon the same.
    let mut kept: Vec<Ending> = Vec::new();
    for ending in endings {
        let same = |other: &Ending| {
            other.cause == ending.cause
                && other.service == ending.service
                && other.says == ending.says
        };
        if !kept.iter().any(same) {
            kept.push(ending);
        }
    }
    let unanswered: Vec<Unanswered> = taken
        .iter()
        .filter(|taken| taken.said == Said::CannotTell)
        .map(|taken| Unanswered {
            ask: taken.ask.clone(),
            why: taken.words.clone(),
        })
        .collect();
    let mut endings = kept.into_iter();
    let ending = endings.next();
    let kind = match &ending {
        Some(ending) if ending.cause.is_none() => Kind::Known,
        Some(ending) if !ending.open.is_empty() => Kind::Between,
        Some(_) => Kind::Cause,
        None if unanswered.is_empty() => Kind::Clear,
        None => Kind::CannotTell,
    };
    Closing {
        kind,
        ending,
        also: endings.collect(),
        unanswered,
    }
}

fn ending(book: &Book, taken: &[Taken], reached: &Reached<'_, '_>) -> Option<Ending> {
    let last = reached.way.last()?;
    let found = reached
        .way
        .iter()
        .rev()
        .find_map(|taken| taken.found.as_ref());
    let Some(name) = reached.end else {
        return last
            .came_to
            .as_ref()
            .and_then(|closing| closing.ending.clone());
    };
    let end = book.end(&name.word)?;
    if end.cause.as_ref().is_some_and(takes_over) && found.is_none() {
        return last
            .came_to
            .as_ref()
            .and_then(|closing| closing.ending.clone());
    }
    let said = |text: &str| variables::filled(text, taken);
    let or_remedy = |text: &str| match (text.is_empty(), found) {
        (true, Some(found)) => found.remedy.clone(),
        _ => said(text),
    };
    let cause = end.cause.as_ref().and_then(|name| match takes_over(name) {
        true => found.map(|found| found.cause.clone()),
        false => Some(name.word.clone()),
    });
    let by_person = last.from == super::From::Person;
    let open = settled(found, cause.as_deref(), by_person);
    let base = found.map_or(NO_FINDING, |found| found.place);
    Some(Ending {
        book: book.id.clone(),
        end: end.id.word.clone(),
        sure: cause.is_some()
            && open.is_empty()
            && (end.sure || end.cause.as_ref().is_some_and(takes_over))
            && found.is_none_or(|found| found.sure || by_person),
        says: match found {
            Some(found) if end.says.is_empty() => found.headline.clone(),
            _ => said(&end.says),
        },
        because: found.map(|found| found.because.clone()).unwrap_or_default(),
        service: found.map(|found| found.service.clone()).unwrap_or_default(),
        instance: found
            .map(|found| found.instance.clone())
            .unwrap_or_default(),
        fix: or_remedy(&end.fix),
        verify: said(&end.verify),
        place: if cause.is_some() {
            base
        } else {
            NO_CAUSE + base
        },
        cause,
        open,
        follows: found.and_then(|found| found.follows.clone()),
    })
}

/// The causes still open beside the one the end names. A person's word settles them: that is what was asked for.
fn settled(found: Option<&Found>, cause: Option<&str>, by_person: bool) -> Vec<Other> {
    let Some(found) = found.filter(|_| !by_person) else {
        return Vec::new();
    };
    found
        .open
        .iter()
        .filter(|other| Some(other.cause.as_str()) != cause)
        .cloned()
        .collect()
}
