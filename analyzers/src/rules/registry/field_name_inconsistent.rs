//! `registry/field-name-inconsistent`: one instance registers under another spelling of its service's name.

use super::lookups::nearly;
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{is_version, sender};

const CASING: &str = "registration/field-name#casing-differs";
const AFFIX: &str = "registration/field-name#extra-affix";

static ABOUT: About = About {
    id: "registry/field-name-inconsistent",
    title: "An instance is registered under another spelling of its service's name",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "Its siblings are registered under the name that callers look up; this one is not, so lookups bring fewer \
              instances than run, and the others carry its share.",
    threshold: "one listed row whose name equals that of a listed service but for case or affixes",
    causes: &[
        Cause {
            id: CASING,
            what: "upper or mixed case in the name",
            sign: "in lower case the names are equal",
        },
        Cause {
            id: AFFIX,
            what: "a prefix or suffix is added to the name",
            sign: "only without the affix the names are equal",
        },
    ],
    remedy: "take the name from one constant shared with the callers; let the registry refuse unknown names",
    follows: &[],
};

pub(crate) struct FieldNameInconsistent;

impl Rule for FieldNameInconsistent {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let end = evidence.window().until;
        for entry in &evidence.roster.entries {
            let name = entry.name();
            // The other spelling must be the usual one: more rows, or the sender's own word for it.
            let said = sender(evidence, entry).map(|sender| &*sender.who.service);
            let usual = nearly(evidence, name).into_iter().find(|other| {
                said.is_none_or(|said| said == other.name())
                    && other.is_listed_at(entry.first.max(other.first))
            });
            let Some(usual) = usual.map(|usual| usual.name()) else {
                continue;
            };
            let changed = entry
                .records
                .last()
                .is_some_and(|record| record.name != name);
            let versioned = name.rsplit('-').next().is_some_and(is_version);
            let rivals = evidence
                .roster
                .named(usual)
                .filter(|other| other.is_listed_at(end))
                .count();
            let alike = evidence
                .roster
                .named(name)
                .filter(|other| other.is_listed_at(end))
                .count();
            if changed || versioned || said.is_none() && alike >= rivals {
                continue;
            }
            let cause = if name.to_lowercase() == usual.to_lowercase() {
                CASING
            } else {
                AFFIX
            };
            let mut found = Finding::of(
                &ABOUT,
                cause,
                format!(
                    "an instance of {usual} is registered as {name}: lookups of {usual} miss it."
                ),
            )
            .about(usual, &entry.id, "misnamed")
            .between(entry.first, None)
            .sure();
            if let Some(record) = entry.records.last() {
                found = found.seen(Seen::at(
                    format!(
                        "registry: {} registered with the name {}",
                        entry.id, record.name
                    ),
                    Reference::RegistryEvent { seq: record.seq },
                ));
            }
            judgement.findings.push(found.seen(Seen::note(format!(
                "{rivals} rows are listed as {usual}, {alike} as {name}"
            ))));
        }
        judgement.seen.push(format!(
            "{} rows in the registry, compared without case and affixes",
            evidence.roster.entries.len()
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some("no two names are nearly equal".to_owned());
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, event};

    fn scene(name: &str) -> Scene {
        Scene::new()
            .event(event(
                0.0,
                "registered",
                "payment",
                "payment-h-1-a",
                "127.0.0.1:1",
            ))
            .event(event(
                0.0,
                "registered",
                "payment",
                "payment-h-2-b",
                "127.0.0.1:2",
            ))
            .event(event(
                5.0,
                "registered",
                name,
                "payment-h-3-c",
                "127.0.0.1:3",
            ))
    }

    #[test]
    fn case_is_told_from_affixes() {
        assert_eq!(
            scene("Payment").finding(&FieldNameInconsistent).cause_id,
            CASING
        );
        assert_eq!(
            scene("prod-payment-svc")
                .finding(&FieldNameInconsistent)
                .cause_id,
            AFFIX
        );
    }

    #[test]
    fn other_names_and_versions_pass() {
        // One letter more than an affix: another service.
        for name in ["payment", "payments", "payment-v2", "fraud"] {
            scene(name).passes(&FieldNameInconsistent);
        }
        assert!(!Scene::new().cannot_tell(&FieldNameInconsistent).is_empty());
    }

    #[test]
    fn a_service_that_is_named_so_as_a_whole_is_not_told_apart_here() {
        Scene::new()
            .event(event(
                0.0,
                "registered",
                "Payment",
                "payment-h-1-a",
                "127.0.0.1:1",
            ))
            .passes(&FieldNameInconsistent);
    }
}
