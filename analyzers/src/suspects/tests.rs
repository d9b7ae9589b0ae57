//! Ranking over scenes made by hand: a caller, the called, and what changes in one of them.

use std::sync::Arc;

use case::model::{
    Attributes, LogRecord, MetricPoint, Origin, PointData, Resource, Span, SpanKind, StatusCode,
    Value,
};
use case::{Nanos, SpanId, TraceId, Window};

use super::*;

const MS: u64 = 1_000_000;

fn origin(service: &str) -> Origin {
    let mut attributes = Attributes::default();
    attributes.push("service.name", Value::Text(service.to_owned()));
    Origin {
        resource: Arc::new(Resource {
            attributes,
            ..Resource::default()
        }),
        ..Origin::default()
    }
}

/// What a round of `shop` calling `pay` and `stock` looks like.
#[derive(Clone, Copy, Default)]
struct Round {
    pay_millis: u64,
    pay_says_done: bool,
    stock_fails: bool,
}

const WELL: Round = Round {
    pay_millis: 5,
    pay_says_done: true,
    stock_fails: false,
};

fn sight(rounds: u64, round: impl Fn(u64) -> Round) -> Sight {
    let mut sight = Sight::new(Window::ALL);
    for number in 0..rounds {
        let round = round(number);
        let trace = TraceId(u128::from(number + 1).to_be_bytes());
        let at = 1_000_000 * MS + number * 100 * MS;
        let mut span = |id: u64,
                        parent: u64,
                        service: &str,
                        name: &str,
                        kind,
                        from: u64,
                        millis: u64,
                        failed: bool| {
            sight.take_span(&Span {
                origin: origin(service),
                trace_id: trace,
                span_id: SpanId((number * 10 + id).to_be_bytes()),
                parent_span_id: if parent == 0 {
                    SpanId::NONE
                } else {
                    SpanId((number * 10 + parent).to_be_bytes())
                },
                name: name.to_owned(),
                kind,
                start: Nanos(at + from * MS),
                end: Nanos(at + (from + millis) * MS),
                status: if failed {
                    StatusCode::Error
                } else {
                    StatusCode::Ok
                },
                ..Span::default()
            });
        };
        let pay = round.pay_millis + number % 3;
        span(
            1,
            0,
            "shop",
            "POST /checkout",
            SpanKind::Server,
            0,
            20 + pay,
            round.stock_fails,
        );
        span(2, 1, "shop", "pay", SpanKind::Client, 1, pay + 1, false);
        span(3, 2, "pay", "POST /pay", SpanKind::Server, 1, pay, false);
        span(
            4,
            1,
            "shop",
            "stock",
            SpanKind::Client,
            pay + 4,
            6,
            round.stock_fails,
        );
        span(
            5,
            4,
            "stock",
            "POST /stock",
            SpanKind::Server,
            pay + 4,
            5,
            round.stock_fails,
        );
        let mut log = |id: u64, service: &str, text: &str, severity: i32| {
            sight.take_log(&LogRecord {
                origin: origin(service),
                time: Nanos(at + MS),
                body: Value::Text(text.to_owned()),
                severity_number: severity,
                trace_id: trace,
                span_id: SpanId((number * 10 + id).to_be_bytes()),
                ..LogRecord::default()
            });
        };
        log(3, "pay", "asked to pay order 17", 9);
        if round.pay_says_done {
            log(3, "pay", "payment done for order 17", 9);
        }
        if round.stock_fails {
            log(5, "stock", "no reply from the shelf", 17);
            log(1, "shop", "checkout failed", 17);
        }
    }
    sight
}

fn first(baseline: &Sight, incident: &Sight) -> (String, f64) {
    let ranking = rank(baseline, incident, None);
    let first = ranking
        .suspects
        .first()
        .map(|suspect| (suspect.name.clone(), suspect.score));
    first.unwrap_or_default()
}

#[test]
fn nobody_is_suspected_when_nothing_changed() {
    let ranking = rank(&sight(40, |_| WELL), &sight(40, |_| WELL), None);
    assert!(ranking.suspected().next().is_none(), "{ranking:?}");
    assert!(
        ranking
            .missing
            .iter()
            .any(|missing| missing.contains("no metrics"))
    );
}

#[test]
fn a_line_that_no_longer_comes_blames_its_service() {
    let now = sight(20, |_| Round {
        pay_says_done: false,
        ..WELL
    });
    let (name, score) = first(&sight(40, |_| WELL), &now);
    assert!(name == "pay" && score > 0.8, "{name} {score}");
    // The other way round it is recovery of nothing: a line that is new and means no trouble.
    assert!(first(&now, &sight(40, |_| WELL)).1 < LEAST);
}

