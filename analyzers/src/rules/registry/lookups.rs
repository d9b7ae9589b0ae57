//! What callers ask a registry for against what it holds: empty answers, filters that match nothing, and rows whose name
//! is nearly the one that was asked for. Used by the rules about names and fields.

use std::collections::BTreeMap;

use case::Nanos;

use crate::evidence::Evidence;
use crate::evidence::registry_calls::Asked;
use crate::evidence::roster::Entry;
use crate::rules::facts::plain_name;

/// Lookups of one name and query by one caller.
pub(in crate::rules) struct Lookups<'a> {
    pub(in crate::rules) all: Vec<&'a Asked>,
}

impl<'a> Lookups<'a> {
    /// Those that were answered with nobody.
    pub(in crate::rules) fn empty(&self) -> impl Iterator<Item = &&'a Asked> {
        self.all.iter().filter(|asked| is_empty(asked))
    }

    pub(in crate::rules) fn found(&self) -> impl Iterator<Item = &&'a Asked> {
        self.all
            .iter()
            .filter(|asked| asked.went_well() && asked.instances.is_some_and(|number| number > 0))
    }
}

/// Answered, and nobody was there.
pub(in crate::rules) fn is_empty(asked: &Asked) -> bool {
    asked.status == 404 || asked.went_well() && asked.instances == Some(0)
}

/// Lookups in the window by caller's service, name and query.
pub(in crate::rules) fn lookups(evidence: &Evidence) -> BTreeMap<(&str, &str, &str), Lookups<'_>> {
    let mut out: BTreeMap<(&str, &str, &str), Lookups<'_>> = BTreeMap::new();
    for asked in evidence.registry_calls.lookups() {
        out.entry((&asked.who.service, &asked.name, &asked.query))
            .or_insert_with(|| Lookups { all: Vec::new() })
            .all
            .push(asked);
    }
    out
}

/// Rows under another name that comes out as this one without case and affixes.
pub(in crate::rules) fn nearly<'a>(evidence: &'a Evidence, name: &str) -> Vec<&'a Entry> {
    let plain = plain_name(name);
    evidence
        .roster
        .entries
        .iter()
        .filter(|entry| entry.name() != name && plain_name(entry.name()) == plain)
        .collect()
}

/// The key and value of a filter: `version=v1`. Questions about status are none.
pub(in crate::rules) fn filter(query: &str) -> Option<(&str, &str)> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key != "status")
}

/// Instances of a name that were good at a moment.
pub(in crate::rules) fn good<'a>(
    evidence: &'a Evidence,
    name: &'a str,
    at: Nanos,
) -> Vec<&'a Entry> {
    evidence
        .roster
        .named(name)
        .filter(|entry| entry.is_good_at(at))
        .collect()
}
