//! Two traces side by side.

use analyzers::tree::{Pair, beside};
use case::TraceId;

use super::Action;
use super::trace::TraceView;

/// The view.
pub struct CompareView {
    pub left: TraceView,
    pub right: TraceView,
    pub pairs: Vec<Pair>,
    pub selected: usize,
    /// Whether the right one is the one that enter opens.
    pub on_right: bool,
}

impl CompareView {
    pub fn of(left: TraceId, right: TraceId) -> CompareView {
        CompareView {
            left: TraceView::of(left),
            right: TraceView::of(right),
            pairs: Vec::new(),
            selected: 0,
            on_right: false,
        }
    }

    pub fn side(&self) -> &TraceView {
        if self.on_right {
            &self.right
        } else {
            &self.left
        }
    }

    /// Lays the two beside each other once both are there.
    pub fn rebuild(&mut self) {
        let (Some(a), Some(b)) = (&self.left.loaded, &self.right.loaded) else {
            return;
        };
        self.pairs = beside(a.waterfall.tree(), b.waterfall.tree(), |l, r| {
            let (l, r) = (a.waterfall.span(l), b.waterfall.span(r));
            l.name == r.name && l.kind == r.kind && l.service() == r.service()
        });
        self.move_by(0);
    }

    pub fn move_by(&mut self, rows: isize) {
        let last = self.pairs.len().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    pub(super) fn apply(&mut self, action: Action) {
        if action == Action::OtherSide {
            self.on_right = !self.on_right;
        }
    }

    pub fn text(&self, row: usize) -> String {
        let Some(pair) = self.pairs.get(row) else {
            return String::new();
        };
        let of = |view: &TraceView, span: Option<usize>| {
            let span = view.loaded.as_ref()?.waterfall.span(span?);
            Some(format!("{} {}", span.service(), span.name))
        };
        of(&self.left, pair.left)
            .or_else(|| of(&self.right, pair.right))
            .unwrap_or_default()
    }
}
