#![allow(clippy::unwrap_used)]

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Small {
    id: u8,
    parent: u8,
    kind: SpanKind,
    start: u64,
    end: u64,
}

impl TreeSpan for Small {
    fn id(&self) -> SpanId {
        SpanId([0, 0, 0, 0, 0, 0, 0, self.id])
    }
    fn parent(&self) -> SpanId {
        SpanId([0, 0, 0, 0, 0, 0, 0, self.parent])
    }
    fn kind(&self) -> SpanKind {
        self.kind
    }
    fn start(&self) -> Nanos {
        Nanos(self.start)
    }
    fn end(&self) -> Nanos {
        Nanos(self.end)
    }
    fn repeats(&self, other: &Small) -> bool {
        self == other
    }
}

fn span(id: u8, parent: u8, start: u64, end: u64) -> Small {
    Small {
        id,
        parent,
        kind: SpanKind::Internal,
        start,
        end,
    }
}

fn of_kind(kind: SpanKind, span: Small) -> Small {
    Small { kind, ..span }
}

/// The tree as text: ids with their depth.
fn shape(spans: &[Small]) -> String {
    let tree = Tree::build(spans);
    tree.lines()
        .iter()
        .map(|line| format!("{}{}", "-".repeat(line.depth), spans[line.span].id))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn an_empty_trace_has_no_roots() {
    let tree = Tree::build::<Small>(&[]);
    assert!(tree.roots().is_empty() && tree.lines().is_empty());
}

#[test]
fn any_order_gives_the_same_tree() {
    let spans = [
        span(1, 0, 0, 100),
        span(2, 1, 10, 40),
        span(3, 2, 15, 20),
        span(4, 1, 50, 90),
        span(5, 4, 50, 90),
    ];
    let expected = "1 -2 --3 -4 --5";
    assert_eq!(shape(&spans), expected);
    // Every permutation of five.
    let mut order = [0, 1, 2, 3, 4];
    let mut seen = 0;
    permute(&mut order, 5, &mut |order| {
        let shuffled: Vec<Small> = order.iter().map(|i| spans[*i].clone()).collect();
        assert_eq!(shape(&shuffled), expected);
        assert!(Tree::build(&shuffled).defects().is_empty());
        seen += 1;
    });
    assert_eq!(seen, 120);
}

fn permute(items: &mut [usize; 5], n: usize, each: &mut impl FnMut(&[usize; 5])) {
    if n == 1 {
        return each(items);
    }
    for i in 0..n {
        permute(items, n - 1, each);
        items.swap(if n.is_multiple_of(2) { i } else { 0 }, n - 1);
    }
}

#[test]
fn a_lost_parent_leaves_a_root_of_its_own() {
    let spans = [span(1, 0, 0, 100), span(3, 2, 15, 20), span(4, 3, 16, 17)];
    assert_eq!(shape(&spans), "1 3 -4");
    assert_eq!(
        Tree::build(&spans).defects(),
        [Defect::MissingParent {
            span: 1,
            parent: spans[1].parent()
        }]
    );
}

#[test]
fn cycles_are_cut_at_their_earliest_span() {
    assert_eq!(shape(&[span(1, 1, 5, 9)]), "1");
    assert_eq!(
        Tree::build(&[span(1, 1, 5, 9)]).defects(),
        [Defect::Cycle { span: 0 }]
    );
    let spans = [
        span(3, 2, 7, 8),
        span(1, 3, 5, 9),
        span(2, 1, 6, 8),
        span(4, 3, 7, 8),
        span(9, 0, 0, 1),
    ];
    assert_eq!(shape(&spans), "9 1 -2 --3 ---4");
    assert_eq!(Tree::build(&spans).defects(), [Defect::Cycle { span: 1 }]);
}

#[test]
fn two_cycles_and_a_tail_lose_nobody() {
    let spans = [
        span(1, 2, 1, 2),
        span(2, 1, 2, 3),
        span(3, 4, 4, 5),
        span(4, 3, 5, 6),
        span(5, 4, 6, 7),
    ];
    assert_eq!(shape(&spans), "1 -2 3 -4 --5");
    assert_eq!(Tree::build(&spans).defects().len(), 2);
}

#[test]
fn repeats_are_left_out_and_told() {
    let spans = [
        span(1, 0, 0, 10),
        span(2, 1, 1, 5),
        span(2, 1, 1, 5),
        span(3, 2, 2, 3),
    ];
    assert_eq!(shape(&spans), "1 -2 --3");
    assert_eq!(
        Tree::build(&spans).defects(),
        [Defect::Repeated { span: 2, of: 1 }]
    );
}

#[test]
fn both_sides_of_a_call_may_share_an_id() {
    let spans = [
        of_kind(SpanKind::Server, span(2, 1, 3, 7)),
        of_kind(SpanKind::Client, span(2, 1, 2, 8)),
        span(1, 0, 0, 10),
        span(3, 2, 4, 5),
    ];
    assert_eq!(shape(&spans), "1 -2 --2 ---3");
    let tree = Tree::build(&spans);
    assert!(tree.defects().is_empty());
    assert_eq!(
        tree.node(3).parent,
        Some(0),
        "children belong to the server"
    );
    // With skewed clocks the server may seem to begin first.
    let skewed = [
        of_kind(SpanKind::Server, span(2, 0, 1, 7)),
        of_kind(SpanKind::Client, span(2, 0, 2, 8)),
    ];
    assert_eq!(Tree::build(&skewed).roots(), [1]);
}

#[test]
fn different_spans_with_one_id_both_stay() {
    let spans = [
        span(1, 0, 0, 10),
        span(2, 1, 1, 5),
        span(2, 1, 6, 7),
        span(3, 2, 2, 3),
    ];
    assert_eq!(shape(&spans), "1 -2 --3 -2");
    assert_eq!(
        Tree::build(&spans).defects(),
        [Defect::SharedId { span: 2, with: 1 }]
    );
}

#[test]
fn self_time_is_what_no_child_covers() {
    let spans = [
        span(1, 0, 0, 100),
        span(2, 1, 10, 40),
        span(3, 1, 30, 60),   // overlaps its sibling
        span(4, 1, 35, 38),   // inside both
        span(5, 1, 90, 130),  // outlives its parent
        span(6, 1, 200, 300), // begins after it
        span(7, 2, 0, 20),    // begins before its parent
        span(8, 1, 50, 45),   // ends before it begins
    ];
    let tree = Tree::build(&spans);
    assert_eq!(tree.self_times(&spans), [40, 20, 30, 3, 40, 100, 20, 0]);
    assert_eq!(tree.defects(), [Defect::EndsBeforeStart { span: 7 }]);
}

#[test]
fn the_critical_path_follows_what_was_waited_for() {
    let spans = [
        span(1, 0, 0, 100),
        span(2, 1, 10, 40),
        span(3, 1, 20, 80), // the longer of two that overlap
        span(4, 3, 30, 70),
        span(5, 1, 85, 200), // outlives the root: not waited for
    ];
    let tree = Tree::build(&spans);
    let path: Vec<_> = tree
        .critical_path(&spans, 0)
        .iter()
        .map(|s| (spans[s.span].id, s.from.0, s.until.0))
        .collect();
    assert_eq!(
        path,
        [
            (1, 0, 20),
            (3, 20, 30),
            (4, 30, 70),
            (3, 70, 80),
            (1, 80, 100)
        ]
    );
}

#[test]
fn the_critical_path_covers_the_root_without_gap() {
    // A chain with siblings one after the other, and a child that begins before its parent.
    let spans = [
        span(1, 0, 10, 100),
        span(2, 1, 12, 30),
        span(3, 1, 30, 60),
        span(4, 3, 25, 50),
        span(5, 1, 60, 60),
    ];
    let path = Tree::build(&spans).critical_path(&spans, 0);
    assert_eq!(path.first().unwrap().from.0, 10);
    assert_eq!(path.last().unwrap().until.0, 100);
    for pair in path.windows(2) {
        assert!(
            pair[0].from < pair[0].until && pair[0].until == pair[1].from,
            "{path:?}"
        );
    }
}

#[test]
fn deep_and_wide_traces_are_built_in_time_and_without_recursion() {
    struct Big(usize, usize);
    impl TreeSpan for Big {
        fn id(&self) -> SpanId {
            SpanId((self.0 as u64).to_be_bytes())
        }
        fn parent(&self) -> SpanId {
            SpanId((self.1 as u64).to_be_bytes())
        }
        fn kind(&self) -> SpanKind {
            SpanKind::Internal
        }
        fn start(&self) -> Nanos {
            Nanos(self.0 as u64)
        }
        fn end(&self) -> Nanos {
            Nanos(1_000_000 - self.0 as u64)
        }
        fn repeats(&self, _: &Big) -> bool {
            false
        }
    }
    let deep: Vec<Big> = (1..=100_000).map(|i| Big(i, i - 1)).collect();
    let tree = Tree::build(&deep);
    assert_eq!(tree.lines().last().unwrap().depth, 99_999);
    assert_eq!(tree.critical_path(&deep, 0).len(), 2 * 100_000 - 1);
    let wide: Vec<Big> = (1..=100_000).map(|i| Big(i, usize::from(i > 1))).collect();
    let tree = Tree::build(&wide);
    assert_eq!(tree.node(0).children.len(), 99_999);
    // One id for all of them: the worst a sender can do.
    let same: Vec<Big> = (1..=100_000).map(|_| Big(7, 0)).collect();
    assert_eq!(Tree::build(&same).roots().len(), 100_000);
}

#[test]
fn two_traces_stand_side_by_side() {
    // The second retries its first call, and leaves the last out.
    let a = [
        span(1, 0, 0, 9),
        span(2, 1, 1, 2),
        span(3, 2, 1, 2),
        span(4, 1, 3, 4),
    ];
    let b = [
        span(1, 0, 0, 9),
        span(9, 1, 1, 2),
        span(2, 1, 2, 3),
        span(3, 2, 2, 3),
    ];
    let (left, right) = (Tree::build(&a), Tree::build(&b));
    let pairs = beside(&left, &right, |l, r| a[l].id == b[r].id);
    let text: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let of = |spans: &[Small], at: Option<usize>| at.map_or(0, |at| spans[at].id);
            format!(
                "{}{}/{}",
                "-".repeat(pair.depth),
                of(&a, pair.left),
                of(&b, pair.right)
            )
        })
        .collect();
    assert_eq!(text.join(" "), "1/1 -0/9 -2/2 --3/3 -4/0");
}
