#![allow(clippy::unwrap_used)]

use case::model::{Origin, SpanKind, StatusCode, Value};
use case::{SpanId, TraceId};

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// A small deterministic source of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

fn span(clock: &str, trace: u64, id: u8, parent: u8, kind: SpanKind, start: u64, end: u64) -> Span {
    let mut resource = Resource::default();
    for (key, value) in [
        ("service.name", clock.trim_end_matches(char::is_numeric)),
        ("service.instance.id", clock),
        ("host.name", "vm"),
    ] {
        resource.attributes.push(key, Value::Text(value.to_owned()));
    }
    let mut trace_id = [0; 16];
    trace_id[8..].copy_from_slice(&(trace + 1).to_be_bytes());
    Span {
        origin: Origin {
            resource: resource.into(),
            ..Origin::default()
        },
        trace_id: TraceId(trace_id),
        span_id: SpanId([id; 8]),
        parent_span_id: SpanId([parent; 8]),
        kind,
        start: Nanos(start),
        end: Nanos(end),
        ..Span::default()
    }
}

/// Calls of `a1` to `b1` and `c1`, and of `c1` to `d1`, one chain each 100 ms, with a network that takes up to 2 ms
/// either way. `ahead` says how far a clock is ahead at a time.
fn calls(chains: u64, ahead: impl Fn(&str, u64) -> i64) -> Vec<Span> {
    let mut random = Random(7);
    let mut out = Vec::new();
    for chain in 0..chains {
        let begun = 1_000 * SECOND + chain * 100 * MS;
        let mut add = |clock: &str, id, parent, kind, start: u64, end: u64| {
            let read = |at: u64| at.checked_add_signed(ahead(clock, at)).unwrap();
            out.push(span(clock, chain, id, parent, kind, read(start), read(end)));
        };
        let mut network = || MS / 10 + random.below(2 * MS);
        for (callee, id) in [("b1", 2), ("c1", 4)] {
            let start = begun + u64::from(id) * 10 * MS;
            let (from, until) = (start + network(), start + 9 * MS - network());
            add("a1", id, 1, SpanKind::Client, start, start + 9 * MS);
            add(callee, id + 1, id, SpanKind::Server, from, until);
            if callee == "c1" {
                let (start, end) = (from + MS / 2, until - MS / 2);
                let (from, until) = (start + network() / 4, end - network() / 4);
                add("c1", 6, 5, SpanKind::Client, start, end);
                add("d1", 7, 6, SpanKind::Server, from, until);
            }
        }
        add("a1", 1, 0, SpanKind::Server, begun, begun + 90 * MS);
    }
    out
}

fn offsets(clocks: &Clocks) -> Vec<(&str, Vec<i64>)> {
    clocks
        .clocks
        .iter()
        .map(|clock| {
            let offsets = clock.stretches.iter().map(|stretch| stretch.offset);
            (clock.name.as_str(), offsets.collect())
        })
        .collect()
}

#[test]
fn clocks_in_step_are_left_alone() {
    let clocks = Clocks::of(&calls(50, |_, _| 0));
    assert_eq!(
        offsets(&clocks),
        ["a1", "b1", "c1", "d1"].map(|name| (name, vec![0]))
    );
    assert!(clocks.off().next().is_none());
    let clock = clocks.find("b1").unwrap();
    assert_eq!((clock.service.as_str(), clock.host.as_str()), ("b", "vm"));
    assert_eq!(clock.calls, 50);
    assert!(clock.stretches[0].uncertainty < 2 * MS, "{clock:?}");
}

#[test]
fn the_one_that_is_off_is_told_from_those_it_talks_to() {
    // Whichever it is: also the one that everybody else is measured against.
    for skewed in ["a1", "b1", "c1", "d1"] {
        for by in [5 * SECOND as i64, -(5 * SECOND as i64), 3 * MS as i64] {
            let spans = calls(80, |clock, _| if clock == skewed { by } else { 0 });
            let clocks = Clocks::of(&spans);
            let off: Vec<&str> = clocks.off().map(|clock| clock.name.as_str()).collect();
            assert_eq!(off, [skewed], "{by}: {:?}", offsets(&clocks));
            let stretch = clocks.find(skewed).unwrap().stretches[0];
            assert!(
                stretch.offset.abs_diff(by) <= stretch.uncertainty && stretch.uncertainty < 3 * MS,
                "{stretch:?}"
            );
            let server = spans
                .iter()
                .find(|span| span.origin.resource.instance() == skewed)
                .unwrap();
            let corrected = clocks.corrected(server).unwrap();
            let difference = server.start.0 as i64 - corrected.start.0 as i64;
            assert_eq!(difference, stretch.offset);
        }
    }
}

