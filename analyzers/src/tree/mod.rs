//! The spans of one trace as a tree, whatever order they came in and whatever is wrong with them.
//!
//! Senders lose spans, send them twice, share ids between the two sides of a call and name parents that name them
//! back. A tree is built all the same, without a span left out, and says what it had to mend.

mod beside;
mod build;
mod bulk;
mod critical;
#[cfg(test)]
mod tests;
mod times;

use case::model::{Span, SpanKind};
use case::{Nanos, SpanId};

pub use beside::{Pair, beside};
pub use bulk::{NONE, Shapes, shapes};
pub use critical::Segment;

/// What a tree needs to know of a span.
pub trait TreeSpan {
    fn id(&self) -> SpanId;
    fn parent(&self) -> SpanId;
    fn kind(&self) -> SpanKind;
    fn start(&self) -> Nanos;
    /// As sent; may lie before the start.
    fn end(&self) -> Nanos;
    /// Whether the other span is the same one, sent again.
    fn repeats(&self, other: &Self) -> bool;
}

impl TreeSpan for Span {
    fn id(&self) -> SpanId {
        self.span_id
    }

    fn parent(&self) -> SpanId {
        self.parent_span_id
    }

    fn kind(&self) -> SpanKind {
        self.kind
    }

    fn start(&self) -> Nanos {
        self.start
    }

    fn end(&self) -> Nanos {
        self.end
    }

    fn repeats(&self, other: &Self) -> bool {
        self == other
    }
}

/// Whether nobody waits for a span of this kind under a parent of that kind: work that a message set off goes on while
/// its sender does other things.
pub(crate) fn asynchronous(parent: SpanKind, child: SpanKind) -> bool {
    child == SpanKind::Consumer || parent == SpanKind::Producer && child != SpanKind::Client
}

/// Something the tree had to mend. Numbers are places in the slice it was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// The parent is not among the spans; the span stands as a root.
    MissingParent { span: usize, parent: SpanId },
    /// Following parents leads back to this span; it stands as a root.
    Cycle { span: usize },
    /// The very same span as another; it is left out of the tree.
    Repeated { span: usize, of: usize },
    /// Another span's id, yet not the same span and not the other side of its call.
    SharedId { span: usize, with: usize },
    /// It ends before it begins; its duration counts as nothing.
    EndsBeforeStart { span: usize },
}

/// A span's place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub parent: Option<usize>,
    /// By start time.
    pub children: Vec<usize>,
}

/// The tree, or trees: a trace whose root was lost has several roots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    defects: Vec<Defect>,
    /// Spans whose parent is inferred, with how sure that is in parts of ten thousand; by span.
    inferred: Vec<(usize, u16)>,
}

/// A line of the tree, top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub span: usize,
    pub depth: usize,
}

impl Tree {
    /// Builds the tree of `spans`, which belong to one trace.
    pub fn build<S: TreeSpan>(spans: &[S]) -> Tree {
        build::build(spans)
    }

    /// Puts a root beneath a span it does not name. The edge counts as inferred from then on. Refused (false) where the
    /// child is no root, or the parent hangs beneath it.
    pub fn attach<S: TreeSpan>(
        &mut self,
        spans: &[S],
        child: usize,
        parent: usize,
        confidence: f64,
    ) -> bool {
        let Some(place) = self.roots.iter().position(|root| *root == child) else {
            return false;
        };
        if parent >= self.nodes.len()
            || parent == child
            || self.above(parent).any(|above| above == child)
        {
            return false;
        }
        self.roots.remove(place);
        self.nodes[child].parent = Some(parent);
        let start = spans[child].start();
        let siblings = &mut self.nodes[parent].children;
        let place = siblings.partition_point(|sibling| spans[*sibling].start() <= start);
        siblings.insert(place, child);
        let place = self.inferred.partition_point(|(span, _)| *span < child);
        let parts = (confidence.clamp(0.0, 1.0) * 10_000.0) as u16;
        self.inferred.insert(place, (child, parts));
        true
    }

    /// How sure the edge to a span's parent is, if it is inferred rather than told.
    pub fn inferred(&self, span: usize) -> Option<f64> {
        let at = self
            .inferred
            .binary_search_by_key(&span, |(span, _)| *span)
            .ok()?;
        Some(f64::from(self.inferred[at].1) / 10_000.0)
    }

    pub fn node(&self, span: usize) -> &Node {
        &self.nodes[span]
    }

    /// By start time.
    pub fn roots(&self) -> &[usize] {
        &self.roots
    }

    pub fn defects(&self) -> &[Defect] {
        &self.defects
    }

    /// Every span once, parents before their children, children by start time.
    pub fn lines(&self) -> Vec<Placed> {
        let mut out = Vec::with_capacity(self.nodes.len());
        let mut waiting: Vec<Placed> = self
            .roots
            .iter()
            .rev()
            .map(|span| Placed {
                span: *span,
                depth: 0,
            })
            .collect();
        while let Some(line) = waiting.pop() {
            out.push(line);
            let children = self.nodes[line.span].children.iter().rev();
            waiting.extend(children.map(|child| Placed {
                span: *child,
                depth: line.depth + 1,
            }));
        }
        out
    }

    /// The span and everything beneath it, parents before their children.
    pub fn beneath(&self, span: usize) -> Vec<usize> {
        let mut out = Vec::new();
        let mut waiting = vec![span];
        while let Some(at) = waiting.pop() {
            out.push(at);
            waiting.extend(self.nodes[at].children.iter().rev());
        }
        out
    }

    /// The spans above a span, the nearest first.
    pub fn above(&self, span: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.nodes[span].parent, |at| self.nodes[*at].parent)
    }

    /// Whether the span's parent did not wait for it. Roots wait for nobody.
    pub fn is_asynchronous<S: TreeSpan>(&self, spans: &[S], span: usize) -> bool {
        self.nodes[span]
            .parent
            .is_some_and(|parent| asynchronous(spans[parent].kind(), spans[span].kind()))
    }

    /// What each span spent itself: its duration less the time any child it waited for ran.
    pub fn self_times<S: TreeSpan>(&self, spans: &[S]) -> Vec<u64> {
        times::self_times(self, spans)
    }

    /// Which span the end of the trace was waiting for, at every moment from the end of `root` back to its start;
    /// earliest first. Always into the child that ended last; what ran asynchronously, or beyond its parent's end, is
    /// outside it.
    pub fn critical_path<S: TreeSpan>(&self, spans: &[S], root: usize) -> Vec<Segment> {
        critical::critical_path(self, spans, root)
    }
}
