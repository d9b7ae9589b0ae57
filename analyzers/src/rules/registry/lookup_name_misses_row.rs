//! `registry/lookup-name-misses-row`: registrations succeed, and lookups find nobody.

use super::lookups::{Lookups, filter, good, lookups, nearly};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::registry_calls::Asked;
use crate::evidence::roster::Entry;
use crate::evidence::{Evidence, Need, need};
use crate::rules::facts::{count, is_version};

const INCOMPLETE: &str = "registration/service-not-found-though-registered#incomplete-data";
const NAME: &str = "registration/service-not-found-though-registered#name-differs";

/// Empty answers before it is no coincidence of a start.
pub(in crate::rules) const EMPTY: usize = 3;

/// Client spans of lookups.
pub(in crate::rules) const LOOKUPS: Need = Need {
    name: "client spans of registry lookups",
    missing: |evidence| {
        evidence
            .registry_calls
            .lookups()
            .next()
            .is_none()
            .then(|| "no client span of a registry lookup in the window".to_owned())
    },
};

static ABOUT: About = About {
    id: "registry/lookup-name-misses-row",
    title: "Lookups find nobody although instances are registered",
    severity: Severity::Error,
    needs: &[need::REGISTRY, LOOKUPS],
    meaning: "A registration was taken, but the question that callers ask does not match the row: its name is spelled \
              otherwise, or it lacks what the lookup filters on. The service is there and can't be found.",
    threshold: "3 empty answers to a caller while a row stands that the same question without its filter, or with a name \
                equal but for case and affixes, would have found",
    causes: &[
        Cause {
            id: INCOMPLETE,
            what: "the stored record lacks what the lookup filters on",
            sign: "the unfiltered lookup of the name finds the row, which has no such key",
        },
        Cause {
            id: NAME,
            what: "the registered name and the one that is looked up differ",
            sign: "even the unfiltered lookup misses; a row of nearly this name stands",
        },
    ],
    remedy: "register and look up by one shared constant, and refuse registrations that lack required metadata",
    follows: &[],
};

pub(crate) struct LookupNameMissesRow;

impl Rule for LookupNameMissesRow {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        for ((caller, name, query), asked) in &lookups(evidence) {
            let Some((empty, first)) = run_of_empty(asked) else {
                continue;
            };
            nearest = nearest.max(empty);
            if empty < EMPTY {
                continue;
            }
            if let Some(found) = incomplete(evidence, (caller, name, query), empty, first)
                .or_else(|| misnamed(evidence, (caller, name), empty, first))
            {
                judgement.findings.push(found);
            }
        }
        fold(&mut judgement.findings);
        judgement.seen.push(format!(
            "{} of registry lookups; at most {nearest} empty answers to one question at its end",
            count(evidence.registry_calls.lookups().count(), "client span"),
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} empty answers to one question; {EMPTY} make a finding where a row would have matched"
            ));
        }
        judgement
    }
}

/// How many of the last answers were empty, and the first of those.
pub(in crate::rules) fn run_of_empty<'a>(asked: &Lookups<'a>) -> Option<(usize, &'a Asked)> {
    let last_found = asked.found().map(|asked| asked.at).max();
    let mut empty = asked
        .empty()
        .filter(|asked| last_found.is_none_or(|last| asked.at > last));
    let first = empty.next()?;
    Some((empty.count() + 1, first))
}

/// One finding for each row that is missed, whoever missed it.
fn fold(findings: &mut Vec<Finding>) {
    findings.sort_by(|a, b| {
        (a.cause_id, &a.subjects.first(), a.since).cmp(&(b.cause_id, &b.subjects.first(), b.since))
    });
    findings.dedup_by(|later, first| {
        let same =
            later.cause_id == first.cause_id && later.subjects.first() == first.subjects.first();
        if same {
            for subject in later.subjects.drain(..) {
                if !first.subjects.contains(&subject) {
                    first.subjects.push(subject);
                }
            }
            first.evidence.append(&mut later.evidence);
        }
        same
    });
}

fn incomplete(
    evidence: &Evidence,
    (caller, name, query): (&str, &str, &str),
    empty: usize,
    first: &Asked,
) -> Option<Finding> {
    let (key, value) = filter(query)?;
    let rows = good(evidence, name, first.at);
    let lacking: Vec<&&Entry> = rows
        .iter()
        .filter(|entry| entry.metadata(key).is_none())
        .collect();
    let row = lacking.first()?;
    // A row that has the key with another value is the caller's matter.
    if lacking.len() < rows.len() {
        return None;
    }
    Some(
        Finding::of(
            &ABOUT,
            INCOMPLETE,
            format!(
                "{caller} looks up {name} with {key}={value} and finds nobody, {} in a row: {} without {key}.",
                crate::rules::facts::times(empty),
                if rows.len() == 1 { "its one row is".to_owned() } else { format!("its {} rows are", rows.len()) },
            ),
        )
        .about(name, &row.id, "incomplete")
        .about(caller, "", "caller")
        .between(first.at, None)
        .sure()
        .seen(Seen::trace(format!("GET /services/{name}?{query} brought nobody"), first.trace_id))
        .seen(Seen::note(format!("the row of {} has no {key} in its metadata", row.id))),
    )
}

