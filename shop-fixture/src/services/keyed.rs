//! Owns the usual way of a keyed change: look at the key, make the change and settle the key in one transaction, answer a
//! repetition from the record. Services with more to do in between use `idempotency` themselves.

use std::sync::Arc;

use prost::Message;
use serde_json::Value;

use crate::context;
use crate::error::ApiError;
use crate::idempotency::{self, Begin};
use crate::messaging::Staged;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};

/// What a change brings: its answer, and the events to publish.
pub struct Changed<T> {
    pub answer: T,
    pub staged: Vec<Staged>,
    /// Answered from the record; nothing was changed and nothing is to be told.
    pub replayed: bool,
}

impl<T> Changed<T> {
    pub fn new(answer: T) -> Self {
        Self {
            answer,
            staged: Vec::new(),
            replayed: false,
        }
    }
}

/// Runs `change` once per idempotency key of the present request; its answer is a protobuf message.
pub async fn run<T>(
    rt: &Rt,
    method: &'static str,
    payload: &Value,
    change: impl FnOnce(&Tx<'_>) -> Result<Result<Changed<T>, ApiError>, StoreError> + Send + 'static,
) -> Result<Changed<T>, ApiError>
where
    T: Message + Default + Send + 'static,
{
    let decode = |bytes: &[u8]| T::decode(bytes).ok();
    run_as(rt, method, payload, T::encode_to_vec, decode, change).await
}

/// The same for an answer in JSON.
pub async fn run_json(
    rt: &Rt,
    method: &'static str,
    payload: &Value,
    change: impl FnOnce(&Tx<'_>) -> Result<Result<Changed<Value>, ApiError>, StoreError>
    + Send
    + 'static,
) -> Result<Changed<Value>, ApiError> {
    let encode = |value: &Value| value.to_string().into_bytes();
    let decode = |bytes: &[u8]| serde_json::from_slice(bytes).ok();
    run_as(rt, method, payload, encode, decode, change).await
}

/// A refusal is recorded as well, if it would come again.
async fn run_as<T: Send + 'static>(
    rt: &Rt,
    method: &'static str,
    payload: &Value,
    encode: fn(&T) -> Vec<u8>,
    decode: impl FnOnce(&[u8]) -> Option<T>,
    change: impl FnOnce(&Tx<'_>) -> Result<Result<Changed<T>, ApiError>, StoreError> + Send + 'static,
) -> Result<Changed<T>, ApiError> {
    let key = context::current().shared.idempotency_key.clone();
    let ticket = match idempotency::begin(rt, key.as_deref(), method, payload).await? {
        Begin::Replay(outcome) => {
            let answer = decode(outcome?.as_slice())
                .ok_or_else(|| ApiError::internal("the stored answer is not readable"))?;
            return Ok(Changed {
                replayed: true,
                ..Changed::new(answer)
            });
        }
        Begin::Run(ticket) => Arc::new(ticket),
    };
    let settle = Arc::clone(&ticket);
    let stored = rt
        .store()?
        .write::<_, StoreError, _>(move |tx| {
            let outcome = change(tx)?;
            match &outcome {
                Ok(changed) => settle.complete(tx, &encode(&changed.answer))?,
                Err(error) if error.is_definite() => settle.refuse(tx, error)?,
                Err(_) => settle.forget(tx)?,
            }
            Ok(outcome)
        })
        .await;
    match stored {
        Ok(outcome) => outcome,
        Err(error) => {
            let error = ApiError::from(error);
            ticket.as_ref().clone().settle_failure(rt, &error).await?;
            Err(error)
        }
    }
}
