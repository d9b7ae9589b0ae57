//! Spans as rows of numbers, taken in as they come and then put in order: by trace, within it by start. Owns what of a
//! span is kept and where its parent is; what is wrong with it is judged in `shape` and `edges`.

use std::collections::HashMap;
use std::sync::Arc;

use case::model::{Resource, Span, SpanKind, StatusCode, Value};
use case::{Nanos, SpanId, TraceId};

use super::words::Words;

/// No parent was named.
pub const ROOT: u32 = u32::MAX;
/// A parent was named that is not among the spans of the trace.
pub const LOST: u32 = u32::MAX - 1;

/// What carries a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Transport {
    #[default]
    Other,
    Http,
    Grpc,
    Message,
    Store,
}

impl Transport {
    const ALL: [Transport; 5] = [
        Transport::Other,
        Transport::Http,
        Transport::Grpc,
        Transport::Message,
        Transport::Store,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Transport::Other => "an unnamed transport",
            Transport::Http => "HTTP",
            Transport::Grpc => "gRPC",
            Transport::Message => "messages",
            Transport::Store => "a store",
        }
    }
}

/// A process that sends signals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Who {
    pub service: String,
    pub instance: String,
}

/// What a caller says it wrote into the request's header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written {
    pub traceparent: String,
    pub tracestate: String,
}

const FAILED: u8 = 1;
/// Its answer was a failure of its own and its status says nothing of it.
const SILENT_FAILURE: u8 = 2;
const LINKED: u8 = 4;
const UNSAMPLED: u8 = 8;
const HAS_PARENT: u8 = 16;
/// It says that it stands for the beginning of something, not for a call's other side.
const REPLAYED: u8 = 32;

/// Rows kept with a header each: senders that record all headers must not double the memory.
const MOST_WRITTEN: usize = 100_000;

/// All spans. Row `i` of every column belongs to the same span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Number in `traces`.
    pub trace: Vec<u32>,
    pub id: Vec<SpanId>,
    /// Row of the parent, [`ROOT`] or [`LOST`]. Filled in by `settle`.
    pub parent: Vec<u32>,
    pub start: Vec<u64>,
    /// Never before the start.
    pub end: Vec<u64>,
    pub who: Vec<u32>,
    pub name: Vec<u32>,
    /// Whom a client span calls, or where a server span listens; number in `addresses`, 0 if it does not say.
    pub address: Vec<u32>,
    /// Who called, as it says of itself; number in `agents`.
    pub agent: Vec<u32>,
    /// `tracestate`; number in `states`.
    pub state: Vec<u32>,
    kind: Vec<u8>,
    transport: Vec<u8>,
    bits: Vec<u8>,
    parent_id: Vec<SpanId>,
    pub traces: Vec<TraceId>,
    /// Where the rows of each trace begin, and at the end the number of all.
    pub begins: Vec<u32>,
    pub peers: Vec<Who>,
    pub names: Words,
    pub addresses: Words,
    pub agents: Words,
    pub states: Words,
    pub orders: Words,
    /// Row to the order it says it is about.
    pub order: Vec<(u32, u32)>,
    pub written: Vec<(u32, Written)>,
    numbers: HashMap<TraceId, u32>,
    known_peers: HashMap<Who, u32>,
    /// What the numbers of peers have become in `settle`, for those who noted them before.
    pub peers_became: Vec<u32>,
    last: Option<(Arc<Resource>, u32)>,
}

impl Rows {
    pub fn new() -> Rows {
        Rows {
            names: Words::new(),
            addresses: Words::new(),
            agents: Words::new(),
            states: Words::new(),
            orders: Words::new(),
            ..Rows::default()
        }
    }

    pub fn len(&self) -> usize {
        self.trace.len()
    }

    pub fn is_empty(&self) -> bool {
        self.trace.is_empty()
    }

    pub fn kind(&self, row: usize) -> SpanKind {
        SpanKind::from_number(u64::from(self.kind[row]))
    }

    pub fn transport(&self, row: usize) -> Transport {
        Transport::ALL
            .get(usize::from(self.transport[row]))
            .copied()
            .unwrap_or_default()
    }

    pub fn failed(&self, row: usize) -> bool {
        self.bits[row] & FAILED != 0
    }

    pub fn fails_silently(&self, row: usize) -> bool {
        self.bits[row] & SILENT_FAILURE != 0
    }

