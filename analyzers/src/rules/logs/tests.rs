//! Tests of the rules about logs.

use case::model::{LogRecord, Value};

use super::missing_sometimes::MissingSometimes;
use super::not_searchable::NotSearchable;
use super::other_request::OtherRequest;
use super::record_shape::RecordShape;
use crate::engine::Rule;
use crate::evidence::tracing::kit::{Call, calls, joined};
use crate::testing::{Scene, gauge, log, origin, span_id, trace_id};

const RULES: [&dyn Rule; 4] = [
    &NotSearchable,
    &MissingSometimes,
    &OtherRequest,
    &RecordShape,
];

/// The only finding of all rules about logs: its cause, and whom it names first.
#[track_caller]
fn only(scene: &Scene) -> (&'static str, String) {
    let finding = scene.only_of(&RULES);
    (finding.cause_id, finding.subjects[0].service.clone())
}

#[track_caller]
fn nothing(scene: &Scene) {
    scene.nothing_of(&RULES);
}

/// A line of the callee's, so much after its server span began.
fn line(call: &Call, event: &str, after: f64, attributes: &[(&str, &str)]) -> LogRecord {
    let seconds = call.seconds + 0.01 + after;
    let mut line = log("catalog", "catalog-1", seconds, "INFO", event, attributes);
    line.event_name = event.to_owned();
    line.trace_id = trace_id(call.trace());
    line.span_id = span_id(call.server_id());
    line.flags = 1;
    line
}

/// What the callee writes of one request: that it reserved, and that it is done.
fn lines(call: &Call) -> Vec<LogRecord> {
    let order = format!("ord_{}", call.number);
    let mut done = line(
        call,
        "request.completed",
        0.08,
        &[("method", "Do"), ("order_id", &order)],
    );
    done.attributes.push("duration_ms", Value::Double(80.0));
    vec![
        line(call, "stock.reserved", 0.04, &[("order_id", &order)]),
        done,
    ]
}

/// Requests to the catalog with their lines, each spoiled in some way.
fn spoiled(count: u64, spoil: impl Fn(&Call, &mut Vec<LogRecord>)) -> Scene {
    let calls = calls(0..count, "gateway", "catalog");
    let mut scene = Scene::new()
        .spans(joined(&calls))
        .until(12.0 + count as f64 * 0.5);
    for call in &calls {
        let mut lines = lines(call);
        spoil(call, &mut lines);
        scene = scene.logs(lines);
    }
    scene
}

fn forget(line: &mut LogRecord) {
    line.trace_id = trace_id(0);
    line.span_id = span_id(0);
}

#[test]
fn lines_with_their_ids_are_no_finding() {
    nothing(&spoiled(40, |_, _| {}));
    assert_eq!(
        Scene::new().cannot_tell(&MissingSometimes),
        ["no log records in the window"]
    );
    assert_eq!(
        Scene::new().cannot_tell(&RecordShape),
        ["no log records in the window"]
    );
    for rule in [&NotSearchable as &dyn Rule, &OtherRequest] {
        assert_eq!(Scene::new().cannot_tell(rule).len(), 2);
    }
}

#[test]
fn ids_in_other_places_and_forms_are_told_apart() {
    let in_text = |count: u64| {
        spoiled(count, |_, lines| {
            for line in lines {
                line.body = Value::Text(format!("done trace_id={}", line.trace_id));
                forget(line);
            }
        })
    };
    assert_eq!(
        only(&in_text(20)),
        (
            "log-correlation/search-finds-nothing#not-indexed",
            "catalog".to_owned()
        )
    );
    nothing(&in_text(2));
    let odd = spoiled(20, |_, lines| {
        for line in lines {
            let id = line.trace_id.to_string().to_uppercase();
            line.attributes.push("trace_id", Value::Text(id));
            forget(line);
        }
    });
    assert_eq!(
        only(&odd).0,
        "log-correlation/search-finds-nothing#id-format-differs"
    );
}

#[test]
fn silence_is_a_finding_only_of_those_who_write() {
    let silent = |from: u64, written: Option<f64>| {
        let mut scene = spoiled(80, |call, lines| {
            if call.number >= from {
                lines.clear();
            }
        });
        for step in 0..9u32 {
            if let Some(rate) = written {
                let value = rate * f64::from(step);
                let seconds = 10.0 + f64::from(step) * 5.0;
                let point = gauge(
                    "catalog",
                    "catalog-1",
                    seconds,
                    "shop_log_emitted_total",
                    value,
                    &[],
                );
                scene = scene.metric(point);
            }
        }
        // Somebody else writes on.
        let others = (0..10u32).map(|number| {
            let seconds = 10.0 + f64::from(number) * 3.0;
            log("gateway", "gateway-1", seconds, "INFO", "tick", &[])
        });
        scene.logs(others)
    };
    assert_eq!(
        only(&silent(20, Some(20.0))),
        (
            "log-correlation/search-finds-nothing#routed-elsewhere",
            "catalog".to_owned()
        )
    );
    assert_eq!(only(&silent(0, Some(20.0))).1, "catalog");
    assert_eq!(
        silent(20, None).finding(&NotSearchable).alternatives.len(),
        1
    );
    nothing(&silent(0, None));
    nothing(&silent(20, Some(0.0)));
    // The last seconds may be on their way.
    nothing(&silent(70, Some(20.0)));
}

