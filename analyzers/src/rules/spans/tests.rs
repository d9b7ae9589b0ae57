//! Tests of the rules about the relations of spans.

use case::model::{MetricPoint, PointData, Span, StatusCode, Temporality, Value};

use super::lifecycle::LifecycleBroken;
use super::misassigned::ParentMisassigned;
use super::missing::SpansMissing;
use super::no_parents::NoParents;
use super::timing::TimingImpossible;
use crate::engine::{Rule, Verdict};
use crate::evidence::tracing::kit::{Call, calls, joined};
use crate::testing::{MS, S, Scene, gauge, journal, span, span_id, trace_id};
use serde_json::json;

const RULES: [&dyn Rule; 5] = [
    &NoParents,
    &ParentMisassigned,
    &SpansMissing,
    &TimingImpossible,
    &LifecycleBroken,
];

/// The only finding of all rules about spans: its cause, and whom it names first.
#[track_caller]
fn only(scene: &Scene) -> (&'static str, String) {
    let finding = scene.only_of(&RULES);
    (finding.cause_id, finding.subjects[0].service.clone())
}

#[track_caller]
fn nothing(scene: &Scene) {
    scene.nothing_of(&RULES);
}

/// Calls to the catalog, each spoiled in some way: request, client, server and statement.
fn spoiled(count: u64, spoil: impl Fn(&Call, &mut Vec<Span>)) -> Scene {
    let spans = calls(0..count, "gateway", "catalog")
        .into_iter()
        .flat_map(|call| {
            let mut spans = call.joined();
            spoil(&call, &mut spans);
            spans
        });
    // Something that is well and goes on after all of it, so that nothing is merely late.
    let after = calls(300..310, "bus", "orders");
    Scene::new().spans(spans).spans(joined(&after))
}

#[test]
fn spans_that_hold_together_are_no_finding() {
    nothing(&spoiled(40, |_, _| {}));
    for rule in RULES {
        assert_eq!(spoiled(40, |_, _| {}).ask(rule).verdict, Verdict::Pass);
        assert_eq!(Scene::new().cannot_tell(rule), ["no spans in the window"]);
    }
}

#[test]
fn spans_without_parents_are_told_apart() {
    let none = span_id(0);
    let scene = |count| {
        spoiled(count, |call, spans| {
            for (place, span) in spans.iter_mut().enumerate().skip(2) {
                span.trace_id = trace_id(call.trace() + 1_000_000 * (place as u64 + 1));
                span.parent_span_id = none;
            }
        })
    };
    assert_eq!(
        only(&scene(20)),
        (
            "span-relations/all-roots#created-without-context",
            "catalog".to_owned()
        )
    );
    nothing(&scene(9));
    let current = spoiled(20, |_, spans| {
        spans[2].parent_span_id = none;
        spans[3].parent_span_id = none;
    });
    assert_eq!(
        only(&current).0,
        "span-relations/all-roots#current-span-ignored"
    );
    let inner = spoiled(20, |_, spans| spans[3].parent_span_id = none);
    assert_eq!(
        only(&inner).0,
        "span-relations/all-roots#context-lacks-span"
    );
}

#[test]
fn somebody_elses_parent_is_told_by_where_it_is() {
    // Two calls in one trace; the second server names the first call.
    let two = |count: u64, beside: bool| {
        let spans = (0..count).flat_map(move |number| {
            let seconds = 10.0 + number as f64;
            let first = Call {
                seconds,
                ..calls(number..number + 1, "orders", "payment").remove(0)
            };
            let second = Call {
                seconds: if beside {
                    seconds + 0.02
                } else {
                    seconds + 0.2
                },
                ..calls(500 + number..501 + number, "orders", "stock").remove(0)
            };
            let mut spans = first.joined();
            for mut span in second.joined() {
                span.trace_id = trace_id(first.trace());
                spans.push(span);
            }
            spans[6].parent_span_id = span_id(first.client_id());
            spans
        });
        Scene::new().spans(spans)
    };
    assert_eq!(
        only(&two(10, false)),
        (
            "span-relations/wrong-parent-assignment#context-passed-wrongly",
            "orders".to_owned()
        )
    );
    assert_eq!(
        only(&two(10, true)).0,
        "span-relations/wrong-parent-assignment#ids-mixed-in-fan-out"
    );
    nothing(&two(4, false));
    let elsewhere = spoiled(20, |call, spans| {
        if call.number > 0 {
            spans[3].parent_span_id = span_id((call.number - 1) * 100 + 3);
        }
    });
    assert_eq!(
        only(&elsewhere),
        (
            "span-relations/wrong-parent-assignment#creation-race",
            "catalog".to_owned()
        )
    );
}

