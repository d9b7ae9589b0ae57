//! `registry/instance-id-collision`: several instances of a service run and one takes all the traffic.

use std::collections::{BTreeMap, BTreeSet};

use case::Nanos;

use super::lookups::filter;
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{count, heard, running};

const IDENTICAL: &str = "registration/only-one-of-many-served#identical-id";
const FIRST: &str = "registration/only-one-of-many-served#client-picks-first";

/// How long a caller may rightly go by what it looked up, in nanoseconds: an instance that was listed since is no choice yet.
const CACHED: u64 = 30_000_000_000;

/// Calls of one caller to one service, all to the same of several instances, before it is no chance.
const CALLS: usize = 20;

static ABOUT: About = About {
    id: "registry/instance-id-collision",
    title: "One of several instances takes all the traffic",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "Several instances of a service run, and only one of them is called. Either they overwrite each other in the \
              registry because they share an id, or a caller always takes the first one of the list.",
    threshold: "one id registered from two addresses while both instances run; or 20 calls of one caller to one address \
                while the registry listed several healthy ones and none of the others was called by it",
    causes: &[
        Cause {
            id: IDENTICAL,
            what: "the instances register under one and the same id",
            sign: "one row in the registry for several live instances",
        },
        Cause {
            id: FIRST,
            what: "the caller always takes the first instance of the list",
            sign: "the rows are distinct, and the skew follows the caller",
        },
    ],
    remedy: "make the id unique for each process (service-host-port-uuid), and balance over all instances that a lookup \
             brings",
    follows: &["registry/field-id-malformed"],
};

pub(crate) struct InstanceIdCollision;

/// An id that several live instances share.
pub(super) struct Shared<'a> {
    pub(super) entry: &'a Entry,
    pub(super) addresses: Vec<&'a str>,
    /// Live instances of the service.
    pub(super) live: usize,
    pub(super) since: Nanos,
}

/// Ids that were registered from several addresses while more instances of the service ran than it has rows.
pub(super) fn shared_ids(evidence: &Evidence) -> Vec<Shared<'_>> {
    let mut out = Vec::new();
    for entry in &evidence.roster.entries {
        let addresses: BTreeSet<&str> = entry
            .records
            .iter()
            .map(|record| record.address.as_str())
            .filter(|address| !address.is_empty())
            .collect();
        let Some(replaced) = entry.records.iter().find(|record| record.replaced) else {
            continue;
        };
        if addresses.len() < 2 {
            continue;
        }
        // Heard a while after the second one came: both live. What a scraper fetched stands under the id in the registry,
        // so that only what an instance sent by itself counts.
        let after = replaced.at.saturating_add(evidence.roster.beat());
        let live = evidence
            .instances
            .all
            .iter()
            .filter(|row| *row.who.service == *entry.name() && !row.who.instance.is_empty())
            .filter(|row| {
                [row.spans, row.logs]
                    .iter()
                    .any(|heard| heard.number > 0 && heard.last >= after)
                    && heard(row).0 <= after
            })
            .count();
        let rows = evidence
            .roster
            .named(entry.name())
            .filter(|other| other.is_listed_at(after))
            .count();
        if live >= 2 && rows < live {
            out.push(Shared {
                entry,
                addresses: addresses.into_iter().collect(),
                live,
                since: replaced.at,
            });
        }
    }
    out
}

/// Which part of service-host-port-uuid an id lacks.
pub(super) fn missing_part(id: &str, service: &str) -> Option<&'static str> {
    let Some(rest) = id.strip_prefix(service) else {
        return Some("service");
    };
    let parts: Vec<&str> = rest.split('-').filter(|part| !part.is_empty()).collect();
    let port = parts
        .iter()
        .position(|part| part.len() <= 5 && part.parse::<u16>().is_ok_and(|port| port > 0));
    match port {
        // Before the port must be a host.
        Some(0) => Some("host"),
        Some(place) if parts.len() > place + 1 => None,
        Some(_) => Some("uuid"),
        None if parts.is_empty() => Some("host"),
        None => Some("port"),
    }
}

impl Rule for InstanceIdCollision {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let shared = shared_ids(evidence);
        for shared in &shared {
            let entry = shared.entry;
            let part = missing_part(&entry.id, entry.name());
            // A copied id of the right form, or one without its host, is the field's own finding.
            if part.is_none() || part == Some("host") && entry.id.len() > entry.name().len() {
                continue;
            }
            judgement.findings.push(identical(evidence, shared));
        }
        let (found, nearest) = picks_first(evidence);
        judgement.findings.extend(found);
        judgement.seen.push(format!(
            "{} shared by live instances; most calls of a caller to one of several instances alone: {nearest}",
            count(shared.len(), "id")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "{nearest} calls to one alone; {CALLS} make a finding"
            ));
        }
        judgement
    }
}

pub(super) fn records_of(mut found: Finding, entry: &Entry) -> Finding {
    for record in entry.records.iter().take(4) {
        let kind = if record.replaced {
            "replaced"
        } else {
            "registered"
        };
        found = found.seen(Seen::at(
            format!("registry: {kind} {} at {}", entry.id, record.address),
            Reference::RegistryEvent { seq: record.seq },
        ));
    }
    found
}

