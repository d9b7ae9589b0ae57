//! Tests of the rules about trace context.

use case::model::Span;

use super::callee_side::CalleeSide;
use super::caller_side::CallerSide;
use super::corrupted::Corrupted;
use super::overstrict::Overstrict;
use super::parents::ParentInconsistent;
use super::sometimes::Sometimes;
use super::tracestate::TracestateChanged;
use crate::engine::{Certainty, Rule, Verdict};
use crate::evidence::tracing::kit::{Call, call, calls, joined, torn, with};
use crate::testing::{Scene, log, span, span_id, trace_id};

const RULES: [&dyn Rule; 7] = [
    &CallerSide,
    &CalleeSide,
    &Sometimes,
    &Overstrict,
    &Corrupted,
    &TracestateChanged,
    &ParentInconsistent,
];

/// The only finding of all rules about trace context: its cause, and whom it names first.
#[track_caller]
fn only(scene: &Scene) -> (&'static str, String, Certainty) {
    let finding = scene.only_of(&RULES);
    (
        finding.cause_id,
        finding.subjects[0].service.clone(),
        finding.certainty,
    )
}

#[track_caller]
fn nothing(scene: &Scene) {
    scene.nothing_of(&RULES);
}

/// Calls that hold together while others may not.
fn background() -> Vec<Span> {
    let mut spans = joined(&calls(0..40, "gateway", "orders"));
    spans.extend(joined(&calls(100..140, "bus", "payment")));
    spans.extend(joined(&calls(200..240, "catalog", "inventory")));
    spans
}

fn at_once(numbers: std::ops::Range<u64>, caller: &'static str, callee: &'static str) -> Vec<Call> {
    // In the seconds in which the calls of the background are made.
    numbers
        .map(|number| Call {
            seconds: 10.2 + (number % 100) as f64 * 0.5,
            ..call(number, caller, callee)
        })
        .collect()
}

fn base() -> Scene {
    let spans = background().into_iter().map(|mut span| {
        // All backgrounds run in the same seconds.
        let shift = (span.start.0 - crate::testing::at(10.0).0.min(span.start.0)) / 50_000_000_000;
        span.start.0 -= shift * 50_000_000_000;
        span.end.0 -= shift * 50_000_000_000;
        span
    });
    Scene::new().spans(spans)
}

#[test]
fn calls_that_hold_together_are_no_finding() {
    nothing(&base());
    assert_eq!(base().ask(&CallerSide).verdict, Verdict::Pass);
}

#[test]
fn a_caller_that_writes_no_headers_is_told_from_callees_that_read_none() {
    let scene = base()
        .spans(torn(&at_once(300..320, "orders", "payment")))
        .spans(torn(&at_once(400..420, "orders", "inventory")));
    let (cause, who, certainty) = only(&scene);
    assert_eq!(cause, "propagation/single-service-traces#inject-missing");
    assert_eq!((who.as_str(), certainty), ("orders", Certainty::Sure));
}

#[test]
fn four_torn_calls_are_a_near_miss_and_the_fifth_is_not() {
    let with = |count: u64| base().spans(torn(&at_once(300..300 + count, "orders", "payment")));
    nothing(&with(4));
    let near = with(4).judge(&CallerSide).distance.unwrap_or_default();
    assert!(near.starts_with("4 calls broke the trace; 5"), "{near}");
    assert_eq!(with(5).judge(&CallerSide).findings.len(), 1);
}

#[test]
fn one_transport_and_one_instance_are_told_from_all() {
    let mut http = at_once(400..420, "orders", "shipping");
    for call in &mut http {
        *call = call.clone().http("POST /shipments");
    }
    let scene = base()
        .spans(torn(&at_once(300..320, "orders", "payment")))
        .spans(torn(&at_once(500..520, "orders", "inventory")))
        .spans(joined(&http));
    assert_eq!(
        only(&scene).0,
        "propagation/single-service-traces#one-transport-uninstrumented"
    );
    let second = |calls: Vec<Call>| -> Vec<Call> {
        let instances = (2, 1);
        calls
            .into_iter()
            .map(|call| Call { instances, ..call })
            .collect()
    };
    let scene = base()
        .spans(torn(&at_once(300..320, "orders", "payment")))
        .spans(joined(&second(at_once(600..620, "orders", "payment"))))
        .spans(torn(&at_once(500..520, "orders", "inventory")))
        .spans(joined(&second(at_once(700..720, "orders", "inventory"))));
    assert_eq!(
        only(&scene).0,
        "propagation/single-service-traces#middleware-switched-off"
    );
}

