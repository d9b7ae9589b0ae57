#![allow(clippy::unwrap_used)]

use case::TraceId;
use case::model::Span;

use super::*;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn push(
    table: &mut SpanTable,
    trace: u8,
    id: u64,
    parent: u64,
    kind: u64,
    start: u64,
    length: u64,
) {
    table.push(&Span {
        trace_id: TraceId([trace + 1; 16]),
        span_id: SpanId(id.to_be_bytes()),
        parent_span_id: SpanId(parent.to_be_bytes()),
        start: Nanos(start),
        end: Nanos(start.saturating_add(length)),
        kind: SpanKind::from_number(kind),
        ..Span::default()
    });
}

/// Traces of up to 40 spans with everything that may be wrong with them; `tidy` leaves the wrong out.
fn traces(seed: u64, tidy: bool) -> SpanTable {
    let mut random = Random(seed);
    let mut table = SpanTable::default();
    for trace in 0..20 {
        let spans = 1 + random.below(40);
        for id in 1..=spans {
            let parent = match random.below(12) {
                0 => 0,
                1 => 1_000 + random.below(5),
                _ if tidy => random.below(id),
                _ => random.below(spans + 2),
            };
            let id = if !tidy && random.below(25) == 0 {
                1 + random.below(id)
            } else {
                id
            };
            let kind = random.below(6);
            let (start, length) = (random.below(60), random.below(60));
            push(&mut table, trace, id, parent, kind, start, length);
            if !tidy && random.below(30) == 0 {
                push(&mut table, trace, id, parent, kind, start, length);
            }
        }
    }
    table
}

/// What the tree says, as shapes.
fn through_the_tree(table: &SpanTable) -> Shapes {
    let mut out = shapes(&SpanTable::default());
    let rows = table.len();
    out.parent = vec![NONE; rows];
    out.depth = vec![0; rows];
    out.self_time = vec![0; rows];
    out.critical = vec![0; rows];
    let (starts, order) = by_trace(table);
    for pair in starts.windows(2) {
        with_tree(table, &order[pair[0] as usize..pair[1] as usize], &mut out);
    }
    out.repeated.sort_unstable();
    out
}

#[test]
fn tidy_traces_never_need_the_tree_and_agree_with_it() {
    for seed in 1..300 {
        let table = traces(seed, true);
        assert_eq!(shapes(&table), through_the_tree(&table), "seed {seed}");
        let mut out = through_the_tree(&table);
        let (starts, order) = by_trace(&table);
        let mut work = Work::default();
        for pair in starts.windows(2) {
            let rows = &order[pair[0] as usize..pair[1] as usize];
            assert!(work.trace(&table, rows, &mut out), "seed {seed}");
        }
    }
}

#[test]
fn whatever_is_wrong_both_ways_agree() {
    let mut left_to_the_tree = 0;
    for seed in 1..300 {
        let table = traces(seed, false);
        let expected = through_the_tree(&table);
        assert_eq!(shapes(&table), expected, "seed {seed}");
        left_to_the_tree += expected.repeated.len();
    }
    assert!(left_to_the_tree > 0, "no trace had a repeated span");
}

#[test]
fn rows_of_several_traces_may_be_mixed() {
    for seed in 1..50 {
        let table = traces(seed, false);
        let expected = shapes(&table);
        let mut random = Random(seed * 77);
        let mut order: Vec<usize> = (0..table.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i as u64 + 1) as usize);
        }
        let mut mixed = SpanTable::default();
        for &row in &order {
            let id = |id: SpanId| u64::from_be_bytes(id.0);
            push(
                &mut mixed,
                table.traces[table.trace[row] as usize].0[0] - 1,
                id(table.span_id[row]),
                id(table.parent[row]),
                u64::from(table.kind[row]),
                table.start[row],
                table.duration[row],
            );
        }
        let found = shapes(&mixed);
        // Which of two spans that are the same in everything counts as the repeated one is a matter of rows.
        if expected.repeated.is_empty() {
            for (at, &row) in order.iter().enumerate() {
                assert_eq!(found.self_time[at], expected.self_time[row], "seed {seed}");
                assert_eq!(found.critical[at], expected.critical[row], "seed {seed}");
                assert_eq!(found.depth[at], expected.depth[row], "seed {seed}");
            }
        }
        assert_eq!(found.orphans, expected.orphans);
    }
}

#[test]
fn hostile_traces_take_no_longer_than_others() {
    // A chain, a fan, one circle, and times at the end of time.
    let mut table = SpanTable::default();
    let many = 200_000;
    for id in 1..=many {
        push(&mut table, 0, id, id - 1, 2, id, 2 * many - 2 * id);
        push(&mut table, 1, id, u64::from(id > 1), 2, id, many);
        push(&mut table, 2, id, id % many + 1, 2, id, many);
        push(&mut table, 3, id, id - 1, 2, u64::MAX - 5, 50);
    }
    let shapes = shapes(&table);
    assert_eq!(shapes.depth.iter().max(), Some(&(many as u32 - 1)));
}

#[test]
fn an_empty_table_has_no_shapes() {
    assert!(shapes(&SpanTable::default()).parent.is_empty());
}
