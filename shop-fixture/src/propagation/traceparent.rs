//! Owns the `traceparent` field: `version-traceid-parentid-flags`, in lower-case hex of exact lengths.

use super::TraceState;
use crate::ids;

pub const FLAG_SAMPLED: u8 = 1;
/// Level 2: the trace id's right-most seven bytes are random.
pub const FLAG_RANDOM: u8 = 2;

/// The position of one span in one trace, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub flags: u8,
    pub state: TraceState,
    /// Somebody before decided that this trace is not kept.
    pub unrecorded: bool,
}

impl TraceContext {
    /// The first span of a new trace.
    #[must_use]
    pub fn new_root() -> Self {
        Self {
            trace_id: ids::trace_id(),
            span_id: ids::span_id(),
            flags: FLAG_SAMPLED | FLAG_RANDOM,
            state: TraceState::default(),
            unrecorded: false,
        }
    }

    /// A new span below this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: ids::span_id(),
            ..self.clone()
        }
    }

    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_matches([' ', '\t']);
        let bytes = text.as_bytes();
        if bytes.len() < 55 {
            return Err("shorter than 55 characters");
        }
        let version = hex_bytes::<1>(&bytes[0..2]).ok_or("the version is not lower-case hex")?[0];
        if version == 0xff {
            return Err("version ff is forbidden");
        }
        if bytes[2] != b'-' || bytes[35] != b'-' || bytes[52] != b'-' {
            return Err("a field has the wrong length");
        }
        match (version, bytes.len()) {
            (_, 55) => {}
            (0, _) => return Err("longer than 55 characters"),
            (_, _) if bytes[55] != b'-' => return Err("a field has the wrong length"),
            _ => {}
        }
        let trace_id =
            hex_bytes::<16>(&bytes[3..35]).ok_or("the trace id is not lower-case hex")?;
        let span_id =
            hex_bytes::<8>(&bytes[36..52]).ok_or("the parent id is not lower-case hex")?;
        let flags = hex_bytes::<1>(&bytes[53..55]).ok_or("the flags are not lower-case hex")?[0];
        if trace_id == [0; 16] {
            return Err("the trace id is all zero");
        }
        if span_id == [0; 8] {
            return Err("the parent id is all zero");
        }
        Ok(Self {
            trace_id,
            span_id,
            flags: flags & (FLAG_SAMPLED | FLAG_RANDOM),
            state: TraceState::default(),
            unrecorded: false,
        })
    }

    #[must_use]
    pub fn to_traceparent(&self) -> String {
        format!(
            "00-{}-{}-{:02x}",
            ids::hex(&self.trace_id),
            ids::hex(&self.span_id),
            self.flags
        )
    }

    #[must_use]
    pub fn trace_hex(&self) -> String {
        ids::hex(&self.trace_id)
    }

    #[must_use]
    pub fn span_hex(&self) -> String {
        ids::hex(&self.span_id)
    }
}

pub(super) fn hex_bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}
