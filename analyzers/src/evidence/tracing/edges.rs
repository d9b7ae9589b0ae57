//! Calls and their other sides: which server span belongs to which client span, whether the trace went on from one to the
//! other, and between whom it did not. Owns pairing by address and time where ids do not tell.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use case::model::SpanKind;

use super::rows::{LOST, ROOT, Rows, Transport};
use super::shape::share;

/// A server may seem to begin this much before its caller's span, or after its end.
const SLACK: u64 = 2_000_000;
/// Pairs kept by row; beyond this many they are only counted.
const MOST_PAIRS: usize = 200_000;
const SAMPLES: usize = 4;
/// Offsets kept of one pair of instances.
const MOST_OFFSETS: usize = 256;

/// A call whose two sides are not in one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    pub client: u32,
    pub server: u32,
}

/// Between whom calls go, how, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub caller: u32,
    pub callee: u32,
    pub transport: Transport,
    /// The server span's name.
    pub name: u32,
    pub agent: u32,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Count {
    /// The trace went on, while others broke.
    pub continued: u64,
    /// The server began a new trace.
    pub broken: u64,
    /// The server names a parent that does not exist, in a trace nobody else knows.
    pub altered: u64,
    pub first: u64,
    pub last: u64,
    pub samples: Vec<Pair>,
}

impl Count {
    pub fn torn(&self) -> u64 {
        self.broken + self.altered
    }

    pub fn all(&self) -> u64 {
        self.torn() + self.continued
    }

    pub fn share(&self) -> f64 {
        share(self.torn(), self.all())
    }

    pub fn add(&mut self, other: &Count) {
        if other.torn() > 0 {
            self.first = if self.torn() == 0 {
                other.first
            } else {
                self.first.min(other.first)
            };
            self.last = self.last.max(other.last);
        }
        self.continued += other.continued;
        self.broken += other.broken;
        self.altered += other.altered;
        self.samples.extend(&other.samples);
        self.samples.sort();
        self.samples.truncate(SAMPLES);
    }
}

/// Requests of one instance by how many others it was serving when they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crowd {
    pub alone: u64,
    pub alone_torn: u64,
    pub busy: u64,
    pub busy_torn: u64,
}

/// How the times of the two sides of calls between two instances stand to each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Skew {
    pub calls: u64,
    /// Calls whose server span is not within its client span.
    pub impossible: u64,
    pub first: u64,
    pub last: u64,
    /// A server span of one of them, the earliest.
    pub sample: Option<u32>,
    /// Of those: how far the middle of the server span is from that of its client span, by a number made of its id.
    offsets: BTreeSet<(u64, i64)>,
}

impl Skew {
    /// How much later the callee's clock is than the caller's, in nanoseconds: the middle of what was seen.
    pub fn offset(&self) -> f64 {
        let mut offsets: Vec<i64> = self.offsets.iter().map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        offsets
            .get(offsets.len() / 2)
            .map_or(0.0, |offset| *offset as f64)
    }

    fn add(&mut self, rows: &Rows, client: usize, server: usize) {
        self.calls += 1;
        let (start, end) = (rows.start[server], rows.end[server]);
        let early = start + SLACK < rows.start[client];
        // Whoever gave up waiting does not see the end.
        let late = end > rows.end[client] + SLACK && !rows.failed(client);
        if !early && !late {
            return;
        }
        self.first = if self.impossible == 0 {
            start
        } else {
            self.first.min(start)
        };
        self.last = self.last.max(start);
        if self
            .sample
            .is_none_or(|sample| rows.start[sample as usize] > start)
        {
            self.sample = Some(server as u32);
        }
        self.impossible += 1;
        let middle = |row: usize| (i128::from(rows.start[row]) + i128::from(rows.end[row])) / 2;
        let offset = (middle(server) - middle(client)).clamp(-(1 << 62), 1 << 62) as i64;
        // Which are kept must not depend on the order they come in.
        let number = u64::from_be_bytes(rows.id[server].0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.offsets.insert((number, offset));
        if self.offsets.len() > MOST_OFFSETS {
            self.offsets.pop_last();
        }
    }
}

/// All calls between services, as far as breaks are near them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edges {
    /// Calls between the first and the last break; empty if nothing broke.
    pub counts: BTreeMap<Key, Count>,
    pub crowds: BTreeMap<u32, Crowd>,
    /// Times between instances that can not be, by caller and callee.
    pub skews: BTreeMap<(u32, u32), Skew>,
    /// Every torn pair, by the server's start.
    pub pairs: Vec<Pair>,
    /// Calls seen with both sides in one trace, in all.
    pub joined: u64,
}

