//! `resolve/selective-failure`: some services resolve, others never do.

use std::collections::BTreeMap;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{count, is_version, times};
use crate::rules::registry::lookup_name_misses_row::{EMPTY, run_of_empty};
use crate::rules::registry::lookups::{filter, good, lookups};

const CONFIG: &str = "resolution/some-services-only#service-specific-config";
const PATTERN: &str = "resolution/some-services-only#registration-pattern-differs";
const CORRUPT: &str = "resolution/some-services-only#registry-entry-corrupt";

static ABOUT: About = About {
    id: "resolve/selective-failure",
    title: "One service does not resolve while others do",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "Lookups work in general, so it is this caller's question or this service's row that is wrong: a filter \
              that matches nothing, another way of registering, or a row that the registry damaged.",
    threshold: "3 empty answers in a row to a filter that healthy rows contradict, or to a name under which only \
                name-version is registered; or a row that differs from the record it was made of",
    causes: &[
        Cause {
            id: CONFIG,
            what: "one caller's lookup settings for that service are wrong",
            sign: "its filter matches nothing; other callers resolve the service",
        },
        Cause {
            id: PATTERN,
            what: "the service registers in another way than its peers",
            sign: "every caller misses it; its version stands in the name instead of the metadata",
        },
        Cause {
            id: CORRUPT,
            what: "the stored row differs from what was registered",
            sign: "the event is right, the row is wrong, and nothing came between",
        },
    ],
    remedy: "compare the row and the lookup of a failing service with those of a working one, field by field",
    follows: &[],
};

pub(crate) struct SelectiveFailure;

impl Rule for SelectiveFailure {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        corrupt(evidence, &mut judgement);
        let questions = lookups(evidence);
        let mut nearest = 0;
        let mut missed: BTreeMap<
            &str,
            Vec<(&str, usize, &crate::evidence::registry_calls::Asked)>,
        > = BTreeMap::new();
        for ((caller, name, query), asked) in &questions {
            let Some((empty, first)) = run_of_empty(asked) else {
                continue;
            };
            nearest = nearest.max(empty);
            if empty < EMPTY {
                continue;
            }
            let Some((key, value)) = filter(query) else {
                missed.entry(name).or_default().push((caller, empty, first));
                continue;
            };
            let rows = good(evidence, name, first.at);
            let has = rows
                .iter()
                .filter_map(|entry| entry.metadata(key))
                .collect::<Vec<_>>();
            if has.is_empty() || has.contains(&value) {
                continue;
            }
            let others = questions
                .iter()
                .filter(|((other, about, _), asked)| {
                    other != caller && about == name && asked.found().next().is_some()
                })
                .count();
            let mut found = Finding::of(
                &ABOUT,
                CONFIG,
                format!(
                    "{caller} looks up {name} with {key}={value} and finds nobody, {} in a row: its rows say {key}={}.",
                    times(empty),
                    has[0]
                ),
            )
            .about(caller, "", "misconfigured")
            .about(name, "", "missed")
            .between(first.at, None)
            .sure()
            .seen(Seen::trace(format!("GET /services/{name}?{query} brought nobody"), first.trace_id));
            if others > 0 {
                found = found.seen(Seen::note(format!(
                    "{} of other callers found {name}",
                    count(others, "kind of lookup")
                )));
            }
            judgement.findings.push(found);
        }
        for (name, callers) in &missed {
            judgement
                .findings
                .extend(versioned(evidence, name, callers));
        }
        judgement.seen.push(format!(
            "{} of lookups; {} compared with their records",
            count(questions.len(), "kind"),
            count(evidence.roster.entries.len(), "row")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} empty answers to one question at its end; {EMPTY} make a finding where rows contradict it"
            ));
        }
        judgement
    }
}

fn versioned(
    evidence: &Evidence,
    name: &str,
    callers: &[(&str, usize, &crate::evidence::registry_calls::Asked)],
) -> Option<Finding> {
    let first = callers
        .iter()
        .map(|(_, _, asked)| asked)
        .min_by_key(|asked| asked.at)?;
    if !good(evidence, name, first.at).is_empty() {
        return None;
    }
    let row = evidence.roster.entries.iter().find(|entry| {
        let version = entry
            .name()
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(is_version);
        version
            && entry.metadata("version").is_none()
            && entry.is_listed_at(first.at.saturating_add(1_000_000_000))
    })?;
    if row
        .records
        .last()
        .is_some_and(|record| record.name != row.name())
    {
        return None;
    }
    let peers = evidence
        .roster
        .entries
        .iter()
        .filter(|entry| entry.metadata("version").is_some() && entry.name() != row.name())
        .count();
    let mut found = Finding::of(
        &ABOUT,
        PATTERN,
        format!(
            "nobody finds {name}: it is registered as {}, with its version in the name, where others have it in the metadata.",
            row.name()
        ),
    )
    .about(name, &row.id, "registered otherwise")
    .between(first.at, None)
    .sure()
    .seen(Seen::trace(format!("GET /services/{name} brought nobody"), first.trace_id))
    .seen(Seen::note(format!("{} have their version in the metadata, this one has none there", count(peers, "row"))));
    for (caller, empty, _) in callers {
        found = found.about(caller, "", "caller").seen(Seen::note(format!(
            "{caller} got an empty answer {} in a row",
            times(*empty)
        )));
    }
    Some(found)
}

