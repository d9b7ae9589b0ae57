//! What speaks against a suspect, in words.

use std::collections::BTreeMap;

use case::time::human_duration;

use super::followers::{Change, Finding};
use super::nodes::{Added, Cost};
use super::resources::High;
use super::sight::Sight;
use super::spent::{Place, Share};
use super::visits::{Item, Kind, Lexicon, Visits};
use super::{Basis, Reason, Symptom, traces_of};
use crate::names::cut;

/// Text of telemetry is quoted this long.
const LONGEST: usize = 90;

pub(super) fn change(
    finding: &Finding,
    lexicon: &Lexicon,
    incident: &Sight,
    now: &Visits,
) -> Reason {
    let operation = lexicon.text(finding.operation.name);
    let item = spelt(finding.item, lexicon);
    let counts = |(hits, of): (u32, u32)| format!("{hits} of {of}");
    let what = match finding.change {
        Change::Vanished => {
            let given = match finding.given.kind {
                Kind::Entry => String::new(),
                _ => format!(" after {}", spelt(finding.given, lexicon)),
            };
            format!(
                "{item} is missing{given} in {operation}: it came in {} visits, before in {}",
                counts(finding.now),
                counts(finding.before),
            )
        }
        Change::Trouble => {
            format!(
                "{item} in {operation}: {} visits, before {}",
                counts(finding.now),
                counts(finding.before)
            )
        }
    };
    Reason {
        basis: match finding.change {
            Change::Vanished => Basis::CallPath,
            Change::Trouble => Basis::Errors,
        },
        what,
        strength: finding.strength,
        operations: vec![operation.to_owned()],
        instances: instances(finding, incident, now),
        traces: traces_of(finding, incident, now),
    }
}

/// Instances that show the change, where it is only some of those that could.
fn instances(finding: &Finding, incident: &Sight, now: &Visits) -> Vec<String> {
    let of = |visit: u32| &*incident.instance[now.visits[visit as usize].row as usize];
    let mut all: BTreeMap<&str, u32> = BTreeMap::new();
    for (number, visit) in now.visits.iter().enumerate() {
        if visit.operation == finding.operation {
            *all.entry(of(number as u32)).or_default() += 1;
        }
    }
    let mut showing: BTreeMap<&str, u32> = BTreeMap::new();
    for visit in &finding.visits {
        *showing.entry(of(*visit)).or_default() += 1;
    }
    if all.len() < 2 || showing.len() == all.len() {
        return Vec::new();
    }
    showing
        .into_keys()
        .filter(|name| !name.is_empty())
        .take(5)
        .map(str::to_owned)
        .collect()
}

fn spelt(item: Item, lexicon: &Lexicon) -> String {
    let text = cut(lexicon.text(item.text), LONGEST);
    let again = match item.times {
        0 | 1 => "",
        2 => " (the second)",
        _ => " (the third)",
    };
    match item.kind {
        Kind::Entry => "the call".to_owned(),
        Kind::Step => format!("span {text:?}{again}"),
        Kind::Call => format!("the call to {text}{again}"),
        Kind::Line => format!("log line {text:?}{again}"),
        Kind::Trouble => format!("trouble {text:?}{again}"),
        Kind::Failed if text.is_empty() => "a failure".to_owned(),
        Kind::Failed => format!("failed span {text:?}{again}"),
    }
}

pub(super) fn time(share: &Share, lexicon: &Lexicon) -> Reason {
    let name = |number: u32| lexicon.text(number);
    let mean = |nanos: f64| human_duration(nanos.max(0.0) as u64);
    let most = share.excess.first();
    let place = most.map_or(String::new(), |excess| match excess.place {
        Place::Own(operation) => format!("itself in {}", name(operation.name)),
        Place::Between(caller, callee) => format!("between {} and {}", name(caller), name(callee)),
        Place::Beyond(caller, target) => format!("in {} as {} sees it", name(target), name(caller)),
    });
    let change = most.map_or(String::new(), |excess| {
        format!(
            "{} a time, before {}",
            mean(excess.now),
            mean(excess.before)
        )
    });
    let operations = share.excess.iter().filter_map(|excess| match excess.place {
        Place::Own(operation) => Some(name(operation.name).to_owned()),
        _ => None,
    });
    Reason {
        basis: Basis::Time,
        what: format!(
            "{:.0} % of all time beyond the usual is spent {place}: {change}",
            share.share * 100.0
        ),
        strength: share.strength,
        operations: operations.take(3).collect(),
        instances: Vec::new(),
        traces: Vec::new(),
    }
}

pub(super) fn resource(high: &High) -> Reason {
    let id = &high.series;
    let attributes = if id.attributes.is_empty() {
        String::new()
    } else {
        format!(" {{{}}}", cut(&id.attributes, LONGEST))
    };
    Reason {
        basis: Basis::Resources,
        what: format!(
            "{}{attributes} is at {:.4}, usually {:.4}: {:.1} times as far off as any such series strays",
            cut(&id.metric, LONGEST),
            high.now,
            high.before,
            high.times
        ),
        strength: high.strength,
        operations: Vec::new(),
        instances: vec![id.instance.to_string()]
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect(),
        traces: Vec::new(),
    }
}

pub(super) fn node(added: &Added, symptom: &Symptom) -> Reason {
    let (what, unit) = match symptom.cost {
        Cost::Latency => ("time", "s"),
        Cost::Errors => ("failures", " failed requests"),
    };
    Reason {
        basis: Basis::Nodes,
        what: format!(
            "{:.0} % of the {what} {} has beyond the usual comes from here ({:.1}{unit}), not from what it calls",
            added.share * 100.0,
            symptom.service,
            added.own
        ),
        strength: added.strength,
        operations: Vec::new(),
        instances: Vec::new(),
        traces: Vec::new(),
    }
}
