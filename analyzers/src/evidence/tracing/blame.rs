//! Whom torn calls have in common. A trace breaks between two sides, and either may have done it: the side is to blame all
//! of whose other calls, of the same kind, break as well, while those of the other side do not. Owns finding the smallest
//! set of such sides; in which way each fails is for rules.

use std::collections::{BTreeMap, BTreeSet};

use super::edges::{Count, Edges, Key};
use super::headers::{self, Form};
use super::lines::LineTable;
use super::rows::{Rows, Transport};
use super::shape::{Aspect, Shape, share};
use crate::evidence::registry_calls;

/// Torn calls that must have something in common before anyone is blamed.
pub const LEAST: u64 = 5;
/// Of the calls in question, at least this share must be torn for "always".
pub const ALWAYS: f64 = 0.9;
/// Fewer torn ones than this share are strays, not a fault that comes and goes.
pub const SOMETIMES: f64 = 0.03;

/// Which calls of a side break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    All,
    Instance(u32),
    Transport(Transport),
    /// The server span's name.
    Route(u32),
    Agent(u32),
    /// No kind of them always, but some of them.
    Some,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Caller,
    Callee,
}

/// Calls that break for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Blame {
    pub side: Side,
    pub service: String,
    pub scope: Scope,
    /// The torn calls, with those that went on in the same scope.
    pub count: Count,
    /// Services on the other side of the torn calls.
    pub others: BTreeSet<String>,
    /// Calls of the same side out of scope that went on: what shows that it is the scope that matters.
    pub contrast: u64,
    /// The other side would explain it just as well.
    pub either: Option<(Side, String)>,
    /// The form of header that torn calls were sent with, if callers recorded it.
    pub form: Option<Form>,
    /// Calls to the same service that went on, of another form of header; and of the same.
    pub other_forms: u64,
    pub same_form: u64,
    /// Contexts that the callees say they refused meanwhile, by reason.
    pub refused: BTreeMap<String, u64>,
}

impl Blame {
    /// Whether callees complained of the header for most of the torn calls.
    pub fn is_refused(&self) -> bool {
        self.refused.values().sum::<u64>() * 2 >= self.count.broken
    }

    /// Whether most of the complaints say one of these words.
    pub fn refused_for(&self, words: &[&str]) -> bool {
        let meant: u64 = self
            .refused
            .iter()
            .filter(|(reason, _)| words.iter().any(|word| reason.contains(word)))
            .map(|(_, count)| count)
            .sum();
        meant * 2 > self.refused.values().sum::<u64>()
    }
}

pub fn blame(rows: &Rows, edges: &Edges, shape: &Shape, table: &LineTable) -> Vec<Blame> {
    let mut left: BTreeMap<Key, Count> = edges
        .counts
        .iter()
        .filter(|(key, _)| !all_alone(shape, key.callee))
        .filter(|(key, count)| count.broken > 0 || !asks_a_registry(rows.names.get(key.name)))
        .map(|(key, count)| (*key, count.clone()))
        .collect();
    // Ids that were damaged on the way are another matter than ids that were not taken.
    for count in left.values_mut() {
        count.altered = 0;
    }
    let all = left.clone();
    let mut found = Vec::new();
    loop {
        let torn: u64 = left.values().map(|count| count.broken).sum();
        if torn < LEAST {
            break;
        }
        let Some(best) = hypotheses(rows, &all, &left).into_iter().max_by(|a, b| {
            (a.count.broken, a.others.len(), breadth(a.scope), b.side).cmp(&(
                b.count.broken,
                b.others.len(),
                breadth(b.scope),
                a.side,
            ))
        }) else {
            break;
        };
        let best = spoken_for(rows, table, &all, &left, best);
        for (key, count) in &mut left {
            if covers(rows, key, best.side, &best.service, best.scope) {
                count.broken = 0;
            }
        }
        found.push(best);
    }
    found.extend(sometimes(rows, &all, &left));
    for blame in &mut found {
        headers_of(rows, edges, blame);
        blame.refused = refused(rows, table, blame);
    }
    found
}

