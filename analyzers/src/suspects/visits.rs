//! Visits: one entry into a service, the spans beneath it that are still the service's own, and their log lines.
//!
//! A visit knows how long it was busy itself, whom it waited for, and which items came up in it how often. Both windows
//! share one [`Lexicon`], so that the same item has the same number in both. What differs is judged in `followers` and
//! `spent`.

use std::collections::HashMap;

use case::model::{SpanKind, StatusCode};
use case::{SpanId, TraceId};

use super::sight::Sight;
use super::template;
use crate::tree::{self, NONE};

/// How often one item is told apart within a visit: a line that comes twice may lose its second coming alone.
const MOST_TIMES: u8 = 3;
/// Items of one visit beyond this are left out.
const MOST_ITEMS: usize = 400;

/// What can come up in a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The visit itself.
    Entry,
    /// A span of the service's own.
    Step,
    /// A call into another service, by who and what is called.
    Call,
    /// A log line.
    Line,
    /// A log line that means trouble.
    Trouble,
    /// A span that ended in error.
    Failed,
}

/// One item: what, which text, and the how-manieth of the visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    pub kind: Kind,
    pub text: u32,
    pub times: u8,
}

/// Numbers for texts, items and operations, shared by both windows.
#[derive(Debug, Default)]
pub struct Lexicon {
    texts: Vec<String>,
    text_of: HashMap<String, u32>,
    items: Vec<Item>,
    item_of: HashMap<Item, u32>,
}

impl Lexicon {
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", String::as_str)
    }

    pub fn item(&self, number: u32) -> Item {
        self.items[number as usize]
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.text_of.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.to_owned());
        self.text_of.insert(text.to_owned(), number);
        number
    }

    fn intern_item(&mut self, item: Item) -> u32 {
        let next = self.items.len() as u32;
        let number = *self.item_of.entry(item).or_insert(next);
        if number == next {
            self.items.push(item);
        }
        number
    }
}

/// A service (by its text number) and the operation that entered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    pub service: u32,
    pub name: u32,
}

#[derive(Debug, Clone)]
pub struct Visit {
    /// Row of the entry span.
    pub row: u32,
    pub operation: Operation,
    /// Number of the visit that called, or [`NONE`].
    pub parent: u32,
    pub duration: u64,
    /// Time in which the visit waited for no call.
    pub own: u64,
    pub failed: bool,
    /// Sorted, each once.
    pub items: Vec<u32>,
}

/// A call that was answered: what the caller saw less what the callee did.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    pub caller: u32,
    pub callee: Operation,
    pub nanos: u64,
    /// Visit of the callee.
    pub visit: u32,
}

/// A client span without an answer among the spans.
#[derive(Debug, Clone, Copy)]
pub struct Leaf {
    pub visit: u32,
    pub name: u32,
    /// The store or service it names.
    pub target: Option<u32>,
    pub nanos: u64,
    pub failed: bool,
}

#[derive(Debug, Default)]
pub struct Visits {
    pub visits: Vec<Visit>,
    pub gaps: Vec<Gap>,
    pub leaves: Vec<Leaf>,
    /// Which service answered the client spans of this service and name.
    pub answered: HashMap<(u32, u32), HashMap<u32, u32>>,
    /// Trouble lines that belong to no visit: service, template.
    pub loose: Vec<(u32, u32)>,
    /// Visit of every row, or [`NONE`].
    pub of_row: Vec<u32>,
}

