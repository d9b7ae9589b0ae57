//! `registry/field-metadata-missing`: callers select by metadata, and an instance that runs lacks it.

use std::collections::BTreeSet;

use super::lookup_name_misses_row::LOOKUPS;
use super::lookups::{filter, lookups};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::{Evidence, need};
use crate::rules::facts::count;

const VERSION: &str = "registration/field-metadata#version-tag-missing";
const LABEL: &str = "registration/field-metadata#environment-label-missing";

static ABOUT: About = About {
    id: "registry/field-metadata-missing",
    title: "Selection by metadata passes over an instance that runs",
    severity: Severity::Error,
    needs: &[need::REGISTRY, need::REGISTRY_SNAPSHOTS, LOOKUPS],
    meaning: "A caller narrows its lookups by a key of the metadata. One healthy instance has no such key, so it is \
              never chosen: a canary that gets no traffic, a replica that takes no load.",
    threshold: "lookups narrowed by a key, and a healthy row of that name without the key beside one that matches",
    causes: &[
        Cause {
            id: VERSION,
            what: "the version is missing from the metadata",
            sign: "no version key; the other keys are there",
        },
        Cause {
            id: LABEL,
            what: "a label such as the environment is missing from the metadata",
            sign: "no such key; the version is there",
        },
    ],
    remedy: "let the registry refuse, or at least show, registrations without the required metadata",
    follows: &[],
};

pub(crate) struct FieldMetadataMissing;

impl Rule for FieldMetadataMissing {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let end = evidence.window().until;
        let mut filtered = 0;
        let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
        for ((caller, name, query), asked) in &lookups(evidence) {
            let Some((key, value)) = filter(query) else {
                continue;
            };
            filtered += asked.all.len();
            let first = asked.all[0];
            let rows: Vec<_> = evidence
                .roster
                .named(name)
                .filter(|entry| entry.is_good_at(first.at) || entry.is_good_at(end))
                .collect();
            if !rows.iter().any(|entry| entry.metadata(key) == Some(value)) {
                continue;
            }
            for row in rows.iter().filter(|entry| entry.metadata(key).is_none()) {
                if !told.insert((&row.id, key)) {
                    continue;
                }
                let cause = if key == "version" { VERSION } else { LABEL };
                let mut found = Finding::of(
                    &ABOUT,
                    cause,
                    format!(
                        "{caller} looks up {name} by {key}={value} and passes over {}: its record has no {key}.",
                        row.id
                    ),
                )
                .about(name, &row.id, "unlabelled")
                .about(caller, "", "caller")
                .between(first.at.max(row.first), None)
                .sure()
                .seen(Seen::trace(
                    format!("{} of /services/{name}?{query}", count(asked.all.len(), "lookup")),
                    first.trace_id,
                ))
                .seen(Seen::note(format!("the row of {} has no {key}; its siblings' say {value}", row.id)));
                if let Some((_, service)) = evidence.serving.instance(&row.id) {
                    found = found.seen(Seen::note(format!(
                        "it served {} in the window",
                        count(service.served.len(), "request")
                    )));
                }
                judgement.findings.push(found);
            }
        }
        judgement.seen.push(format!(
            "{} narrowed by metadata",
            count(filtered, "lookup")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(
                "no healthy row lacks a key that a lookup asked for beside one that has it"
                    .to_owned(),
            );
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, snapshot, span};

    fn lookup(query: &str) -> SpanOf {
        span("gateway", "g", "GET /services/{name}", 10.0)
            .client()
            .text("http.request.method", "GET")
            .text("url.template", "/services/{name}")
            .text(
                "url.full",
                &format!("http://127.0.0.1:8081/services/search{query}"),
            )
            .int("http.response.status_code", 200)
            .int("shop.registry.instances", 1)
    }

    fn scene(lacking: &str, first: Option<&str>) -> Scene {
        let mut rows = snapshot(
            5.0,
            &[
                ("search", "search-1", "127.0.0.1:1", "healthy"),
                ("search", "search-2", "127.0.0.1:2", "healthy"),
            ],
        );
        for row in &mut rows.instances {
            row.metadata.insert("version".into(), "1.0.0".into());
            row.metadata.insert("env".into(), "prod".into());
        }
        rows.instances[1].metadata.remove(lacking);
        match first {
            Some(value) => rows.instances[0]
                .metadata
                .insert(lacking.into(), value.into()),
            None => rows.instances[0].metadata.remove(lacking),
        };
        Scene::new()
            .event(event(
                0.0,
                "registered",
                "search",
                "search-1",
                "127.0.0.1:1",
            ))
            .event(event(
                0.0,
                "registered",
                "search",
                "search-2",
                "127.0.0.1:2",
            ))
            .snapshot(rows)
    }

    #[test]
    fn a_missing_version_is_told_from_a_missing_label() {
        let version = scene("version", Some("1.0.0"))
            .span(lookup("?version=1.0.0"))
            .finding(&FieldMetadataMissing);
        assert_eq!(version.cause_id, VERSION);
        assert_eq!(version.subjects[0].instance, "search-2");
        let label = scene("env", Some("prod"))
            .span(lookup("?env=prod"))
            .finding(&FieldMetadataMissing);
        assert_eq!(label.cause_id, LABEL);
    }

    #[test]
    fn passes_where_nothing_matches_or_nobody_asks_for_it() {
        // No row matches: the lookup brings nobody, which is another rule's finding.
        scene("env", None)
            .span(lookup("?env=prod"))
            .passes(&FieldMetadataMissing);
        scene("env", Some("staging"))
            .span(lookup("?env=prod"))
            .passes(&FieldMetadataMissing);
        scene("env", Some("prod"))
            .span(lookup(""))
            .passes(&FieldMetadataMissing);
        scene("env", Some("prod"))
            .span(lookup("?version=1.0.0"))
            .passes(&FieldMetadataMissing);
        assert!(
            !scene("env", Some("prod"))
                .cannot_tell(&FieldMetadataMissing)
                .is_empty()
        );
    }
}
