//! `resolve/unhealthy-selected`: callers use instances that the registry marks unhealthy, although they asked it since.

use std::collections::{BTreeMap, BTreeSet};

use case::Nanos;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::calls::WITH_ADDRESS;
use crate::evidence::registry_calls::Asked;
use crate::evidence::roster::{Entry, State};
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::count;
use crate::rules::registry::lookup_name_misses_row::LOOKUPS;

const FILTER: &str = "resolution/unhealthy-instance-chosen#client-filter-missing";
const REGISTRY: &str = "resolution/unhealthy-instance-chosen#registry-returns-all-as-healthy";

/// Calls of one caller to a marked instance after it had asked anew.
const CALLS: usize = 5;

static ABOUT: About = About {
    id: "resolve/unhealthy-selected",
    title: "Callers pick instances that the registry marks unhealthy",
    severity: Severity::Error,
    needs: &[need::REGISTRY_EVENTS, WITH_ADDRESS, LOOKUPS],
    meaning: "The registry knows that the instance is ill, the caller asked the registry after that, and calls it all the \
              same. Either the caller does not look at the status, or the registry does not tell it.",
    threshold: "5 calls of one caller to an instance marked unhealthy while a sibling was good, each begun after a lookup \
                that the caller made after the mark",
    causes: &[
        Cause {
            id: FILTER,
            what: "the caller does not filter by health",
            sign: "it asks for every row, or errs alone on the same answers",
        },
        Cause {
            id: REGISTRY,
            what: "the registry hands out unhealthy rows as healthy",
            sign: "every caller errs after fresh lookups",
        },
    ],
    remedy: "choose among healthy and degraded rows only, and test that lookups leave the others out",
    follows: &["health/false-unhealthy"],
};

pub(crate) struct UnhealthySelected;

/// A time in which an instance was marked unhealthy, with what callers did in it.
pub(in crate::rules) struct Marked<'a> {
    pub(in crate::rules) entry: &'a Entry,
    pub(in crate::rules) state: &'a State,
    pub(in crate::rules) until: Nanos,
    /// By place of the caller: when it first asked anew, and its calls to the instance from the mark on.
    pub(in crate::rules) callers: BTreeMap<u32, Use<'a>>,
}

pub(in crate::rules) struct Use<'a> {
    /// Its first answered lookup of the service after the mark.
    pub(in crate::rules) asked: Option<&'a Asked>,
    pub(in crate::rules) calls: Vec<Nanos>,
    /// Calls to other instances of the service since the mark.
    pub(in crate::rules) elsewhere: usize,
}

impl Use<'_> {
    fn knowing(&self) -> usize {
        self.asked.map_or(0, |asked| {
            self.calls.iter().filter(|at| **at > asked.end).count()
        })
    }
}

/// Every time an instance was marked unhealthy by probes or its own word, with the calls to it meanwhile.
pub(in crate::rules) fn marked(evidence: &Evidence) -> Vec<Marked<'_>> {
    let traffic = &evidence.traffic;
    let mut out = Vec::new();
    for entry in &evidence.roster.entries {
        let Some(own) = traffic.address_place(entry.address()) else {
            continue;
        };
        let siblings: BTreeSet<u32> = evidence
            .roster
            .named(entry.name())
            .filter(|other| other.address() != entry.address())
            .filter_map(|other| traffic.address_place(other.address()))
            .collect();
        let end = evidence.window().until;
        for (state, until) in entry.periods(end, |status| status == "unhealthy") {
            if state.reason.contains("no heartbeat") {
                continue;
            }
            let mut callers: BTreeMap<u32, Use<'_>> = BTreeMap::new();
            for sent in traffic.between(state.at, until) {
                let own = sent.address == own;
                if !own && !siblings.contains(&sent.address) {
                    continue;
                }
                let row = callers.entry(sent.caller).or_insert(Use {
                    asked: None,
                    calls: Vec::new(),
                    elsewhere: 0,
                });
                if own {
                    row.calls.push(sent.start);
                } else {
                    row.elsewhere += 1;
                }
            }
            for (caller, row) in &mut callers {
                let who = traffic.caller(*caller);
                row.asked = evidence.registry_calls.lookups().find(|asked| {
                    asked.who == *who
                        && *asked.name == *entry.name()
                        && asked.at > state.at
                        && asked.went_well()
                });
            }
            out.push(Marked {
                entry,
                state,
                until,
                callers,
            });
        }
    }
    out
}

