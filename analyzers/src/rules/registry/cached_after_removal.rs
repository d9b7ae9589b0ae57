//! `registry/cached-after-removal`: an instance has left the registry, and callers go on calling its address in vain.

use std::collections::BTreeMap;

use case::Nanos;
use case::time::human_duration;

use crate::engine::{About, Cause, Certainty, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::calls::{self, Call};
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::registry::{Departure, stated_limit};

/// Failed calls a caller may make to an address after it knew better. A retry that was already under way and one more
/// lookup that came back the old way are no habit yet.
const TOLERATED: usize = 2;

/// The longest a caller should keep an address, where the registry states no time limit of its own.
const LONGEST_CACHE: u64 = 60_000_000_000;

const TTL_TOO_LONG: &str = "resolution/stale-cache#ttl-too-long";
const NO_REFRESH: &str = "resolution/stale-cache#no-refresh-on-failure";

static ABOUT: About = About {
    id: "registry/cached-after-removal",
    title: "Callers use an address that has left the registry",
    severity: Severity::Error,
    needs: &[need::REGISTRY, calls::WITH_ADDRESS],
    meaning: "The registry stopped handing out an instance, and calls to its address go on failing. The caller had \
              already seen a call to that address fail, or should have let its cached address expire by then, so it could \
              have looked the service up again. Its requests fail as long as it holds on to the address, whatever the health of the instances that are left.",
    threshold: "3 failed calls of one caller to an address that had left the registry and where nobody had registered \
                again, each begun after the caller's first failed call to it had ended, or longer after the address \
                left than the registry waits before it expires an instance (60 s if it states no limit); calls begun while the \
                instance itself still sent signals do not count",
    causes: &[
        Cause {
            id: TTL_TOO_LONG,
            what: "the cached address outlives the registry's time limit, or never expires",
            sign: "calls to the address go on for longer than the registry waits before it expires an instance (60 s \
                   if it states no limit)",
        },
        Cause {
            id: NO_REFRESH,
            what: "a failed call does not make the caller drop the address",
            sign: "calls to the address go on, but not yet for that long",
        },
    ],
    remedy: "let cached addresses expire after 30 to 60 s, and drop an address on the first call it refuses",
    follows: &["registry/heartbeat-lost"],
};

pub(crate) struct CachedAfterRemoval;

/// What one caller did with an address that was gone.
struct Habit<'a> {
    service: &'a str,
    instance: &'a str,
    /// Failed calls since the address left.
    failed: Vec<&'a Call>,
    /// Those of them the caller could have known to be in vain.
    in_vain: usize,
    answered: usize,
}

impl Rule for CachedAfterRemoval {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        judgement.seen.push(format!(
            "{} left the registry; {} of {} calls that name an address went to those addresses",
            instances(evidence.basis.registry.departures.len()),
            evidence.calls.to_departed.len(),
            evidence.calls.addressed,
        ));
        let limit =
            stated_limit(&evidence.basis.registry.snapshots, "expire").unwrap_or(LONGEST_CACHE);
        let mut nearest = 0;
        for departure in &evidence.basis.registry.departures {
            let habits = habits(evidence, departure, limit);
            let (guilty, rest): (Vec<Habit<'_>>, Vec<Habit<'_>>) = habits
                .into_iter()
                .partition(|habit| habit.in_vain > TOLERATED);
            for habit in &rest {
                nearest = nearest.max(habit.in_vain);
                judgement.seen.push(format!(
                    "{} called {} after it had left: {} failed, {} of them in vain, {} answered",
                    who(habit.service, habit.instance),
                    departure.address,
                    habit.failed.len(),
                    habit.in_vain,
                    habit.answered,
                ));
            }
            if !guilty.is_empty() {
                judgement
                    .findings
                    .push(finding(evidence, departure, &guilty));
            }
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} failed calls in vain by one caller; {} make a finding",
                TOLERATED + 1
            ));
        }
        judgement
    }
}

