//! From bounds between pairs of clocks to an offset for each.
//!
//! Three steps. Every pair's bounds are joined to the range most calls agree on, so that a few that lie (a call given up
//! on, a response sent early) do not count. From the clock with most neighbours on, ranges add up along the way that
//! leaves least uncertainty. Zero is where most clocks agree, so that one that is off does not put all others off. Then
//! each clock is gone through in time, for it may have been set while we looked.

use std::collections::BTreeMap;

use case::Nanos;

use super::pairs::{HIGHEST, LOWEST, Met, Observation};
use super::{Clock, Clocks, Stretch};

/// Calls in a row that must contradict an offset and agree with each other before a clock counts as set anew.
const SET_ANEW: usize = 4;
/// Calls that together say where a clock stood at first.
const AT_FIRST: usize = 16;

/// From where to where an offset may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    low: i64,
    high: i64,
}

impl Range {
    const ZERO: Range = Range { low: 0, high: 0 };

    fn new(low: i64, high: i64) -> Range {
        Range { low, high }
    }

    fn joined(self, other: Range) -> Option<Range> {
        let both = Range::new(self.low.max(other.low), self.high.min(other.high));
        (both.low <= both.high).then_some(both)
    }

    fn plus(self, other: Range) -> Range {
        let sum = |a: i64, b: i64| a.saturating_add(b).clamp(LOWEST, HIGHEST);
        Range::new(sum(self.low, other.low), sum(self.high, other.high))
    }

    fn negated(self) -> Range {
        Range::new(-self.high, -self.low)
    }

    fn width(self) -> u64 {
        self.high.abs_diff(self.low)
    }

    fn is_bounded(self) -> bool {
        self.low > LOWEST && self.high < HIGHEST
    }

    /// Zero if it lies within, else the middle.
    fn best(self) -> i64 {
        if self.low <= 0 && self.high >= 0 {
            0
        } else {
            self.low + (self.width() / 2) as i64
        }
    }
}

/// The narrowest range that the largest number of ranges cover, and how many do. Where several are covered as often,
/// the one that meets `likely`, else the first.
fn most_agree(ranges: &[Range], likely: Range) -> Option<(Range, u64)> {
    let mut edges: Vec<(i64, bool)> = Vec::with_capacity(ranges.len() * 2);
    for range in ranges {
        edges.push((range.low, false));
        edges.push((range.high, true));
    }
    // At one point, ranges begin before others end: they share that point.
    edges.sort_unstable();
    let mut best: Option<(Range, u64)> = None;
    let mut open = 0u64;
    for (place, (at, ends)) in edges.iter().enumerate() {
        if *ends {
            open -= 1;
            continue;
        }
        open += 1;
        let Some((until, true)) = edges.get(place + 1) else {
            continue;
        };
        let found = Range::new(*at, *until);
        let meets = |range: Range| range.joined(likely).is_some();
        let better = best.is_none_or(|(known, count)| {
            open > count || open == count && meets(found) && !meets(known)
        });
        if better {
            best = Some((found, open));
        }
    }
    best
}

pub(super) fn solve(named: Vec<(String, Met)>, observations: &[Observation]) -> Clocks {
    let count = named.len();
    let mut pairs: BTreeMap<(u32, u32), Vec<Range>> = BTreeMap::new();
    let mut calls = vec![0u64; count];
    for seen in observations {
        calls[seen.caller as usize] += 1;
        calls[seen.callee as usize] += 1;
        let range = Range::new(seen.low, seen.high);
        let (key, range) = if seen.caller < seen.callee {
            ((seen.caller, seen.callee), range)
        } else {
            ((seen.callee, seen.caller), range.negated())
        };
        pairs.entry(key).or_default().push(range);
    }
    // For each clock its neighbours, with how far they are ahead of it.
    let mut neighbours: Vec<Vec<(u32, Range)>> = vec![Vec::new(); count];
    for ((a, b), ranges) in &pairs {
        if let Some((range, _)) =
            most_agree(ranges, Range::ZERO).filter(|(range, _)| range.is_bounded())
        {
            neighbours[*a as usize].push((*b, range));
            neighbours[*b as usize].push((*a, range.negated()));
        }
    }
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.sort_by_key(|clock| {
        let at = *clock as usize;
        (
            std::cmp::Reverse(neighbours[at].len()),
            std::cmp::Reverse(calls[at]),
            *clock,
        )
    });
    let mut whole: Vec<Option<Range>> = vec![None; count];
    for &first in &order {
        if whole[first as usize].is_none() && !neighbours[first as usize].is_empty() {
            spread(first, &neighbours, &mut whole);
        }
    }
    let mut of_clock: Vec<Vec<&Observation>> = vec![Vec::new(); count];
    for seen in observations {
        of_clock[seen.caller as usize].push(seen);
        of_clock[seen.callee as usize].push(seen);
    }
    // Those with most neighbours first: what they say of a clock that hangs on them alone is then already known.
    let mut stretches: Vec<Vec<Stretch>> = vec![Vec::new(); count];
    for &clock in &order {
        let at = clock as usize;
        if let Some(range) = whole[at] {
            stretches[at] = in_time(clock, range, &of_clock[at], &whole, &stretches);
        }
    }
    Clocks {
        clocks: named
            .into_iter()
            .zip(calls)
            .zip(stretches)
            .map(|(((name, met), calls), stretches)| Clock {
                name,
                service: met.service,
                host: met.host,
                calls,
                stretches,
            })
            .collect(),
    }
}

