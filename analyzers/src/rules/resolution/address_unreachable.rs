//! `resolve/address-unreachable`: lookups bring an address that callers can't connect to, while the instance runs.

use std::collections::{BTreeMap, BTreeSet};

use case::Nanos;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::calls::WITH_ADDRESS;
use crate::evidence::roster::Entry;
use crate::evidence::traffic::{Outcome, Sent};
use crate::evidence::vitals::Vital;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::{count, heard_of, probes, sender};

const ROUTE: &str = "resolution/resolved-but-unconnectable#route-broken";
const INTERFACE: &str = "resolution/resolved-but-unconnectable#wrong-interface";
const FIREWALL: &str = "resolution/resolved-but-unconnectable#firewall-block";

/// Calls of one caller in a row that did not arrive.
const FAILED: usize = 4;

static ABOUT: About = About {
    id: "resolve/address-unreachable",
    title: "An address that lookups bring can't be connected to",
    severity: Severity::Error,
    needs: &[need::REGISTRY, WITH_ADDRESS],
    meaning: "The instance is registered and runs, and calls to its address end on the way: no route from there, another \
              interface than the one it listens on, or a filter before its port.",
    threshold: "4 calls of one caller in a row to a listed address that did not arrive, up to its last one, while the \
                instance was heard from",
    causes: &[
        Cause {
            id: ROUTE,
            what: "there is no way from these callers to the host",
            sign: "calls from some places time out, others and probes get through",
        },
        Cause {
            id: INTERFACE,
            what: "the service listens on another interface than it registered",
            sign: "everybody is refused at once, and the process is well",
        },
        Cause {
            id: FIREWALL,
            what: "a filter drops or rejects that port",
            sign: "one port is dark or resets for everybody, another port of the same host answers",
        },
    ],
    remedy: "connect to the registered address from where the callers are, and to another port of the same host",
    follows: &[
        "registry/field-address-unroutable",
        "registry/heartbeat-lost",
    ],
};

pub(crate) struct AddressUnreachable;

impl Rule for AddressUnreachable {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let traffic = &evidence.traffic;
        // Calls by address, kept for the listed ones alone.
        let mut to: BTreeMap<u32, Vec<&Sent>> = BTreeMap::new();
        let listed: BTreeSet<u32> = evidence
            .roster
            .entries
            .iter()
            .flat_map(addresses)
            .filter_map(|address| traffic.address_place(&address))
            .collect();
        for sent in &traffic.sent {
            if listed.contains(&sent.address) {
                to.entry(sent.address).or_default().push(sent);
            }
        }
        let mut nearest = 0;
        for entry in &evidence.roster.entries {
            if entry.address().rsplit_once(':').is_none()
                || entry.address().starts_with("localhost:")
            {
                continue;
            }
            // Each port by itself: a filter before one of them leaves the other alone.
            for address in addresses(entry) {
                let Some(sent) = traffic
                    .address_place(&address)
                    .and_then(|place| to.get(&place))
                else {
                    continue;
                };
                let cut = cut_off(sent);
                nearest = nearest.max(cut.values().map(|calls| calls.len()).max().unwrap_or(0));
                let cut: BTreeMap<u32, Vec<&Sent>> = cut
                    .into_iter()
                    .filter(|(_, calls)| calls.len() >= FAILED)
                    .collect();
                if let Some(found) = finding(evidence, entry, sent, &cut) {
                    judgement.findings.push(found);
                    break;
                }
            }
        }
        judgement.seen.push(format!(
            "{} to {}",
            count(to.values().map(Vec::len).sum(), "call"),
            count(listed.len(), "listed address"),
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} calls of one caller in a row did not arrive at a listed address; {FAILED} make a finding"
            ));
        }
        judgement
    }
}

