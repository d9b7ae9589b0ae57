//! Self times.

use super::{Tree, TreeSpan, asynchronous};

pub(super) fn self_times<S: TreeSpan>(tree: &Tree, spans: &[S]) -> Vec<u64> {
    spans
        .iter()
        .enumerate()
        .map(|(i, span)| {
            let (start, end) = (span.start().0, span.end().0.max(span.start().0));
            // Children are sorted by start, so their union is one sweep.
            let mut covered = 0;
            let mut reached = start;
            for &child in &tree.nodes[i].children {
                if asynchronous(span.kind(), spans[child].kind()) {
                    continue;
                }
                let from = spans[child].start().0.clamp(reached, end);
                let until = spans[child].end().0.clamp(from, end);
                covered += until - from;
                reached = reached.max(until);
            }
            end - start - covered
        })
        .collect()
}
