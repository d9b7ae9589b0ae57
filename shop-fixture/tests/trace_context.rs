//! The forty-one cases of the W3C trace context suite at its strictest (level 2 of the specification, level 2 of
//! strictness), against the gateway of a real shop: each request passes a gRPC hop and a bus hop before it calls back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/collector.rs"]
mod collector;
#[path = "support/harness.rs"]
mod harness;
mod support;

use std::collections::HashSet;
use std::time::Duration;

use collector::Collector;
use harness::{Called, Harness};
use support::{eventually, start};

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "1234567890123456";

/// What the call back has to look like.
enum Expect {
    /// Any valid context.
    Valid,
    /// The trace that was sent, with another parent.
    Continued,
    /// Another trace than any of these.
    Fresh(Vec<String>),
    /// The trace that was sent, with exactly this state.
    State(Vec<(String, String)>),
    /// The trace that was sent, and no state at all.
    NoState,
    /// No state, whatever the trace is.
    StateDropped,
    /// The trace that was sent, with its flag that the trace id is random.
    Random,
}

type Headers = Vec<(String, String)>;

struct Case {
    name: &'static str,
    sends: Vec<(Headers, Expect)>,
}

fn parent(text: &str) -> (String, String) {
    ("traceparent".to_owned(), text.to_owned())
}

