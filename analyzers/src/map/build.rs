//! Rows into nodes and edges.
//!
//! Everything is counted by number and named at the end, in the order of names, so that the order in which spans came
//! leaves no trace.

use std::collections::BTreeMap;

use case::model::{SpanKind, StatusCode};

use super::gather::{Gather, NOTHING};
use super::{Edge, EdgeKind, ErrorKind, Node, NodeKind, OUTSIDE, Part, Red, ServiceMap};
use crate::callee::Target;
use crate::exact::{self, Stats};
use crate::red::Slot;
use crate::tree::{NONE, Shapes, shapes};

/// A row that counts for a group.
#[derive(Clone, Copy)]
struct Counted {
    group: u32,
    row: u32,
}

/// Groups by key, with the rows that count for each.
struct Groups<K> {
    numbers: BTreeMap<K, u32>,
    rows: Vec<Counted>,
}

impl<K: Ord> Groups<K> {
    fn new() -> Groups<K> {
        Groups {
            numbers: BTreeMap::new(),
            rows: Vec::new(),
        }
    }

    fn add(&mut self, key: K, row: usize) {
        let next = self.numbers.len() as u32;
        let group = *self.numbers.entry(key).or_insert(next);
        self.rows.push(Counted {
            group,
            row: row as u32,
        });
    }

    /// Each group's figures, in the order of keys.
    fn reds(self, gather: &Gather) -> Vec<(K, u32, Red)> {
        let table = &gather.table;
        let error = StatusCode::Error.number();
        let stats = exact::by_group(
            self.numbers.len(),
            self.rows.iter().map(|counted| {
                let row = counted.row as usize;
                (
                    counted.group,
                    table.duration[row],
                    table.status[row] == error,
                )
            }),
        );
        let mut kinds: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for counted in &self.rows {
            let kind = gather.error[counted.row as usize];
            if kind != NOTHING {
                *kinds.entry((counted.group, kind)).or_default() += 1;
            }
        }
        self.numbers
            .into_iter()
            .map(|(key, group)| {
                let kinds = kinds
                    .range((group, 0)..=(group, u32::MAX))
                    .map(|((_, kind), count)| (gather.errors.all[*kind as usize].clone(), *count));
                let red = red(gather, stats[group as usize], kinds.collect());
                (key, group, red)
            })
            .collect()
    }
}

fn red(gather: &Gather, stats: Stats, kinds: Vec<(String, u64)>) -> Red {
    let nanos = gather.window.until.0.saturating_sub(gather.window.from.0);
    let mut error_kinds: Vec<ErrorKind> = kinds
        .into_iter()
        .map(|(kind, count)| ErrorKind { kind, count })
        .collect();
    error_kinds.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    Red {
        stats,
        rate: if nanos == 0 {
            0.0
        } else {
            stats.requests as f64 / (nanos as f64 / 1e9)
        },
        error_kinds,
    }
}

/// A node by its kind and name; services and the rest may share names.
type Key = (NodeKind, String);

