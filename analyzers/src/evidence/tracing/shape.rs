//! What is wrong with the place or the times of single spans, counted by instance and span name. Knows nothing of causes:
//! a rule looks at which of an instance's spans are odd, in which way, and which beside them are not.

use std::collections::{BTreeMap, HashMap, HashSet};

use case::SpanId;
use case::model::SpanKind;

use super::growing::still_growing;
use super::rows::{LOST, ROOT, Rows, Transport};

/// Clocks of one process and roundings of senders differ by no more than this.
pub const TOLERANCE: u64 = 1_000_000;
/// Calls looked at for one span in a trace: traces of tens of thousands of spans must not cost their square.
const MOST_CALLS: usize = 256;
const SAMPLES: usize = 4;
/// What ended may be on its way for this long.
const UNSETTLED: u64 = 3_000_000_000;

/// A way in which one span is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// An inner span alone in a trace of its own.
    LonelyInner,
    /// An inner span without parent in a trace that others began.
    ParentlessInner,
    /// A server span without parent in a trace that its caller began.
    ParentlessEntry,
    /// A server span under a span of the caller that is not its call, while that call has no child.
    AboveItsCall,
    /// A server span under an earlier call of the caller, while its own call has no child.
    UnderEarlierCall,
    /// A server span under another call of the caller that ran at the same time, while its own has no child.
    UnderCallBeside,
    /// The parent's id is that of a span in another trace.
    ParentElsewhere,
    /// The parent is nowhere.
    ParentLost,
    /// An inner span right under a remote caller's call: the server span between them is missing.
    NoServerBetween,
    /// Begins before its parent in the same process.
    BeginsBeforeParent,
    /// A call that its server span did not wait for: it began before that ended, and ended after it.
    EndsAfterParent,
    /// A call that began after its server span had ended.
    BeginsAfterParent,
    /// A server span of a failure that does not say so in its status.
    SilentFailure,
    /// An inner span that begins a trace while a request of the same process runs around it.
    Detached,
}

pub const ASPECTS: usize = Aspect::Detached as usize + 1;

/// How often spans of one instance and name were odd in one way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    pub odd: u64,
    /// Spans of the same instance and name that were not, between the first and the last odd one of the instance.
    pub usual: u64,
    pub first: u64,
    pub last: u64,
    /// Rows, earliest first.
    pub samples: Vec<u32>,
}

impl Seen {
    pub fn share(&self) -> f64 {
        share(self.odd, self.odd + self.usual)
    }

    pub fn add(&mut self, other: &Seen) {
        if other.odd > 0 {
            self.first = if self.odd == 0 {
                other.first
            } else {
                self.first.min(other.first)
            };
            self.last = self.last.max(other.last);
        }
        self.odd += other.odd;
        self.usual += other.usual;
        self.samples.extend(&other.samples);
        self.samples.sort_unstable();
        self.samples.truncate(SAMPLES);
    }

    fn note(&mut self, row: u32, at: u64) {
        self.first = if self.odd == 0 {
            at
        } else {
            self.first.min(at)
        };
        self.last = self.last.max(at);
        self.odd += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(row);
        }
    }
}

pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// One instance's spans of one name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    pub entry: bool,
    pub aspects: [Seen; ASPECTS],
}

/// Odd spans by (instance, span name), both numbers of [`Rows`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    pub cells: BTreeMap<(u32, u32), Cell>,
}

impl Shape {
    /// Everything of one aspect on one instance; `pick` says which cells count.
    pub fn sum(&self, who: u32, aspect: Aspect, pick: impl Fn(u32, &Cell) -> bool) -> Seen {
        let mut sum = Seen::default();
        for ((_, name), cell) in self.of(who) {
            if pick(*name, cell) {
                sum.add(&cell.aspects[aspect as usize]);
            }
        }
        sum
    }

    pub fn of(&self, who: u32) -> impl Iterator<Item = (&(u32, u32), &Cell)> {
        self.cells.range((who, 0)..=(who, u32::MAX))
    }

    /// Instances with spans odd in this way, with all of them.
    pub fn with(&self, aspect: Aspect) -> Vec<(u32, Seen)> {
        let mut found: BTreeMap<u32, Seen> = BTreeMap::new();
        for ((who, _), cell) in &self.cells {
            if cell.aspects[aspect as usize].odd > 0 {
                found.entry(*who).or_default();
            }
        }
        for (who, seen) in &mut found {
            *seen = self.sum(*who, aspect, |_, _| true);
        }
        found.into_iter().collect()
    }
}