impl Edges {
    pub fn sum(&self, pick: impl Fn(&Key) -> bool) -> Count {
        let mut sum = Count::default();
        for (_, count) in self.counts.iter().filter(|(key, _)| pick(key)) {
            sum.add(count);
        }
        sum
    }
}

/// Whether each span has a server span below it: the other side of a call.
pub fn served(rows: &Rows) -> Vec<bool> {
    let mut served = vec![false; rows.len()];
    for row in 0..rows.len() {
        if let Some(parent) = rows.parent_of(row)
            && rows.kind(row) == SpanKind::Server
        {
            served[parent] = true;
        }
    }
    served
}

pub fn edges(rows: &Rows, served: &[bool]) -> Edges {
    let mut edges = Edges::default();
    let torn = torn(rows, served);
    let (mut from, mut until) = (u64::MAX, 0);
    for pair in &torn {
        let at = rows.start[pair.server as usize];
        (from, until) = (from.min(at), until.max(at));
    }
    for pair in &torn {
        let (client, server) = (pair.client as usize, pair.server as usize);
        let count = edges
            .counts
            .entry(key(rows, rows.who[client], server))
            .or_default();
        let at = rows.start[server];
        count.first = if count.torn() == 0 {
            at
        } else {
            count.first.min(at)
        };
        count.last = count.last.max(at);
        if rows.parent[server] == ROOT {
            count.broken += 1;
        } else {
            count.altered += 1;
        }
        if count.samples.len() < SAMPLES {
            count.samples.push(*pair);
        }
    }
    for row in 0..rows.len() {
        if rows.kind(row) != SpanKind::Server {
            continue;
        }
        let Some(parent) = rows.parent_of(row) else {
            continue;
        };
        if rows.who[parent] == rows.who[row] && rows.kind(parent) != SpanKind::Client {
            continue;
        }
        edges.joined += 1;
        // Under somebody else's call its times say nothing of clocks.
        let own = rows.address[parent] == rows.address[row] || rows.address[parent] == 0;
        if own && rows.kind(parent) == SpanKind::Client && rows.who[parent] != rows.who[row] {
            edges
                .skews
                .entry((rows.who[parent], rows.who[row]))
                .or_default()
                .add(rows, parent, row);
        }
        if (from..=until).contains(&rows.start[row]) {
            let count = edges
                .counts
                .entry(key(rows, rows.who[parent], row))
                .or_default();
            count.continued += 1;
        }
    }
    crowds(rows, &torn, (from, until), &mut edges);
    edges.pairs = torn;
    edges
}

fn key(rows: &Rows, caller: u32, server: usize) -> Key {
    Key {
        caller,
        callee: rows.who[server],
        transport: rows.transport(server),
        name: rows.name[server],
        agent: rows.agent[server],
    }
}

