//! The way of one body, once read: decompressed, made protobuf, handed to the sink, and its receipt awaited.
//!
//! Both transports come through here, so limits, counts and refusals are the same for both.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use case::{Receipt, Signal};
use tokio::sync::{Semaphore, oneshot};

use super::budget::{Budget, Share};
use super::counters::Counters;
use super::options::{Limits, Timeouts};
use super::refusal::Refusal;
use super::sink::Sink;
use crate::otlp::compression::{self, Compression};
use crate::otlp::json::json_to_protobuf_within;

/// Compressed or JSON bodies beyond this leave the threads that serve connections: a bomb inside one, or the parsing
/// of a large one, would hold up everybody else.
const HEAVY: usize = 256 << 10;

/// The same for bodies that are only to be checked.
const HEAVY_AS_IT_IS: usize = 4 << 20;

/// What all connections of a receiver share.
pub(super) struct Shared {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) token: Option<String>,
    pub(super) budget: Arc<Budget>,
    pub(super) counters: Arc<Counters>,
    /// As many heavy bodies at a time as there are processors.
    pub(super) heavy: Arc<Semaphore>,
}

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Protobuf,
    Json,
}

/// A body that has been read whole.
pub(super) struct Arrived {
    pub(super) signal: Signal,
    pub(super) form: Form,
    pub(super) compression: Compression,
    pub(super) body: Bytes,
    pub(super) share: Share,
}

impl Arrived {
    fn is_heavy(&self) -> bool {
        let bound = match (self.compression, self.form) {
            (Compression::None, Form::Protobuf) => HEAVY_AS_IT_IS,
            _ => HEAVY,
        };
        self.body.len() > bound
    }
}

/// Returns when the sink has answered.
pub(super) async fn take_in(shared: &Arc<Shared>, arrived: Arrived) -> Result<Receipt, Refusal> {
    shared.counters.received(arrived.signal, arrived.body.len());
    let (answer, answered) = oneshot::channel();
    if arrived.is_heavy() {
        let heavy = Arc::clone(&shared.heavy).acquire_owned().await;
        let shared = Arc::clone(shared);
        let work = move || {
            let handed_on = hand_on(&shared, arrived, answer);
            drop(heavy);
            handed_on
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(handed_on) => handed_on?,
            Err(error) => return Err(Refusal::Internal(format!("decoding failed: {error}"))),
        }
    } else {
        hand_on(shared, arrived, answer)?;
    }
    match answered.await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::Busy {
            reason: "the case went away before it answered".to_owned(),
            retry_after: Duration::from_secs(5),
        }),
    }
}

fn hand_on(
    shared: &Shared,
    arrived: Arrived,
    answer: oneshot::Sender<Result<Receipt, Refusal>>,
) -> Result<(), Refusal> {
    let Arrived {
        signal,
        form,
        compression,
        body,
        mut share,
    } = arrived;
    let limit = shared.limits.decoded_bytes;
    let decompressed = match compression {
        Compression::None if body.len() > limit => {
            return Err(Refusal::TooLarge(format!(
                "more than {limit} bytes in one request"
            )));
        }
        Compression::None => body,
        compression => {
            let output =
                compression::decompress(compression, &body, limit, &mut |bytes| share.grow(bytes))?;
            drop(body);
            share.shrink_to(output.len());
            output.into()
        }
    };
    let payload = match form {
        Form::Protobuf => decompressed,
        Form::Json => transcode(signal, decompressed, limit, &mut share)?,
    };
    shared.counters.handed_on(signal, payload.len());
    let counters = Arc::clone(&shared.counters);
    let done = move |outcome: Result<Receipt, case::AppendError>| {
        // Until here the payload waited in the sink, and its bytes counted as in flight.
        drop(share);
        if let Ok(receipt) = &outcome {
            counters.acknowledged(signal, receipt);
        }
        // Nobody listens any more when the client went away; what is kept stays kept.
        let _ = answer.send(outcome.map_err(Refusal::from));
    };
    shared.sink.submit(signal, payload, Box::new(done));
    Ok(())
}

fn transcode(
    signal: Signal,
    json: Bytes,
    limit: usize,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    // Protobuf is nearly always the shorter of the two; what it may take beyond is made up for below.
    if !share.grow(json.len()) {
        return Err(Refusal::over_budget());
    }
    let protobuf = json_to_protobuf_within(signal, &json, limit)
        .map_err(|error| Refusal::Malformed(format!("invalid JSON request: {error}")))?;
    let beyond = protobuf.len().saturating_sub(json.len());
    drop(json);
    if !share.grow(beyond) {
        return Err(Refusal::over_budget());
    }
    share.shrink_to(protobuf.len());
    Ok(protobuf.into())
}