/// A service's own count of its requests, every five seconds: two a second, lasting `each`.
fn counted(until: u64, each: f64) -> Vec<MetricPoint> {
    (0..=until / 5)
        .map(|step| {
            let seconds = 10.0 + step as f64 * 5.0;
            let mut point = gauge(
                "catalog",
                "catalog-1",
                seconds,
                "rpc.server.call.duration",
                0.0,
                &[],
            );
            point
                .attributes
                .push("rpc.method", Value::Text("pkg.Service/Do".into()));
            let count = step * 10;
            point.data = PointData::Histogram {
                temporality: Temporality::Cumulative,
                count,
                sum: Some(count as f64 * each),
                min: None,
                max: None,
                bounds: Vec::new(),
                counts: vec![count],
            };
            point
        })
        .collect()
}

fn metrics(mut scene: Scene, points: Vec<MetricPoint>) -> Scene {
    scene.signals.metrics.extend(points);
    scene
}

/// A number that a process tells of itself, from 10 s on every 5 s.
fn told(name: &str, values: &[f64], labels: &[(&str, &str)]) -> Vec<MetricPoint> {
    values
        .iter()
        .enumerate()
        .map(|(step, value)| {
            let seconds = 10.0 + step as f64 * 5.0;
            gauge("catalog", "catalog-1", seconds, name, *value, labels)
        })
        .collect()
}

#[test]
fn spans_that_are_not_there_are_told_by_what_the_process_counts() {
    let whole = || spoiled(60, |_, _| {});
    let without = || {
        spoiled(60, |_, spans| {
            spans.remove(2);
        })
    };
    nothing(&metrics(whole(), counted(30, 0.08)));
    let skipped = spoiled(60, |call, spans| {
        spans[3].parent_span_id = span_id(call.client_id());
        spans.remove(2);
    });
    let flat = told("otel.sdk.span.live", &[2.0; 7], &[]);
    let scene = metrics(metrics(skipped, counted(30, 0.08)), flat.clone());
    assert_eq!(
        only(&scene),
        (
            "span-relations/missing-spans#operation-not-instrumented",
            "catalog".to_owned()
        )
    );
    let climbing = told(
        "otel.sdk.span.live",
        &[2.0, 12.0, 22.0, 32.0, 40.0, 45.0, 47.0],
        &[],
    );
    let scene = metrics(metrics(without(), counted(30, 0.08)), climbing);
    assert_eq!(
        only(&scene).0,
        "span-relations/missing-spans#span-not-finished"
    );
    let dropped = told(
        "shop_telemetry_dropped_total",
        &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0],
        &[("signal", "spans")],
    );
    let scene = metrics(
        metrics(metrics(without(), counted(30, 0.08)), flat),
        dropped,
    );
    assert_eq!(only(&scene).0, "span-relations/missing-spans#export-lost");
    let refused = told(
        "otel.sdk.span.started",
        &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0],
        &[("otel.span.sampling_result", "DROP")],
    );
    let scene = metrics(metrics(without(), counted(30, 0.08)), refused);
    assert_eq!(
        only(&scene).0,
        "span-relations/missing-spans#dropped-by-sampling"
    );
}

#[test]
fn without_counts_the_orphans_alone_leave_room_for_doubt() {
    let scene = spoiled(60, |_, spans| {
        spans.remove(2);
    });
    let finding = scene.finding(&SpansMissing);
    assert_eq!(finding.alternatives.len(), 1, "{finding:#?}");
    nothing(&spoiled(9, |_, spans| {
        spans.remove(2);
    }));
}

