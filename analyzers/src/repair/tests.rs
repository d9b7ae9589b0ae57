//! Repair over problems made by hand, with gaps that follow a pattern and parents that overlap.

use super::*;

const MS: u64 = 1_000_000;

/// Parents of 20 ms every 12 ms, each with a child of kind 0 after about 2 ms and one of kind 1 after the first.
fn pattern(count: u64) -> (Problem, Vec<u32>) {
    let mut problem = Problem {
        late: MS,
        seed: 7,
        ..Problem::default()
    };
    let mut truth = Vec::new();
    for number in 0..count {
        // Differs from parent to parent, without a generator of chance.
        let wobble = (number * 37 % 11) * MS / 20;
        let start = 1_000 * MS + number * 12 * MS + (number * 53 % 7) * MS;
        let parent = Parent {
            start,
            end: start + 20 * MS,
            kind: 0,
            trace: number as u32,
        };
        problem.parents.push(parent);
        let first = start + 2 * MS + wobble;
        let second = first + 6 * MS + wobble / 2;
        for (kind, start, end) in [
            (0, first, first + 6 * MS),
            (1, second, start + 20 * MS - MS / 2),
        ] {
            problem.children.push(Child {
                start,
                end,
                kind,
                known: None,
                trace: None,
            });
            truth.push(number as u32);
        }
    }
    (problem, truth)
}

fn right(links: &[Link], truth: &[u32]) -> usize {
    links
        .iter()
        .filter(|link| truth[link.child as usize] == link.parent)
        .count()
}

#[test]
fn links_are_found_from_times_alone_and_the_same_every_time() {
    let (problem, truth) = pattern(200);
    let links = solve(&problem);
    assert_eq!(links.len(), 400);
    assert!(right(&links, &truth) >= 392, "{}", right(&links, &truth));
    assert_eq!(solve(&problem), links);
}

#[test]
fn certain_links_are_right_and_known_ones_are_not_asked_for() {
    let (mut problem, truth) = pattern(200);
    for (child, parent) in problem.children.iter_mut().zip(&truth) {
        if parent % 4 != 0 {
            child.known = Some(*parent);
        }
    }
    let links = solve(&problem);
    assert_eq!(links.len(), 100);
    assert!(links.iter().all(|link| truth[link.child as usize] % 4 == 0));
    let certain: Vec<Link> = links
        .iter()
        .copied()
        .filter(|link| link.confidence >= 0.99)
        .collect();
    assert!(certain.len() >= 90 && right(&certain, &truth) == certain.len());
}

#[test]
fn two_equal_ways_are_not_called_certain() {
    let parent = |kind| Parent {
        start: 0,
        end: 100 * MS,
        kind,
        trace: 0,
    };
    let child = |start| Child {
        start,
        end: start + MS,
        kind: 0,
        known: None,
        trace: None,
    };
    let problem = Problem {
        parents: vec![parent(0), parent(0)],
        children: vec![child(10 * MS), child(10 * MS)],
        seed: 3,
        ..Problem::default()
    };
    let links = solve(&problem);
    assert_eq!(links.len(), 2);
    assert!(links.iter().all(|link| link.confidence < 0.99), "{links:?}");
}

#[test]
fn odd_problems_do_no_harm() {
    assert!(solve(&Problem::default()).is_empty());
    let child = Child {
        start: u64::MAX,
        end: 0,
        kind: 90,
        known: None,
        trace: Some(3),
    };
    let orphan = Problem {
        parents: vec![Parent {
            start: 0,
            end: 10,
            kind: 5,
            trace: 0,
        }],
        children: vec![child],
        early: u64::MAX,
        late: u64::MAX,
        seed: 0,
    };
    // Of another trace: no parent can have had it.
    assert!(solve(&orphan).is_empty());
    let open = Problem {
        children: vec![Child {
            trace: None,
            ..child
        }],
        ..orphan
    };
    assert_eq!(solve(&open).len(), 1);
}

/// Requests of a front that calls `pay`; the given ones lost the reference on the way and begin a trace of their own.
fn table(lost: impl Fn(u64) -> bool) -> case::SpanTable {
    use case::model::{Attributes, Origin, Resource, Span, SpanKind, Value};
    use case::{Nanos, SpanId, TraceId};
    let mut table = case::SpanTable::default();
    for number in 0..100u64 {
        let start = 1_000 * MS + number * 15 * MS + (number * 53 % 7) * MS;
        let mut push =
            |trace: u64, id: u64, parent: u64, service: &str, kind, from: u64, until: u64| {
                let mut attributes = Attributes::default();
                attributes.push("service.name", Value::Text(service.to_owned()));
                table.push(&Span {
                    origin: Origin {
                        resource: std::sync::Arc::new(Resource {
                            attributes,
                            ..Resource::default()
                        }),
                        ..Origin::default()
                    },
                    trace_id: TraceId(u128::from(trace).to_be_bytes()),
                    span_id: SpanId(id.to_be_bytes()),
                    parent_span_id: SpanId(parent.to_be_bytes()),
                    name: service.to_owned(),
                    kind,
                    start: Nanos(start + from),
                    end: Nanos(start + until),
                    ..Span::default()
                });
            };
        let id = number * 10 + 1;
        push(id, id, 0, "front", SpanKind::Server, 0, 20 * MS);
        push(id, id + 1, id, "front", SpanKind::Client, 2 * MS, 18 * MS);
        let (trace, parent) = if lost(number) {
            (id + 5, 0)
        } else {
            (id, id + 1)
        };
        push(
            trace,
            id + 2,
            parent,
            "pay",
            SpanKind::Server,
            3 * MS,
            17 * MS,
        );
    }
    table
}

#[test]
fn lost_spans_of_a_case_find_their_callers_and_nothing_else_is_touched() {
    let whole = table(|_| false);
    assert!(lost::repair(&whole, 0.0).lost.is_empty());
    let broken = table(|number| number % 10 == 3);
    let repaired = lost::repair(&broken, 0.0);
    assert_eq!(repaired.lost.len(), 10);
    assert_eq!(repaired.links.len(), 10);
    for link in &repaired.links {
        // The client span of the same request stands just before the server span.
        assert_eq!(link.parent, link.child - 1);
        assert_eq!(repaired.inferred(link.child), Some(link));
        assert_eq!(repaired.parent[link.child as usize], link.parent);
    }
    assert!(repaired.inferred(0).is_none());
    // Where nothing teaches who calls whom, nothing is made up.
    assert!(lost::repair(&table(|_| true), 0.0).links.is_empty());
}
