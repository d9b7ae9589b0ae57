//! W3C trace context between the two sides of a call: which form of header a caller wrote, how the ids a callee took
//! differ from those it was sent, and what became of `tracestate`. Pure text and digits; whom it concerns is for rules.

use case::{SpanId, TraceId};

use super::rows::Written;

/// A list of more members than this need not be kept.
pub const MOST_MEMBERS: usize = 32;
/// What every hop has to be able to keep, in characters.
pub const LEAST_CHARACTERS: usize = 512;

/// The form of a `traceparent` as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// As everyone writes it.
    Plain,
    /// Valid, of a version above 00.
    LaterVersion,
    /// Valid, with flags beyond the sampled one.
    MoreFlags,
    /// Valid, beside a `tracestate` that no hop has to keep.
    LongState,
    /// Version ff, which no one may accept.
    ForbiddenVersion,
    /// Not as the specification has it.
    Malformed,
}

pub fn form(written: &Written) -> Form {
    let fields: Vec<&str> = written.traceparent.split('-').collect();
    let hex = |text: &str, digits: usize| {
        text.len() == digits
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let [version, trace, span, flags, rest @ ..] = fields.as_slice() else {
        return Form::Malformed;
    };
    let shaped = hex(version, 2)
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && !trace.bytes().all(|b| b == b'0')
        && !span.bytes().all(|b| b == b'0');
    match (*version, shaped) {
        (_, false) => Form::Malformed,
        ("ff", true) => Form::ForbiddenVersion,
        ("00", true) if !rest.is_empty() => Form::Malformed,
        ("00", true) if members(&written.tracestate).len() > MOST_MEMBERS => Form::LongState,
        ("00", true) if u8::from_str_radix(flags, 16).is_ok_and(|flags| flags > 1) => {
            Form::MoreFlags
        }
        ("00", true) => Form::Plain,
        (_, true) => Form::LaterVersion,
    }
}

/// How the ids a callee works with came from those its caller sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// The trace id is shifted or filled up with zeros, the parent id intact.
    Padded,
    /// Digits in another order, at fixed places.
    Permuted,
    /// Digits have crossed the border between fields.
    CutAmiss,
}

/// The damage between two pairs of ids, if the second can have come from the first.
pub fn damage(sent: (TraceId, SpanId), taken: (TraceId, SpanId)) -> Option<Damage> {
    let trace = hex(&sent.0.0);
    let span = hex(&sent.1.0);
    let (got, parent) = (hex(&taken.0.0), hex(&taken.1.0));
    if got == trace {
        return None;
    }
    if parent == span && shifted(&trace, &got) {
        return Some(Damage::Padded);
    }
    // All digits of the header in a row; a version before, flags behind.
    let row: Vec<u8> = [b"00", trace.as_slice(), span.as_slice(), b"01"].concat();
    let crossed = (0..=row.len() - 32)
        .filter(|at| *at != 2)
        .any(|at| row[at..at + 31] == got[..31] || row[at + 1..at + 32] == got[1..]);
    if crossed && parent != span {
        return Some(Damage::CutAmiss);
    }
    permuted(&trace, &got).then_some(Damage::Permuted)
}

/// Whether `got` is `sent` moved by a few digits, with zeros in what became free.
fn shifted(sent: &[u8], got: &[u8]) -> bool {
    let len = sent.len();
    (1..=4).any(|by| {
        let zeros = |part: &[u8]| part.iter().all(|digit| *digit == b'0');
        (zeros(&got[..by]) && got[by..] == sent[..len - by])
            || (zeros(&got[len - by..]) && got[..len - by] == sent[by..])
            // One digit lost and its place filled with a zero, at either end.
            || (zeros(&got[..by]) && got[by..] == sent[by..])
            || (zeros(&got[len - by..]) && got[..len - by] == sent[..len - by])
    })
}

fn permuted(sent: &[u8], got: &[u8]) -> bool {
    let orders: [fn(usize) -> usize; 4] = [
        |place| place ^ 1,
        |place| place ^ 2,
        |place| 31 - place,
        |place| (31 - place) ^ 1,
    ];
    orders
        .iter()
        .any(|order| (0..sent.len()).all(|place| got[place] == sent[order(place)]))
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .collect()
}

/// What a hop did to `tracestate` that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateChange {
    /// Members were cut off or merged.
    Members,
    /// As many members, other bytes.
    Bytes,
    /// Emptied although it was not too long to be kept, or passed on although it was.
    Limit,
}