fn instances(number: usize) -> String {
    match number {
        1 => "1 instance".to_owned(),
        number => format!("{number} instances"),
    }
}

fn calls(number: usize) -> String {
    match number {
        1 => "1 call".to_owned(),
        number => format!("{number} calls"),
    }
}

/// A caller's name: the instance if it says one, else its service.
fn who<'a>(service: &'a str, instance: &'a str) -> &'a str {
    if instance.is_empty() {
        service
    } else {
        instance
    }
}

/// What each caller did with the address of a departure, in order of their names.
fn habits<'a>(evidence: &'a Evidence, departure: &Departure, limit: u64) -> Vec<Habit<'a>> {
    let mut callers: BTreeMap<(&str, &str), Vec<&Call>> = BTreeMap::new();
    for call in evidence
        .calls
        .to_departed
        .iter()
        .filter(|call| *call.address == *departure.address)
    {
        callers
            .entry((&call.service, &call.instance))
            .or_default()
            .push(call);
    }
    // An instance that still speaks was lost by the registry, not by its callers: what fails there has another cause.
    let heard = last_heard(evidence, departure);
    let mut out = Vec::new();
    for ((service, instance), calls) in callers {
        let knew = calls
            .iter()
            .filter(|call| call.failed)
            .map(|call| call.end)
            .min();
        let since: Vec<&Call> = calls
            .into_iter()
            .filter(|call| departure.is_gone_at(call.start))
            .collect();
        if since.is_empty() {
            continue;
        }
        let (failed, answered): (Vec<&Call>, Vec<&Call>) =
            since.into_iter().partition(|call| call.failed);
        out.push(Habit {
            service,
            instance,
            in_vain: failed
                .iter()
                .filter(|call| {
                    // It had seen one fail, or no cache should have held the address for so long.
                    let could_know = knew.is_some_and(|knew| call.start >= knew)
                        || call.start >= departure.at.saturating_add(limit);
                    could_know && call.start > heard
                })
                .count(),
            failed,
            answered: answered.len(),
        });
    }
    out
}

/// When the departed instance last sent anything itself; 0 if it never did.
fn last_heard(evidence: &Evidence, departure: &Departure) -> Nanos {
    evidence
        .instances
        .of(&departure.instance)
        .map(|row| row.spans.last.max(row.logs.last).max(row.metrics.last))
        .max()
        .unwrap_or_default()
}

