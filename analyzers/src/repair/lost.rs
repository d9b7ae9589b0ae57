//! Spans of a window that lost their parents, and the links inferred for them.
//!
//! Who calls whom is learnt from links that are there. A span without a parent counts as lost only if its like usually
//! have one; a span that names a parent which is not among the spans is no riddle: its parent is known and missing.

use std::collections::{BTreeMap, BTreeSet};

use case::SpanTable;
use case::model::SpanKind;

use super::model::MOST_KINDS;
use super::{Child, Parent, Problem};
use crate::tree::{self, NONE};

/// A kind of span counts as usually called when at least this share of it has a parent.
const USUALLY: f64 = 0.5;
/// Fewer links than this teach nothing.
const LEAST: usize = 5;
/// A child may outlive its parent by this much without having been seen to.
const LATE: u64 = 2_000_000;
/// Spans one problem may hold; of more, those around the lost ones are taken.
const MOST_ROWS: usize = 400_000;

/// A parent that is inferred, not told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inferred {
    /// Rows of the table.
    pub child: u32,
    pub parent: u32,
    pub confidence: f64,
}

/// What repairing came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Repaired {
    /// By child.
    pub links: Vec<Inferred>,
    /// Spans that look as if they had lost their parent, whether one was found or not.
    pub lost: Vec<u32>,
    /// Parents as told, and where none was told as inferred; [`NONE`] without either.
    pub parent: Vec<u32>,
}

impl Repaired {
    /// The inferred link to a span's parent.
    pub fn inferred(&self, row: u32) -> Option<&Inferred> {
        let at = self
            .links
            .binary_search_by_key(&row, |link| link.child)
            .ok()?;
        self.links.get(at)
    }
}

/// Which service, operation and kind a span is of.
type Type = (u32, u32, u8);

/// Infers the parents of all spans of a table that lost theirs. Links below `least` confidence are left out.
pub fn repair(table: &SpanTable, least: f64) -> Repaired {
    let shapes = tree::shapes(table);
    let kind_of = |row: usize| -> Type { (table.service[row], table.name[row], table.kind[row]) };
    let mut calls: BTreeMap<Type, BTreeMap<Type, usize>> = BTreeMap::new();
    let mut seen: BTreeMap<Type, (usize, usize)> = BTreeMap::new();
    for row in 0..table.len() {
        let (all, linked) = seen.entry(kind_of(row)).or_default();
        *all += 1;
        let parent = shapes.parent[row];
        if parent != NONE {
            *linked += 1;
            *calls
                .entry(kind_of(row))
                .or_default()
                .entry(kind_of(parent as usize))
                .or_default() += 1;
        } else if table.parent[row].is_some() {
            // Its parent is told, only not here.
            *linked += 1;
        }
    }
    let repeated: BTreeSet<u32> = shapes.repeated.iter().copied().collect();
    let lost: Vec<u32> = (0..table.len() as u32)
        .filter(|row| {
            let at = *row as usize;
            let (all, linked) = seen.get(&kind_of(at)).copied().unwrap_or_default();
            shapes.parent[at] == NONE
                && !table.parent[at].is_some()
                && linked >= LEAST
                && linked as f64 >= USUALLY * all as f64
                && !repeated.contains(row)
        })
        .collect();
    let mut out = Repaired {
        links: Vec::new(),
        lost,
        parent: shapes.parent,
    };
    for place in places(
        &calls,
        out.lost.iter().map(|row| kind_of(*row as usize)).collect(),
    ) {
        let (problem, rows) = place.problem(table, &out.parent, &out.lost, &kind_of);
        for link in super::solve(&problem) {
            if link.confidence >= least {
                out.links.push(Inferred {
                    child: rows.children[link.child as usize],
                    parent: rows.parents[link.parent as usize],
                    confidence: link.confidence,
                });
            }
        }
    }
    out.links
        .sort_unstable_by_key(|link| (link.child, link.parent));
    out.links.dedup_by_key(|link| link.child);
    for link in &out.links {
        if !leads_to(&out.parent, link.parent, link.child) {
            out.parent[link.child as usize] = link.parent;
        }
    }
    let told = &out.parent;
    out.links
        .retain(|link| told[link.child as usize] == link.parent);
    out
}

/// Whether following parents from a row comes to another.
fn leads_to(parent: &[u32], from: u32, to: u32) -> bool {
    let mut at = from;
    for _ in 0..10_000 {
        if at == to {
            return true;
        }
        match parent.get(at as usize) {
            Some(next) if *next != NONE => at = *next,
            _ => return false,
        }
    }
    true
}

/// Kinds of parents and kinds of children that belong together.
struct Place {
    parents: BTreeMap<Type, u32>,
    children: BTreeMap<Type, u32>,
}