    pub fn linked(&self, row: usize) -> bool {
        self.bits[row] & LINKED != 0
    }

    pub fn unsampled(&self, row: usize) -> bool {
        self.bits[row] & UNSAMPLED != 0
    }

    pub fn names_parent(&self, row: usize) -> bool {
        self.bits[row] & HAS_PARENT != 0
    }

    pub fn replayed(&self, row: usize) -> bool {
        self.bits[row] & REPLAYED != 0
    }

    /// The id of the parent as it was sent.
    pub fn parent_id(&self, row: usize) -> SpanId {
        self.parent_id[row]
    }

    pub fn trace_id(&self, row: usize) -> TraceId {
        self.traces[self.trace[row] as usize]
    }

    pub fn peer(&self, row: usize) -> &Who {
        &self.peers[self.who[row] as usize]
    }

    pub fn service(&self, who: u32) -> &str {
        &self.peers[who as usize].service
    }

    pub fn at(&self, row: usize) -> Nanos {
        Nanos(self.start[row])
    }

    /// All rows of the trace that `row` belongs to.
    pub fn of_trace(&self, trace: u32) -> std::ops::Range<usize> {
        self.begins[trace as usize] as usize..self.begins[trace as usize + 1] as usize
    }

    pub fn find_trace(&self, id: TraceId) -> Option<u32> {
        self.traces.binary_search(&id).ok().map(|n| n as u32)
    }

    /// The row of a span of a trace.
    pub fn find(&self, trace: u32, id: SpanId) -> Option<usize> {
        self.of_trace(trace).find(|row| self.id[*row] == id)
    }

    /// The row of the parent, if it is there.
    pub fn parent_of(&self, row: usize) -> Option<usize> {
        let parent = self.parent[row];
        (parent < LOST).then_some(parent as usize)
    }

    pub fn written(&self, row: usize) -> Option<&Written> {
        let place = self
            .written
            .binary_search_by_key(&(row as u32), |(row, _)| *row);
        place.ok().map(|place| &self.written[place].1)
    }

    pub fn order_of(&self, row: usize) -> Option<u32> {
        let place = self
            .order
            .binary_search_by_key(&(row as u32), |(row, _)| *row);
        place.ok().map(|place| self.order[place].1)
    }

    /// The number of whoever sends with this resource.
    pub fn who(&mut self, resource: &Arc<Resource>) -> u32 {
        if let Some((last, number)) = &self.last
            && Arc::ptr_eq(last, resource)
        {
            return *number;
        }
        let who = Who {
            service: resource.service().to_owned(),
            instance: resource.instance().to_owned(),
        };
        let next = self.peers.len() as u32;
        let number = *self.known_peers.entry(who.clone()).or_insert(next);
        if number == next {
            self.peers.push(who);
        }
        self.last = Some((Arc::clone(resource), number));
        number
    }

    pub fn take(&mut self, span: &Span) {
        let said = Said::of(span);
        let row = self.len() as u32;
        let next = self.traces.len() as u32;
        let trace = *self.numbers.entry(span.trace_id).or_insert(next);
        if trace == next {
            self.traces.push(span.trace_id);
        }
        let who = self.who(&span.origin.resource);
        self.trace.push(trace);
        self.who.push(who);
        self.id.push(span.span_id);
        self.parent_id.push(span.parent_span_id);
        self.start.push(span.start.0);
        self.end.push(span.end.0.max(span.start.0));
        self.name.push(self.names.of(&span.name));
        let address = said.address(span.kind);
        let address = match address {
            Some(address) => self.addresses.of(&address),
            None => 0,
        };
        self.address.push(address);
        self.agent.push(self.agents.of(said.agent));
        self.state.push(self.states.of(&span.trace_state));
        self.kind.push(span.kind.number());
        self.transport.push(said.transport as u8);
        let failure = said.failure && span.kind == SpanKind::Server;
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        self.bits.push(
            bit(span.status == StatusCode::Error, FAILED)
                | bit(failure && span.status == StatusCode::Unset, SILENT_FAILURE)
                | bit(!span.links.is_empty(), LINKED)
                | bit(span.flags & 1 == 0, UNSAMPLED)
                | bit(span.parent_span_id.is_some(), HAS_PARENT)
                | bit(said.replayed, REPLAYED),
        );
        if let Some(order) = said.order {
            let order = self.orders.of(order);
            self.order.push((row, order));
        }
        if let Some(traceparent) = said.traceparent
            && self.written.len() < MOST_WRITTEN
        {
            let written = Written {
                traceparent,
                tracestate: said.tracestate.unwrap_or_default(),
            };
            self.written.push((row, written));
        }
    }