/// Of two sides that explain the same calls, the callee if it says itself that it refused what it was sent.
fn spoken_for(
    rows: &Rows,
    table: &LineTable,
    all: &BTreeMap<Key, Count>,
    left: &BTreeMap<Key, Count>,
    best: Blame,
) -> Blame {
    let Some((Side::Callee, service)) = &best.either else {
        return best;
    };
    let mut other = weigh(rows, all, left, Side::Callee, service, Scope::All);
    other.refused = refused(rows, table, &other);
    match other.is_refused() {
        true => other,
        false => best,
    }
}

fn refused(rows: &Rows, table: &LineTable, blame: &Blame) -> BTreeMap<String, u64> {
    let callees: BTreeSet<&str> = match blame.side {
        Side::Callee => BTreeSet::from([blame.service.as_str()]),
        Side::Caller => blame.others.iter().map(String::as_str).collect(),
    };
    let mut found = BTreeMap::new();
    for ((who, reason), (count, _)) in &table.refused {
        if callees.contains(rows.service(*who)) {
            *found.entry(reason.clone()).or_default() += count;
        }
    }
    found
}

/// Whether a registry serves this: its clients come with libraries of their own, so that they keep their trace says
/// nothing of how a service makes its other calls.
fn asks_a_registry(name: &str) -> bool {
    name.split_once(' ')
        .is_some_and(|(method, path)| registry_calls::op(method, path).is_some())
}

/// An instance none of whose spans knows another: what comes in is no worse off than what it does by itself.
fn all_alone(shape: &Shape, who: u32) -> bool {
    let lonely = shape.sum(who, Aspect::LonelyInner, |_, cell| !cell.entry);
    lonely.odd >= LEAST && lonely.share() >= 0.5
}

fn breadth(scope: Scope) -> u8 {
    match scope {
        Scope::All => 6,
        Scope::Instance(_) => 5,
        Scope::Transport(_) => 4,
        Scope::Route(_) => 3,
        Scope::Agent(_) => 2,
        Scope::Some => 1,
    }
}

fn covers(rows: &Rows, key: &Key, side: Side, service: &str, scope: Scope) -> bool {
    let who = match side {
        Side::Caller => key.caller,
        Side::Callee => key.callee,
    };
    rows.service(who) == service
        && match scope {
            Scope::All | Scope::Some => true,
            Scope::Instance(instance) => who == instance,
            Scope::Transport(transport) => key.transport == transport,
            Scope::Route(name) => key.name == name,
            Scope::Agent(agent) => key.agent == agent,
        }
}

/// Every side and scope whose calls nearly all break.
fn hypotheses(rows: &Rows, all: &BTreeMap<Key, Count>, left: &BTreeMap<Key, Count>) -> Vec<Blame> {
    let mut scopes: BTreeSet<(Side, String, Scope)> = BTreeSet::new();
    for (key, _) in left.iter().filter(|(_, count)| count.broken > 0) {
        for (side, who) in [(Side::Caller, key.caller), (Side::Callee, key.callee)] {
            let service = rows.service(who).to_owned();
            let mut add = |scope| {
                scopes.insert((side, service.clone(), scope));
            };
            add(Scope::All);
            add(Scope::Instance(who));
            add(Scope::Transport(key.transport));
            if side == Side::Callee {
                add(Scope::Route(key.name));
                add(Scope::Agent(key.agent));
            }
        }
    }
    let mut found: Vec<Blame> = scopes
        .into_iter()
        .filter_map(|(side, service, scope)| {
            let blame = weigh(rows, all, left, side, &service, scope);
            if let Scope::Route(_) | Scope::Agent(_) = scope
                && !stands_out(rows, left, &service, scope)
            {
                return None;
            }
            (blame.count.broken >= LEAST
                && share(
                    blame.count.broken,
                    blame.count.broken + blame.count.continued,
                ) >= ALWAYS)
                .then_some(blame)
        })
        .collect();
    // A side that only ever speaks with one other explains nothing that the other does not.
    let rivals: Vec<(Side, String, u64, Scope)> = found
        .iter()
        .map(|blame| {
            (
                blame.side,
                blame.service.clone(),
                blame.count.broken,
                blame.scope,
            )
        })
        .collect();
    for blame in &mut found {
        blame.either = rivals
            .iter()
            .find(|(side, service, broken, scope)| {
                *side != blame.side
                    && *broken == blame.count.broken
                    && breadth(*scope) >= breadth(blame.scope)
                    && blame.others.len() == 1
                    && blame.others.contains(service)
            })
            .map(|(side, service, _, _)| (*side, service.clone()));
    }
    found
}