/// Ranges of every clock that hangs together with `first`, zero where most of them agree.
fn spread(first: u32, neighbours: &[Vec<(u32, Range)>], whole: &mut [Option<Range>]) {
    let mut reached: Vec<u32> = Vec::new();
    let mut waiting: BTreeMap<(u64, u32), Range> = BTreeMap::from([((0, first), Range::ZERO)]);
    while let Some(((_, clock), range)) = waiting.pop_first() {
        if whole[clock as usize].is_some() {
            continue;
        }
        whole[clock as usize] = Some(range);
        reached.push(clock);
        for (next, ahead) in &neighbours[clock as usize] {
            if whole[*next as usize].is_none() {
                let sum = range.plus(*ahead);
                waiting.entry((sum.width(), *next)).or_insert(sum);
            }
        }
    }
    reached.sort_unstable();
    let ranges: Vec<Range> = reached
        .iter()
        .filter_map(|clock| whole[*clock as usize])
        .collect();
    // Where most agree is itself known only to within a range.
    let zero = most_agree(&ranges, Range::ZERO).map_or(Range::ZERO, |(range, _)| range);
    if zero.best() == 0 {
        return;
    }
    for clock in reached {
        let range = &mut whole[clock as usize];
        *range = range.map(|range| range.plus(zero.negated()));
    }
}

/// Goes through a clock's calls in time and says where its offset changes.
fn in_time(
    clock: u32,
    whole_range: Range,
    observations: &[&Observation],
    whole: &[Option<Range>],
    known: &[Vec<Stretch>],
) -> Vec<Stretch> {
    let mut seen_at: Vec<(Nanos, Range)> = Vec::with_capacity(observations.len());
    for seen in observations {
        let ahead = Range::new(seen.low, seen.high);
        let (other, ahead) = if seen.callee == clock {
            (seen.caller, ahead)
        } else {
            (seen.callee, ahead.negated())
        };
        if let Some(base) = range_at(other, seen.at, whole, known) {
            seen_at.push((seen.at, ahead.plus(base)));
        }
    }
    seen_at.sort_unstable_by_key(|(at, range)| (*at, range.low, range.high));
    // What most of the first calls agree on, so that a neighbour that is off at first does not set the course.
    let first: Vec<Range> = seen_at
        .iter()
        .take(AT_FIRST)
        .map(|(_, range)| *range)
        .collect();
    let Some((first, _)) = most_agree(&first, whole_range) else {
        return Vec::new();
    };
    let mut done: Vec<Piece> = Vec::new();
    let mut current = Piece::new(Nanos(0), first);
    let mut against: Vec<(Nanos, Range)> = Vec::new();
    for (at, range) in seen_at {
        current.calls += 1;
        if let Some(both) = current.range.joined(range) {
            current.range = both;
            current.agreeing += 1;
            against.clear();
            continue;
        }
        // Kept only as long as they agree among themselves.
        let agreed = against
            .iter()
            .try_fold(range, |range, (_, other)| range.joined(*other));
        if agreed.is_none() {
            against.clear();
        }
        against.push((at, range));
        if against.len() >= SET_ANEW {
            let range = agreed.unwrap_or(range);
            let mut next = Piece::new(against[0].0, range);
            next.calls = against.len() as u64;
            next.agreeing = next.calls;
            current.calls -= next.calls;
            done.push(std::mem::replace(&mut current, next));
            against.clear();
        }
    }
    done.push(current);
    // A few calls that lie are no setting of a clock.
    if done.iter().any(|piece| piece.agreeing >= SET_ANEW as u64) {
        done.retain(|piece| piece.agreeing >= SET_ANEW as u64);
    }
    let mut out: Vec<Stretch> = Vec::new();
    for piece in done {
        // A piece that only bounds one side can't be told from the clock's usual offset where that fits it.
        let range = piece.range.joined(whole_range).unwrap_or(piece.range);
        if !range.is_bounded() {
            continue;
        }
        let offset = range.best();
        let uncertainty = range.low.abs_diff(offset).max(range.high.abs_diff(offset));
        if let Some(last) = out.last_mut() {
            if last.offset == offset {
                last.uncertainty = last.uncertainty.max(uncertainty);
                last.calls += piece.calls;
                last.agreeing += piece.agreeing;
                continue;
            }
            last.until = piece.first;
        }
        out.push(Stretch {
            since: if out.is_empty() {
                Nanos(0)
            } else {
                piece.first
            },
            until: Nanos(u64::MAX),
            offset,
            uncertainty,
            calls: piece.calls,
            agreeing: piece.agreeing,
        });
    }
    out
}

/// Calls in a row that one offset explains.
struct Piece {
    first: Nanos,
    range: Range,
    calls: u64,
    agreeing: u64,
}

impl Piece {
    fn new(at: Nanos, range: Range) -> Piece {
        Piece {
            first: at,
            range,
            calls: 0,
            agreeing: 0,
        }
    }
}

/// The range of a clock's offset at a time: that of its stretch where it was gone through, else that of the whole.
fn range_at(
    clock: u32,
    at: Nanos,
    whole: &[Option<Range>],
    known: &[Vec<Stretch>],
) -> Option<Range> {
    let stretch = known[clock as usize]
        .iter()
        .find(|stretch| stretch.since <= at && at < stretch.until);
    match stretch {
        Some(stretch) => {
            let by = i64::try_from(stretch.uncertainty).unwrap_or(HIGHEST);
            Some(Range::new(
                stretch.offset.saturating_sub(by),
                stretch.offset.saturating_add(by),
            ))
        }
        None => whole[clock as usize],
    }
}
