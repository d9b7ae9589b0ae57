#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::baggage::{percent_decode, percent_encode};
use super::*;

const TRACE: &str = "12345678901234567890123456789012";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn trace_of(traceparent: &str) -> Option<String> {
    extract(&headers(&[("traceparent", traceparent)]))
        .parent
        .map(|parent| parent.trace_hex())
}

fn state_of(values: &[&str]) -> String {
    let parent = format!("00-{TRACE}-1234567890123456-00");
    let mut pairs = vec![("traceparent", parent.as_str())];
    pairs.extend(values.iter().map(|value| ("tracestate", *value)));
    extract(&headers(&pairs)).parent.unwrap().state.to_header()
}

#[test]
fn valid_parents_are_continued() {
    for text in [
        "00-12345678901234567890123456789012-1234567890123456-01",
        "00-12345678901234567890123456789012-1234567890123456-00",
        "cc-12345678901234567890123456789012-1234567890123456-01",
        "cc-12345678901234567890123456789012-1234567890123456-01-what-the-future-brings",
    ] {
        assert_eq!(trace_of(text).as_deref(), Some(TRACE), "{text}");
    }
}

#[test]
fn malformed_parents_start_a_new_trace() {
    for text in [
        "",
        "00-12345678901234567890123456789012-1234567890123456-01.",
        "00-12345678901234567890123456789012-1234567890123456-01-more",
        "cc-12345678901234567890123456789012-1234567890123456-01.more",
        "ff-12345678901234567890123456789012-1234567890123456-01",
        "0-12345678901234567890123456789012-1234567890123456-01",
        "000-12345678901234567890123456789012-1234567890123456-01",
        ".0-12345678901234567890123456789012-1234567890123456-01",
        "00-00000000000000000000000000000000-1234567890123456-01",
        "00-.2345678901234567890123456789012-1234567890123456-01",
        "00-ABCDEF78901234567890123456789012-1234567890123456-01",
        "00-123456789012345678901234567890123-1234567890123456-01",
        "00-1234567890123456789012345678901-1234567890123456-01",
        "00-12345678901234567890123456789012-0000000000000000-01",
        "00-12345678901234567890123456789012-12345678901234567-01",
        "00-12345678901234567890123456789012-123456789012345-01",
        "00-12345678901234567890123456789012-1234567890123456-.0",
        "00-12345678901234567890123456789012-1234567890123456-0",
        "00-12345678901234567890123456789012-1234567890123456-001",
    ] {
        assert_eq!(trace_of(text), None, "{text}");
        assert!(
            extract(&headers(&[("traceparent", text)]))
                .invalid
                .is_some(),
            "{text}"
        );
    }
}

#[test]
fn two_parents_are_as_good_as_none() {
    let text = "00-12345678901234567890123456789012-1234567890123456-01";
    let extracted = extract(&headers(&[("traceparent", text), ("traceparent", text)]));
    assert!(extracted.parent.is_none() && extracted.invalid.is_some());
}

#[test]
fn flags_keep_sampled_and_random_and_nothing_else() {
    let flags = |text: &str| {
        TraceContext::parse(&format!("00-{TRACE}-1234567890123456-{text}"))
            .unwrap()
            .flags
    };
    assert_eq!(flags("03"), 3);
    assert_eq!(flags("02"), 2);
    assert_eq!(flags("ff"), 3);
    let context = TraceContext::new_root();
    assert_eq!(
        TraceContext::parse(&context.to_traceparent()).unwrap(),
        context
    );
}

#[test]
fn states_are_joined_and_passed_on_in_order() {
    assert_eq!(
        state_of(&["foo=1,bar=2", "rojo=1", "", "baz=3"]),
        "foo=1,bar=2,rojo=1,baz=3"
    );
    assert_eq!(state_of(&["foo=1 \t , \t bar=2"]), "foo=1,bar=2");
    let long = format!("{}=1", "z".repeat(256));
    assert_eq!(state_of(&[&long]), long);
    let tenant = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
    assert_eq!(state_of(&[&tenant]), tenant);
    let members: Vec<String> = (0..32).map(|n| format!("k{n}={n}")).collect();
    assert_eq!(state_of(&[&members.join(",")]), members.join(","));
}

#[test]
fn a_bad_state_is_dropped_whole_and_the_parent_kept() {
    let too_many: Vec<String> = (0..33).map(|n| format!("k{n}={n}")).collect();
    for text in [
        "foo=1,foo=2".to_owned(),
        "foo =1,bar=2".to_owned(),
        "FOO=1,bar=2".to_owned(),
        "foo.bar=1,bar=2".to_owned(),
        "foo@=1,bar=2".to_owned(),
        "@foo=1,bar=2".to_owned(),
        "foo@@bar=1,bar=2".to_owned(),
        "foo@bar@baz=1,bar=2".to_owned(),
        "foo=,bar=2".to_owned(),
        "foo=bar=baz".to_owned(),
        "foo".to_owned(),
        format!("{}=1", "z".repeat(257)),
        format!("foo={}", "v".repeat(257)),
        format!("{}@v=1", "t".repeat(242)),
        format!("t@{}=1", "v".repeat(15)),
        too_many.join(","),
    ] {
        assert_eq!(state_of(&[&text]), "", "{text}");
    }
    assert_eq!(state_of(&["foo=1", "foo=1"]), "");
}

#[test]
fn a_state_without_a_parent_is_dropped() {
    assert!(
        extract(&headers(&[("tracestate", "foo=1")]))
            .parent
            .is_none()
    );
}

#[test]
fn what_is_injected_is_what_is_extracted() {
    let mut baggage = Baggage::default();
    baggage.set(baggage::BEHAVIOR, "payment:error=503:0.5,latency=1s-3s");
    baggage.set("user", "müller; x");
    let context = TraceContext::new_root();
    let mut carried = HeaderMap::new();
    inject(&mut carried, &context, &baggage);
    let extracted = extract(&carried);
    assert_eq!(extracted.parent.unwrap(), context);
    assert_eq!(
        extracted.baggage.get(baggage::BEHAVIOR).unwrap(),
        "payment:error=503:0.5,latency=1s-3s"
    );
    assert_eq!(extracted.baggage.get("user").unwrap(), "müller; x");
}

#[test]
fn foreign_members_keep_their_properties_and_bad_ones_are_left_out() {
    let extracted = extract(&headers(&[
        ("baggage", "a=1;p=2 , b c=3,=4,d=%20x"),
        ("baggage", "e=5"),
    ]));
    assert_eq!(extracted.baggage.to_header(), "a=1;p=2,d=%20x,e=5");
    assert_eq!(extracted.baggage.get("a").unwrap(), "1");
    assert_eq!(extracted.baggage.get("d").unwrap(), " x");
}

#[test]
fn percent_escapes_round_trip_and_tolerate_nonsense() {
    assert_eq!(percent_decode(&percent_encode("a b,c=d/é%")), "a b,c=d/é%");
    assert_eq!(percent_decode("100%"), "100%");
    assert_eq!(percent_decode("%zz%4"), "%zz%4");
    assert_eq!(percent_decode("%+1"), "%+1");
    assert_eq!(percent_decode("%é"), "%é");
}