#[test]
fn impossible_times_are_told_apart() {
    let late = spoiled(60, |_, spans| {
        spans[2].start.0 = spans[2].end.0 - MS / 10;
    });
    assert_eq!(
        only(&metrics(late, counted(30, 0.08))),
        (
            "span-relations/timing-inconsistent#times-not-real",
            "catalog".to_owned()
        )
    );
    let before = |span: &mut Span| {
        span.start.0 -= 4 * S / 10;
        span.end.0 -= 4 * S / 10;
    };
    let behind = |count: u64| {
        let mut scene = spoiled(count, |_, spans| spans[2..].iter_mut().for_each(before));
        let others = calls(700..700 + count, "bus", "catalog")
            .into_iter()
            .flat_map(|call| {
                let mut spans = Call {
                    seconds: call.seconds - 349.9,
                    ..call
                }
                .joined();
                spans[2..].iter_mut().for_each(before);
                spans
            });
        scene = scene.spans(others);
        scene
    };
    assert_eq!(
        only(&behind(20)),
        (
            "span-relations/timing-inconsistent#clock-skew",
            "catalog".to_owned()
        )
    );
    nothing(&behind(4));
    let early = spoiled(20, |_, spans| {
        spans[0].end.0 = spans[1].start.0 + MS / 2;
    });
    assert_eq!(
        only(&early),
        (
            "span-relations/timing-inconsistent#ended-out-of-order",
            "gateway".to_owned()
        )
    );
}

#[test]
fn lifecycles_that_are_wrong_are_told_apart() {
    let closed = |count| {
        spoiled(count, |_, spans| {
            spans[2].end.0 = spans[2].start.0 + MS;
        })
    };
    assert_eq!(
        only(&closed(20)),
        (
            "span-relations/lifecycle-wrong#finished-early",
            "catalog".to_owned()
        )
    );
    nothing(&closed(4));
    let silent = |count: u64| {
        spoiled(20, move |call, spans| {
            if call.number < count {
                spans[2]
                    .attributes
                    .push("http.response.status_code", Value::Int(500));
            }
        })
    };
    assert_eq!(
        only(&silent(5)),
        (
            "span-relations/lifecycle-wrong#status-unset",
            "catalog".to_owned()
        )
    );
    nothing(&silent(4));
    let marked = spoiled(20, |_, spans| {
        spans[2]
            .attributes
            .push("http.response.status_code", Value::Int(500));
        spans[2].status = StatusCode::Error;
    });
    nothing(&marked);
    let pile = |live: &[f64], memory: &[f64]| {
        let live = told("otel.sdk.span.live", live, &[]);
        let memory = told("process.memory.usage", memory, &[]);
        metrics(metrics(spoiled(20, |_, _| {}), live), memory)
    };
    let mib = 1_048_576.0;
    let climbing = [2.0, 20.0, 40.0, 60.0, 80.0, 100.0];
    let grown = [
        50.0 * mib,
        55.0 * mib,
        60.0 * mib,
        65.0 * mib,
        70.0 * mib,
        75.0 * mib,
    ];
    assert_eq!(
        only(&pile(&climbing, &grown)),
        (
            "span-relations/lifecycle-wrong#never-finished-leak",
            "catalog".to_owned()
        )
    );
    nothing(&pile(&climbing, &[50.0 * mib; 6]));
    nothing(&pile(&[2.0, 10.0, 20.0, 30.0, 40.0, 50.0], &grown));
    nothing(&pile(&[2.0, 90.0, 3.0, 95.0, 2.0, 3.0], &grown));
    // Of sagas that have not ended, thirteen hold that many spans by right, twelve do not.
    let with_sagas = |under_way: usize| {
        let scan = span("catalog", "catalog-1", "saga recovery scan", 5.0);
        (0..under_way).fold(pile(&climbing, &grown).span(scan), |scene, saga| {
            let id = format!("sg_{saga:03}");
            let (row, began) = (
                json!({"status": "running"}),
                json!({"instance_id": "catalog-1"}),
            );
            scene
                .journal(journal(6.0, "saga", &id, row))
                .journal(journal(6.0, "started", &id, began))
        })
    };
    nothing(&with_sagas(13));
    assert_eq!(
        only(&with_sagas(12)).0,
        "span-relations/lifecycle-wrong#never-finished-leak"
    );
}