/// Of each kind of lost span: who calls it, and what else those call. Kinds with a caller in common share a place.
fn places(calls: &BTreeMap<Type, BTreeMap<Type, usize>>, lost: BTreeSet<Type>) -> Vec<Place> {
    let mut out: Vec<Place> = Vec::new();
    let mut done: BTreeSet<Type> = BTreeSet::new();
    for kind in &lost {
        if done.contains(kind) {
            continue;
        }
        let mut parents: BTreeSet<Type> = BTreeSet::new();
        let mut children: BTreeSet<Type> = BTreeSet::from([*kind]);
        loop {
            let before = (parents.len(), children.len());
            for child in &children {
                parents.extend(
                    calls
                        .get(child)
                        .into_iter()
                        .flatten()
                        .map(|(parent, _)| *parent),
                );
            }
            let sharing = lost.iter().filter(|other| {
                calls
                    .get(*other)
                    .is_some_and(|of| of.keys().any(|parent| parents.contains(parent)))
            });
            children.extend(sharing);
            if (parents.len(), children.len()) == before {
                break;
            }
        }
        done.extend(&children);
        // Siblings that are not lost tell of the order of calls; those with the most links first.
        let mut siblings: Vec<(usize, Type)> = calls
            .iter()
            .filter(|(child, _)| !children.contains(*child))
            .map(|(child, of)| {
                (
                    of.iter()
                        .filter(|(parent, _)| parents.contains(*parent))
                        .map(|(_, count)| *count)
                        .sum(),
                    *child,
                )
            })
            .filter(|(count, _): &(usize, Type)| *count >= LEAST)
            .collect();
        siblings.sort_unstable_by(|a, b| b.cmp(a));
        let mut kinds: Vec<Type> = children.into_iter().collect();
        kinds.extend(
            siblings
                .into_iter()
                .map(|(_, child)| child)
                .take(MOST_KINDS.saturating_sub(kinds.len())),
        );
        let numbered = |kinds: Vec<Type>| kinds.into_iter().zip(0u32..).collect();
        out.push(Place {
            parents: numbered(parents.into_iter().collect()),
            children: numbered(kinds),
        });
    }
    out
}

/// Rows behind the numbers of a problem.
struct Rows {
    parents: Vec<u32>,
    children: Vec<u32>,
}

impl Place {
    fn problem(
        &self,
        table: &SpanTable,
        parent: &[u32],
        lost: &[u32],
        kind_of: &dyn Fn(usize) -> Type,
    ) -> (Problem, Rows) {
        let end = |row: usize| table.start[row].saturating_add(table.duration[row]);
        let is_lost = |row: u32| lost.binary_search(&row).is_ok();
        let mut rows = Rows {
            parents: Vec::new(),
            children: Vec::new(),
        };
        let mut problem = Problem {
            seed: 0x5eed,
            ..Problem::default()
        };
        let mut number = vec![NONE; table.len()];
        for row in 0..table.len().min(MOST_ROWS) {
            if let Some(kind) = self.parents.get(&kind_of(row)) {
                number[row] = problem.parents.len() as u32;
                problem.parents.push(Parent {
                    start: table.start[row],
                    end: end(row),
                    kind: *kind,
                    trace: table.trace[row],
                });
                rows.parents.push(row as u32);
            }
        }
        // How far from its parent a child of each place was seen to begin and to end.
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for row in 0..table.len().min(MOST_ROWS) {
            let Some(kind) = self.children.get(&kind_of(row)) else {
                continue;
            };
            let above = parent[row];
            let known = if above == NONE {
                None
            } else {
                Some(number[above as usize]).filter(|known| *known != NONE)
            };
            if known.is_none() && !is_lost(row as u32) {
                continue;
            }
            if let Some(known) = known {
                let of = &problem.parents[known as usize];
                early.push(of.start.saturating_sub(table.start[row]));
                late.push(end(row).saturating_sub(of.end));
            }
            problem.children.push(Child {
                start: table.start[row],
                end: end(row),
                kind: *kind,
                known,
                trace: Some(table.trace[row])
                    .filter(|_| known.is_none() && has_others(table, parent, row)),
            });
            rows.children.push(row as u32);
        }
        problem.early = slack(&mut early);
        problem.late = slack(&mut late).max(LATE);
        (problem, rows)
    }
}

/// Whether a root's trace holds another root: then only the reference was lost, and the trace still tells.
fn has_others(table: &SpanTable, parent: &[u32], row: usize) -> bool {
    let trace = table.trace[row];
    // Rows of one trace are neighbours in a sealed case, and nearly so in a live one.
    let near = row.saturating_sub(2_000)..(row + 2_000).min(table.len());
    near.into_iter().any(|other| {
        other != row
            && table.trace[other] == trace
            && parent[other] == NONE
            && table.kind(other) != SpanKind::Consumer
    })
}

/// Nearly the largest that was seen, and a quarter more.
fn slack(seen: &mut [u64]) -> u64 {
    seen.sort_unstable();
    let at = (seen.len() as f64 * 0.999) as usize;
    let most = seen
        .get(at.min(seen.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0);
    most.saturating_add(most / 4)
}
