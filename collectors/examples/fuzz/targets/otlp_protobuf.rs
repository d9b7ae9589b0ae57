//! OTLP protobuf to JSON. What is accepted must mean the same after a round trip.

use case::Signal;
use collectors::otlp::json::{json_to_protobuf, protobuf_to_json};

use super::otlp_json::round_trip;
use crate::harness::{Target, files};

const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

pub(super) fn target() -> Target {
    Target {
        name: "otlp-protobuf",
        about: "OTLP protobuf requests of all three signals",
        seeds,
        words: &[
            b"\x0a\x00",
            b"\x12\x02\x0a\x00",
            b"\x2a\x02\x0a\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
            b"\x0b\x0c",
            b"\x39\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x21\x00\x00\x00\x00\x00\x00\xf8\x7f",
            b"\x08\x01",
        ],
        run,
    }
}

/// The JSON corpus as protobuf.
fn seeds() -> std::io::Result<Vec<Vec<u8>>> {
    let json = files("src/otlp/json/corpus")?;
    let encoded = json
        .iter()
        .flat_map(|json| SIGNALS.map(|signal| json_to_protobuf(signal, json).ok()));
    Ok(encoded
        .flatten()
        .filter(|bytes| !bytes.is_empty())
        .collect())
}

fn run(input: &[u8]) -> Result<String, String> {
    let mut answers = String::new();
    for signal in SIGNALS {
        match protobuf_to_json(signal, input) {
            Ok(_) => {
                round_trip(signal, input)?;
                answers.push_str("taken;");
            }
            Err(error) => answers.push_str(error.reason),
        }
    }
    Ok(answers)
}