/// Where an instance can be called by its record: at its address, and at its HTTP port if that is another one.
fn addresses(entry: &Entry) -> Vec<String> {
    let mut out = vec![entry.address().to_owned()];
    if let (Some((host, _)), Some(port)) = (
        entry.address().rsplit_once(':'),
        entry.metadata("http_port"),
    ) && !port.is_empty()
    {
        let http = format!("{host}:{port}");
        if !out.contains(&http) {
            out.push(http);
        }
    }
    out
}

/// By caller: the calls at the end that did not arrive.
fn cut_off<'a>(sent: &[&'a Sent]) -> BTreeMap<u32, Vec<&'a Sent>> {
    let mut out: BTreeMap<u32, Vec<&Sent>> = BTreeMap::new();
    for sent in sent {
        let row = out.entry(sent.caller).or_default();
        if sent.outcome.arrived() {
            row.clear();
        } else {
            row.push(sent);
        }
    }
    out.retain(|_, calls| !calls.is_empty());
    out
}

fn finding(
    evidence: &Evidence,
    entry: &Entry,
    sent: &[&Sent],
    cut: &BTreeMap<u32, Vec<&Sent>>,
) -> Option<Finding> {
    let traffic = &evidence.traffic;
    let since = cut
        .values()
        .filter_map(|calls| calls.first())
        .map(|sent| sent.start)
        .min()?;
    let failed: usize = cut.values().map(Vec::len).sum();
    let main = main_outcome(cut)?;
    // Somebody else's matter: a name that does not resolve, an instance that is dead, one that has left.
    let activity = sender(evidence, entry)?;
    let (_, last) = heard_of(evidence, activity);
    let settled = since.saturating_add(2_000_000_000);
    if main == Outcome::Dns || last < settled || !entry.is_listed_at(since) {
        return None;
    }
    let after = |check: &'static str| {
        let rows: Vec<bool> = probes(evidence, &entry.id, check)
            .filter(|probe| probe.at >= since)
            .map(|probe| probe.ok)
            .collect();
        (rows.iter().filter(|ok| **ok).count(), rows.len())
    };
    let (connected, connects) = after("connect");
    let (lived, lives) = after("live");
    let others: BTreeSet<u32> = sent
        .iter()
        .filter(|sent| {
            sent.start >= since && sent.outcome.arrived() && !cut.contains_key(&sent.caller)
        })
        .map(|sent| sent.caller)
        .collect();
    let served_at = evidence
        .serving
        .instance(&entry.id)
        .map(|(_, service)| service.addresses.clone())
        .unwrap_or_default();
    let host = entry
        .address()
        .rsplit_once(':')
        .map_or("", |(host, _)| host);
    let listens = evidence
        .notices
        .of("service.listening")
        .filter(|notice| *notice.who.instance == *entry.id)
        .last()
        .map(|notice| notice.address.to_string())
        .or_else(|| served_at.first().map(|address| address.to_string()));
    let elsewhere = listens
        .as_deref()
        .and_then(|at| at.rsplit_once(':'))
        .is_some_and(|(listening, _)| listening != host);
    // Dead with all its ports; but one that listens on another interface is dark at this one, too.
    let dark = others.is_empty() && lives > 0 && lived == 0;
    if dark && !(main == Outcome::Refused && elsewhere) {
        return None;
    }
    let mut found;
    if matches!(main, Outcome::Refused) && others.is_empty() && connected == 0 {
        found = Finding::of(
            &ABOUT,
            INTERFACE,
            headline(entry, failed, main, "and its process is well"),
        );
        match &listens {
            Some(at) if elsewhere => {
                found = found
                    .sure()
                    .seen(Seen::note(format!("it says that it listens at {at}")));
            }
            Some(_) => return None,
            None => found = found.or(FIREWALL, "the log line or span that says where it listens"),
        }
    } else if !others.is_empty() || connected > 0 && connected == connects {
        // Taken and never worked on is no matter of the way: then requests pile up inside.
        if others.is_empty()
            && (piles_up(evidence, entry, since) || answers_there(evidence, entry, since))
        {
            return None;
        }
        if !matches!(main, Outcome::Timeout | Outcome::Unreachable) {
            if main == Outcome::Reset && others.is_empty() {
                found = Finding::of(
                    &ABOUT,
                    FIREWALL,
                    headline(entry, failed, main, "its other ports answer"),
                )
                .sure();
            } else {
                return None;
            }
        } else {
            found = Finding::of(
                &ABOUT,
                ROUTE,
                headline(entry, failed, main, "while it is reached from elsewhere"),
            );
            found = found.sure();
        }
        if !others.is_empty() {
            let names: Vec<&str> = others
                .iter()
                .map(|place| traffic.caller(*place).name())
                .collect();
            found = found.seen(Seen::note(format!("{} get through", names.join(", "))));
        }
    } else if matches!(main, Outcome::Timeout | Outcome::Reset | Outcome::Lost) {
        found = Finding::of(
            &ABOUT,
            FIREWALL,
            headline(entry, failed, main, "while other ports of its host answer"),
        );
        if connects > 0 && lived > 0 {
            found = found.sure();
        } else {
            found = found.or(
                ROUTE,
                "probes of that port and of another one of the same host",
            );
        }
    } else {
        return None;
    }
    found = found
        .about(entry.name(), &entry.id, "unreachable")
        .between(since, None);
    for (caller, calls) in cut {
        let who = traffic.caller(*caller);
        let last = calls.last().map_or(since, |sent| sent.start);
        found = found
            .about(&who.service, &who.instance, "caller")
            .seen(Seen::at(
                format!(
                    "{} by {} to {}: {}",
                    count(calls.len(), "call"),
                    who.name(),
                    entry.address(),
                    main.name()
                ),
                Reference::Traces {
                    window: Reference::span_of_time(calls[0].start, last),
                    service: Some(who.service.to_string()),
                    to: Some(traffic.address(calls[0].address).to_owned()),
                    errors: true,
                },
            ));
        if let Some(trace) = traffic.sample(*caller, calls[0].address, calls[0].outcome) {
            found = found
                .seen(Seen::trace("the first such call", trace))
                .in_traces([trace]);
        }
    }
    if connects > 0 {
        found = found.seen(Seen::note(format!(
            "{connected} of {connects} probes connected to it since"
        )));
    }
    if lives > 0 {
        found = found.seen(Seen::note(format!(
            "{lived} of {lives} probes of its health port were answered"
        )));
    }
    Some(found)
}

