//! Owns reading trace headers wrongly, each way as a parser really gets it wrong; a `header_misread` fault picks one.

use http::HeaderMap;

use super::{Extracted, TRACEPARENT, TRACESTATE, TraceContext, TraceState, extract, hex_bytes};

/// The ways there are.
pub const MODES: &[&str] = &[
    "upper_case_only",
    "pad_short",
    "swap_digits",
    "fixed_offsets",
    "any_version",
    "version_00_only",
    "known_flags_only",
    "tracestate_fatal",
    "tracestate_comma_blank",
    "tracestate_decode",
    "tracestate_limits",
];

/// Reads a request's headers in the given way.
#[must_use]
pub fn extract_as(mode: &str, headers: &HeaderMap) -> Extracted {
    let good = extract(headers);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(header) = text(TRACEPARENT) else {
        return good;
    };
    let state = text(TRACESTATE).unwrap_or_default();
    let refuse = |reason: &'static str| Extracted {
        parent: None,
        invalid: Some(reason),
        ..good.clone()
    };
    let with = |parent: Option<TraceContext>| match parent {
        Some(parent) => Extracted {
            parent: Some(TraceContext {
                state: good
                    .parent
                    .as_ref()
                    .map_or_else(TraceState::default, |known| known.state.clone()),
                ..parent
            }),
            invalid: None,
            ..good.clone()
        },
        None => good.clone(),
    };
    let with_state = |members: Vec<String>| {
        let mut changed = good.clone();
        if let Some(parent) = &mut changed.parent {
            parent.state = TraceState::unchecked(members);
        }
        changed
    };
    match mode {
        "upper_case_only" if header.bytes().any(|b| b.is_ascii_lowercase()) => {
            refuse("the trace id is not upper-case hex")
        }
        "pad_short" => with(padded(header)),
        "swap_digits" => with(good.parent.as_ref().map(swapped)),
        "fixed_offsets" => with(cut(header)),
        "any_version" => {
            with(TraceContext::parse(&format!("00{}", header.get(2..).unwrap_or(""))).ok())
        }
        "version_00_only" if !header.starts_with("00-") => refuse("the version is not 00"),
        "known_flags_only" if !header.ends_with("-00") && !header.ends_with("-01") => {
            refuse("the flags are neither 00 nor 01")
        }
        "tracestate_fatal" if state.split(',').count() > 32 => {
            refuse("the tracestate has too many members")
        }
        "tracestate_comma_blank" if !state.is_empty() => with_state(
            state
                .split(", ")
                .filter_map(|member| {
                    let (key, value) = member.split_once('=')?;
                    // What comes after the value has no place in a member.
                    let value = value.split([',', '=']).next()?;
                    Some(format!("{key}={value}"))
                })
                .collect(),
        ),
        "tracestate_decode" if !state.is_empty() => with_state(
            state
                .split(',')
                .map(|member| decoded(member.trim()))
                .collect(),
        ),
        "tracestate_limits" if !state.is_empty() => with_state(if state.len() > 512 {
            Vec::new()
        } else {
            state
                .split(',')
                .map(|member| member.trim().to_owned())
                .collect()
        }),
        _ => good,
    }
}

/// Takes a trace id of 31 digits as one of 32 with a zero in front.
fn padded(header: &str) -> Option<TraceContext> {
    let (version, rest) = header.split_once('-')?;
    let (trace, rest) = rest.split_once('-')?;
    TraceContext::parse(&format!("{version}-{trace:0>32}-{rest}")).ok()
}

/// Decodes the two digits of every byte in the wrong order.
fn swapped(context: &TraceContext) -> TraceContext {
    TraceContext {
        trace_id: context.trace_id.map(|byte| byte.rotate_left(4)),
        span_id: context.span_id.map(|byte| byte.rotate_left(4)),
        ..context.clone()
    }
}

/// Takes the hyphens out and cuts at fixed places, one too far.
fn cut(header: &str) -> Option<TraceContext> {
    let digits: String = header.chars().filter(|c| *c != '-').collect();
    Some(TraceContext {
        trace_id: hex_bytes(digits.get(3..35)?.as_bytes())?,
        span_id: hex_bytes(digits.get(35..51)?.as_bytes())?,
        flags: super::FLAG_SAMPLED,
        state: TraceState::default(),
        unrecorded: false,
    })
}

/// Percent sequences of printable characters as what they stand for.
fn decoded(member: &str) -> String {
    super::baggage::percent_decode(member)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(traceparent: &str, tracestate: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, traceparent.parse().unwrap());
        if !tracestate.is_empty() {
            headers.insert(TRACESTATE, tracestate.parse().unwrap());
        }
        headers
    }

    fn parent(mode: &str, traceparent: &str) -> Option<String> {
        let read = extract_as(mode, &headers(traceparent, ""));
        read.parent.map(|parent| parent.to_traceparent())
    }

    #[test]
    fn each_way_goes_wrong_where_it_should_and_nowhere_else() {
        assert_eq!(parent("upper_case_only", GOOD), None);
        let short = "00-bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let padded = "00-0bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parent("pad_short", short).as_deref(), Some(padded));
        assert_eq!(parent("pad_short", GOOD).as_deref(), Some(GOOD));
        assert_eq!(
            parent("swap_digits", GOOD).as_deref(),
            Some("00-b49ff253773bd46a3aec29d9e0e07463-000f76aab09a207b-01")
        );
        assert_eq!(
            parent("fixed_offsets", GOOD).as_deref(),
            Some("00-bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b70-01")
        );
        let forbidden = GOOD.replacen("00", "ff", 1);
        assert_eq!(parent("any_version", &forbidden).as_deref(), Some(GOOD));
        assert_eq!(parent("version_00_only", &forbidden), None);
        assert_eq!(parent("version_00_only", GOOD).as_deref(), Some(GOOD));
        assert_eq!(parent("known_flags_only", GOOD).as_deref(), Some(GOOD));
        assert_eq!(
            parent("known_flags_only", &GOOD.replace("-01", "-03")),
            None
        );
    }

    #[test]
    fn tracestate_is_spoiled_in_its_own_ways() {
        let state = |mode: &str, sent: &str| {
            let read = extract_as(mode, &headers(GOOD, sent));
            read.parent.unwrap().state.to_header()
        };
        assert_eq!(state("tracestate_comma_blank", "a=1,b=2"), "a=1");
        assert_eq!(state("tracestate_decode", "a=x%2Fy,b=2"), "a=x/y,b=2");
        assert_eq!(
            state("tracestate_limits", &format!("a={}", "x".repeat(600))),
            ""
        );
        let many: Vec<String> = (0..40).map(|i| format!("k{i}=v")).collect();
        assert_eq!(state("tracestate_limits", &many.join(",")), many.join(","));
        assert!(
            extract_as("tracestate_fatal", &headers(GOOD, &many.join(",")))
                .parent
                .is_none()
        );
    }
}