#[test]
fn with_one_caller_and_one_callee_either_may_be_to_blame() {
    let scene = Scene::new().spans(torn(&calls(0..20, "orders", "payment")));
    let finding = scene.finding(&CallerSide);
    assert_eq!(finding.certainty, Certainty::Likely);
    assert_eq!(
        finding.alternatives[0].cause_id,
        "propagation/new-trace-per-service#extract-missing"
    );
    assert!(finding.alternatives[0].missing.contains("traced probe"));
}

fn into_payment() -> Vec<Call> {
    let mut all = at_once(300..320, "orders", "payment");
    all.extend(
        at_once(400..420, "bus", "payment")
            .into_iter()
            .map(|call| Call {
                seconds: call.seconds + 0.25,
                ..call
            }),
    );
    all
}

/// Callers of payment that keep their traces with others.
fn callers_elsewhere() -> Scene {
    Scene::new()
        .spans(joined(&at_once(500..520, "orders", "inventory")))
        .spans(joined(&at_once(600..620, "bus", "notification")))
}

#[test]
fn a_callee_that_reads_no_headers_breaks_for_all_callers() {
    let scene = callers_elsewhere().spans(torn(&into_payment()));
    let finding = scene.finding(&CalleeSide);
    assert_eq!(
        finding.cause_id,
        "propagation/new-trace-per-service#extract-missing"
    );
    // It writes no log lines, so a complaint could not be seen.
    assert_eq!(finding.certainty, Certainty::Likely);
    let logged = scene.log(log("payment", "payment-1", 11.0, "INFO", "started", &[]));
    assert_eq!(logged.finding(&CalleeSide).certainty, Certainty::Sure);
    assert_eq!(only(&logged).1, "payment");
}

#[test]
fn a_parser_that_refuses_complains_and_one_that_comes_late_leaves_inner_spans_behind() {
    let complaint = |number: u64| {
        let seconds = 10.3 + number as f64;
        let mut line = log("payment", "payment-1", seconds, "WARN", "not usable", &[]);
        line.event_name = "trace.context.invalid".to_owned();
        line
    };
    let scene = callers_elsewhere()
        .spans(torn(&into_payment()))
        .logs((0..20).map(complaint));
    assert_eq!(
        only(&scene).0,
        "propagation/new-trace-per-service#header-parser-fails"
    );
    let late = into_payment().into_iter().flat_map(|call| {
        let mut spans = call.torn();
        spans[3] = call
            .inner()
            .ids(call.trace(), call.number * 100 + 4, call.client_id())
            .into();
        spans
    });
    let scene = callers_elsewhere().spans(late);
    assert_eq!(
        only(&scene).0,
        "propagation/new-trace-per-service#extract-after-span"
    );
}

/// Requests to the gateway: some of a route or a client torn.
fn clients(
    route: &'static str,
    agent: &str,
    numbers: std::ops::Range<u64>,
    is_torn: bool,
) -> Vec<Span> {
    at_once(numbers, "load", "gateway")
        .into_iter()
        .flat_map(|call| {
            let call = call.http(route);
            let mut spans = match is_torn {
                true => call.torn(),
                false => call.joined(),
            };
            spans[2] = with(spans[2].clone(), "user_agent.original", agent);
            spans
        })
        .collect()
}