/// The visits of a window.
pub fn of(sight: &Sight, lexicon: &mut Lexicon) -> Visits {
    let table = &sight.table;
    let shapes = tree::shapes(table);
    let rows = table.len();
    let services: Vec<u32> = table
        .services
        .iter()
        .map(|text| lexicon.intern(text))
        .collect();
    let names: Vec<u32> = table
        .names
        .iter()
        .map(|text| lexicon.intern(text))
        .collect();
    let mut left_out = vec![false; rows];
    for row in &shapes.repeated {
        left_out[*row as usize] = true;
    }
    let troubling: Vec<bool> = table.names.iter().map(template::means_trouble).collect();
    let mut out = Visits {
        of_row: vec![NONE; rows],
        ..Visits::default()
    };
    let parent = |row: usize| shapes.parent[row];
    // Parents before children.
    let mut order: Vec<u32> = (0..rows as u32)
        .filter(|row| !left_out[*row as usize])
        .collect();
    order.sort_by_key(|row| {
        (
            shapes.depth[*row as usize],
            table.trace[*row as usize],
            table.start[*row as usize],
            *row,
        )
    });
    let mut children = vec![0u32; rows];
    for &row in &order {
        if parent(row as usize) != NONE {
            children[parent(row as usize) as usize] += 1;
        }
    }
    let is_entry = |row: usize| {
        let above = parent(row);
        above == NONE
            || table.service[above as usize] != table.service[row]
            || matches!(table.kind(row), SpanKind::Server | SpanKind::Consumer)
    };
    // A span that does nothing but wait for another service, said so or seen.
    let waits = |row: usize| match table.kind(row) {
        SpanKind::Client | SpanKind::Producer => true,
        SpanKind::Server | SpanKind::Consumer => false,
        _ => children[row] == 1 && !is_entry(row),
    };
    let mut bags: Vec<Vec<(Kind, u32)>> = Vec::new();
    let mut waiting: Vec<Vec<(u64, u64)>> = Vec::new();
    for &row in &order {
        let row = row as usize;
        let operation = Operation {
            service: services[table.service[row] as usize],
            name: names[table.name[row] as usize],
        };
        let above = parent(row);
        let span = (
            table.start[row],
            table.start[row].saturating_add(table.duration[row]),
        );
        let failed = table.status(row) == StatusCode::Error;
        if is_entry(row) {
            let number = out.visits.len() as u32;
            let caller = if above == NONE {
                NONE
            } else {
                out.of_row[above as usize]
            };
            out.of_row[row] = number;
            out.visits.push(Visit {
                row: row as u32,
                operation,
                parent: caller,
                duration: table.duration[row],
                own: 0,
                failed,
                items: Vec::new(),
            });
            bags.push(Vec::new());
            waiting.push(Vec::new());
            if caller != NONE {
                let above = above as usize;
                bags[caller as usize].push((Kind::Call, operation.service));
                let awaited = !matches!(table.kind(row), SpanKind::Consumer)
                    && table.kind(above) != SpanKind::Producer;
                if awaited && waits(above) {
                    let client = table.duration[above];
                    waiting[caller as usize].push((
                        table.start[above],
                        table.start[above].saturating_add(client),
                    ));
                    out.gaps.push(Gap {
                        caller: out.visits[caller as usize].operation.service,
                        callee: operation,
                        nanos: client.saturating_sub(table.duration[row]),
                        visit: number,
                    });
                    let client = (
                        out.visits[caller as usize].operation.service,
                        names[table.name[above] as usize],
                    );
                    *out.answered
                        .entry(client)
                        .or_default()
                        .entry(operation.service)
                        .or_default() += 1;
                } else if awaited {
                    waiting[caller as usize].push(span);
                }
            }
        } else {
            let visit = out.of_row[above as usize];
            out.of_row[row] = visit;
            // A span that only ever stands for trouble is no step that one could miss.
            if !troubling[table.name[row] as usize] {
                bags[visit as usize].push((Kind::Step, operation.name));
            }
            if failed || troubling[table.name[row] as usize] {
                bags[visit as usize].push((Kind::Failed, operation.name));
            }
            if table.kind(row) == SpanKind::Client && children[row] == 0 {
                let target = sight.target[row].as_ref().map(|text| lexicon.intern(text));
                out.leaves.push(Leaf {
                    visit,
                    name: operation.name,
                    target,
                    nanos: table.duration[row],
                    failed,
                });
                waiting[visit as usize].push(span);
            }
        }
    }
    for (visit, mut busy) in out.visits.iter_mut().zip(waiting) {
        let row = visit.row as usize;
        visit.own = uncovered(table.start[row], visit.duration, &mut busy);
    }
    place_lines(sight, lexicon, &mut out, &mut bags);
    for (visit, bag) in out.visits.iter_mut().zip(bags) {
        visit.items = itemised(bag, visit.failed, lexicon);
    }
    out
}

/// Adds every line to the visit it was written in: by its span, else by its trace and service.
fn place_lines(
    sight: &Sight,
    lexicon: &mut Lexicon,
    out: &mut Visits,
    bags: &mut [Vec<(Kind, u32)>],
) {
    if sight.lines.is_empty() {
        return;
    }
    let table = &sight.table;
    let mut by_span: HashMap<(TraceId, SpanId), u32> = HashMap::with_capacity(table.len());
    let mut by_trace: HashMap<(TraceId, u32), u32> = HashMap::new();
    for row in 0..table.len() {
        let visit = out.of_row[row];
        if visit == NONE {
            continue;
        }
        let trace = table.traces[table.trace[row] as usize];
        by_span.insert((trace, table.span_id[row]), visit);
        let service = out.visits[visit as usize].operation.service;
        let first = by_trace.entry((trace, service)).or_insert(visit);
        *first = (*first).min(visit);
    }
    for line in &sight.lines {
        let service = lexicon.intern(&line.service);
        let template = lexicon.intern(&line.template);
        let kind = if line.trouble {
            Kind::Trouble
        } else {
            Kind::Line
        };
        // The span may be a caller's whose context the logger still held: the line speaks of its own service.
        let own = |visit: &&u32| out.visits[**visit as usize].operation.service == service;
        let visit = by_span
            .get(&(line.trace, line.span))
            .filter(own)
            .or_else(|| by_trace.get(&(line.trace, service)))
            .filter(|_| line.trace.is_some());
        match visit {
            Some(visit) => bags[*visit as usize].push((kind, template)),
            None if line.trouble => out.loose.push((service, template)),
            None => {}
        }
    }
}

fn itemised(mut bag: Vec<(Kind, u32)>, failed: bool, lexicon: &mut Lexicon) -> Vec<u32> {
    bag.sort_unstable();
    let mut items = vec![lexicon.intern_item(Item {
        kind: Kind::Entry,
        text: 0,
        times: 1,
    })];
    if failed {
        items.push(lexicon.intern_item(Item {
            kind: Kind::Failed,
            text: NONE,
            times: 1,
        }));
    }
    let mut last = None;
    let mut times = 0u8;
    for (kind, text) in bag {
        times = if last == Some((kind, text)) {
            times.saturating_add(1)
        } else {
            1
        };
        last = Some((kind, text));
        if times <= MOST_TIMES && items.len() < MOST_ITEMS {
            items.push(lexicon.intern_item(Item { kind, text, times }));
        }
    }
    items.sort_unstable();
    items.dedup();
    items
}

/// How much of a span none of the intervals covers.
fn uncovered(start: u64, duration: u64, busy: &mut [(u64, u64)]) -> u64 {
    busy.sort_unstable();
    let end = start.saturating_add(duration);
    let mut reached = start;
    let mut covered = 0;
    for (from, until) in busy.iter() {
        let from = (*from).max(reached);
        let until = (*until).min(end);
        if until > from {
            covered += until - from;
            reached = until;
        }
    }
    duration.saturating_sub(covered)
}