    /// Puts rows and numbers in an order that depends on the spans alone, drops what was sent twice, and finds parents.
    pub fn settle(&mut self) {
        self.renumber();
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by_key(|row| {
            let row = *row as usize;
            (
                self.trace[row],
                self.start[row],
                std::cmp::Reverse(self.end[row]),
                self.kind[row] != SpanKind::Client.number(),
                self.id[row],
                self.parent_id[row],
                self.name[row],
                self.who[row],
            )
        });
        let same = |a: usize, b: usize| {
            (self.trace[a], self.id[a], self.start[a], self.end[a])
                == (self.trace[b], self.id[b], self.start[b], self.end[b])
                && (self.kind[a], self.name[a], self.who[a])
                    == (self.kind[b], self.name[b], self.who[b])
        };
        order.dedup_by(|b, a| same(*a as usize, *b as usize));
        self.arrange(&order);
        self.begins = vec![0; self.traces.len() + 1];
        for trace in &self.trace {
            self.begins[*trace as usize + 1] += 1;
        }
        for place in 1..self.begins.len() {
            self.begins[place] += self.begins[place - 1];
        }
        self.find_parents();
        self.numbers = HashMap::new();
        self.last = None;
    }

    fn renumber(&mut self) {
        let mut sorted: Vec<u32> = (0..self.traces.len() as u32).collect();
        sorted.sort_unstable_by_key(|trace| self.traces[*trace as usize]);
        let mut became = vec![0; sorted.len()];
        for (new, old) in sorted.iter().enumerate() {
            became[*old as usize] = new as u32;
        }
        self.traces.sort_unstable();
        let mut peers: Vec<u32> = (0..self.peers.len() as u32).collect();
        peers.sort_by(|a, b| self.peers[*a as usize].cmp(&self.peers[*b as usize]));
        let mut who = vec![0; peers.len()];
        for (new, old) in peers.iter().enumerate() {
            who[*old as usize] = new as u32;
        }
        self.peers.sort();
        self.known_peers = self.peers.iter().cloned().zip(0..).collect();
        apply(&mut self.trace, &became);
        apply(&mut self.who, &who);
        self.peers_became = who;
        for (column, words) in [
            (&mut self.name, &mut self.names),
            (&mut self.address, &mut self.addresses),
            (&mut self.agent, &mut self.agents),
            (&mut self.state, &mut self.states),
        ] {
            apply(column, &words.sort());
        }
        let orders = self.orders.sort();
        for (_, order) in &mut self.order {
            *order = orders[*order as usize];
        }
    }

    fn arrange(&mut self, order: &[u32]) {
        let mut place = vec![ROOT; self.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old as usize] = new as u32;
        }
        pick(&mut self.trace, order);
        pick(&mut self.id, order);
        pick(&mut self.parent_id, order);
        pick(&mut self.start, order);
        pick(&mut self.end, order);
        pick(&mut self.who, order);
        pick(&mut self.name, order);
        pick(&mut self.address, order);
        pick(&mut self.agent, order);
        pick(&mut self.state, order);
        pick(&mut self.kind, order);
        pick(&mut self.transport, order);
        pick(&mut self.bits, order);
        // What a repeated span said stands with the one that was kept.
        self.order.retain_mut(|(row, _)| {
            *row = place[*row as usize];
            *row != ROOT
        });
        self.order.sort_unstable();
        self.written.retain_mut(|(row, _)| {
            *row = place[*row as usize];
            *row != ROOT
        });
        self.written.sort();
    }

    fn find_parents(&mut self) {
        self.parent = vec![ROOT; self.len()];
        let mut by_id: Vec<(SpanId, bool, u32)> = Vec::new();
        for trace in 0..self.traces.len() as u32 {
            let rows = self.of_trace(trace);
            by_id.clear();
            // Where the two sides of a call share an id, its children hang under the one that was called.
            by_id.extend(rows.clone().map(|row| {
                let called = self.kind[row] != SpanKind::Server.number();
                (self.id[row], called, row as u32)
            }));
            by_id.sort_unstable();
            for row in rows {
                let first = |id: SpanId| {
                    let place = by_id.partition_point(|(known, _, _)| *known < id);
                    by_id[place..]
                        .iter()
                        .take_while(move |(known, _, _)| *known == id)
                };
                let shared = (self.kind[row] == SpanKind::Server.number())
                    .then(|| {
                        first(self.id[row]).find(|(_, _, other)| {
                            self.kind[*other as usize] == SpanKind::Client.number()
                        })
                    })
                    .flatten();
                self.parent[row] = match shared {
                    Some((_, _, client)) => *client,
                    None if !self.parent_id[row].is_some() => ROOT,
                    None => first(self.parent_id[row])
                        .find(|(_, _, parent)| *parent != row as u32)
                        .map_or(LOST, |(_, _, parent)| *parent),
                };
            }
        }
    }
}

