//! Which parent a span most likely had, where its parent reference was lost: from times, from who calls whom, and from
//! what is usual between parents and children.
//!
//! `solve` is the heart: spans that may be parents, spans that lost theirs, links that are known. It learns the order of
//! calls and the delays from whole traces, or where there are none from its own guesses, turn by turn. `lost` finds such
//! spans in a case. An inferred link is never mixed with a fact: it is handed out apart, with a confidence.

mod density;
pub mod lost;
mod matching;
mod model;
mod search;

/// A span that may have children, as the solver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub start: u64,
    pub end: u64,
    /// Parents of one kind have the same pattern of calls.
    pub kind: u32,
    pub trace: u32,
}

/// A span that has or had a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    pub start: u64,
    pub end: u64,
    /// Children of one kind call the same operation.
    pub kind: u32,
    /// Number of its parent, where that is known.
    pub known: Option<u32>,
    /// The trace its parent must belong to, where the child still tells.
    pub trace: Option<u32>,
}

/// Parents and children of one place in a system: all that one service is asked and all that it asks of others.
#[derive(Debug, Clone, Default)]
pub struct Problem {
    pub parents: Vec<Parent>,
    pub children: Vec<Child>,
    /// How far a child may begin before its parent: clocks differ.
    pub early: u64,
    /// How far it may end after it.
    pub late: u64,
    /// What chance draws from; the same seed, the same answer.
    pub seed: u64,
}

/// The most likely parent of a child that had lost it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub child: u32,
    pub parent: u32,
    /// How often it came up among likely ways to place all children, 0 to 1.
    pub confidence: f64,
}

/// The most likely parent of every child whose parent is not known. Children that no parent can have had are left out.
pub fn solve(problem: &Problem) -> Vec<Link> {
    search::solve(problem)
}

#[cfg(test)]
mod tests;