pub(super) fn build(gather: &Gather, slots: usize) -> ServiceMap {
    let table = &gather.table;
    let shapes = shapes(table);
    let service = |row: usize| {
        let name = table.services.get(table.service[row]);
        (NodeKind::Service, name.to_owned())
    };
    let mut serves = vec![false; table.services.len()];
    for row in 0..table.len() {
        if is_served(table.kind(row)) {
            serves[table.service[row] as usize] = true;
        }
    }
    // By number first: one name for each group, not for each row.
    let mut nodes: Groups<u32> = Groups::new();
    let mut operations: Groups<(u32, u32)> = Groups::new();
    let mut versions: Groups<(u32, u32)> = Groups::new();
    let mut instances: BTreeMap<(u32, u32), ()> = BTreeMap::new();
    for row in 0..table.len() {
        let of = table.service[row];
        instances.insert((of, gather.sender[row]), ());
        let begins = !serves[of as usize] && !table.parent[row].is_some();
        if is_served(table.kind(row)) || begins {
            nodes.add(of, row);
            operations.add((of, table.name[row]), row);
            versions.add((of, gather.sender[row]), row);
        }
    }
    let versions = by_version(gather, versions);
    let (edges, virtual_nodes, unattributed) = edges(gather, &shapes, &service);
    let over_time = over_time(gather, &nodes, slots);
    let mut out: BTreeMap<Key, Node> = BTreeMap::new();
    for name in table.services.iter() {
        let node = empty((NodeKind::Service, name.to_owned()), slots);
        out.insert((NodeKind::Service, name.to_owned()), node);
    }
    let name_of = |number: u32| (NodeKind::Service, table.services.get(number).to_owned());
    for (of, group, red) in nodes.reds(gather) {
        if let Some(node) = out.get_mut(&name_of(of)) {
            node.red = red;
            node.over_time.clone_from(&over_time[group as usize]);
        }
    }
    for ((of, name), _, red) in operations.reds(gather) {
        if let Some(node) = out.get_mut(&name_of(of)) {
            let name = table.names.get(name).to_owned();
            node.operations.push(Part { name, red });
        }
    }
    for ((of, version), _, red) in versions.reds(gather) {
        if let Some(node) = out.get_mut(&name_of(of)) {
            node.versions.push(Part { name: version, red });
        }
    }
    for (of, sender) in instances.into_keys() {
        if !gather.senders.all[sender as usize].instance.is_empty()
            && let Some(node) = out.get_mut(&name_of(of))
        {
            node.instances += 1;
        }
    }
    let outside_time = self::over_time(gather, &virtual_nodes, slots);
    for (key, group, red) in virtual_nodes.reds(gather) {
        let mut node = empty(key.clone(), slots);
        node.red = red;
        node.over_time.clone_from(&outside_time[group as usize]);
        out.insert(key, node);
    }
    for node in out.values_mut() {
        node.operations.sort_by(busiest);
        node.versions.sort_by(|a, b| a.name.cmp(&b.name));
    }
    ServiceMap {
        window: gather.window,
        spans: table.len() as u64,
        nodes: out.into_values().collect(),
        edges,
        unattributed,
    }
}

fn is_served(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Server | SpanKind::Consumer)
}

fn busiest(a: &Part, b: &Part) -> std::cmp::Ordering {
    let requests = |part: &Part| part.red.stats.requests;
    requests(b)
        .cmp(&requests(a))
        .then_with(|| a.name.cmp(&b.name))
}

fn empty((kind, name): Key, slots: usize) -> Node {
    Node {
        name,
        kind,
        red: Red::default(),
        instances: 0,
        versions: Vec::new(),
        operations: Vec::new(),
        over_time: vec![Slot::default(); slots],
    }
}

/// Senders joined to the versions they say they are.
fn by_version(gather: &Gather, senders: Groups<(u32, u32)>) -> Groups<(u32, String)> {
    let mut out = Groups::new();
    let mut keys: Vec<(u32, u32)> = vec![(0, 0); senders.numbers.len()];
    for (key, number) in &senders.numbers {
        keys[*number as usize] = *key;
    }
    for counted in &senders.rows {
        let (of, sender) = keys[counted.group as usize];
        let version = &gather.senders.all[sender as usize].version;
        out.add((of, version.clone()), counted.row as usize);
    }
    out
}

/// Requests and errors of each group in each stretch of the window.
fn over_time<K: Ord>(gather: &Gather, groups: &Groups<K>, slots: usize) -> Vec<Vec<Slot>> {
    let (from, until) = (gather.window.from.0, gather.window.until.0);
    let length = until.saturating_sub(from).max(1);
    let mut out = vec![vec![Slot::default(); slots]; groups.numbers.len()];
    for counted in &groups.rows {
        let row = counted.row as usize;
        let since = gather.table.start[row].saturating_sub(from);
        let place = u128::from(since) * slots as u128 / u128::from(length);
        let place = usize::try_from(place).unwrap_or(usize::MAX).min(slots - 1);
        let slot = &mut out[counted.group as usize][place];
        slot.requests += 1;
        slot.errors += u64::from(gather.table.status(row) == StatusCode::Error);
    }
    out
}

