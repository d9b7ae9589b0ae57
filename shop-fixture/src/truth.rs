//! Owns `run/truth.jsonl`: what was done to the shop on purpose. It is never exported as telemetry.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::runtime::Rt;

/// Appends one line; short appends of several processes do not mix.
pub fn append(run_dir: &Path, line: &Value) {
    let path = run_dir.join("truth.jsonl");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    if let Ok(mut file) = file {
        // The truth is for graders: losing a line must not change what the shop does.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// A behaviour string that came in at the gateway.
pub fn behaviour_seen(rt: &Rt, text: &str, trace_id: &str) {
    let at = rfc3339(rt.clock.now());
    let line = json!({ "at": at, "what": "behaviour", "behaviour": text, "trace_id": trace_id });
    append(&rt.config.run_dir, &line);
}