#[test]
fn a_route_a_client_and_chance_are_told_apart() {
    let scene = Scene::new()
        .spans(clients("POST /cart", "web", 300..320, true))
        .spans(clients("GET /items", "web", 400..420, false));
    assert_eq!(
        only(&scene).0,
        "propagation/intermittent-extraction#middleware-order"
    );
    let scene = Scene::new()
        .spans(clients("POST /cart", "mobile", 300..310, true))
        .spans(clients("GET /items", "mobile", 310..320, true))
        .spans(clients("POST /cart", "web", 400..410, false))
        .spans(clients("GET /items", "web", 410..420, false));
    let (cause, who, _) = only(&scene);
    assert_eq!(
        (cause, who.as_str()),
        (
            "propagation/intermittent-extraction#client-header-format",
            "gateway"
        )
    );
    // Of requests side by side every other one breaks, of those served alone none.
    let mut scene = Scene::new().spans(clients("POST /cart", "web", 300..330, false));
    for number in 0..12 {
        let base = 40.0 + number as f64;
        for (side, is_torn) in [(0u64, true), (1, false)] {
            let call = Call {
                seconds: base + side as f64 * 0.03,
                ..call(800 + number * 2 + side, "load", "gateway")
            }
            .http(if number % 2 == 0 {
                "POST /cart"
            } else {
                "GET /items"
            });
            let mut spans = if is_torn { call.torn() } else { call.joined() };
            spans[2] = with(spans[2].clone(), "user_agent.original", "web");
            scene = scene.spans(spans);
        }
        scene = scene.spans(
            [Call {
                seconds: base + 0.5,
                ..call(900 + number, "load", "gateway")
            }]
            .into_iter()
            .flat_map(|call| {
                let mut spans = call.http("POST /cart").joined();
                spans[2] = with(spans[2].clone(), "user_agent.original", "web");
                spans
            }),
        );
    }
    let (cause, _, certainty) = only(&scene);
    assert_eq!(
        (cause, certainty),
        (
            "propagation/intermittent-extraction#race-in-context",
            Certainty::Sure
        )
    );
}

/// Calls of a client that says which headers it wrote, torn or not.
fn written(
    numbers: std::ops::Range<u64>,
    agent: &str,
    header: impl Fn(&Span) -> (String, String),
    is_torn: bool,
) -> Vec<Span> {
    at_once(numbers, "load", "gateway")
        .into_iter()
        .flat_map(|call| {
            let call = call.http("POST /cart");
            let mut spans = if is_torn { call.torn() } else { call.joined() };
            let (parent, state) = header(&spans[1]);
            spans[1] = with(spans[1].clone(), "http.request.header.traceparent", &parent);
            if !state.is_empty() {
                spans[1] = with(spans[1].clone(), "http.request.header.tracestate", &state);
            }
            spans[2] = with(spans[2].clone(), "user_agent.original", agent);
            spans
        })
        .collect()
}

fn traceparent(span: &Span, version: &str, flags: &str) -> String {
    format!("{version}-{}-{}-{flags}", span.trace_id, span.span_id)
}