#[test]
fn a_clock_that_was_set_while_we_looked_has_two_stretches() {
    let turn = 1_004 * SECOND;
    for skewed in ["b1", "c1", "d1"] {
        let spans = calls(80, |clock, at| {
            if clock == skewed && at >= turn {
                -(7 * SECOND as i64)
            } else {
                0
            }
        });
        let clocks = Clocks::of(&spans);
        let off: Vec<&str> = clocks.off().map(|clock| clock.name.as_str()).collect();
        assert_eq!(off, [skewed], "{:?}", offsets(&clocks));
        let stretches = &clocks.find(skewed).unwrap().stretches;
        assert_eq!(stretches.len(), 2, "{stretches:?}");
        assert_eq!(stretches[0].offset, 0);
        assert!(stretches[1].offset.abs_diff(-(7 * SECOND as i64)) < 3 * MS);
        assert!(stretches[1].since.0.abs_diff(turn) < 200 * MS);
        assert_eq!(stretches[0].until, stretches[1].since);
    }
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let spans = calls(60, |clock, at| {
        if clock == "b1" && at > 1_003 * SECOND {
            900 * MS as i64
        } else {
            0
        }
    });
    let expected = Clocks::of(&spans);
    let mut shuffled: Vec<&Span> = spans.iter().collect();
    let mut random = Random(99);
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, random.below(i as u64 + 1) as usize);
    }
    assert_eq!(Clocks::of(shuffled), expected);
}

#[test]
fn calls_given_up_on_and_messages_do_not_mislead() {
    let mut spans = calls(40, |_, _| 0);
    // The server goes on for seconds after the client gave up.
    for trace in 100..130 {
        let start = 1_000 * SECOND + trace * MS;
        let mut client = span("a1", trace, 1, 0, SpanKind::Client, start, start + MS);
        client.status = StatusCode::Error;
        spans.push(client);
        let (from, until) = (start + MS / 2, start + 5 * SECOND);
        spans.push(span("b1", trace, 2, 1, SpanKind::Server, from, until));
    }
    let clocks = Clocks::of(&spans);
    assert!(clocks.off().next().is_none(), "{clocks:?}");
    // What was only ever sent a message is known to be late by no more than it was, which says too little.
    let sent = [
        span("x1", 1, 1, 0, SpanKind::Producer, SECOND, SECOND + MS),
        span(
            "y1",
            1,
            2,
            1,
            SpanKind::Consumer,
            9 * SECOND,
            9 * SECOND + MS,
        ),
    ];
    let clocks = Clocks::of(&sent);
    assert!(clocks.clocks.iter().all(|clock| clock.stretches.is_empty()));
    assert_eq!(clocks.corrected(&sent[1]), None);
}

#[test]
fn times_at_both_ends_of_time_do_no_harm() {
    let ends = [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let mut spans = Vec::new();
    let mut trace = 0;
    for a in ends {
        for b in ends {
            trace += 1;
            spans.push(span("a1", trace, 1, 0, SpanKind::Client, a, b));
            spans.push(span("b1", trace, 2, 1, SpanKind::Server, b, a));
            spans.push(span("", trace, 3, 3, SpanKind::Server, a, b));
        }
    }
    let clocks = Clocks::of(&spans);
    for span in &spans {
        let _ = clocks.corrected(span);
    }
}

#[test]
fn a_large_case_is_looked_at_in_part_and_the_part_does_not_depend_on_the_order() {
    let many = || {
        (0..250_000u64).map(|trace| {
            let start = SECOND + trace * MS;
            let late = 2 * SECOND;
            [
                span("a1", trace, 1, 0, SpanKind::Client, start, start + 9 * MS),
                span(
                    "b1",
                    trace,
                    2,
                    1,
                    SpanKind::Server,
                    start + late + MS,
                    start + late + 8 * MS,
                ),
            ]
        })
    };
    let one: Vec<Span> = many().flatten().collect();
    let clocks = Clocks::of(&one);
    let calls = clocks.find("b1").unwrap().calls;
    assert!((50_000..=200_000).contains(&calls), "{calls}");
    assert_eq!(Clocks::of(one.iter().rev()), clocks);
}
