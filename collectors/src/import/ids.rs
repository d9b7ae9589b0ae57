//! Ids as other tools write them: short, odd, with dashes. Made into ours by padding on the left, never by guessing.

use case::{SpanId, TraceId};

use super::report::clip;

/// A trace id of 1 to 32 hex digits; 64-bit tracers leave the left half out.
pub(super) fn trace_id(text: &str) -> Result<TraceId, String> {
    let id = TraceId(padded(text, "trace id")?);
    if id.is_some() {
        Ok(id)
    } else {
        Err("the trace id is all zeros".to_owned())
    }
}

/// A span id of 1 to 16 hex digits.
pub(super) fn span_id(text: &str) -> Result<SpanId, String> {
    let id = SpanId(padded(text, "span id")?);
    if id.is_some() {
        Ok(id)
    } else {
        Err("the span id is all zeros".to_owned())
    }
}

/// The id of a parent, where nothing and zeros mean there is none.
pub(super) fn parent_id(text: &str) -> Result<SpanId, String> {
    if text.is_empty() {
        return Ok(SpanId::NONE);
    }
    Ok(SpanId(padded(text, "parent id")?))
}

fn padded<const N: usize>(text: &str, what: &str) -> Result<[u8; N], String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.len() > 2 * N {
        return Err(format!(
            "the {what} {} has more than {} hexadecimal digits",
            clip(text),
            2 * N
        ));
    }
    let mut out = [0u8; N];
    for (place, digit) in text.bytes().rev().enumerate() {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return Err(format!("the {what} {} is not hexadecimal", clip(text))),
        };
        out[N - 1 - place / 2] |= nibble << (4 * (place % 2));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn short_and_odd_ids_are_padded_on_the_left() {
        assert_eq!(
            trace_id("A").unwrap().to_string(),
            "0000000000000000000000000000000a"
        );
        assert_eq!(
            trace_id("1e223ff1f80f1c69").unwrap().to_string(),
            "00000000000000001e223ff1f80f1c69"
        );
        assert_eq!(span_id("123").unwrap().to_string(), "0000000000000123");
    }

    #[test]
    fn what_is_no_id_says_why() {
        assert_eq!(
            span_id("xyz").unwrap_err(),
            "the span id \"xyz\" is not hexadecimal"
        );
        assert_eq!(trace_id("0").unwrap_err(), "the trace id is all zeros");
        assert_eq!(trace_id("").unwrap_err(), "the trace id is empty");
        assert!(
            span_id("00112233445566778")
                .unwrap_err()
                .contains("more than 16")
        );
        assert!(span_id("né").unwrap_err().contains("not hexadecimal"));
        assert_eq!(parent_id("").unwrap(), SpanId::NONE);
    }
}