fn finding(evidence: &Evidence, departure: &Departure, habits: &[Habit<'_>]) -> Finding {
    let failed: usize = habits.iter().map(|habit| habit.failed.len()).sum();
    let first = habits
        .iter()
        .filter_map(|habit| habit.failed.first())
        .map(|call| call.start)
        .min()
        .unwrap_or(departure.at);
    let last = habits
        .iter()
        .filter_map(|habit| habit.failed.last())
        .map(|call| call.start)
        .max()
        .unwrap_or(departure.at);
    let held = last.0 - departure.at.0;
    let stated = stated_limit(&evidence.basis.registry.snapshots, "expire");
    let limit = stated.unwrap_or(LONGEST_CACHE);
    let mut holders: Vec<&str> = habits.iter().map(|habit| habit.service).collect();
    holders.dedup();
    let holders = holders.join(" and ");
    let cached_by = evidence.still_cached_by(&departure.instance, departure.at);
    let seen_cached = habits
        .iter()
        .any(|habit| cached_by.contains(habit.instance));
    let looked_up = evidence
        .calls
        .lookups
        .iter()
        .filter(|lookup| {
            *lookup.name == *departure.service
                && lookup.at >= departure.at
                && habits
                    .iter()
                    .any(|habit| *habit.instance == *lookup.instance)
        })
        .count();
    let (cause_id, cause) = if held > limit {
        let whose = if stated.is_some() {
            "the registry's own time limit of"
        } else {
            "a cache should:"
        };
        (
            TTL_TOO_LONG,
            format!(
                "{holders} has kept {}'s address for {} after it left, longer than {whose} {}",
                departure.service,
                human_duration(held),
                human_duration(limit),
            ),
        )
    } else {
        (
            NO_REFRESH,
            format!(
                "{holders} does not drop {}'s address when calls to it fail",
                departure.service
            ),
        )
    };
    let headline = format!(
        "{} ({}) left the registry at {} and is still called by {holders}: {} failed since.",
        departure.service,
        departure.address,
        &departure.at.clock()[..8],
        calls(failed),
    );
    let mut finding = Finding::of(&ABOUT, cause_id, headline)
        .about(&departure.service, &departure.instance, "departed")
        .between(departure.at, departure.back)
        .because(cause)
        .in_traces(
            habits
                .iter()
                .flat_map(|habit| habit.failed.iter().map(|call| call.trace_id)),
        );
    for habit in habits {
        finding = finding.about(habit.service, habit.instance, "caller");
    }
    // Seen in a cache, or not one lookup since: then nothing but a cache can have named the address.
    if seen_cached || looked_up == 0 && departure.seq.is_some() {
        finding.certainty = Certainty::Sure;
    }
    finding.evidence = seen(
        evidence,
        departure,
        habits,
        (first, last),
        looked_up,
        &cached_by,
    );
    finding
}

fn seen(
    evidence: &Evidence,
    departure: &Departure,
    habits: &[Habit<'_>],
    (first, last): (Nanos, Nanos),
    looked_up: usize,
    cached_by: &std::collections::BTreeSet<String>,
) -> Vec<Seen> {
    let mut out = Vec::new();
    let reason = if departure.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", departure.reason)
    };
    out.push(match departure.seq {
        Some(seq) => Seen::at(
            format!(
                "registry event {seq}: {} {}{reason}",
                departure.kind, departure.instance
            ),
            Reference::RegistryEvent { seq },
        ),
        None => Seen::at(
            format!(
                "registry snapshot of {}: {} is no longer listed",
                departure.at, departure.instance
            ),
            Reference::Instance {
                instance: departure.instance.clone(),
            },
        ),
    });
    for habit in habits {
        let mut errors: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &habit.failed {
            *errors
                .entry(if call.error.is_empty() {
                    "error"
                } else {
                    &call.error
                })
                .or_default() += 1;
        }
        let errors: Vec<String> = errors
            .iter()
            .map(|(error, number)| format!("{number} × {error}"))
            .collect();
        out.push(Seen::at(
            format!(
                "{} by {} to {} failed since ({}), {} of them in vain",
                calls(habit.failed.len()),
                who(habit.service, habit.instance),
                departure.address,
                errors.join(", "),
                habit.in_vain,
            ),
            Reference::Traces {
                window: Reference::span_of_time(first, last),
                service: Some(habit.service.to_owned()),
                to: Some(departure.address.clone()),
                errors: true,
            },
        ));
        if let Some(call) = habit.failed.first() {
            out.push(Seen::trace("the first of them", call.trace_id));
        }
    }
    let refused = evidence
        .basis
        .probes
        .iter()
        .filter(|probe| {
            probe.address == departure.address && departure.is_gone_at(probe.at) && !probe.ok
        })
        .count();
    if refused > 0 {
        out.push(Seen::note(format!(
            "{refused} probes of {} failed since",
            departure.address
        )));
    }
    let holders: Vec<&str> = cached_by.iter().map(String::as_str).collect();
    if !holders.is_empty() {
        out.push(Seen::note(format!(
            "still in the cache of {}",
            holders.join(", ")
        )));
    }
    out.push(Seen::note(match looked_up {
        0 => format!("no lookup of {} by them since it left", departure.service),
        number => format!(
            "{number} lookups of {} by them since it left",
            departure.service
        ),
    }));
    out
}

#[cfg(test)]
mod tests;
