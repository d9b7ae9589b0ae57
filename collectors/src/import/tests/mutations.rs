//! Every importer over captures with bytes changed, cut and repeated: nothing may panic, hang, or count wrong.

use super::*;
use crate::import::Format;

/// xorshift64*: the same mutations on every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Bytes that mean something to one of the formats.
const WORDS: [&[u8]; 16] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\0",
    b"null",
    b"1e999",
    b"-1",
    b"\xff\xfe",
    b"\"a\":{",
    b"99999999999999999999",
];

fn mutate(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(out.len());
        match dice.below(5) {
            0 => out[at] ^= 1 << dice.below(8),
            1 => out.truncate(at.max(1)),
            2 => {
                let word = WORDS[dice.below(WORDS.len())];
                out.splice(at..at, word.iter().copied());
            }
            3 => {
                let until = (at + dice.below(64)).min(out.len());
                out.drain(at..until);
            }
            _ => {
                let until = (at + dice.below(256)).min(out.len());
                let again = out[at..until].to_vec();
                out.splice(at..at, again);
            }
        }
        if out.is_empty() {
            out.push(b'{');
        }
    }
    out
}

/// What is taken must be what is counted, whatever was done to the bytes.
fn check(bytes: Vec<u8>, format: Format) {
    let options = Options {
        format: Some(format),
        ..Options::default()
    };
    if let Ok((report, taken)) = run_with(Input::memory("f", bytes), &options) {
        assert_eq!(report.spans, taken.spans().len() as u64);
        assert_eq!(report.logs, taken.logs().len() as u64);
        assert_eq!(report.points, taken.points() as u64);
    }
}

#[test]
fn mutated_captures_are_read_or_refused() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (_, bytes) in CAPTURES {
        let format = run(bytes).0.format;
        for _ in 0..150 {
            let mutated = mutate(bytes, &mut dice);
            check(mutated.clone(), format);
            let _ = run_with(Input::memory("f", mutated), &Options::default());
        }
    }
}

#[test]
fn mutated_protobuf_is_read_or_refused() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for name in [
        "example-trace",
        "example-logs",
        "example-metrics",
        "otel-tui-demo",
    ] {
        let (_, taken) = run(capture(name));
        let one = taken.requests[0].1.to_vec();
        let mut stream = Vec::new();
        for (_, payload) in &taken.requests {
            stream.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
            stream.extend_from_slice(payload);
        }
        for _ in 0..300 {
            check(mutate(&one, &mut dice), Format::OtlpProtobuf);
            check(mutate(&stream, &mut dice), Format::OtlpProtobufStream);
            check(
                mutate(&zstd(&stream), &mut dice),
                Format::OtlpProtobufStream,
            );
        }
    }
}

#[test]
fn every_capture_cut_at_every_few_bytes_is_read_or_refused() {
    for (_, bytes) in CAPTURES {
        let format = run(bytes).0.format;
        for end in (1..bytes.len()).step_by(97) {
            check(bytes[..end].to_vec(), format);
        }
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    for open in ["[", "{\"a\":", "{\"data\":[", "{\"resourceSpans\":[{\"a\":"] {
        let deep = open.repeat(100_000);
        for format in Format::ALL {
            check(deep.clone().into_bytes(), format);
        }
    }
    let value = format!(
        "{{\"ts\":1,\"msg\":{}1{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    check(value.into_bytes(), Format::JsonLogs);
}