#[test]
fn a_failure_deeper_down_explains_the_one_above_and_its_end_is_no_evidence() {
    let now = sight(20, |_| Round {
        stock_fails: true,
        ..WELL
    });
    let usual = sight(40, |_| WELL);
    let ranking = rank(&usual, &now, None);
    assert_eq!(ranking.suspects[0].name, "stock");
    assert!(ranking.suspects[0].score > ranking.suspects[1].score + 0.2);
    let reason = &ranking.suspects[0].reasons[0];
    assert!(!reason.traces.is_empty() && reason.basis == Basis::Errors);
    assert!(rank(&now, &usual, None).suspected().next().is_none());
}

#[test]
fn who_takes_the_time_is_blamed_and_who_waits_is_not() {
    let now = sight(20, |_| Round {
        pay_millis: 80,
        ..WELL
    });
    let ranking = rank(&sight(40, |_| WELL), &now, None);
    assert_eq!(ranking.suspects[0].name, "pay");
    assert!(
        ranking
            .suspects
            .iter()
            .filter(|suspect| suspect.score >= LEAST)
            .count()
            == 1,
        "{ranking:?}"
    );
}

#[test]
fn only_what_the_symptom_can_have_come_from_is_ranked() {
    let now = sight(20, |_| Round {
        pay_millis: 80,
        ..WELL
    });
    let at_stock = Symptom {
        service: "stock".to_owned(),
        cost: Cost::Latency,
    };
    assert!(
        rank(&sight(40, |_| WELL), &now, Some(&at_stock))
            .suspected()
            .next()
            .is_none()
    );
}

fn point(service: &str, metric: &str, minute: u64, value: f64) -> MetricPoint {
    MetricPoint {
        origin: origin(service),
        name: metric.to_owned(),
        description: String::new(),
        unit: String::new(),
        metadata: Attributes::default(),
        attributes: Attributes::default(),
        start: Nanos(0),
        at: Nanos(minute * 60_000 * MS),
        flags: 0,
        data: PointData::Gauge(Value::Double(value)),
        exemplars: Vec::new(),
    }
}

#[test]
fn a_processor_that_runs_high_is_told_from_one_that_always_wobbles() {
    let mut usual = Sight::new(Window::ALL);
    let mut now = Sight::new(Window::ALL);
    for minute in 0..60 {
        for (service, wobble) in [
            ("idle", 0.0),
            ("busy", (minute % 7) as f64),
            ("hot", (minute % 3) as f64),
        ] {
            usual.take_metric(&point(service, "process.cpu", minute, 10.0 + wobble));
        }
    }
    for (service, value) in [("idle", 10.2), ("busy", 15.0), ("hot", 90.0)] {
        now.take_metric(&point(service, "process.cpu", 61, value));
    }
    let ranking = rank(&usual, &now, None);
    assert_eq!(ranking.suspects[0].name, "hot");
    assert_eq!(ranking.suspects.len(), 1);
}

/// `front` calls `mid`, which calls `deep`; `aside` runs beside them and takes far longer.
fn nodes(moments: u64, deep: f64, aside: f64) -> Sight {
    let mut sight = Sight::new(Window::ALL);
    for (caller, callee) in [
        ("front", "mid"),
        ("mid", "deep"),
        ("front", "aside"),
        ("deep", "front"),
    ] {
        sight.take_call(caller, callee);
    }
    for moment in 0..moments {
        let wobble = (moment % 5) as f64 * 0.001;
        for (node, latency) in [
            ("front", 0.04 + deep),
            ("mid", 0.02 + deep),
            ("deep", deep),
            ("aside", aside + (moment % 5) as f64 * 0.1),
        ] {
            sight.take_metric(&point(node, "latency", moment, latency + wobble));
            sight.take_metric(&point(node, "requests", moment, 100.0));
        }
    }
    sight
}

#[test]
fn the_node_that_adds_the_cost_is_blamed_and_what_runs_beside_is_not() {
    let symptom = Symptom {
        service: "front".to_owned(),
        cost: Cost::Latency,
    };
    let usual = nodes(200, 0.01, 5.0);
    let ranking = rank(&usual, &nodes(5, 0.2, 9.0), Some(&symptom));
    assert_eq!(ranking.suspects[0].name, "deep");
    assert!(
        ranking
            .suspects
            .iter()
            .all(|suspect| suspect.name != "aside"),
        "{ranking:?}"
    );
    let quiet = rank(&usual, &nodes(5, 0.01, 5.0), Some(&symptom));
    assert!(quiet.suspected().next().is_none(), "{quiet:?}");
}