/// Server spans that begin a trace of their own, each with the call that it must have answered.
fn torn(rows: &Rows, served: &[bool]) -> Vec<Pair> {
    let mut servers: Vec<u32> = Vec::new();
    let mut addresses: HashMap<u32, Vec<u32>> = HashMap::new();
    for trace in 0..rows.traces.len() as u32 {
        for row in rows.of_trace(trace) {
            // What others began belongs to them, whatever is wrong with its parent.
            let begins = rows.of_trace(trace).start;
            let first = (begins..row)
                .take(8)
                .all(|before| rows.who[before] == rows.who[row]);
            if rows.kind(row) == SpanKind::Server
                && rows.parent[row] >= LOST
                && rows.address[row] != 0
                && first
            {
                servers.push(row as u32);
                addresses.entry(rows.address[row]).or_default();
            }
        }
    }
    if servers.is_empty() {
        return Vec::new();
    }
    for row in 0..rows.len() {
        if rows.kind(row) == SpanKind::Client
            && !served[row]
            && let Some(calls) = addresses.get_mut(&rows.address[row])
        {
            calls.push(row as u32);
        }
    }
    for calls in addresses.values_mut() {
        calls.sort_unstable_by_key(|row| (rows.start[*row as usize], *row));
    }
    servers.sort_unstable_by_key(|row| (rows.start[*row as usize], *row));
    let mut used: HashMap<u32, Vec<bool>> = HashMap::new();
    let mut floor: HashMap<u32, usize> = HashMap::new();
    let mut pairs = Vec::new();
    for server in servers {
        let row = server as usize;
        let Some(calls) = addresses.get(&rows.address[row]) else {
            continue;
        };
        let used = used
            .entry(rows.address[row])
            .or_insert_with(|| vec![false; calls.len()]);
        let floor = floor.entry(rows.address[row]).or_default();
        // Calls that ended long before are of no use to later servers either.
        while *floor < calls.len()
            && (used[*floor]
                || rows.end[calls[*floor] as usize].saturating_add(60_000_000_000)
                    < rows.start[row])
        {
            *floor += 1;
        }
        if let Some(place) = best(rows, row, calls, used, *floor) {
            used[place] = true;
            if pairs.len() < MOST_PAIRS {
                pairs.push(Pair {
                    client: calls[place],
                    server,
                });
            }
        }
    }
    pairs
}

/// The earliest call that holds the server span whole and is named alike, else the earliest that it overlaps.
fn best(rows: &Rows, server: usize, calls: &[u32], used: &[bool], floor: usize) -> Option<usize> {
    let (start, end) = (rows.start[server], rows.end[server]);
    let mut second = None;
    for (place, call) in calls.iter().enumerate().skip(floor) {
        let call = *call as usize;
        if rows.start[call] > start + SLACK {
            break;
        }
        if used[place] || rows.end[call] + SLACK < start || !alike(rows, call, server) {
            continue;
        }
        // A span of the same trace is no torn end.
        if rows.trace[call] == rows.trace[server] {
            continue;
        }
        if rows.end[call] + SLACK >= end {
            return Some(place);
        }
        second.get_or_insert(place);
    }
    second
}

/// Whether names and transports allow the two to be sides of one call.
fn alike(rows: &Rows, client: usize, server: usize) -> bool {
    if rows.transport(client) != rows.transport(server) {
        return false;
    }
    if rows.name[client] == rows.name[server] {
        return true;
    }
    let word = |row: usize| rows.names.get(rows.name[row]).split(' ').next();
    // Routes are worded by each side as it sees them; the method is the same.
    rows.transport(server) == Transport::Http && word(client) == word(server)
}

/// How many requests each instance that has broken calls was serving when each came.
fn crowds(rows: &Rows, torn: &[Pair], (from, until): (u64, u64), edges: &mut Edges) {
    let mut callees: BTreeMap<u32, Vec<(u64, u64, bool)>> = torn
        .iter()
        .map(|pair| (rows.who[pair.server as usize], Vec::new()))
        .collect();
    if callees.is_empty() {
        return;
    }
    let mut is_torn = vec![false; rows.len()];
    for pair in torn {
        is_torn[pair.server as usize] = true;
    }
    for row in 0..rows.len() {
        if rows.kind(row) == SpanKind::Server
            && (from..=until).contains(&rows.start[row])
            && let Some(requests) = callees.get_mut(&rows.who[row])
        {
            requests.push((rows.start[row], rows.end[row], is_torn[row]));
        }
    }
    for (who, mut requests) in callees {
        requests.sort_unstable();
        let crowd = edges.crowds.entry(who).or_default();
        let mut furthest = 0;
        for (place, (start, end, torn)) in requests.iter().enumerate() {
            let next = requests.get(place + 1).map_or(u64::MAX, |next| next.0);
            // Another one is under way when it comes, or comes before it is done.
            let busy = furthest > *start || next < *end;
            furthest = furthest.max(*end);
            match busy {
                true => {
                    crowd.busy += 1;
                    crowd.busy_torn += u64::from(*torn);
                }
                false => {
                    crowd.alone += 1;
                    crowd.alone_torn += u64::from(*torn);
                }
            }
        }
    }
}