fn identical(evidence: &Evidence, shared: &Shared<'_>) -> Finding {
    let entry = shared.entry;
    let served: Vec<(&str, usize)> = running(evidence, entry.name())
        .filter_map(|(who, _, _)| {
            let service = evidence.serving.of(who)?;
            let requests = service.between(shared.since, evidence.window().until).len();
            Some((&*who.instance, requests))
        })
        .collect();
    let found = Finding::of(
        &ABOUT,
        IDENTICAL,
        format!(
            "{} run as {} and share the id {}: the registry has one row for them.",
            count(shared.live, "instance"),
            entry.name(),
            entry.id,
        ),
    )
    .about(entry.name(), &entry.id, "collided")
    .between(shared.since, None)
    .sure();
    let mut found = records_of(found, entry);
    for (instance, requests) in served {
        found = found.seen(Seen::note(format!(
            "{instance} served {} since",
            count(requests, "request")
        )));
    }
    found
}

/// Callers that call one of several instances alone, while others are called by others or by nobody.
fn picks_first(evidence: &Evidence) -> (Vec<Finding>, usize) {
    let roster = &evidence.roster;
    let traffic = &evidence.traffic;
    let cached = (CACHED as f64 / evidence.sagas.sagas().time_scale.max(1.0)) as u64;
    let mut services: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in &roster.entries {
        services.entry(entry.name()).or_default().push(entry);
    }
    // One pass over the calls for all services: whose address is it?
    let mut owner: Vec<Option<&str>> = vec![None; traffic.addresses.len()];
    for (name, entries) in &services {
        for entry in entries {
            if let Some(place) = traffic.address_place(entry.address()) {
                owner[place as usize] = Some(name);
            }
        }
    }
    // Per caller and service: how many calls in a row, up to the last one, went to one address while another was good.
    let mut runs: BTreeMap<(&str, u32), (u32, usize, Nanos, Nanos)> = BTreeMap::new();
    let mut called: BTreeMap<(&str, u32), BTreeSet<u32>> = BTreeMap::new();
    for sent in &traffic.sent {
        let Some(name) = owner[sent.address as usize] else {
            continue;
        };
        called
            .entry((name, sent.caller))
            .or_default()
            .insert(sent.address);
        let own = traffic.address(sent.address);
        let looked_up = Nanos(sent.start.0.saturating_sub(cached));
        let choice = services[name].iter().any(|entry| {
            entry.address() != own && entry.is_good_at(sent.start) && entry.is_good_at(looked_up)
        });
        let run =
            runs.entry((name, sent.caller))
                .or_insert((sent.address, 0, sent.start, sent.start));
        if !choice || run.0 != sent.address || !sent.outcome.arrived() {
            *run = (sent.address, 0, sent.start, sent.start);
        } else {
            run.1 += 1;
            run.3 = sent.start;
        }
    }
    let (mut out, mut nearest) = (Vec::new(), 0);
    for (name, entries) in &services {
        let addresses: BTreeSet<&str> = entries.iter().map(|entry| entry.address()).collect();
        let rows = runs.iter().filter(|((service, _), _)| service == name);
        for ((_, caller), (address, calls, since, last)) in rows {
            nearest = nearest.max(*calls);
            let who = traffic.caller(*caller);
            // A caller that selects by metadata may rightly be left with one.
            let selects = evidence.registry_calls.lookups().any(|asked| {
                asked.who == *who && *asked.name == **name && filter(&asked.query).is_some()
            });
            if *calls < CALLS || selects {
                continue;
            }
            let elsewhere = called
                .iter()
                .filter(|((service, other), to)| {
                    service == name && other != caller && to.iter().any(|to| to != address)
                })
                .count();
            let over = entries
                .iter()
                .find(|entry| entry.address() == traffic.address(*address))
                .map_or("", |entry| &entry.id);
            let mut found = Finding::of(
                &ABOUT,
                FIRST,
                format!(
                    "{} sends all its calls for {name} to {}: {calls} in a row, with {} addresses to choose from.",
                    who.name(),
                    traffic.address(*address),
                    addresses.len(),
                ),
            )
            .about(&who.service, &who.instance, "caller")
            .about(name, over, "overused")
            .between(*since, None)
            .seen(Seen::at(
                format!("{} to it, none to the others", count(*calls, "call")),
                Reference::Traces {
                    window: Reference::span_of_time(*since, *last),
                    service: Some(who.service.to_string()),
                    to: Some(traffic.address(*address).to_owned()),
                    errors: false,
                },
            ))
            .seen(Seen::note(format!(
                "the registry lists {} for {name}",
                addresses.iter().copied().collect::<Vec<_>>().join(", ")
            )));
            if elsewhere > 0 {
                found = found.sure().seen(Seen::note(format!(
                    "{} of it call the others as well",
                    count(elsewhere, "other caller")
                )));
            }
            out.push(found);
        }
    }
    (out, nearest)
}

#[cfg(test)]
mod tests;
