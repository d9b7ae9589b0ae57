//! Log records as rows of numbers, and how each stands to the spans: whether it has an id, whether that is known, and
//! whether it can be the right one. Owns what of a record is kept; what causes it is for rules.

use std::collections::{BTreeMap, HashMap};

use case::model::{LogRecord, Value};
use case::{SpanId, TraceId};

use super::rows::Rows;
use super::shape::{Seen, TOLERANCE};
use super::words::Words;

/// Ids found outside the field that is meant for them, kept with their records.
const MOST_FOUND: usize = 200_000;
/// Spans kept of one order on one instance.
const MOST_REQUESTS: usize = 64;
/// Traces beyond this size are not searched for the span of a line.
const LARGEST_TRACE: usize = 4_096;
/// How far the times of a line and of its span may be apart, in nanoseconds.
const SLACK: f64 = 5e6;
/// What is logged this much later than its request may still be a part of it.
const AFTER: u64 = 2_000_000_000;

/// An id that stands somewhere else than in the record's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Body,
    /// An attribute, written as ids are.
    Attribute,
    /// An attribute, in another form.
    OddForm,
}

const SEVERITY_UNSET: u8 = 1;
const SERVICE_UNSET: u8 = 2;
/// It is about one order, payment, user or request.
const OF_A_REQUEST: u8 = 4;
const DAMAGED: u8 = 8;
const UNSAMPLED: u8 = 16;
const HAS_USER: u8 = 32;
/// A complaint about the caller's trace context.
const CONTEXT_REFUSED: u8 = 64;

/// All lines. Row `i` of every column belongs to the same record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    pub at: Vec<u64>,
    pub trace: Vec<TraceId>,
    pub span: Vec<SpanId>,
    pub who: Vec<u32>,
    /// Event name, or the text where there is none; number in `words`.
    pub event: Vec<u32>,
    /// Route or method it says it is about; number in `words`.
    pub method: Vec<u32>,
    pub task: Vec<u32>,
    pub order: Vec<u32>,
    /// Milliseconds it says the request took; negative if it does not.
    pub took: Vec<f32>,
    bits: Vec<u8>,
    pub words: Words,
    pub orders: Words,
    pub found: Vec<(u32, Place, TraceId)>,
    /// Why contexts were refused, by row.
    pub reasons: Vec<(u32, String)>,
}

/// Lines of one instance, event and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    pub who: u32,
    pub event: u32,
    pub method: u32,
    pub task: u32,
}

/// A way in which one line is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// About a request, and without id.
    NoId,
    /// A known id stands in the text, the field is empty.
    IdInText,
    /// A known id stands in an attribute in another form, the field is empty.
    IdInOddForm,
    /// The id is that of another request that was running in the same process.
    OtherAlive,
    /// The id is that of another request that was over.
    OtherEnded,
    /// No span has that trace id.
    UnknownTrace,
    NoStaticFields,
    Damaged,
}

pub const FAULTS: usize = Fault::Damaged as usize + 1;

/// Lines counted by key; `usual` counts those between the first and last odd one of the instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineTable {
    pub cells: BTreeMap<LineKey, [Seen; FAULTS]>,
    /// Refused contexts by instance and reason: how many, and the first row.
    pub refused: BTreeMap<(u32, String), (u64, u32)>,
    /// Of each instance: lines about requests, and when the first and the last line of any kind was written.
    pub presence: BTreeMap<u32, Presence>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    pub lines: u64,
    pub first: u64,
    pub last: u64,
    pub unsampled: u64,
    pub with_user: u64,
}

impl LineTable {
    pub fn of(&self, who: u32) -> impl Iterator<Item = (&LineKey, &[Seen; FAULTS])> {
        let edge = |number| LineKey {
            who,
            event: number,
            method: number,
            task: number,
        };
        self.cells.range(edge(0)..=edge(u32::MAX))
    }

    pub fn sum(&self, who: u32, fault: Fault, pick: impl Fn(&LineKey) -> bool) -> Seen {
        let mut sum = Seen::default();
        for (_, cell) in self.of(who).filter(|(key, _)| pick(key)) {
            sum.add(&cell[fault as usize]);
        }
        sum
    }

    pub fn with(&self, fault: Fault) -> Vec<(u32, Seen)> {
        let mut found: BTreeMap<u32, Seen> = BTreeMap::new();
        for (key, cell) in &self.cells {
            if cell[fault as usize].odd > 0 {
                found.entry(key.who).or_default();
            }
        }
        for (who, seen) in &mut found {
            *seen = self.sum(*who, fault, |_| true);
        }
        found.into_iter().collect()
    }
}