fn good(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn case(name: &'static str, sends: Vec<(Headers, Expect)>) -> Case {
    Case { name, sends }
}

/// Parents that must not be taken up.
fn refused(name: &'static str, parents: &[&str]) -> Case {
    let sends = parents.iter().map(|text| {
        let sent = text.split('-').nth(1).unwrap_or_default().to_owned();
        let fresh = Expect::Fresh(vec![TRACE.to_owned(), sent]);
        (vec![parent(text)], fresh)
    });
    case(name, sends.collect())
}

fn taken_up(name: &'static str, parents: &[String]) -> Case {
    let sends = parents
        .iter()
        .map(|text| (vec![parent(text)], Expect::Continued));
    case(name, sends.collect())
}

/// A good parent with these `tracestate` headers.
fn with_state(values: &[&str]) -> Headers {
    let mut headers = vec![parent(&good("00"))];
    headers.extend(
        values
            .iter()
            .map(|value| ("tracestate".to_owned(), (*value).to_owned())),
    );
    headers
}

fn kept(values: &[&str], expected: &[(&str, &str)]) -> (Headers, Expect) {
    let expected = expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    (with_state(values), Expect::State(expected.collect()))
}

fn dropped(name: &'static str, states: &[&[&str]]) -> Case {
    let sends = states
        .iter()
        .map(|values| (with_state(values), Expect::NoState));
    case(name, sends.collect())
}

fn parent_cases() -> Vec<Case> {
    let named = |name: &str| (name.to_owned(), good("01"));
    vec![
        case("neither header", vec![(Vec::new(), Expect::Valid)]),
        taken_up("a parent without a state", &[good("01")]),
        case(
            "two parents",
            vec![(
                vec![
                    parent(&good("01").replace("9012-", "9011-")),
                    parent(&good("01")),
                ],
                Expect::Fresh(vec![TRACE.to_owned(), TRACE.replace("9012", "9011")]),
            )],
        ),
        case(
            "a parent under a wrong name",
            ["trace-parent", "trace.parent"]
                .map(|name| (vec![named(name)], Expect::Fresh(vec![TRACE.to_owned()])))
                .into(),
        ),
        case(
            "the name in any case",
            ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"]
                .map(|name| (vec![named(name)], Expect::Continued))
                .into(),
        ),
        refused(
            "version 00 with more behind",
            &[
                &format!("{}.", good("01")),
                &format!("{}-and-whatever-comes-later", good("01")),
            ],
        ),
        case("a future version", {
            let future = |rest: &str| vec![parent(&format!("cc-{TRACE}-{PARENT}-01{rest}"))];
            vec![
                (future(""), Expect::Continued),
                (future("-whatever-comes-later"), Expect::Continued),
                (
                    future(".whatever-comes-later"),
                    Expect::Fresh(vec![TRACE.to_owned()]),
                ),
            ]
        }),
        refused("version ff", &[&format!("ff-{TRACE}-{PARENT}-01")]),
        refused(
            "a version that is no hex",
            &[
                &format!(".0-{TRACE}-{PARENT}-01"),
                &format!("0.-{TRACE}-{PARENT}-01"),
            ],
        ),
        refused(
            "a version that is too long",
            &[
                &format!("000-{TRACE}-{PARENT}-01"),
                &format!("0000-{TRACE}-{PARENT}-01"),
            ],
        ),
        refused(
            "a version that is too short",
            &[&format!("0-{TRACE}-{PARENT}-01")],
        ),
        refused(
            "a trace id of zeroes",
            &[&format!("00-{}-{PARENT}-01", "0".repeat(32))],
        ),
        refused(
            "a trace id that is no hex",
            &[
                &format!("00-.{}-{PARENT}-01", &TRACE[1..]),
                &format!("00-{}.-{PARENT}-01", &TRACE[..31]),
            ],
        ),
        refused(
            "a trace id that is too long",
            &[&format!("00-{TRACE}3-{PARENT}-01")],
        ),
        refused(
            "a trace id that is too short",
            &[&format!("00-{}-{PARENT}-01", &TRACE[..31])],
        ),
        refused(
            "a parent id of zeroes",
            &[&format!("00-{TRACE}-{}-01", "0".repeat(16))],
        ),
        refused(
            "a parent id that is no hex",
            &[
                &format!("00-{TRACE}-.{}-01", &PARENT[1..]),
                &format!("00-{TRACE}-{}.-01", &PARENT[..15]),
            ],
        ),
        refused(
            "a parent id that is too long",
            &[&format!("00-{TRACE}-{PARENT}7-01")],
        ),
        refused(
            "a parent id that is too short",
            &[&format!("00-{TRACE}-{}-01", &PARENT[..15])],
        ),
        refused("flags that are no hex", &[&good(".0"), &good("0.")]),
        refused("flags that are too long", &[&good("001")]),
        refused("flags that are too short", &[&good("1")]),
        taken_up(
            "space around the parent",
            &[
                format!(" {}", good("01")),
                format!("\t{}", good("01")),
                format!("{} ", good("01")),
                format!("{}\t", good("01")),
                format!("\t {} \t", good("01")),
            ],
        ),
    ]
}

fn state_cases() -> Vec<Case> {
    let state = |value: &str| ("tracestate".to_owned(), value.to_owned());
    let under = |name: &str| vec![parent(&good("00")), (name.to_owned(), "foo=1".to_owned())];
    let one = || vec![("foo".to_owned(), "1".to_owned())];
    let letters: String = ('a'..='z').chain('0'..='9').chain("_-*/".chars()).collect();
    let vendor = format!("{letters}@a-z0-9_-*/");
    let value: String = (' '..='~').filter(|sign| !",=".contains(*sign)).collect();
    let spaced: &[&[&str]] = &[
        &["foo=1 \t , \t bar=2, \t baz=3"],
        &["foo=1\t \t,\t \tbar=2,\t \tbaz=3"],
    ];
    let mut around: Vec<(Headers, Expect)> = spaced
        .iter()
        .map(|values| kept(values, &[("foo", "1"), ("bar", "2"), ("baz", "3")]))
        .collect();
    for text in [" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t"] {
        around.push(kept(&[text], &[("foo", "1")]));
    }
    vec![
        case(
            "a state without a parent",
            vec![
                (vec![state("foo=1")], Expect::StateDropped),
                (vec![state("foo=1,bar=2")], Expect::StateDropped),
            ],
        ),
        case(
            "a state with a parent",
            vec![kept(&["foo=1,bar=2"], &[("foo", "1"), ("bar", "2")])],
        ),
        case(
            "a state under a wrong name",
            vec![
                (under("trace-state"), Expect::NoState),
                (under("trace.state"), Expect::NoState),
            ],
        ),
        case(
            "the state's name in any case",
            ["TraceState", "TrAcEsTaTe", "TRACESTATE"]
                .map(|name| (under(name), Expect::State(one())))
                .into(),
        ),
        case(
            "an empty state",
            vec![
                (with_state(&[""]), Expect::NoState),
                kept(&["foo=1", ""], &[("foo", "1")]),
                kept(&["", "foo=1"], &[("foo", "1")]),
            ],
        ),
        case(
            "several states",
            vec![kept(
                &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
                &[
                    ("foo", "1"),
                    ("bar", "2"),
                    ("rojo", "1"),
                    ("congo", "2"),
                    ("baz", "3"),
                ],
            )],
        ),
        dropped(
            "a key that comes twice",
            &[
                &["foo=1,foo=1"],
                &["foo=1,foo=2"],
                &["foo=1", "foo=1"],
                &["foo=1", "foo=2"],
            ],
        ),
        case(
            "every letter that is allowed",
            vec![
                kept(&[&format!("{letters}={value}")], &[(&letters, &value)]),
                kept(&[&format!("{vendor}={value}")], &[(&vendor, &value)]),
            ],
        ),
        case("space around the members", around),
        dropped(
            "keys with letters that are not allowed",
            &[&["foo =1"], &["FOO=1"], &["foo.bar=1"]],
        ),
        dropped(
            "keys with a malformed vendor",
            &[
                &["foo@=1,bar=2"],
                &["@foo=1,bar=2"],
                &["foo@@bar=1,bar=2"],
                &["foo@bar@baz=1,bar=2"],
            ],
        ),
        member_counts(),
        key_lengths(),
        dropped(
            "values with letters that are not allowed",
            &[&["foo=bar=baz"], &["foo=,bar=3"]],
        ),
    ]
}

fn member_counts() -> Case {
    let members = |count: usize| -> Vec<(String, String)> {
        (1..=count)
            .map(|n| (format!("bar{n:02}"), format!("{n:02}")))
            .collect()
    };
    let headers = |count: usize| -> Headers {
        let all = members(count);
        // Ten to a header.
        let lines: Vec<String> = all
            .chunks(10)
            .map(|chunk| {
                let texts: Vec<String> = chunk
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                texts.join(",")
            })
            .collect();
        with_state(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    case(
        "thirty-two members and one more",
        vec![
            (headers(32), Expect::State(members(32))),
            (headers(33), Expect::NoState),
        ],
    )
}

fn key_lengths() -> Case {
    let (longest, tenant) = (
        "z".repeat(256),
        format!("{}@{}", "t".repeat(241), "v".repeat(14)),
    );
    let text = |key: &str| format!("{key}=1");
    let too_long = [
        text(&"z".repeat(257)),
        text(&format!("{}@v", "t".repeat(242))),
        text(&format!("t@{}", "v".repeat(15))),
    ];
    let mut sends = vec![
        kept(
            &["foo=1", &text(&longest)],
            &[("foo", "1"), (&longest, "1")],
        ),
        kept(&["foo=1", &text(&tenant)], &[("foo", "1"), (&tenant, "1")]),
    ];
    for text in &too_long {
        sends.push((with_state(&["foo=1", text]), Expect::NoState));
    }
    case("keys as long as they may be, and longer", sends)
}

/// What is wrong with a call back, if anything is.
fn fault_of(called: &Called, expect: &Expect) -> Option<String> {
    let (version, trace, parent, flags) = match called.traceparent() {
        Ok(parts) => parts,
        Err(why) => return Some(why),
    };
    if version != "00" || parent == PARENT {
        return Some(format!("version {version}, parent {parent}"));
    }
    let state = match called.tracestate() {
        Ok(state) => state,
        Err(why) => return Some(why),
    };
    let continued = trace == TRACE;
    let good = match expect {
        Expect::Valid => true,
        Expect::Continued => continued,
        Expect::Fresh(known) => !known.contains(&trace) && !continued,
        Expect::State(expected) => continued && state == *expected,
        Expect::NoState => continued && state.is_empty(),
        Expect::StateDropped => state.is_empty(),
        Expect::Random => {
            continued && u8::from_str_radix(&flags, 16).is_ok_and(|bits| bits & 2 == 2)
        }
    };
    (!good).then(|| format!("{version}-{trace}-{parent}-{flags}, state {state:?}"))
}

#[tokio::test]
async fn forty_one_of_forty_one() {
    let shop = start(|_| {}).await;
    let harness = Harness::start().await;
    let endpoint = format!("{}/test/trace-context", shop.gateway());
    let mut cases = parent_cases();
    cases.extend(state_cases());
    cases.push(case(
        "the flag of a random trace id",
        vec![(vec![parent(&good("02"))], Expect::Random)],
    ));
    let mut failed: Vec<String> = Vec::new();
    for case in &cases {
        for (headers, expect) in &case.sends {
            let calls = harness.ask(&endpoint, headers, 1).await;
            if let Some(why) = fault_of(&calls[0], expect) {
                failed.push(format!("{}: sent {headers:?}, got {why}", case.name));
            }
        }
    }
    let mut count = cases.len();
    // Three call backs each: of one trace that was sent, of a new one, and of a new one in place of a bad one.
    let zeroes = "0".repeat(32);
    for (name, headers) in [
        ("several calls of a trace", vec![parent(&good("01"))]),
        ("several calls without a trace", Vec::new()),
        (
            "several calls of a malformed trace",
            vec![parent(&format!("00-{zeroes}-{PARENT}-01"))],
        ),
    ] {
        count += 1;
        let calls = harness.ask(&endpoint, &headers, 3).await;
        let parts: Vec<_> = calls
            .iter()
            .map(|called| called.traceparent().unwrap())
            .collect();
        let traces: HashSet<&str> = parts
            .iter()
            .map(|(_, trace, _, _)| trace.as_str())
            .collect();
        let parents: HashSet<&str> = parts
            .iter()
            .map(|(_, _, parent, _)| parent.as_str())
            .collect();
        let sent = name == "several calls of a trace";
        let good = parents.len() == 3
            && !parents.contains(PARENT)
            && !traces.contains(zeroes.as_str())
            && (!sent || traces == HashSet::from([TRACE]));
        if !good {
            failed.push(format!("{name}: {parts:?}"));
        }
    }
    assert_eq!(count, 41);
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_probe_goes_over_grpc_and_the_bus() {
    let (collector, url) = Collector::start().await;
    let shop = start(|config| config.otlp_endpoint = Some(url)).await;
    let harness = Harness::start().await;
    let endpoint = format!("{}/test/trace-context", shop.gateway());
    harness.ask(&endpoint, &vec![parent(&good("01"))], 1).await;
    eventually(
        "every hop is in the trace",
        Duration::from_secs(10),
        async || {
            let spans = collector.spans();
            let hop = |service: &str, name: &str| {
                spans.iter().any(|seen| {
                    let trace: String = seen
                        .span
                        .trace_id
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect();
                    trace == TRACE && seen.service == service && seen.span.name == name
                })
            };
            let all = hop("api-gateway", "POST /test/trace-context")
                && hop("product-catalog", "probe.v1.ProbeService/Relay")
                && hop("product-catalog", "send TraceContextProbed")
                && hop("message-bus", "POST /events/{type}")
                && hop("notification", "process TraceContextProbed")
                && hop("notification", "POST");
            all.then_some(())
        },
    )
    .await;
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_probe_that_leaves_the_machine_or_is_none_is_refused() {
    let shop = start(|_| {}).await;
    let endpoint = format!("{}/test/trace-context", shop.gateway());
    let many = vec![serde_json::json!({ "url": "http://127.0.0.1:1/" }); 33];
    for body in [
        serde_json::json!([{ "url": "http://example.org/", "arguments": [] }]),
        serde_json::json!([{ "uri": "http://127.0.0.1/" }]),
        serde_json::json!({ "url": "http://127.0.0.1/" }),
        serde_json::json!(many),
    ] {
        let answer = shop
            .client
            .post(&endpoint)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 400, "{body}");
    }
    shop.shop.stop().await;
}