#[test]
fn valid_headers_that_are_thrown_away_are_told_by_their_form() {
    let plain = |span: &Span| (traceparent(span, "00", "01"), String::new());
    let many: Vec<String> = (0..33).map(|i| format!("k{i}=v")).collect();
    let many = many.join(",");
    type Header<'a> = Box<dyn Fn(&Span) -> (String, String) + 'a>;
    let forms: [(Header<'_>, &str); 3] = [
        (
            Box::new(|span| (traceparent(span, "01", "01"), String::new())),
            "propagation/traceparent-valid-rejected#future-version-rejected",
        ),
        (
            Box::new(|span| (traceparent(span, "00", "03"), String::new())),
            "propagation/traceparent-valid-rejected#flags-overchecked",
        ),
        (
            Box::new(|span| (traceparent(span, "00", "01"), many.clone())),
            "propagation/traceparent-valid-rejected#tracestate-failure-drops-all",
        ),
    ];
    for (form, cause) in forms {
        let scene = Scene::new()
            .spans(written(300..320, "mobile", form, true))
            .spans(written(400..420, "web", plain, false));
        assert_eq!(only(&scene).0, cause);
    }
    // What no one has to accept is the client's matter.
    let upper = |span: &Span| (traceparent(span, "00", "01").to_uppercase(), String::new());
    let scene = Scene::new()
        .spans(written(300..320, "mobile", upper, true))
        .spans(written(400..420, "web", plain, false));
    assert_eq!(
        only(&scene).0,
        "propagation/intermittent-extraction#client-header-format"
    );
}

#[test]
fn damaged_ids_are_told_by_their_digits() {
    let ids = |call: &Call| {
        let client: Span = call.client().into();
        (client.trace_id.0, client.span_id.0)
    };
    let damaged = |call: Call, trace: [u8; 16], parent: [u8; 8]| {
        let mut spans = call.torn();
        for span in &mut spans[2..] {
            span.trace_id.0 = trace;
        }
        spans[2].parent_span_id.0 = parent;
        spans
    };
    // Small numbers have too few digits to tell anything by: spread them out.
    let spread = |call: Call| {
        let mut spans = call.joined();
        let trace = u128::from(call.number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        for span in &mut spans {
            span.trace_id.0 = trace.to_be_bytes();
        }
        spans
    };
    let scene = |spoil: &dyn Fn([u8; 16], [u8; 8]) -> ([u8; 16], [u8; 8])| {
        let spans = at_once(300..312, "web", "cart")
            .into_iter()
            .flat_map(|call| {
                let (_, span) = ids(&call);
                let mut whole = spread(call.clone());
                let (trace, parent) = spoil(whole[0].trace_id.0, span);
                let broken = damaged(call, trace, parent);
                whole.truncate(2);
                whole.extend(broken.into_iter().skip(2));
                whole
            });
        Scene::new().spans(spans)
    };
    let shift = |bytes: [u8; 16]| (u128::from_be_bytes(bytes) >> 4).to_be_bytes();
    assert_eq!(
        only(&scene(&|trace, span| (shift(trace), span))).0,
        "propagation/traceparent-malformed-accepted#length-unchecked"
    );
    let swap = |trace: [u8; 16], span: [u8; 8]| {
        (
            trace.map(|b| b.rotate_left(4)),
            span.map(|b| b.rotate_left(4)),
        )
    };
    assert_eq!(
        only(&scene(&swap)).0,
        "propagation/traceparent-malformed-accepted#hex-decoding-wrong"
    );
    let cut = |trace: [u8; 16], span: [u8; 8]| {
        let first = u128::from(span[0] >> 4);
        let trace = (u128::from_be_bytes(trace) << 4) | first;
        let span = u64::from_be_bytes(span) << 4;
        (trace.to_be_bytes(), span.to_be_bytes())
    };
    assert_eq!(
        only(&scene(&cut)).0,
        "propagation/traceparent-malformed-accepted#delimiter-mishandled"
    );
    let forbidden = |span: &Span| (traceparent(span, "ff", "01"), String::new());
    let accepted = Scene::new().spans(written(300..306, "mobile", forbidden, false));
    assert_eq!(
        only(&accepted).0,
        "propagation/traceparent-malformed-accepted#version-unchecked"
    );
    nothing(&Scene::new().spans(written(300..304, "mobile", forbidden, false)));
}

#[test]
fn changes_of_tracestate_are_told_apart_and_lawful_ones_pass() {
    let long: Vec<String> = (0..12)
        .map(|i| format!("k{i:02}={}", "v".repeat(48)))
        .collect();
    let long = long.join(",");
    let scene = |sent: &str, taken: &str, count: u64| {
        let spans = at_once(300..300 + count, "web", "cart")
            .into_iter()
            .flat_map(|call| {
                let mut spans = call.joined();
                spans[1].trace_state = sent.to_owned();
                spans[2].trace_state = taken.to_owned();
                spans
            });
        Scene::new().spans(spans)
    };
    for (sent, taken, cause) in [
        ("a=1,b=2", "a=1", "comma-split-wrong"),
        ("a=x%2Fy,b=2", "a=x/y,b=2", "url-coding-wrong"),
        (long.as_str(), "", "length-limit-broken"),
    ] {
        let (found, who, _) = only(&scene(sent, taken, 5));
        assert_eq!(found, format!("propagation/tracestate-mangled#{cause}"));
        assert_eq!(who, "cart");
        nothing(&scene(sent, taken, 4));
    }
    nothing(&scene("a=1, b=2", "a=1,b=2", 20));
    nothing(&scene("a=1", "new=2,a=1", 20));
}

#[test]
fn wrong_parents_are_told_apart() {
    let calls = || at_once(300..320, "orders", "payment").into_iter();
    let above = calls().flat_map(|call| {
        let mut spans = call.joined();
        spans[2].parent_span_id = span_id(call.number * 100 + 1);
        spans
    });
    let (cause, who, _) = only(&base().spans(above));
    assert_eq!(
        (cause, who.as_str()),
        ("propagation/wrong-parent#span-id-misassigned", "orders")
    );
    let nowhere = calls().flat_map(|call| {
        let mut spans = call.joined();
        spans[2].parent_span_id = span_id(call.number + 77_000_000);
        spans
    });
    assert_eq!(
        only(&base().spans(nowhere)).0,
        "propagation/wrong-parent#span-id-misassigned"
    );
    let empty = |numbers: std::ops::Range<u64>| {
        at_once(numbers, "orders", "shipping")
            .into_iter()
            .flat_map(|call| {
                let mut spans = call.joined();
                spans[2].parent_span_id = span_id(0);
                spans
            })
    };
    let (cause, who, _) = only(&base().spans(empty(300..320)));
    assert_eq!(
        (cause, who.as_str()),
        ("propagation/wrong-parent#parent-id-missing", "shipping")
    );
    nothing(&base().spans(empty(300..304)));
}

#[test]
fn work_that_is_known_as_a_part_of_requests_and_begins_traces_has_lost_its_context() {
    let work = |number: u64, within: bool| {
        let call = Call {
            seconds: 10.2 + (number % 100) as f64 * 0.5,
            ..call(number, "gateway", "orders")
        };
        let work = span("orders", "orders-1", "saga execute", call.seconds + 0.02)
            .lasting(0.03)
            .ids(call.trace(), number * 100 + 50, call.server_id());
        let mut work = Span::from(work);
        if !within {
            work.trace_id = trace_id(call.trace() + 9_000_000);
            work.parent_span_id = span_id(0);
        }
        let mut spans = call.joined();
        spans.push(work);
        spans
    };
    let scene = |lost: u64, kept: u64| {
        let kept = (300..300 + kept).flat_map(|number| work(number, true));
        let lost = (350..350 + lost).flat_map(|number| work(number, false));
        Scene::new().spans(kept).spans(lost)
    };
    let (cause, who, _) = only(&scene(10, 10));
    assert_eq!(
        (cause, who.as_str()),
        ("propagation/wrong-parent#task-context-lost", "orders")
    );
    nothing(&scene(4, 10));
    // Never seen inside a request, it may be work of its own.
    nothing(&scene(10, 4));
}

#[test]
fn without_addresses_nothing_can_be_told() {
    let mut spans = torn(&at_once(300..320, "orders", "payment"));
    for span in &mut spans {
        span.attributes
            .0
            .retain(|(key, _)| !key.starts_with("server."));
    }
    let scene = Scene::new().spans(spans);
    assert_eq!(
        scene.cannot_tell(&CallerSide),
        ["no client span in the window says which address it called"]
    );
    assert_eq!(
        Scene::new().cannot_tell(&Sometimes),
        ["no spans in the window"]
    );
    for rule in RULES {
        assert_eq!(
            Scene::new().cannot_tell(rule).len(),
            1,
            "{}",
            rule.about().id
        );
    }
}

#[test]
fn the_answer_does_not_depend_on_the_order_of_signals() {
    let mut scene = base().spans(torn(&at_once(300..320, "orders", "payment")));
    let before = RULES.map(|rule| scene.judge(rule));
    scene.signals.spans.reverse();
    scene.signals.spans.rotate_left(17);
    assert_eq!(RULES.map(|rule| scene.judge(rule)), before);
}