impl Lines {
    pub fn new() -> Lines {
        Lines {
            words: Words::new(),
            orders: Words::new(),
            ..Lines::default()
        }
    }

    pub fn len(&self) -> usize {
        self.at.len()
    }

    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    pub fn take(&mut self, who: u32, record: &LogRecord) {
        let row = self.len() as u32;
        let (mut method, mut task, mut order) = ("", "", "");
        let (mut took, mut bits, mut shown) = (-1.0, 0, None);
        for (key, value) in record.attributes.iter() {
            match key {
                "method" | "http.route" | "rpc.method" => {
                    method = value.as_text().unwrap_or("");
                    bits |= OF_A_REQUEST;
                }
                "task" | "thread.name" | "thread.id" => task = value.as_text().unwrap_or(""),
                "order_id" | "saga_id" | "payment_id" | "event_id" | "shop.order.id" => {
                    bits |= OF_A_REQUEST;
                    if key.ends_with("order_id") || key == "shop.order.id" {
                        order = value.as_text().unwrap_or("");
                    }
                }
                "user_id" => bits |= OF_A_REQUEST | HAS_USER,
                "duration_ms" => match value {
                    Value::Double(number) => took = *number as f32,
                    Value::Int(number) => took = *number as f32,
                    // Siblings write a number here.
                    Value::Text(_) => bits |= DAMAGED,
                    _ => {}
                },
                "trace_id" | "traceId" | "trace.id" | "TraceId" => {
                    shown = value.as_text().and_then(any_form);
                }
                _ => {}
            }
            if let Value::Text(text) = value
                && escaped(text)
            {
                bits |= DAMAGED;
            }
        }
        let body = record.body.as_text().unwrap_or("");
        if !record.trace_id.is_some() && self.found.len() < MOST_FOUND {
            match shown {
                Some((id, exact)) => {
                    let place = if exact {
                        Place::Attribute
                    } else {
                        Place::OddForm
                    };
                    self.found.push((row, place, id));
                }
                None => {
                    if let Some(id) = id_in(body) {
                        self.found.push((row, Place::Body, id));
                    }
                }
            }
        }
        let severity = record.severity_number == 0 && record.severity_text.is_empty();
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        bits |= bit(severity, SEVERITY_UNSET)
            | bit(record.origin.resource.service().is_empty(), SERVICE_UNSET)
            | bit(
                record.trace_id.is_some() && record.flags & 1 == 0,
                UNSAMPLED,
            );
        if record.event_name == "trace.context.invalid" || complains(body) {
            bits |= CONTEXT_REFUSED;
            let reason = record
                .attributes
                .text("error.details")
                .unwrap_or(body)
                .chars()
                .take(120)
                .collect();
            if self.reasons.len() < MOST_FOUND {
                self.reasons.push((row, reason));
            }
        }
        self.at.push(record.at().0);
        self.trace.push(record.trace_id);
        self.span.push(record.span_id);
        self.who.push(who);
        let event = match record.event_name.as_str() {
            "" => body,
            name => name,
        };
        self.event.push(self.words.of(event));
        self.method.push(self.words.of(method));
        self.task.push(self.words.of(task));
        self.order.push(self.orders.of(order));
        self.took.push(took);
        self.bits.push(bits);
    }

    pub fn severity_unset(&self, row: usize) -> bool {
        self.bits[row] & SEVERITY_UNSET != 0
    }

    pub fn service_unset(&self, row: usize) -> bool {
        self.bits[row] & SERVICE_UNSET != 0
    }

    /// Holds every line against the spans, once, and counts.
    pub fn settle(&mut self, became: &[u32], rows: &Rows) -> LineTable {
        for who in &mut self.who {
            *who = became[*who as usize];
        }
        let words = self.words.sort();
        for column in [&mut self.event, &mut self.method, &mut self.task] {
            for number in column.iter_mut() {
                *number = words[*number as usize];
            }
        }
        let orders = self.orders.sort();
        for order in &mut self.order {
            *order = orders[*order as usize];
        }
        self.count(rows)
    }

    fn key(&self, row: usize) -> LineKey {
        LineKey {
            who: self.who[row],
            event: self.event[row],
            method: self.method[row],
            task: self.task[row],
        }
    }