impl Rule for UnhealthySelected {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let all = marked(evidence);
        let mut nearest = 0;
        let mut seen: BTreeSet<(&str, &'static str)> = BTreeSet::new();
        for marked in &all {
            nearest = nearest.max(marked.callers.values().map(Use::knowing).max().unwrap_or(0));
            let sibling = evidence
                .roster
                .named(marked.entry.name())
                .any(|other| other.id != marked.entry.id && other.is_good_at(marked.state.at));
            if sibling
                && let Some(found) = finding(evidence, marked)
                && seen.insert((&marked.entry.id, found.cause_id))
            {
                judgement.findings.push(found);
            }
        }
        judgement.seen.push(format!(
            "{} as unhealthy by probes or their own word",
            count(all.len(), "mark")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} calls of one caller to a marked instance after it had asked anew; {CALLS} make a finding"
            ));
        }
        judgement
    }
}

fn finding(evidence: &Evidence, marked: &Marked<'_>) -> Option<Finding> {
    let traffic = &evidence.traffic;
    let guilty: Vec<(&u32, &Use<'_>)> = marked
        .callers
        .iter()
        .filter(|(_, row)| row.knowing() >= CALLS)
        .collect();
    let (first, row) = guilty.first()?;
    let sound = marked
        .callers
        .iter()
        .filter(|(_, row)| row.asked.is_some() && row.knowing() == 0 && row.elsewhere >= CALLS)
        .count();
    let asks_for_all = guilty.iter().all(|(_, row)| {
        row.asked
            .is_some_and(|asked| asked.query.contains("status=all"))
    });
    let who = traffic.caller(**first);
    let name = marked.entry.name();
    let cause = if asks_for_all || sound > 0 {
        FILTER
    } else {
        REGISTRY
    };
    let mut found = if cause == FILTER {
        Finding::of(
            &ABOUT,
            FILTER,
            format!(
                "{} goes on calling {name} at {}, which the registry marks unhealthy: {} after it asked anew.",
                who.name(),
                marked.entry.address(),
                count(row.knowing(), "call")
            ),
        )
        .about(&who.service, &who.instance, "caller")
        .about(name, &marked.entry.id, "unhealthy")
    } else {
        Finding::of(
            &ABOUT,
            REGISTRY,
            format!(
                "the registry marks {name} at {} unhealthy and hands it out: {} called it after fresh lookups.",
                marked.entry.address(),
                count(guilty.len(), "caller")
            ),
        )
        .about("registry", "", "misleading")
        .about(name, &marked.entry.id, "unhealthy")
    };
    found = found.between(
        marked.state.at,
        (marked.until < evidence.window().until).then_some(marked.until),
    );
    // One caller alone, with nobody to compare it with, may be either.
    found = if asks_for_all || sound > 0 || guilty.len() > 1 {
        found.sure()
    } else {
        found.or(FILTER, "lookups and calls of another caller")
    };
    let what = format!("the registry: {} {}", marked.entry.id, marked.state.reason);
    found = found.seen(match marked.state.seq {
        Some(seq) => Seen::at(what, Reference::RegistryEvent { seq }),
        None => Seen::note(what),
    });
    for (place, row) in &guilty {
        let who = traffic.caller(**place);
        if let (Some(asked), Some(last)) = (row.asked, row.calls.last()) {
            found = found
                .seen(Seen::trace(
                    format!(
                        "{} looked {name} up at {}{}",
                        who.name(),
                        &asked.at.clock()[..8],
                        match &*asked.query {
                            "" => String::new(),
                            query => format!(" with {query}"),
                        }
                    ),
                    asked.trace_id,
                ))
                .seen(Seen::at(
                    format!(
                        "{} by it to the marked instance after that",
                        count(row.knowing(), "call")
                    ),
                    Reference::Traces {
                        window: Reference::span_of_time(asked.end, *last),
                        service: Some(who.service.to_string()),
                        to: Some(marked.entry.address().to_owned()),
                        errors: false,
                    },
                ));
        }
    }
    if sound > 0 {
        found = found.seen(Seen::note(format!(
            "{} avoid it",
            count(sound, "other caller")
        )));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, SpanOf, event, span};

    const ILL: &str = "127.0.0.1:2";

    fn lookup(seconds: f64, caller: &str, query: &str) -> SpanOf {
        span(caller, caller, "GET /services/{name}", seconds)
            .client()
            .text("http.request.method", "GET")
            .text("url.template", "/services/{name}")
            .text(
                "url.full",
                &format!("http://127.0.0.1:8081/services/users{query}"),
            )
            .int("http.response.status_code", 200)
            .int("shop.registry.instances", 2)
    }

    fn calls(caller: &'static str, to: &'static str, number: u32) -> impl Iterator<Item = SpanOf> {
        (0..number).map(move |n| {
            span(caller, caller, "users/Get", 30.0 + f64::from(n))
                .client()
                .to(to)
        })
    }

    fn scene() -> Scene {
        let mut ill = event(10.0, "status_changed", "users", "users-h-2-b", ILL);
        ill.reason = Some("healthy to unhealthy: 3 probes failed".into());
        Scene::new()
            .event(event(
                0.0,
                "registered",
                "users",
                "users-h-1-a",
                "127.0.0.1:1",
            ))
            .event(event(0.0, "registered", "users", "users-h-2-b", ILL))
            .event(ill)
    }

    #[test]
    fn one_caller_that_errs_is_told_from_a_registry_that_misleads() {
        let alone = scene()
            .span(lookup(20.0, "gateway", ""))
            .spans(calls("gateway", ILL, 5))
            .span(lookup(20.0, "checkout", ""))
            .spans(calls("checkout", "127.0.0.1:1", 5))
            .finding(&UnhealthySelected);
        assert_eq!(
            (alone.cause_id, &*alone.subjects[0].service),
            (FILTER, "gateway")
        );
        let all = scene()
            .span(lookup(20.0, "gateway", "?status=all"))
            .spans(calls("gateway", ILL, 5));
        assert_eq!(all.finding(&UnhealthySelected).cause_id, FILTER);
        let both = scene()
            .span(lookup(20.0, "gateway", ""))
            .spans(calls("gateway", ILL, 5))
            .span(lookup(20.0, "checkout", ""))
            .spans(calls("checkout", ILL, 5))
            .finding(&UnhealthySelected);
        assert_eq!((both.cause_id, both.alternatives.len()), (REGISTRY, 0));
        let one = scene()
            .span(lookup(20.0, "gateway", ""))
            .spans(calls("gateway", ILL, 5))
            .finding(&UnhealthySelected);
        assert_eq!(one.alternatives[0].cause_id, FILTER);
    }

    #[test]
    fn near_misses_pass() {
        scene()
            .span(lookup(20.0, "gateway", ""))
            .spans(calls("gateway", ILL, 4))
            .passes(&UnhealthySelected);
        // It has not asked since: it can't know.
        scene()
            .span(lookup(5.0, "gateway", ""))
            .spans(calls("gateway", ILL, 9))
            .passes(&UnhealthySelected);
        assert!(!scene().cannot_tell(&UnhealthySelected).is_empty());
    }
}
