//! Two traces side by side: what corresponds in them stands on one line.

use super::Tree;

/// A line of both: the span of either that stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub left: Option<usize>,
    pub right: Option<usize>,
    pub depth: usize,
}

/// Lays two trees beside each other. Among the children of spans that correspond, those with the same key do, the first
/// of one with the first of the other; what only one side has stands where it would come.
pub fn beside(left: &Tree, right: &Tree, same: impl Fn(usize, usize) -> bool) -> Vec<Pair> {
    let mut out = Vec::new();
    let mut waiting = vec![(left.roots().to_vec(), right.roots().to_vec(), 0)];
    // Depth first without recursion: a list of pairs still to be laid out, the next one last.
    let mut todo: Vec<Pair> = Vec::new();
    while let Some((a, b, depth)) = waiting.pop() {
        let pairs = matched(&a, &b, depth, &same);
        todo.extend(pairs.into_iter().rev());
        let Some(next) = todo.pop() else { continue };
        out.push(next);
        let children = |tree: &Tree, span: Option<usize>| {
            span.map_or_else(Vec::new, |span| tree.node(span).children.to_vec())
        };
        waiting.push((
            children(left, next.left),
            children(right, next.right),
            next.depth + 1,
        ));
    }
    out
}

/// How far ahead a counterpart is looked for: traces with thousands of children alike must not take their square.
const AHEAD: usize = 32;

fn matched(
    a: &[usize],
    b: &[usize],
    depth: usize,
    same: &impl Fn(usize, usize) -> bool,
) -> Vec<Pair> {
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    let pair = |left, right| Pair { left, right, depth };
    while i < a.len() && j < b.len() {
        let in_b = (j..b.len().min(j + AHEAD)).find(|at| same(a[i], b[*at]));
        let in_a = (i..a.len().min(i + AHEAD)).find(|at| same(a[*at], b[j]));
        match (in_a, in_b) {
            (_, Some(at)) if in_a.is_none_or(|other| at - j <= other - i) => {
                out.extend(b[j..at].iter().map(|span| pair(None, Some(*span))));
                out.push(pair(Some(a[i]), Some(b[at])));
                i += 1;
                j = at + 1;
            }
            (Some(at), _) => {
                out.extend(a[i..at].iter().map(|span| pair(Some(*span), None)));
                out.push(pair(Some(a[at]), Some(b[j])));
                i = at + 1;
                j += 1;
            }
            _ => {
                out.push(pair(Some(a[i]), None));
                out.push(pair(None, Some(b[j])));
                i += 1;
                j += 1;
            }
        }
    }
    out.extend(a[i..].iter().map(|span| pair(Some(*span), None)));
    out.extend(b[j..].iter().map(|span| pair(None, Some(*span))));
    out
}
