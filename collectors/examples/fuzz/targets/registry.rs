//! What a registry answers. What is read must be writable as rows and read back as the same.

use case::Nanos;
use case::signal::{RegistryEvent, RegistrySnapshot};
use collectors::watch::{parse_json, read_events, read_snapshot};

use crate::harness::{Target, files};

pub(super) fn target() -> Target {
    Target {
        name: "registry",
        about: "registry snapshots and event logs",
        seeds: || files("src/watch/corpus"),
        words: &[
            b"{\"instances\":[{\"id\":\"a\",\"metadata\":{",
            b"{\"events\":[{\"seq\":1,\"at\":1,\"kind\":\"x\"}]}",
            b"\"last_seen\":",
            b"\"1969-12-31T23:59:59Z\"",
            b"\"9999-12-31T23:59:59.999999999Z\"",
            b"18446744073709551615",
            b"-1",
            b"1e300",
            b"null",
            b"[[[[[[[[",
            b"{}",
            b"\\ud83d",
            b"\xff",
        ],
        run,
    }
}

fn run(input: &[u8]) -> Result<String, String> {
    let document = match parse_json(input) {
        Ok(document) => document,
        Err(error) => return Ok(error),
    };
    let mut answers = String::new();
    match read_snapshot(document.clone(), Nanos(1), "http://r".to_owned()) {
        Ok(snapshot) => {
            let line = serde_json::to_string(&snapshot)
                .map_err(|error| format!("not writable: {error}"))?;
            let again: RegistrySnapshot =
                serde_json::from_str(&line).map_err(|error| format!("not read back: {error}"))?;
            if again != snapshot {
                return Err("a snapshot changed on its way".to_owned());
            }
            answers.push_str("snapshot;");
        }
        Err(reason) => answers.push_str(&reason),
    }
    match read_events(document, "http://r") {
        Ok(batch) => {
            for event in &batch.events {
                let line = serde_json::to_string(event)
                    .map_err(|error| format!("not writable: {error}"))?;
                let again: RegistryEvent = serde_json::from_str(&line)
                    .map_err(|error| format!("not read back: {error}"))?;
                if again != *event {
                    return Err("an event changed on its way".to_owned());
                }
            }
            if batch
                .events
                .windows(2)
                .any(|pair| pair[0].seq > pair[1].seq)
            {
                return Err("events are out of order".to_owned());
            }
            answers.push_str("events;");
        }
        Err(reason) => answers.push_str(&reason),
    }
    Ok(answers)
}