/// Whether routes, or clients, of a callee either break or do not: where all of them break at times, it is not the route.
fn stands_out(rows: &Rows, left: &BTreeMap<Key, Count>, service: &str, scope: Scope) -> bool {
    let mut kinds: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (key, count) in left
        .iter()
        .filter(|(key, _)| rows.service(key.callee) == service)
    {
        let kind = match scope {
            Scope::Agent(_) => key.agent,
            _ => key.name,
        };
        let sums = kinds.entry(kind).or_default();
        sums.0 += count.broken;
        sums.1 += count.broken + count.continued;
    }
    let (mut torn, mut all) = (0, 0);
    for (broken, calls) in kinds.into_values() {
        if share(broken, calls) < ALWAYS {
            torn += broken;
            all += calls;
        }
    }
    share(torn, all) <= 1.0 - ALWAYS
}

fn weigh(
    rows: &Rows,
    all: &BTreeMap<Key, Count>,
    left: &BTreeMap<Key, Count>,
    side: Side,
    service: &str,
    scope: Scope,
) -> Blame {
    let mut blame = Blame {
        side,
        service: service.to_owned(),
        scope,
        count: Count::default(),
        others: BTreeSet::new(),
        contrast: 0,
        either: None,
        form: None,
        other_forms: 0,
        same_form: 0,
        refused: BTreeMap::new(),
    };
    for (key, count) in left {
        let within = covers(rows, key, side, service, scope);
        if within {
            blame.count.add(count);
            if count.broken > 0 {
                let other = match side {
                    Side::Caller => key.callee,
                    Side::Callee => key.caller,
                };
                blame.others.insert(rows.service(other).to_owned());
            }
        } else if covers(rows, key, side, service, Scope::All) {
            blame.contrast += all.get(key).map_or(0, |count| count.continued);
        }
    }
    blame
}

/// What is left and has no kind in common: it is the callee that sees all of it.
fn sometimes(rows: &Rows, all: &BTreeMap<Key, Count>, left: &BTreeMap<Key, Count>) -> Vec<Blame> {
    let callees: BTreeSet<&str> = left
        .iter()
        .filter(|(_, count)| count.broken > 0)
        .map(|(key, _)| rows.service(key.callee))
        .collect();
    callees
        .into_iter()
        .map(|service| weigh(rows, all, left, Side::Callee, service, Scope::Some))
        .filter(|blame| {
            blame.count.broken >= LEAST && share(blame.count.broken, blame.count.all()) >= SOMETIMES
        })
        .collect()
}

/// Fills in which forms of header the torn calls had, and those to the same service that went on meanwhile.
fn headers_of(rows: &Rows, edges: &Edges, blame: &mut Blame) {
    let mut forms: BTreeMap<Form, u64> = BTreeMap::new();
    let mut torn = 0;
    let mut broken: BTreeSet<u32> = BTreeSet::new();
    let mut callees: BTreeSet<u32> = BTreeSet::new();
    for pair in &edges.pairs {
        let (client, server) = (pair.client as usize, pair.server as usize);
        let key = Key {
            caller: rows.who[client],
            callee: rows.who[server],
            transport: rows.transport(server),
            name: rows.name[server],
            agent: rows.agent[server],
        };
        if !covers(rows, &key, blame.side, &blame.service, blame.scope) {
            continue;
        }
        torn += 1;
        broken.insert(pair.client);
        callees.insert(rows.address[server]);
        if let Some(written) = rows.written(client) {
            *forms.entry(headers::form(written)).or_default() += 1;
        }
    }
    let Some((form, count)) = forms.iter().max_by_key(|(_, count)| **count) else {
        return;
    };
    if share(*count, torn) < ALWAYS {
        return;
    }
    blame.form = Some(*form);
    for (row, written) in &rows.written {
        let at = rows.start[*row as usize];
        if broken.contains(row)
            || !callees.contains(&rows.address[*row as usize])
            || !(blame.count.first..=blame.count.last).contains(&at)
        {
            continue;
        }
        match headers::form(written) == *form {
            true => blame.same_form += 1,
            false => blame.other_forms += 1,
        }
    }
}
