//! Owns the trace headers that the generator's clients write. Most write them as everyone does; a second client, if there
//! is one, writes them in one other form.

use http::{HeaderMap, HeaderValue};

use crate::error::ShopError;
use crate::propagation::{self, Baggage, TRACEPARENT, TRACESTATE, TraceContext};

/// Of so many requests, one is the other client's.
pub(super) const ONE_IN: u64 = 3;
/// What the other client calls itself.
pub(super) const OTHER_AGENT: &str = "shop-mobile/2";

/// A form of trace headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderForm {
    UpperCase,
    ShortTraceId,
    VersionFf,
    Version01,
    /// The sampled flag alone.
    Flags01,
    /// A few members, some with percent signs in their values.
    State,
    /// More than 512 characters in fewer than 32 members.
    LongState,
    /// 33 members.
    ManyMembers,
}

const FORMS: &[(&str, HeaderForm)] = &[
    ("upper-case", HeaderForm::UpperCase),
    ("short-trace-id", HeaderForm::ShortTraceId),
    ("version-ff", HeaderForm::VersionFf),
    ("version-01", HeaderForm::Version01),
    ("flags-01", HeaderForm::Flags01),
    ("tracestate", HeaderForm::State),
    ("long-tracestate", HeaderForm::LongState),
    ("many-members", HeaderForm::ManyMembers),
];

impl std::str::FromStr for HeaderForm {
    type Err = ShopError;

    fn from_str(text: &str) -> Result<Self, ShopError> {
        let found = FORMS.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, form)| *form)
            .ok_or_else(|| ShopError::Option {
                option: "other-client",
                value: text.to_owned(),
                allowed: HeaderForm::texts().join(", "),
            })
    }
}

impl HeaderForm {
    #[must_use]
    pub fn texts() -> Vec<&'static str> {
        FORMS.iter().map(|(name, _)| *name).collect()
    }
}

/// The headers of one request; `None` writes them as everyone does.
pub(super) fn headers(context: &TraceContext, form: Option<HeaderForm>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    propagation::inject(&mut headers, context, &Baggage::default());
    let plain = context.to_traceparent();
    let mut put = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    match form {
        None => {}
        Some(HeaderForm::UpperCase) => put(TRACEPARENT, &plain.to_uppercase()),
        Some(HeaderForm::ShortTraceId) => {
            put(TRACEPARENT, &format!("{}{}", &plain[..3], &plain[4..]));
        }
        Some(HeaderForm::VersionFf) => put(TRACEPARENT, &plain.replacen("00", "ff", 1)),
        Some(HeaderForm::Version01) => put(TRACEPARENT, &plain.replacen("00", "01", 1)),
        Some(HeaderForm::Flags01) => put(TRACEPARENT, &format!("{}01", &plain[..53])),
        Some(HeaderForm::State) => put(TRACESTATE, "shop=a%2Fb%20c,vendor=t61rcWkgMzE,other=1"),
        Some(HeaderForm::LongState) => put(TRACESTATE, &members(12, 48)),
        Some(HeaderForm::ManyMembers) => put(TRACESTATE, &members(33, 2)),
    }
    headers
}

fn members(count: usize, length: usize) -> String {
    let members: Vec<String> = (0..count)
        .map(|number| format!("k{number:02}={}", "v".repeat(length)))
        .collect();
    members.join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_form_is_what_its_name_says() {
        let context = TraceContext::new_root();
        let written = |form| {
            let headers = headers(&context, form);
            let text = |name: &http::HeaderName| {
                let value = headers.get(name);
                value.map_or("", |value| value.to_str().unwrap()).to_owned()
            };
            (text(&TRACEPARENT), text(&TRACESTATE))
        };
        let (plain, none) = written(None);
        assert!(TraceContext::parse(&plain).is_ok() && none.is_empty());
        assert_eq!(
            written(Some(HeaderForm::ShortTraceId)).0.len(),
            plain.len() - 1
        );
        for invalid in [
            HeaderForm::UpperCase,
            HeaderForm::ShortTraceId,
            HeaderForm::VersionFf,
        ] {
            assert!(TraceContext::parse(&written(Some(invalid)).0).is_err());
        }
        for valid in [HeaderForm::Version01, HeaderForm::Flags01] {
            assert!(TraceContext::parse(&written(Some(valid)).0).is_ok());
        }
        assert!(written(Some(HeaderForm::LongState)).1.len() > 512);
        assert_eq!(
            written(Some(HeaderForm::ManyMembers)).1.split(',').count(),
            33
        );
        assert!("upside-down".parse::<HeaderForm>().is_err());
    }
}