fn headline(entry: &Entry, failed: usize, main: Outcome, more: &str) -> String {
    format!(
        "{} to {} ({}) did not arrive: {}, {more}.",
        count(failed, "call"),
        entry.name(),
        entry.address(),
        main.name()
    )
}

/// How most of the calls failed.
fn main_outcome(cut: &BTreeMap<u32, Vec<&Sent>>) -> Option<Outcome> {
    let mut numbers: BTreeMap<Outcome, usize> = BTreeMap::new();
    for sent in cut.values().flatten() {
        *numbers.entry(sent.outcome).or_default() += 1;
    }
    numbers
        .into_iter()
        .max_by_key(|(_, number)| *number)
        .map(|(outcome, _)| outcome)
}

/// Whether requests pile up inside the instance: then they did arrive.
fn piles_up(evidence: &Evidence, entry: &Entry, since: Nanos) -> bool {
    let Some(activity) = sender(evidence, entry) else {
        return false;
    };
    evidence
        .vitals
        .of(&activity.who, Vital::InFlight)
        .any(|(_, line)| {
            line.iter()
                .filter(|(at, _)| *at >= since.saturating_add(1_000_000_000))
                .any(|(_, under_way)| *under_way >= 3.0)
        })
}

/// Whether the instance left spans of requests since: then the answers were lost, not the calls.
fn answers_there(evidence: &Evidence, entry: &Entry, since: Nanos) -> bool {
    evidence
        .serving
        .instance(&entry.id)
        .is_some_and(|(_, service)| !service.between(since, evidence.window().until).is_empty())
}

#[cfg(test)]
mod tests;
