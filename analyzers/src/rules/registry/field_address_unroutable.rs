//! `registry/field-address-unroutable`: the registered address is of no use to callers.

use std::collections::BTreeMap;

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::roster::Entry;
use crate::evidence::traffic::Outcome;
use crate::evidence::{Evidence, need};
use crate::reference::Reference;
use crate::rules::facts::count;

const LOCALHOST: &str = "registration/field-address#localhost-registered";
const PORTLESS: &str = "registration/field-address#port-missing";
const UNRESOLVED: &str = "registration/field-address#hostname-unresolvable";

/// Calls that found no such host, before it is no hiccup of a resolver.
const DNS: usize = 2;

static ABOUT: About = About {
    id: "registry/field-address-unroutable",
    title: "A registered address can't be used by callers",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "Lookups hand this address out, and whoever calls it reaches nobody, or itself. The instance is fine; its \
              record is not.",
    threshold: "a listed address whose host is localhost, or that names no port; or 2 calls to it whose host name did \
                not resolve and none that arrived",
    causes: &[
        Cause {
            id: LOCALHOST,
            what: "localhost is given as its address",
            sign: "the host part is loopback by name, and its siblings' is not",
        },
        Cause {
            id: PORTLESS,
            what: "the address has no port",
            sign: "no port part; its siblings have one",
        },
        Cause {
            id: UNRESOLVED,
            what: "the host name does not resolve for callers",
            sign: "calls fail at the resolver",
        },
    ],
    remedy: "register the address under which peers reach the instance: numeric host and port, as bound",
    follows: &[],
};

pub(crate) struct FieldAddressUnroutable;

impl Rule for FieldAddressUnroutable {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut nearest = 0;
        for entry in &evidence.roster.entries {
            let address = entry.address();
            if address.is_empty() {
                continue;
            }
            let (host, port) = match address.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
                _ => (address, None),
            };
            let calls = outcomes(evidence, host, port);
            let unresolved = calls.get(&Outcome::Dns).copied().unwrap_or(0);
            let arrived = calls.iter().any(|(outcome, _)| outcome.arrived());
            nearest = nearest.max(unresolved);
            let (cause, what) = if port.is_none() {
                (PORTLESS, "names no port".to_owned())
            } else if is_localhost(host) && siblings_differ(evidence, entry, host) {
                (
                    LOCALHOST,
                    "is loopback, which is each caller's own machine".to_owned(),
                )
            } else if unresolved >= DNS && !arrived {
                (
                    UNRESOLVED,
                    format!("does not resolve: {} failed so", count(unresolved, "call")),
                )
            } else {
                continue;
            };
            let since = entry.records.last().map_or(entry.first, |record| record.at);
            let mut found = Finding::of(
                &ABOUT,
                cause,
                format!("{} is registered at {address}, which {what}.", entry.name()),
            )
            .about(entry.name(), &entry.id, "misplaced")
            .between(since, None)
            .sure();
            if let Some(record) = entry.records.last() {
                found = found.seen(Seen::at(
                    format!("registry: {} registered at {address}", entry.id),
                    Reference::RegistryEvent { seq: record.seq },
                ));
            }
            for (outcome, number) in &calls {
                if !outcome.arrived() {
                    found = found.seen(Seen::at(
                        format!("{} to it: {}", count(*number, "call"), outcome.name()),
                        Reference::Traces {
                            window: evidence.window(),
                            service: None,
                            to: Some(format!("{host}:{}", port.unwrap_or("80"))),
                            errors: true,
                        },
                    ));
                }
            }
            judgement.findings.push(found);
        }
        judgement.seen.push(format!(
            "{} of rows looked at",
            count(evidence.roster.entries.len(), "address")
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} calls to one address whose host did not resolve; {DNS} make a finding"
            ));
        }
        judgement
    }
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host == "::1" || host == "0.0.0.0"
}

/// On a machine where everybody is called localhost it is no mistake.
fn siblings_differ(evidence: &Evidence, entry: &Entry, host: &str) -> bool {
    evidence
        .roster
        .entries
        .iter()
        .any(|other| other.id != entry.id && !other.address().starts_with(&format!("{host}:")))
}

fn outcomes(evidence: &Evidence, host: &str, port: Option<&str>) -> BTreeMap<Outcome, usize> {
    let mut out = BTreeMap::new();
    let address = format!("{host}:{}", port.unwrap_or("80"));
    if let Some(place) = evidence.traffic.address_place(&address) {
        for sent in evidence
            .traffic
            .sent
            .iter()
            .filter(|sent| sent.address == place)
        {
            *out.entry(sent.outcome).or_insert(0) += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, event, span};

    fn scene(address: &str) -> Scene {
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
                "shipping",
                "shipping-h-2-b",
                address,
            ))
    }

    #[test]
    fn localhost_a_missing_port_and_an_unknown_host_are_told_apart() {
        let local = scene("localhost:8080").finding(&FieldAddressUnroutable);
        assert_eq!(local.cause_id, LOCALHOST);
        let portless = scene("10.0.0.7").finding(&FieldAddressUnroutable);
        assert_eq!(portless.cause_id, PORTLESS);
        let call = |s: f64, kind: &str| {
            span("orders", "o", "POST /shipments", s)
                .client()
                .to("shipping-5d9f:8080")
                .error(kind)
        };
        let near = scene("shipping-5d9f:8080").span(call(1.0, "dns"));
        near.passes(&FieldAddressUnroutable);
        let unknown = near
            .clone()
            .span(call(2.0, "dns"))
            .finding(&FieldAddressUnroutable);
        assert_eq!(unknown.cause_id, UNRESOLVED);
        // Refused is somebody else's matter, and a name that resolved once resolves.
        scene("shipping-5d9f:8080")
            .spans([1.0, 2.0, 3.0].map(|s| call(s, "refused")))
            .passes(&FieldAddressUnroutable);
        near.span(call(2.0, "dns"))
            .span(
                span("orders", "o", "POST /shipments", 3.0)
                    .client()
                    .to("shipping-5d9f:8080"),
            )
            .passes(&FieldAddressUnroutable);
    }

    #[test]
    fn numeric_addresses_pass_and_so_does_a_machine_of_localhosts() {
        scene("127.0.0.1:2").passes(&FieldAddressUnroutable);
        Scene::new()
            .event(event(0.0, "registered", "payment", "p", "localhost:1"))
            .event(event(0.0, "registered", "shipping", "s", "localhost:2"))
            .passes(&FieldAddressUnroutable);
        assert!(!Scene::new().cannot_tell(&FieldAddressUnroutable).is_empty());
    }
}