#[test]
fn lines_without_id_are_told_by_statement_route_and_task() {
    let statement = |count: u64| spoiled(count, |_, lines| forget(&mut lines[0]));
    assert_eq!(
        only(&statement(20)),
        (
            "log-correlation/some-lines-uncorrelated#call-without-context",
            "catalog".to_owned()
        )
    );
    nothing(&statement(4));
    let route = spoiled(40, |call, lines| {
        if call.number % 2 == 0 {
            lines.iter_mut().for_each(forget);
            lines[1].attributes.0[0].1 = Value::Text("Undo".into());
        }
    });
    assert_eq!(
        only(&route).0,
        "log-correlation/some-lines-uncorrelated#middleware-gap"
    );
    let task = spoiled(20, |call, lines| {
        for event in ["step.one", "step.two"] {
            let order = format!("ord_{}", call.number);
            let attributes = [("order_id", order.as_str()), ("thread.name", "saga")];
            let mut line = line(call, event, 0.05, &attributes);
            forget(&mut line);
            lines.push(line);
        }
    });
    assert_eq!(
        only(&task).0,
        "log-correlation/some-lines-uncorrelated#async-context-lost"
    );
}

#[test]
fn upkeep_about_an_order_that_nobody_handles_needs_no_id() {
    let scene = spoiled(40, |call, lines| {
        let order = format!("ord_{}", call.number);
        let mut line = line(call, "stock.expired", 30.0, &[("order_id", &order)]);
        forget(&mut line);
        lines.push(line);
    });
    nothing(&scene);
}

#[test]
fn ids_of_other_requests_are_told_apart() {
    let given = |line: &mut LogRecord, number: u64| {
        line.trace_id = trace_id(1_000_000 + number);
        line.span_id = span_id(number * 100 + 3);
    };
    let stale = |count: u64| {
        spoiled(count, |call, lines| {
            let first = call.number - call.number % 10;
            lines.iter_mut().for_each(|line| given(line, first));
        })
    };
    assert_eq!(
        only(&stale(40)),
        (
            "log-correlation/wrong-trace-id#context-passed-wrongly",
            "catalog".to_owned()
        )
    );
    nothing(&stale(5));
    let midway = spoiled(20, |call, lines| {
        lines[1].trace_id = trace_id(88_000_000 + call.number);
    });
    assert_eq!(
        only(&midway).0,
        "log-correlation/wrong-trace-id#overwritten-midway"
    );
    // Two requests at a time, 30 ms apart, and the later one's id for both.
    let mut pairs = Vec::new();
    for number in 0..20u64 {
        let seconds = 10.0 + number as f64;
        for side in 0..2u64 {
            let id = number * 2 + side;
            pairs.push(Call {
                seconds: seconds + side as f64 * 0.03,
                ..calls(id..id + 1, "gateway", "catalog").remove(0)
            });
        }
    }
    let mut scene = Scene::new().spans(joined(&pairs)).until(40.0);
    for call in &pairs {
        let mut lines = lines(call);
        given(&mut lines[1], call.number | 1);
        scene = scene.logs(lines);
    }
    assert_eq!(
        only(&scene).0,
        "log-correlation/wrong-trace-id#pollution-between-requests"
    );
}

#[test]
fn records_with_missing_or_damaged_fields_are_told_apart() {
    let bare = |count: u64| {
        spoiled(count, |_, lines| {
            for line in lines {
                line.severity_number = 0;
                line.severity_text.clear();
                let mut nobody = origin("catalog", "catalog-1", &[]);
                let resource = std::sync::Arc::make_mut(&mut nobody.resource);
                resource
                    .attributes
                    .0
                    .retain(|(key, _)| key != "service.name");
                line.origin = nobody;
            }
        })
    };
    assert_eq!(
        only(&bare(20)),
        (
            "log-correlation/fields-wrong#record-not-populated",
            "catalog".to_owned()
        )
    );
    nothing(&bare(2));
    let without = spoiled(20, |_, lines| lines.iter_mut().for_each(forget));
    assert_eq!(
        only(&without).0,
        "log-correlation/fields-wrong#context-not-extracted"
    );
    let escaped = |count: u64| {
        spoiled(20, move |call, lines| {
            if call.number < count {
                lines[1].attributes.0[2].1 = Value::Text("80.0".into());
            }
        })
    };
    assert_eq!(
        only(&escaped(20)).0,
        "log-correlation/fields-wrong#serialisation-broken"
    );
    nothing(&escaped(4));
}