/// Looks at every span once, and a second time at those of instances that had odd ones.
pub fn shape(rows: &Rows, served: &[bool]) -> Shape {
    let mut flags: Vec<u16> = vec![0; rows.len()];
    for trace in 0..rows.traces.len() as u32 {
        look(rows, served, trace, &mut flags);
    }
    detached(rows, &mut flags);
    forgive_unsettled(rows, &mut flags);
    elsewhere(rows, &mut flags);
    let mut spans: Vec<[Option<(u64, u64)>; ASPECTS]> = vec![[None; ASPECTS]; rows.peers.len()];
    let mut cells: HashMap<(u32, u32), Cell> = HashMap::new();
    for (row, flags) in flags.iter().enumerate().filter(|(_, flags)| **flags != 0) {
        let at = rows.start[row];
        for aspect in 0..ASPECTS {
            if flags & 1 << aspect == 0 {
                continue;
            }
            let span = &mut spans[rows.who[row] as usize][aspect];
            *span = Some(span.map_or((at, at), |(from, to)| (from.min(at), to.max(at))));
        }
    }
    // Rows stand by trace, and samples are to be the earliest.
    let mut odd: Vec<u32> = (0..rows.len() as u32)
        .filter(|row| flags[*row as usize] != 0)
        .collect();
    odd.sort_unstable_by_key(|row| (rows.start[*row as usize], *row));
    for row in odd {
        let at = rows.start[row as usize];
        let cell = cells
            .entry((rows.who[row as usize], rows.name[row as usize]))
            .or_default();
        for aspect in 0..ASPECTS {
            if flags[row as usize] & 1 << aspect != 0 {
                cell.aspects[aspect].note(row, at);
            }
        }
    }
    for row in 0..rows.len() {
        let about = &spans[rows.who[row] as usize];
        if about.iter().all(Option::is_none) {
            continue;
        }
        let at = rows.start[row];
        let cell = cells.entry((rows.who[row], rows.name[row])).or_default();
        cell.entry |= rows.kind(row) == SpanKind::Server;
        for aspect in 0..ASPECTS {
            if about[aspect].is_some_and(|(from, to)| (from..=to).contains(&at))
                && flags[row] & 1 << aspect == 0
                && may_be(aspect, rows, row)
            {
                cell.aspects[aspect].usual += 1;
            }
        }
    }
    Shape {
        cells: cells.into_iter().collect(),
    }
}

/// Whether a span of this kind could be odd in this way: a call is often named as the server span that it leads to.
fn may_be(aspect: usize, rows: &Rows, row: usize) -> bool {
    let of_servers = [
        Aspect::ParentlessEntry,
        Aspect::AboveItsCall,
        Aspect::UnderEarlierCall,
        Aspect::UnderCallBeside,
        Aspect::SilentFailure,
    ];
    let of_any = [
        Aspect::ParentElsewhere,
        Aspect::ParentLost,
        Aspect::BeginsBeforeParent,
    ];
    // Calls of background work begin traces by right, and show nothing of what spans within requests do.
    let of_inner = [Aspect::LonelyInner, Aspect::ParentlessInner];
    let is = |aspects: &[Aspect]| aspects.iter().any(|known| *known as usize == aspect);
    let server = rows.kind(row) == SpanKind::Server;
    is(&of_any)
        || is(&of_servers) && server
        || is(&of_inner) && !server && rows.parent[row] != ROOT
        || !is(&of_servers) && !is(&of_inner) && !server
}

fn look(rows: &Rows, served: &[bool], trace: u32, flags: &mut [u16]) {
    let range = rows.of_trace(trace);
    let first = range.start;
    // Calls that nobody answered with a span, gathered when first asked for.
    let mut unanswered: Option<Vec<usize>> = None;
    for row in range.clone() {
        let mut on = |aspect: Aspect| flags[row] |= 1 << aspect as u16;
        let kind = rows.kind(row);
        let entry = kind == SpanKind::Server;
        let parent = rows.parent_of(row);
        if entry && rows.fails_silently(row) {
            on(Aspect::SilentFailure);
        }
        let Some(parent) = parent else {
            if rows.parent[row] == LOST {
                let calls = unanswered.get_or_insert_with(|| calls_of(rows, served, trace));
                on(match entry && own_call(rows, calls, row, None) {
                    true => Aspect::AboveItsCall,
                    false => Aspect::ParentLost,
                });
            } else if entry {
                let begun_elsewhere =
                    row != first && rows.who[first] != rows.who[row] && rows.parent[first] == ROOT;
                if begun_elsewhere {
                    on(Aspect::ParentlessEntry);
                }
            } else if !rows.linked(row) {
                // A call to somebody who sends no spans is alone by right.
                let calls = kind == SpanKind::Client && rows.transport(row) != Transport::Store;
                if range.len() == 1 && !calls {
                    on(Aspect::LonelyInner);
                } else if range.len() > 1 && row != first {
                    on(Aspect::ParentlessInner);
                }
            }
            continue;
        };
        let same = rows.who[parent] == rows.who[row];
        if same {
            within(rows, row, parent, &mut on);
            continue;
        }
        let parent_kind = rows.kind(parent);
        if !entry {
            if parent_kind == SpanKind::Client {
                on(Aspect::NoServerBetween);
            }
            continue;
        }
        let own = rows.address[row];
        let elsewhere = parent_kind == SpanKind::Client
            && own != 0
            && rows.address[parent] != 0
            && rows.address[parent] != own;
        let above = matches!(
            parent_kind,
            SpanKind::Server | SpanKind::Internal | SpanKind::Consumer
        );
        if !elsewhere && !above {
            continue;
        }
        let calls = unanswered.get_or_insert_with(|| calls_of(rows, served, trace));
        if !own_call(rows, calls, row, Some(rows.who[parent])) {
            continue;
        }
        if above {
            on(Aspect::AboveItsCall);
        } else if rows.end[parent] <= rows.start[row] {
            on(Aspect::UnderEarlierCall);
        } else {
            on(Aspect::UnderCallBeside);
        }
    }
}