    fn count(&self, rows: &Rows) -> LineTable {
        let mut found: HashMap<u32, Place> = HashMap::new();
        for (row, place, id) in &self.found {
            // Thirty-two hex digits may mean anything; they are an id if a trace has it.
            if known(rows, *id, *place) {
                found.insert(*row, *place);
            }
        }
        let mut table = LineTable::default();
        let mut spans: Vec<[Option<(u64, u64)>; FAULTS]> = vec![[None; FAULTS]; rows.peers.len()];
        let mut flags: Vec<u8> = (0..self.len())
            .map(|row| self.judge(row, rows, found.get(&(row as u32)).copied()))
            .collect();
        self.excuse_upkeep(rows, &mut flags);
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by_key(|row| {
            let row = *row as usize;
            (
                self.at[row],
                self.key(row),
                self.trace[row],
                self.span[row],
                self.order[row],
                self.bits[row],
            )
        });
        for row in &order {
            let at = self.at[*row as usize];
            for fault in 0..FAULTS {
                if flags[*row as usize] & 1 << fault != 0 {
                    let span = &mut spans[self.who[*row as usize] as usize][fault];
                    *span = Some(span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
                }
            }
        }
        for row in &order {
            let place = *row as usize;
            let (at, who) = (self.at[place], self.who[place]);
            let presence = table.presence.entry(who).or_default();
            presence.first = if presence.lines == 0 {
                at
            } else {
                presence.first
            };
            presence.last = at;
            presence.lines += 1;
            presence.unsampled += u64::from(self.bits[place] & UNSAMPLED != 0);
            presence.with_user += u64::from(self.bits[place] & HAS_USER != 0);
            let about = &spans[who as usize];
            if about.iter().all(Option::is_none) {
                continue;
            }
            let of_request = self.bits[place] & OF_A_REQUEST != 0;
            let cell = table.cells.entry(self.key(place)).or_default();
            for fault in 0..FAULTS {
                let Some((from, to)) = about[fault] else {
                    continue;
                };
                if flags[place] & 1 << fault != 0 {
                    let seen = &mut cell[fault];
                    seen.first = if seen.odd == 0 { at } else { seen.first };
                    seen.last = at;
                    seen.odd += 1;
                    if seen.samples.len() < 4 {
                        seen.samples.push(*row);
                    }
                } else if (from..=to).contains(&at)
                    && (of_request || fault == Fault::NoStaticFields as usize)
                    && (self.trace[place].is_some() || fault != Fault::NoId as usize)
                {
                    cell[fault].usual += 1;
                }
            }
        }
        for (row, reason) in &self.reasons {
            let who = self.who[*row as usize];
            let entry = table
                .refused
                .entry((who, reason.clone()))
                .or_insert((0, *row));
            entry.0 += 1;
            let earlier = (self.at[*row as usize], *row) < (self.at[entry.1 as usize], entry.1);
            if earlier {
                entry.1 = *row;
            }
        }
        table
    }

    /// Lines about an order that no request was handling just then come from upkeep and need no id.
    fn excuse_upkeep(&self, rows: &Rows, flags: &mut [u8]) {
        let no_id = 1u8 << Fault::NoId as u8;
        let asked =
            |row: usize| flags[row] & no_id != 0 && self.words.get(self.method[row]).is_empty();
        let mut requests: HashMap<(u32, u32), Vec<(u64, u64)>> = (0..self.len())
            .filter(|row| asked(*row))
            .map(|row| ((self.who[row], self.order[row]), Vec::new()))
            .collect();
        if requests.is_empty() {
            return;
        }
        for row in 0..self.len() {
            let Some(times) = requests.get_mut(&(self.who[row], self.order[row])) else {
                continue;
            };
            if self.order[row] == 0 || times.len() >= MOST_REQUESTS || !self.trace[row].is_some() {
                continue;
            }
            let span = rows
                .find_trace(self.trace[row])
                .filter(|trace| rows.of_trace(*trace).len() <= LARGEST_TRACE)
                .and_then(|trace| rows.find(trace, self.span[row]));
            if let Some(span) = span {
                times.push((rows.start[span], rows.end[span].saturating_add(AFTER)));
            }
        }
        // A statement that has an id at other times belongs to requests.
        let mut with_id: HashMap<(&str, u32), u64> = HashMap::new();
        for row in (0..self.len()).filter(|row| self.trace[*row].is_some()) {
            let key = (rows.service(self.who[row]), self.event[row]);
            *with_id.entry(key).or_default() += 1;
        }
        let known = |row: usize| {
            let key = (rows.service(self.who[row]), self.event[row]);
            with_id.get(&key).is_some_and(|count| *count >= 5)
        };
        let excused: Vec<usize> = (0..self.len())
            .filter(|row| asked(*row) && !known(*row))
            .filter(|row| {
                !requests[&(self.who[*row], self.order[*row])]
                    .iter()
                    .any(|(from, to)| (from..=to).contains(&&self.at[*row]))
            })
            .collect();
        for row in excused {
            flags[row] &= !no_id;
        }
    }

    fn judge(&self, row: usize, rows: &Rows, found: Option<Place>) -> u8 {
        let mut flags = 0u8;
        let mut on = |fault: Fault| flags |= 1 << fault as u8;
        let bits = self.bits[row];
        if bits & (SEVERITY_UNSET | SERVICE_UNSET) != 0 {
            on(Fault::NoStaticFields);
        }
        if bits & DAMAGED != 0 {
            on(Fault::Damaged);
        }
        if !self.trace[row].is_some() {
            match found {
                Some(Place::Body) => on(Fault::IdInText),
                Some(Place::OddForm) => on(Fault::IdInOddForm),
                Some(Place::Attribute) => {}
                None if bits & OF_A_REQUEST != 0 => on(Fault::NoId),
                None => {}
            }
            return flags;
        }
        let Some(trace) = rows.find_trace(self.trace[row]) else {
            if bits & UNSAMPLED == 0 {
                on(Fault::UnknownTrace);
            }
            return flags;
        };
        if self.took[row] < 0.0 || rows.of_trace(trace).len() > LARGEST_TRACE {
            return flags;
        }
        let Some(span) = rows.find(trace, self.span[row]) else {
            return flags;
        };
        // A span of somebody else is a matter of trace context.
        if rows.who[span] != self.who[row] {
            return flags;
        }
        let at = self.at[row];
        let took = f64::from(self.took[row]) * 1e6;
        let began = (at as f64 - took).max(0.0);
        let slack = SLACK + took * 0.05;
        // Whichever of its two ends a fault in the spans may have moved, the other one tells.
        let starts_with = (began - rows.start[span] as f64).abs() <= slack;
        let ends_with = at.abs_diff(rows.end[span]) as f64 <= SLACK;
        if starts_with || ends_with {
            return flags;
        }
        let alive = rows.start[span] <= at + TOLERANCE && rows.end[span] + TOLERANCE >= at;
        on(if alive {
            Fault::OtherAlive
        } else {
            Fault::OtherEnded
        });
        flags
    }
}

fn known(rows: &Rows, id: TraceId, place: Place) -> bool {
    if rows.find_trace(id).is_some() {
        return true;
    }
    // A shortened id has the lower half alone.
    place == Place::OddForm
        && id.0[..8] == [0; 8]
        && rows.traces.iter().any(|trace| trace.0[8..] == id.0[8..])
}

fn complains(body: &str) -> bool {
    body.len() < 512 && body.contains("traceparent") && body.contains("invalid")
}

/// An id in any form: upper case, with hyphens, or its lower half. True if it is written as ids are.
fn any_form(text: &str) -> Option<(TraceId, bool)> {
    if text.len() > 64 {
        return None;
    }
    let digits: String = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let padded = match digits.len() {
        32 => digits.clone(),
        16 => format!("{:0>32}", digits),
        _ => return None,
    };
    let id: TraceId = padded.parse().ok()?;
    id.is_some().then_some((id, padded == text))
}

/// A run of exactly 32 lower-case hex digits.
fn id_in(text: &str) -> Option<TraceId> {
    let text = text.get(..text.len().min(4_096)).unwrap_or("");
    let mut run = 0;
    let bytes = text.as_bytes();
    for (place, byte) in bytes.iter().chain([&b' ']).enumerate() {
        if byte.is_ascii_digit() || (b'a'..=b'f').contains(byte) {
            run += 1;
            continue;
        }
        if run == 32 {
            let id: TraceId = text.get(place - 32..place)?.parse().ok()?;
            return id.is_some().then_some(id);
        }
        run = 0;
    }
    None
}

/// JSON that was written as text, with its quotes escaped, or cut off.
fn escaped(text: &str) -> bool {
    text.len() > 3 && text.starts_with(['{', '"']) && text.contains("\\\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ids_are_found_in_text_and_in_any_form() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(id_in(&format!("done, trace {id}.")), id.parse().ok());
        assert_eq!(id_in(&format!("done, {id}0")), None);
        assert_eq!(any_form(id), Some((id.parse().unwrap(), true)));
        let odd = "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736";
        assert_eq!(any_form(odd), Some((id.parse().unwrap(), false)));
        let short = any_form("a3ce929d0e0e4736").unwrap();
        assert!(!short.1 && short.0.0[8..] == [0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36]);
        assert_eq!(any_form("ord_1"), None);
    }

    #[test]
    fn escaped_json_is_damage_and_a_plain_object_is_not() {
        assert!(escaped(r#"{\"code\":\"X\"}"#));
        assert!(!escaped(r#"{"code":"X"}"#));
        assert!(!escaped("a plain text"));
    }
}
