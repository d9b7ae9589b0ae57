//! Building the tree: ids to places, parents to edges, then whatever hangs in the air.

use std::collections::HashMap;

use case::SpanId;
use case::model::SpanKind;

use super::{Defect, Node, Tree, TreeSpan};

pub(super) fn build<S: TreeSpan>(spans: &[S]) -> Tree {
    let order = by_time(spans);
    let mut tree = Tree {
        nodes: vec![Node::default(); spans.len()],
        ..Tree::default()
    };
    let groups = by_id(spans, &order);
    let mut left_out = vec![false; spans.len()];
    let mut callers = vec![None; spans.len()];
    // Whom the children of an id belong to. Looked up only, so the map's order decides nothing.
    let mut holders: HashMap<SpanId, usize> = HashMap::with_capacity(groups.len());
    for group in &groups {
        settle_group(spans, group, &mut tree.defects, &mut left_out, &mut callers);
        if let Some(holder) = holder(spans, group, &left_out, &callers) {
            holders.insert(spans[holder].id(), holder);
        }
    }
    let mut parents = vec![None; spans.len()];
    for &span in order.iter().filter(|span| !left_out[**span]) {
        if spans[span].end() < spans[span].start() {
            tree.defects.push(Defect::EndsBeforeStart { span });
        }
        let parent = spans[span].parent();
        parents[span] = match callers[span] {
            Some(caller) => Some(caller),
            None if !parent.is_some() => None,
            None => {
                let found = holders.get(&parent).copied();
                if found.is_none() {
                    tree.defects.push(Defect::MissingParent { span, parent });
                }
                found
            }
        };
    }
    cut_cycles(&order, &left_out, &mut parents, &mut tree.defects);
    // In order of time, so that children and roots are sorted as they are filled in.
    for &span in order.iter().filter(|span| !left_out[**span]) {
        tree.nodes[span].parent = parents[span];
        match parents[span] {
            Some(parent) => tree.nodes[parent].children.push(span),
            None => tree.roots.push(span),
        }
    }
    tree.defects.sort_unstable();
    tree
}

/// Places by start time; what starts together, the longer first, so that a parent precedes its children. Then by what
/// the spans say of themselves, so that the order they came in does not matter.
fn by_time<S: TreeSpan>(spans: &[S]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|&i| {
        let span = &spans[i];
        (
            span.start(),
            std::cmp::Reverse(span.end()),
            span.id(),
            kind_order(span.kind()),
            span.parent(),
            i,
        )
    });
    order
}

/// A client precedes the server it calls.
fn kind_order(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Client => 0,
        SpanKind::Producer => 1,
        SpanKind::Internal => 2,
        SpanKind::Unspecified => 3,
        SpanKind::Server => 4,
        SpanKind::Consumer => 5,
    }
}

/// Spans that share an id, each group in order of time.
fn by_id<S: TreeSpan>(spans: &[S], order: &[usize]) -> Vec<Vec<usize>> {
    let mut places: HashMap<SpanId, usize> = HashMap::with_capacity(spans.len());
    let mut groups: Vec<Vec<usize>> = Vec::with_capacity(spans.len());
    for &span in order {
        let place = *places.entry(spans[span].id()).or_insert_with(|| {
            groups.push(Vec::with_capacity(1));
            groups.len() - 1
        });
        groups[place].push(span);
    }
    groups
}

/// Sorts out the spans of one id: repeats are left out, the server of a shared id goes under its client.
fn settle_group<S: TreeSpan>(
    spans: &[S],
    group: &[usize],
    defects: &mut Vec<Defect>,
    left_out: &mut [bool],
    callers: &mut [Option<usize>],
) {
    let mut kept: Vec<usize> = Vec::with_capacity(1);
    for &span in group {
        // Repeats sort next to each other; comparing with the last few keeps a hostile group of thousands cheap.
        if let Some(&of) = kept
            .iter()
            .rev()
            .take(4)
            .find(|of| spans[**of].repeats(&spans[span]))
        {
            left_out[span] = true;
            defects.push(Defect::Repeated { span, of });
        } else {
            kept.push(span);
        }
    }
    if kept.len() < 2 {
        return;
    }
    let side = |kind: SpanKind| {
        kept.iter()
            .copied()
            .find(|span| spans[*span].kind() == kind)
    };
    let pair = match (side(SpanKind::Client), side(SpanKind::Server)) {
        (Some(client), Some(server)) => Some((client, server)),
        _ => None,
    };
    if let Some((client, server)) = pair {
        callers[server] = Some(client);
    }
    let first = pair.map_or(kept[0], |(client, _)| client);
    for &span in &kept {
        if span != first && pair.is_none_or(|(_, server)| span != server) {
            defects.push(Defect::SharedId { span, with: first });
        }
    }
}

/// The span that children of the group's id hang under: the server if a call's two sides share the id.
fn holder<S: TreeSpan>(
    spans: &[S],
    group: &[usize],
    left_out: &[bool],
    callers: &[Option<usize>],
) -> Option<usize> {
    let kept = || group.iter().copied().filter(|span| !left_out[*span]);
    kept()
        .find(|span| callers[*span].is_some() && spans[*span].kind() == SpanKind::Server)
        .or_else(|| kept().next())
}

/// Cuts every cycle at its earliest span, which becomes a root.
fn cut_cycles(
    order: &[usize],
    left_out: &[bool],
    parents: &mut [Option<usize>],
    defects: &mut Vec<Defect>,
) {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        OnThisWalk,
        Done,
    }
    let mut rank = vec![0usize; parents.len()];
    for (place, &span) in order.iter().enumerate() {
        rank[span] = place;
    }
    let mut seen = vec![Seen::Not; parents.len()];
    for &from in order.iter().filter(|span| !left_out[**span]) {
        let mut walk = Vec::new();
        let mut at = Some(from);
        while let Some(span) = at {
            match seen[span] {
                Seen::Done => break,
                Seen::OnThisWalk => {
                    let begin = walk.iter().position(|s| *s == span).unwrap_or(0);
                    let earliest = walk[begin..]
                        .iter()
                        .copied()
                        .min_by_key(|s| rank[*s])
                        .unwrap_or(span);
                    parents[earliest] = None;
                    defects.push(Defect::Cycle { span: earliest });
                    break;
                }
                Seen::Not => {
                    seen[span] = Seen::OnThisWalk;
                    walk.push(span);
                    at = parents[span];
                }
            }
        }
        for span in walk {
            seen[span] = Seen::Done;
        }
    }
}
