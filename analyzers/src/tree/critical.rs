//! The critical path: walked backwards from the end, always into the child that ended last.

use case::Nanos;

use super::{Tree, TreeSpan, asynchronous};

/// A stretch of time that the trace spent waiting for one span itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub span: usize,
    pub from: Nanos,
    pub until: Nanos,
}

/// A span being walked: its children that ended last first, and how far back the walk has come.
struct Frame {
    span: usize,
    children: Vec<usize>,
    next: usize,
    cursor: u64,
    start: u64,
}

pub(super) fn critical_path<S: TreeSpan>(tree: &Tree, spans: &[S], root: usize) -> Vec<Segment> {
    // Nothing is looked for before the parent's start: a child may claim to have begun earlier.
    let frame = |span: usize, floor: u64, until: u64| {
        let kind = spans[span].kind();
        let mut children: Vec<usize> = tree.nodes[span]
            .children
            .iter()
            .copied()
            .filter(|child| !asynchronous(kind, spans[*child].kind()))
            .collect();
        // Of those that ended together, the one that began last was the one waited for.
        children.sort_by_key(|child| {
            std::cmp::Reverse((spans[*child].end(), spans[*child].start(), *child))
        });
        let start = spans[span].start().0.max(floor);
        Frame {
            span,
            children,
            next: 0,
            cursor: until.max(start),
            start,
        }
    };
    let mut out = Vec::new();
    // `from` and `until` of one span's own stretch; empty stretches say nothing.
    let mut own = |span: usize, from: u64, until: u64| {
        if from < until {
            out.push(Segment {
                span,
                from: Nanos(from),
                until: Nanos(until),
            });
        }
    };
    let mut stack = vec![frame(root, 0, spans[root].end().0)];
    while let Some(top) = stack.last_mut() {
        let Some(&child) = top.children.get(top.next) else {
            own(top.span, top.start, top.cursor);
            let began = top.start;
            stack.pop();
            // The parent goes on waiting from where this child began.
            if let Some(parent) = stack.last_mut() {
                parent.cursor = parent.cursor.min(began);
            }
            continue;
        };
        top.next += 1;
        let (start, end) = (spans[child].start().0, spans[child].end().0);
        // What ended after the moment the walk stands at (work that outlived its caller, or ran beside a later child)
        // was not waited for there.
        if end > top.cursor || end <= start || end <= top.start {
            continue;
        }
        own(top.span, end, top.cursor);
        top.cursor = end;
        let next = frame(child, top.start, end);
        stack.push(next);
    }
    out.reverse();
    out
}