fn misnamed(
    evidence: &Evidence,
    (caller, name): (&str, &str),
    empty: usize,
    first: &Asked,
) -> Option<Finding> {
    let others = nearly(evidence, name);
    let row = others.iter().find(|entry| entry.is_listed_at(first.at))?;
    // The registry itself changed it, or the version stands in the name: other rules say so.
    let as_registered = row
        .records
        .last()
        .is_none_or(|record| record.name == row.name());
    let versioned =
        row.name().rsplit('-').next().is_some_and(is_version) && row.metadata("version").is_none();
    if !as_registered || versioned || !good(evidence, name, first.at).is_empty() {
        return None;
    }
    Some(
        Finding::of(
            &ABOUT,
            NAME,
            format!(
                "{caller} looks up {name} and finds nobody, {} in a row: it is registered as {}.",
                crate::rules::facts::times(empty),
                row.name()
            ),
        )
        .about(name, &row.id, "misnamed")
        .about(caller, "", "caller")
        .between(first.at, None)
        .sure()
        .seen(Seen::trace(
            format!("GET /services/{name} brought nobody"),
            first.trace_id,
        ))
        .seen(Seen::note(format!(
            "the row of {} says {}; without case and affixes that is {name}",
            row.id,
            row.name()
        ))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, snapshot, span};

    pub(crate) fn lookup(seconds: f64, query: &str, found: i64) -> SpanOf {
        span("orders", "orders-0", "GET /services/{name}", seconds)
            .client()
            .text("http.request.method", "GET")
            .text("url.template", "/services/{name}")
            .text(
                "url.full",
                &format!("http://127.0.0.1:8081/services/inventory{query}"),
            )
            .int("http.response.status_code", 200)
            .int("shop.registry.instances", found)
    }

    fn scene(name: &str, version: Option<&str>) -> Scene {
        let mut rows = snapshot(5.0, &[(name, "inventory-h-1-a", "127.0.0.1:1", "healthy")]);
        if let Some(version) = version {
            rows.instances[0]
                .metadata
                .insert("version".into(), version.into());
        }
        Scene::new()
            .event(event(
                0.0,
                "registered",
                name,
                "inventory-h-1-a",
                "127.0.0.1:1",
            ))
            .snapshot(rows)
    }

    #[test]
    fn a_row_without_the_key_is_told_from_another_name() {
        let filtered = [10.0, 20.0, 30.0].map(|s| lookup(s, "?version=v1", 0));
        let found = scene("inventory", None)
            .spans(filtered.clone())
            .finding(&LookupNameMissesRow);
        assert_eq!(found.cause_id, INCOMPLETE);
        let plain = [10.0, 20.0, 30.0].map(|s| lookup(s, "", 0));
        let found = scene("Inventory-Service", Some("v1"))
            .spans(plain.clone())
            .finding(&LookupNameMissesRow);
        assert_eq!(found.cause_id, NAME);
        // Another value, a version in the name, and a wholly other name are none of it.
        scene("inventory", Some("v2"))
            .spans(filtered)
            .passes(&LookupNameMissesRow);
        scene("inventory-v1", None)
            .spans(plain.clone())
            .passes(&LookupNameMissesRow);
        scene("shipping", Some("v1"))
            .spans(plain)
            .passes(&LookupNameMissesRow);
    }

    #[test]
    fn two_empty_answers_are_a_near_miss_and_a_later_success_ends_them() {
        let lookups = |number: usize| {
            [10.0, 20.0, 30.0]
                .into_iter()
                .take(number)
                .map(|s| lookup(s, "", 0))
        };
        scene("Inventory", None)
            .spans(lookups(2))
            .passes(&LookupNameMissesRow);
        scene("Inventory", None)
            .spans(lookups(3))
            .finding(&LookupNameMissesRow);
        scene("Inventory", None)
            .spans(lookups(3))
            .span(lookup(40.0, "", 1))
            .passes(&LookupNameMissesRow);
        assert!(
            !scene("inventory", None)
                .cannot_tell(&LookupNameMissesRow)
                .is_empty()
        );
    }
}