/// The change between what was sent and what was taken; blanks around members do not count.
pub fn state_change(sent: &str, taken: &str) -> Option<StateChange> {
    let (before, after) = (members(sent), members(taken));
    if after.len() > MOST_MEMBERS {
        return Some(StateChange::Limit);
    }
    // A list beyond the limit is invalid: whoever takes it may drop it whole, or its last members.
    if before == after || before.len() > MOST_MEMBERS {
        return None;
    }
    let long = before.iter().map(|member| member.len() + 1).sum::<usize>() > LEAST_CHARACTERS;
    if long && after.is_empty() {
        return Some(StateChange::Limit);
    }
    // A new member in front is what a tracing system may add.
    if after.len() == before.len() + 1 && after[1..] == before[..] {
        return None;
    }
    Some(match after.len() == before.len() {
        true => StateChange::Bytes,
        false => StateChange::Members,
    })
}

fn members(state: &str) -> Vec<&str> {
    state
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn written(traceparent: &str) -> Written {
        Written {
            traceparent: traceparent.to_owned(),
            tracestate: String::new(),
        }
    }

    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    #[test]
    fn forms_are_told_apart() {
        let form_of = |text: String| form(&written(&text));
        assert_eq!(form_of(format!("00-{IDS}-01")), Form::Plain);
        assert_eq!(form_of(format!("00-{IDS}-00")), Form::Plain);
        assert_eq!(form_of(format!("00-{IDS}-03")), Form::MoreFlags);
        assert_eq!(form_of(format!("01-{IDS}-01")), Form::LaterVersion);
        assert_eq!(form_of(format!("01-{IDS}-01-more")), Form::LaterVersion);
        assert_eq!(form_of(format!("00-{IDS}-01-more")), Form::Malformed);
        assert_eq!(form_of(format!("ff-{IDS}-01")), Form::ForbiddenVersion);
        assert_eq!(
            form_of(format!("00-{IDS}-01").to_uppercase()),
            Form::Malformed
        );
        assert_eq!(form_of("00-0-0-01".into()), Form::Malformed);
        let mut long = written(&format!("00-{IDS}-01"));
        let members: Vec<String> = (0..33).map(|i| format!("k{i}=v")).collect();
        long.tracestate = members[..32].join(",");
        assert_eq!(form(&long), Form::Plain);
        long.tracestate = members.join(",");
        assert_eq!(form(&long), Form::LongState);
    }

    fn ids(trace: &str, span: &str) -> (TraceId, SpanId) {
        (trace.parse().unwrap(), span.parse().unwrap())
    }

    #[test]
    fn each_damage_leaves_its_own_digits() {
        let sent = ids("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let took = |trace: &str, span: &str| damage(sent, ids(trace, span));
        assert_eq!(
            took("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"),
            None
        );
        assert_eq!(
            took("04bf92f3577b34da6a3ce929d0e0e473", "00f067aa0ba902b7"),
            Some(Damage::Padded)
        );
        assert_eq!(
            took("b49ff25377b3d46a3aec29d9e0e07463", "000f76aab09a207b"),
            None,
            "one pair of digits is as it was"
        );
        assert_eq!(
            took("b49ff253773bd46a3aec29d9e0e07463", "000f76aab09a207b"),
            Some(Damage::Permuted)
        );
        assert_eq!(
            took("bf92f3577b34da6a3ce929d0e0e47360", "0f067aa0ba902b70"),
            Some(Damage::CutAmiss)
        );
        assert_eq!(
            took("11112222333344445555666677778888", "00f067aa0ba902b7"),
            None
        );
    }

    #[test]
    fn only_what_a_hop_must_not_do_to_tracestate_is_a_change() {
        assert_eq!(state_change("a=1,b=2", "a=1,b=2"), None);
        assert_eq!(state_change("a=1 , b=2", "a=1,b=2"), None);
        assert_eq!(state_change("a=1,b=2", "new=1,a=1,b=2"), None);
        assert_eq!(state_change("a=1,b=2", "a=1"), Some(StateChange::Members));
        assert_eq!(
            state_change("a=1%20,b=2", "a=1 ,b=2"),
            Some(StateChange::Bytes)
        );
        let long: Vec<String> = (0..12)
            .map(|i| format!("k{i:02}={}", "v".repeat(40)))
            .collect();
        assert_eq!(state_change(&long.join(","), ""), Some(StateChange::Limit));
        assert_eq!(
            state_change(&long[..11].join(","), ""),
            Some(StateChange::Members)
        );
        let many: Vec<String> = (0..40).map(|i| format!("k{i}=v")).collect();
        assert_eq!(state_change(&many.join(","), ""), None);
        assert_eq!(
            state_change(&many.join(","), &many.join(",")),
            Some(StateChange::Limit)
        );
    }
}