/// Edges, what is called and is no service, and calls nobody can place.
fn edges(
    gather: &Gather,
    shapes: &Shapes,
    service: &impl Fn(usize) -> Key,
) -> (Vec<Edge>, Groups<Key>, u64) {
    let table = &gather.table;
    let mut groups: Groups<(Key, Key, EdgeKind)> = Groups::new();
    let mut called: Groups<Key> = Groups::new();
    let mut unseen: BTreeMap<(Key, Key, EdgeKind), u64> = BTreeMap::new();
    let mut unattributed = 0;
    // Who answered each call, by service number.
    let mut answered = vec![NONE; table.len()];
    let outside = (NodeKind::Outside, OUTSIDE.to_owned());
    for row in 0..table.len() {
        if table.kind(row) != SpanKind::Server {
            continue;
        }
        let parent = shapes.parent[row];
        if parent == NONE {
            // A parent that was lost is not the outside.
            if !table.parent[row].is_some() {
                groups.add((outside.clone(), service(row), EdgeKind::Call), row);
                called.add(outside.clone(), row);
            }
            continue;
        }
        let parent = parent as usize;
        if table.kind(parent) == SpanKind::Client {
            answered[parent] = table.service[row];
        } else if table.service[parent] != table.service[row] {
            groups.add((service(parent), service(row), EdgeKind::Call), row);
        }
    }
    let delivered = messages(gather, service, &mut groups);
    for row in 0..table.len() {
        let kind = table.kind(row);
        let target = &gather.targets.all[gather.target[row] as usize];
        let (to, edge, seen) = match (kind, target) {
            (SpanKind::Client, _) if answered[row] != NONE => {
                let name = table.services.get(answered[row]).to_owned();
                ((NodeKind::Service, name), EdgeKind::Call, true)
            }
            (SpanKind::Client, Target::Store { system, name }) => {
                let key = (NodeKind::Store, joined(system, name));
                (key, EdgeKind::Store, true)
            }
            (
                SpanKind::Client | SpanKind::Producer,
                Target::Broker {
                    system,
                    destination,
                },
            ) => {
                if kind == SpanKind::Producer && delivered.contains_key(&gather.target[row]) {
                    continue;
                }
                let key = (NodeKind::Broker, joined(system, destination));
                (key, EdgeKind::Message, true)
            }
            (SpanKind::Client, Target::Named(name)) => {
                ((NodeKind::Service, name.clone()), EdgeKind::Call, false)
            }
            (SpanKind::Client, Target::Address(address)) => {
                let at = case::Nanos(table.start[row]);
                match gather.directory.resident(address, at) {
                    Some(resident) => {
                        let key = (NodeKind::Service, resident.service.clone());
                        (key, EdgeKind::Call, false)
                    }
                    None => ((NodeKind::Outside, address.clone()), EdgeKind::Call, true),
                }
            }
            (SpanKind::Client, Target::Unknown) => {
                unattributed += 1;
                continue;
            }
            _ => continue,
        };
        let known = to.0 == NodeKind::Service && table.services.find(&to.1).is_some();
        if !known {
            called.add(to.clone(), row);
        }
        let key = (service(row), to, edge);
        if !seen {
            *unseen.entry(key.clone()).or_default() += 1;
        }
        groups.add(key, row);
    }
    let edges = groups
        .reds(gather)
        .into_iter()
        .map(|(key, _, red)| Edge {
            unseen: unseen.get(&key).copied().unwrap_or(0),
            from: key.0.1,
            to: key.1.1,
            kind: key.2,
            red,
        })
        .collect();
    (edges, called, unattributed)
}

/// Edges from who sent a message to who took it up. Returns the targets of which some message was.
fn messages(
    gather: &Gather,
    service: &impl Fn(usize) -> Key,
    groups: &mut Groups<(Key, Key, EdgeKind)>,
) -> BTreeMap<u32, ()> {
    let mut delivered = BTreeMap::new();
    let producers = gather.producers();
    for taken in &gather.taken_up {
        if let Some(producer) = producers.get(&(taken.trace, taken.span)) {
            let row = *producer as usize;
            delivered.insert(gather.target[row], ());
            let key = (service(row), service(taken.row as usize), EdgeKind::Message);
            groups.add(key, taken.row as usize);
        }
    }
    delivered
}

fn joined(system: &str, name: &str) -> String {
    if name.is_empty() {
        system.to_owned()
    } else {
        format!("{system} {name}")
    }
}