fn apply(column: &mut [u32], became: &[u32]) {
    for number in column {
        *number = became[*number as usize];
    }
}

fn pick<T: Copy>(column: &mut Vec<T>, order: &[u32]) {
    *column = order.iter().map(|row| column[*row as usize]).collect();
}

/// What of a span's attributes matters, found in one pass over them.
#[derive(Default)]
struct Said<'a> {
    host: Option<&'a str>,
    port: Option<i64>,
    url: Option<&'a str>,
    agent: &'a str,
    transport: Transport,
    failure: bool,
    replayed: bool,
    order: Option<&'a str>,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl<'a> Said<'a> {
    fn of(span: &'a Span) -> Said<'a> {
        let mut said = Said::default();
        for (key, value) in span.attributes.iter() {
            let text = || value.as_text();
            match key {
                "server.address" | "net.peer.name" => said.host = text().or(said.host),
                "network.peer.address" if said.host.is_none() => said.host = text(),
                "server.port" | "net.peer.port" => said.port = number(value).or(said.port),
                "network.peer.port" if said.port.is_none() => said.port = number(value),
                "url.full" | "http.url" => said.url = text(),
                "user_agent.original" | "http.user_agent" => said.agent = text().unwrap_or(""),
                "rpc.system.name" | "rpc.system" => said.transport = Transport::Grpc,
                "http.request.method" | "http.method" if said.transport == Transport::Other => {
                    said.transport = Transport::Http;
                }
                "messaging.system" => said.transport = Transport::Message,
                "db.system.name" | "db.system" => said.transport = Transport::Store,
                "http.response.status_code" | "http.status_code" => {
                    said.failure |= number(value).is_some_and(|code| (500..600).contains(&code));
                }
                "rpc.response.status_code" => said.failure |= text().is_some_and(server_failed),
                "rpc.grpc.status_code" => {
                    said.failure |=
                        number(value).is_some_and(|code| matches!(code, 2 | 4 | 12 | 13 | 14 | 15));
                }
                "shop.order.id" | "order.id" => said.order = text(),
                "shop.idempotency.result" => said.replayed = text() == Some("replayed"),
                "http.request.header.traceparent" => said.traceparent = first_text(value),
                "http.request.header.tracestate" => said.tracestate = first_text(value),
                _ => {}
            }
        }
        said
    }

    /// `host:port` of the listening side.
    fn address(&self, kind: SpanKind) -> Option<String> {
        if !matches!(kind, SpanKind::Client | SpanKind::Server)
            || self.transport == Transport::Store
        {
            return None;
        }
        match (self.host, self.port) {
            (Some(host), Some(port)) => Some(format!("{host}:{port}")),
            _ if kind == SpanKind::Client => self.url.and_then(authority).map(str::to_owned),
            _ => None,
        }
    }
}

/// The codes that are a gRPC server's own failure.
fn server_failed(code: &str) -> bool {
    matches!(
        code,
        "UNKNOWN"
            | "DEADLINE_EXCEEDED"
            | "UNIMPLEMENTED"
            | "INTERNAL"
            | "UNAVAILABLE"
            | "DATA_LOSS"
    )
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A header's value: conventions have it as a list, some senders as a text.
fn first_text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Array(values) => {
            let texts: Vec<&str> = values.iter().filter_map(Value::as_text).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        _ => None,
    }
}

/// `host:port` of a URL that names a port.
fn authority(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
    authority.contains(':').then_some(authority)
}