/// The calls of a trace that no server span answers.
fn calls_of(rows: &Rows, served: &[bool], trace: u32) -> Vec<usize> {
    rows.of_trace(trace)
        .filter(|row| rows.kind(*row) == SpanKind::Client && !served[*row])
        .filter(|row| rows.transport(*row) != Transport::Store)
        .take(MOST_CALLS)
        .collect()
}

/// Whether one of them must be the call that this server span answers.
fn own_call(rows: &Rows, calls: &[usize], row: usize, caller: Option<u32>) -> bool {
    let own = rows.address[row];
    calls.iter().any(|call| {
        caller.is_none_or(|caller| rows.who[*call] == caller)
            && rows.who[*call] != rows.who[row]
            && own != 0
            && rows.address[*call] == own
            && rows.start[*call] <= rows.start[row] + TOLERANCE
            && rows.end[*call] + TOLERANCE >= rows.start[row]
    })
}

/// Times of a span and its parent in one process, where one clock holds for both.
fn within(rows: &Rows, row: usize, parent: usize, on: &mut impl FnMut(Aspect)) {
    if rows.start[row] + TOLERANCE < rows.start[parent] {
        on(Aspect::BeginsBeforeParent);
    }
    let call = rows.kind(row) == SpanKind::Client;
    if !call || rows.kind(parent) != SpanKind::Server {
        return;
    }
    if rows.start[row] > rows.end[parent] + TOLERANCE {
        on(Aspect::BeginsAfterParent);
    } else if rows.end[row] > rows.end[parent] + TOLERANCE
        && rows.transport(row) != Transport::Store
    {
        on(Aspect::EndsAfterParent);
    }
}

/// Spans that begin a trace although a request of the same process was running around them.
fn detached(rows: &Rows, flags: &mut [u16]) {
    let mut requests: Vec<Vec<(u64, u64)>> = vec![Vec::new(); rows.peers.len()];
    let mut roots: Vec<usize> = Vec::new();
    for row in 0..rows.len() {
        match rows.kind(row) {
            SpanKind::Server => {
                requests[rows.who[row] as usize].push((rows.start[row], rows.end[row]));
            }
            SpanKind::Internal | SpanKind::Unspecified
                if rows.parent[row] == ROOT && !rows.linked(row) =>
            {
                roots.push(row);
            }
            _ => {}
        }
    }
    for requests in &mut requests {
        requests.sort_unstable();
        let mut furthest = 0;
        for (_, end) in requests.iter_mut() {
            furthest = furthest.max(*end);
            *end = furthest;
        }
    }
    for row in roots {
        let around = &requests[rows.who[row] as usize];
        let place = around.partition_point(|(start, _)| *start <= rows.start[row]);
        if place > 0 && around[place - 1].1 + TOLERANCE >= rows.end[row] {
            flags[row] |= 1 << Aspect::Detached as u16;
        }
    }
}

/// Parents that may still be running, as far as the longest of their kind tell or because their trace still grows, are
/// not missing yet.
fn forgive_unsettled(rows: &Rows, flags: &mut [u16]) {
    let lost = 1u16 << Aspect::ParentLost as u16;
    let mut longest: Vec<u64> = vec![0; rows.peers.len()];
    let mut until = 0;
    for row in 0..rows.len() {
        until = until.max(rows.end[row]);
        if rows.kind(row) == SpanKind::Server {
            let longest = &mut longest[rows.who[row] as usize];
            *longest = (*longest).max(rows.end[row] - rows.start[row]);
        }
    }
    let growing = still_growing(rows);
    for row in 0..rows.len() {
        if flags[row] & lost == 0 {
            continue;
        }
        let wait = longest[rows.who[row] as usize].saturating_add(UNSETTLED);
        if growing[rows.trace[row] as usize] || rows.start[row].saturating_add(wait) > until {
            flags[row] &= !lost;
        }
    }
}

/// Of parents that are missing, those that are in another trace.
fn elsewhere(rows: &Rows, flags: &mut [u16]) {
    let lost = 1u16 << Aspect::ParentLost as u16;
    let wanted: HashSet<SpanId> = (0..rows.len())
        .filter(|row| flags[*row] & lost != 0)
        .map(|row| rows.parent_id(row))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let found: HashSet<(SpanId, u32)> = (0..rows.len())
        .filter(|row| wanted.contains(&rows.id[*row]))
        .map(|row| (rows.id[row], rows.who[row]))
        .collect();
    for row in 0..rows.len() {
        if flags[row] & lost != 0 && found.contains(&(rows.parent_id(row), rows.who[row])) {
            flags[row] ^= lost | 1 << Aspect::ParentElsewhere as u16;
        }
    }
}