/// Rows that are not what was registered.
fn corrupt(evidence: &Evidence, judgement: &mut Judgement) {
    let mut damaged: BTreeMap<&str, Vec<(&Entry, String)>> = BTreeMap::new();
    for entry in &evidence.roster.entries {
        let (Some(record), Some(row)) = (entry.records.last(), entry.rows.last()) else {
            continue;
        };
        // The row must be younger than the record, with nothing that could have changed it between.
        if row.at < record.at {
            continue;
        }
        let mut wrong = Vec::new();
        if !record.name.is_empty() && record.name != row.row.name {
            wrong.push(format!("name {} became {}", record.name, row.row.name));
        }
        if !record.address.is_empty() && record.address != row.row.address {
            wrong.push(format!(
                "address {} became {}",
                record.address, row.row.address
            ));
        }
        if !wrong.is_empty() {
            damaged
                .entry(&record.name)
                .or_default()
                .push((entry, wrong.join(", ")));
        }
    }
    for (name, entries) in damaged {
        let since = entries
            .iter()
            .filter_map(|(entry, _)| entry.records.last())
            .map(|record| record.at)
            .min();
        let mut found = Finding::of(
            &ABOUT,
            CORRUPT,
            format!(
                "the registry's {} of {name} differ from what was registered: {}.",
                count(entries.len(), "row"),
                entries[0].1
            ),
        )
        .about("registry", "", "corrupt")
        .between(since.unwrap_or_default(), None)
        .sure();
        for (entry, wrong) in entries.iter().take(10) {
            found = found.about(name, &entry.id, "damaged");
            if let Some(record) = entry.records.last() {
                found = found.seen(Seen::at(
                    format!(
                        "registered {} as {} at {}; in the row {wrong}",
                        entry.id, record.name, record.address
                    ),
                    Reference::RegistryEvent { seq: record.seq },
                ));
            }
        }
        judgement.findings.push(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, snapshot, span};

    const ID: &str = "inventory-h-1-a";

    fn lookup(seconds: f64, caller: &str, query: &str, found: i64) -> SpanOf {
        span(caller, caller, "GET /services/{name}", seconds)
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

    fn scene(registered: &str, row: &str, env: Option<&str>) -> Scene {
        let mut rows = snapshot(5.0, &[(row, ID, "127.0.0.1:1", "healthy")]);
        if let Some(env) = env {
            rows.instances[0].metadata.insert("env".into(), env.into());
            rows.instances[0]
                .metadata
                .insert("version".into(), "1".into());
        }
        Scene::new()
            .event(event(0.0, "registered", registered, ID, "127.0.0.1:1"))
            .snapshot(rows)
    }

    fn empty(number: usize, query: &str) -> Vec<SpanOf> {
        [10.0, 20.0, 30.0]
            .into_iter()
            .take(number)
            .map(|s| lookup(s, "orders", query, 0))
            .collect()
    }

    #[test]
    fn the_three_causes_are_told_apart() {
        let config = scene("inventory", "inventory", Some("prod"))
            .spans(empty(3, "?env=staging"))
            .span(lookup(15.0, "catalog", "", 1))
            .finding(&SelectiveFailure);
        assert_eq!(
            (config.cause_id, &*config.subjects[0].service),
            (CONFIG, "orders")
        );
        let pattern = scene("inventory-v1", "inventory-v1", None)
            .spans(empty(3, ""))
            .finding(&SelectiveFailure);
        assert_eq!(pattern.cause_id, PATTERN);
        let corrupt = scene("inventory", "invntory", Some("prod"))
            .spans(empty(3, ""))
            .finding(&SelectiveFailure);
        assert_eq!(corrupt.cause_id, CORRUPT);
    }

    #[test]
    fn near_misses_pass() {
        scene("inventory", "inventory", Some("prod"))
            .spans(empty(2, "?env=staging"))
            .passes(&SelectiveFailure);
        // A key that no row has is the rows' matter; one that a row has brings it.
        scene("inventory", "inventory", None)
            .spans(empty(3, "?env=staging"))
            .passes(&SelectiveFailure);
        scene("inventory", "inventory", Some("staging"))
            .spans(empty(3, "?env=staging"))
            .passes(&SelectiveFailure);
        scene("inventory-v1", "inventory-v1", None)
            .spans(empty(2, ""))
            .passes(&SelectiveFailure);
        scene("inventory-v1", "inventory-v1", Some("prod"))
            .spans(empty(3, ""))
            .passes(&SelectiveFailure);
        // A row that is older than the record says nothing of it.
        let before = Scene::new()
            .snapshot(snapshot(
                5.0,
                &[("inventory", ID, "127.0.0.1:1", "healthy")],
            ))
            .event(event(6.0, "replaced", "inventory", ID, "127.0.0.1:2"));
        before.passes(&SelectiveFailure);
        assert!(!Scene::new().cannot_tell(&SelectiveFailure).is_empty());
    }
}
