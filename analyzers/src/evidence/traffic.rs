//! Every call between services that says which address it went to, in a few bytes each: when, from whom, where to, and
//! how it came out. Calls to a registry and looks at health are not among them.

use std::collections::{BTreeMap, HashMap};

use case::model::{Span, SpanKind, StatusCode};
use case::{Nanos, TraceId};

use super::calls::write_address;
use super::registry_calls::op_of;
use super::{Basis, Domain, Intake, Who};
use crate::names::Name;

/// How a call came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Ok,
    /// The callee answered with an error.
    Answered,
    Refused,
    Timeout,
    Reset,
    Dns,
    Unreachable,
    /// The way failed in a manner that the span does not say.
    Lost,
}

impl Outcome {
    pub const ALL: [Outcome; 8] = [
        Outcome::Ok,
        Outcome::Answered,
        Outcome::Refused,
        Outcome::Timeout,
        Outcome::Reset,
        Outcome::Dns,
        Outcome::Unreachable,
        Outcome::Lost,
    ];

    /// The callee was reached.
    pub fn arrived(self) -> bool {
        matches!(self, Outcome::Ok | Outcome::Answered)
    }

    pub fn name(self) -> &'static str {
        [
            "ok",
            "answered with an error",
            "refused",
            "timed out",
            "reset",
            "name not resolved",
            "host unreachable",
            "connection failed",
        ][self as usize]
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent {
    pub start: Nanos,
    pub took_us: u32,
    /// Places in [`Traffic::callers`] and [`Traffic::addresses`].
    pub caller: u32,
    pub address: u32,
    pub outcome: Outcome,
}

#[derive(Debug, Default)]
pub struct Traffic {
    /// Sorted, so that a place compares as its text.
    pub callers: Vec<Who>,
    pub addresses: Vec<Name>,
    /// By time.
    pub sent: Vec<Sent>,
    /// The earliest trace of each kind of failure of a caller with an address.
    pub samples: BTreeMap<(u32, u32, Outcome), (Nanos, TraceId)>,
    caller_places: HashMap<Who, u32>,
    address_places: HashMap<Name, u32>,
    last_caller: Option<(Who, u32)>,
    scratch: String,
}

impl Traffic {
    pub fn address_place(&self, address: &str) -> Option<u32> {
        self.addresses
            .binary_search_by(|known| (**known).cmp(address))
            .ok()
            .and_then(|place| u32::try_from(place).ok())
    }

    pub fn caller(&self, place: u32) -> &Who {
        &self.callers[place as usize]
    }

    pub fn address(&self, place: u32) -> &str {
        &self.addresses[place as usize]
    }

    /// Calls from a moment on, to before another.
    pub fn between(&self, from: Nanos, until: Nanos) -> &[Sent] {
        let first = self.sent.partition_point(|sent| sent.start < from);
        let last = self.sent.partition_point(|sent| sent.start < until);
        &self.sent[first..last.max(first)]
    }

    pub fn sample(&self, caller: u32, address: u32, outcome: Outcome) -> Option<TraceId> {
        self.samples
            .get(&(caller, address, outcome))
            .map(|(_, trace)| *trace)
    }
}

impl Domain for Traffic {
    fn take_span(&mut self, span: &Span, of: &mut Intake<'_>) {
        if span.kind != SpanKind::Client
            || !write_address(span, &mut self.scratch)
            || op_of(span).is_some()
            || span.name.contains("{health_path}")
        {
            return;
        }
        let caller = match &self.last_caller {
            Some((who, place)) if who == of.who => *place,
            _ => {
                let next = self.callers.len() as u32;
                let place = match self.caller_places.get(of.who) {
                    Some(place) => *place,
                    None => {
                        self.callers.push(of.who.clone());
                        self.caller_places.insert(of.who.clone(), next);
                        next
                    }
                };
                self.last_caller = Some((of.who.clone(), place));
                place
            }
        };
        let address = match self.address_places.get(self.scratch.as_str()) {
            Some(place) => *place,
            None => {
                let name = of.names.of(&self.scratch);
                let place = self.addresses.len() as u32;
                self.addresses.push(Name::clone(&name));
                self.address_places.insert(name, place);
                place
            }
        };
        let outcome = outcome_of(span);
        self.sent.push(Sent {
            start: span.start,
            took_us: u32::try_from(span.duration() / 1_000).unwrap_or(u32::MAX),
            caller,
            address,
            outcome,
        });
        if outcome != Outcome::Ok {
            let sample = (span.start, span.trace_id);
            self.samples
                .entry((caller, address, outcome))
                .and_modify(|known| *known = (*known).min(sample))
                .or_insert(sample);
        }
    }

    fn settle(&mut self, _basis: &Basis) {
        let callers = sort(&mut self.callers);
        let addresses = sort(&mut self.addresses);
        for sent in &mut self.sent {
            sent.caller = callers[sent.caller as usize];
            sent.address = addresses[sent.address as usize];
        }
        self.samples = std::mem::take(&mut self.samples)
            .into_iter()
            .map(|((caller, address, outcome), sample)| {
                let key = (
                    callers[caller as usize],
                    addresses[address as usize],
                    outcome,
                );
                (key, sample)
            })
            .collect();
        self.sent.sort_unstable();
        self.caller_places = HashMap::new();
        self.address_places = HashMap::new();
        self.last_caller = None;
    }
}

/// Sorts, and says where each one went.
fn sort<T: Ord + Clone>(all: &mut [T]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..all.len() as u32).collect();
    order.sort_by(|a, b| all[*a as usize].cmp(&all[*b as usize]));
    let sorted: Vec<T> = order.iter().map(|old| all[*old as usize].clone()).collect();
    let mut went = vec![0; all.len()];
    for (new, old) in order.iter().enumerate() {
        went[*old as usize] = new as u32;
    }
    all.clone_from_slice(&sorted);
    went
}

/// How a client span came out, by `error.type` in the forms that instrumentations use, else by its message.
pub fn outcome_of(span: &Span) -> Outcome {
    if span.status != StatusCode::Error && span.attributes.get("error.type").is_none() {
        return Outcome::Ok;
    }
    let kind = span.attributes.text("error.type").unwrap_or("");
    let known = |text: &str| {
        let has = |word: &str| contains(text, word);
        if has("dns") || has("unknownhost") || has("lookup") || has("enotfound") {
            Some(Outcome::Dns)
        } else if has("refused") {
            Some(Outcome::Refused)
        } else if has("unreachable") {
            Some(Outcome::Unreachable)
        } else if has("timeout") || has("timed out") || has("deadline") {
            Some(Outcome::Timeout)
        } else if has("reset") || has("broken pipe") {
            Some(Outcome::Reset)
        } else if has("connection") {
            Some(Outcome::Lost)
        } else {
            None
        }
    };
    // A status number or an application's own code is an answer, whatever the message says.
    let answered = kind.parse::<u16>().is_ok();
    known(kind)
        .or_else(|| known(&span.status_message).filter(|_| !answered))
        .unwrap_or(Outcome::Answered)
}

fn contains(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}
