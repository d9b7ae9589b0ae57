//! Owns outgoing calls to other services: choosing an instance, the client span, context and key on the wire, breaker,
//! retries, metrics and the report. `grpc` and `http` are the two transports.

pub mod grpc;
pub mod http;
mod spoil;
mod transport;

pub use transport::transport_kind;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::context;
use crate::discovery::Instance;
use crate::error::ApiError;
use crate::report::{Part, UpstreamCall, duration_text};
use crate::resilience::{Place, retry, timeouts};
use crate::runtime::Rt;
use crate::telemetry::Attributes;

/// What is known of a call that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// The callee answered.
    Definite,
    /// Sent, and no answer came: it may have happened.
    Unknown,
    /// Nothing reached the callee.
    NotSent,
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {}", api.reason, api.message)]
pub struct CallError {
    pub certainty: Certainty,
    pub api: ApiError,
    /// How the way to the callee failed, if that is what failed.
    pub transport: Option<&'static str>,
}

impl CallError {
    #[must_use]
    pub fn definite(api: ApiError) -> Self {
        Self {
            certainty: Certainty::Definite,
            api,
            transport: None,
        }
    }

    #[must_use]
    pub fn not_sent(api: ApiError) -> Self {
        Self {
            certainty: Certainty::NotSent,
            api,
            transport: None,
        }
    }

    #[must_use]
    pub fn unknown(api: ApiError) -> Self {
        Self {
            certainty: Certainty::Unknown,
            api,
            transport: None,
        }
    }

    /// The same, with how the way there failed.
    #[must_use]
    pub fn by(self, transport: &'static str) -> Self {
        Self {
            transport: Some(transport),
            ..self
        }
    }

    /// What breakers count: the callee's own failure, not its refusal.
    #[must_use]
    pub fn is_server_failure(&self) -> bool {
        matches!(
            self.api.code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        )
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        error.api
    }
}

/// How a call to another service is made.
#[derive(Debug, Clone, Copy)]
pub struct CallOptions<'a> {
    pub service: &'static str,
    pub timeout: Duration,
    pub retry: retry::Class,
    pub key: Option<&'a str>,
}

/// gRPC channels by address, and the HTTP client.
pub struct Connections {
    channels: Mutex<HashMap<String, Channel>>,
    pub http: reqwest::Client,
}

/// Addresses come and go with restarts; beyond this many the old channels are let go.
const MAX_CHANNELS: usize = 64;

impl Connections {
    #[must_use]
    pub fn new() -> Self {
        Self {
            channels: Mutex::new(HashMap::new()),
            http: http_client(),
        }
    }

    pub fn channel(&self, address: &str) -> Result<Channel, ApiError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| {
                ApiError::new(
                    Code::Unavailable,
                    "BAD_ADDRESS",
                    "the registered address is not usable",
                )
            })?
            .connect_timeout(timeouts::CONNECT)
            .connect_lazy();
        if channels.len() >= MAX_CHANNELS {
            channels.clear();
        }
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that never leaves the machine by a proxy of the environment.
#[must_use]
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(timeouts::CONNECT)
        .pool_max_idle_per_host(20)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap_or_default()
}

/// One attempt's outcome, with what the callee reported of itself.
pub(crate) struct Attempted<R> {
    result: Result<R, CallError>,
    part: Option<Part>,
    uri: String,
    protocol: &'static str,
    duration: Duration,
}

/// Whether another attempt follows.
pub(crate) enum Verdict<R> {
    Done(Result<R, CallError>),
    Again,
}

/// The attempts of one call: until one succeeds, fails for good, or the retry rules end it.
pub(crate) struct Attempts<'a> {
    rt: &'a Rt,
    options: CallOptions<'a>,
    /// Attempts made so far.
    number: u32,
    rng: crate::rng::Rng,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(rt: &'a Rt, options: CallOptions<'a>) -> Self {
        Self {
            rt,
            options,
            number: 0,
            rng: crate::rng::Rng::new(crate::ids::random_u64()),
        }
    }

    /// Chooses the instance of the next attempt, unless the bulkhead, the breaker or the registry refuses. The place is
    /// held until the attempt is over.
    pub(crate) async fn next_instance(&self) -> Result<(Instance, Place), CallError> {
        self.rt
            .resilience
            .count_request(self.rt, self.options.service);
        prepare(self.rt, &self.options)
            .await
            .map_err(CallError::not_sent)
    }

    /// Counts an attempt and says whether another one follows.
    pub(crate) async fn settle<R>(
        &mut self,
        instance: &str,
        attempted: Attempted<R>,
    ) -> Verdict<R> {
        settle(self.rt, self.options.service, instance, &attempted);
        match attempted.result {
            Ok(reply) => Verdict::Done(Ok(reply)),
            Err(error) => self.failed(error).await,
        }
    }

    pub(crate) async fn failed<R>(&mut self, error: CallError) -> Verdict<R> {
        let (rt, upstream) = (self.rt, self.options.service);
        self.number += 1;
        let retry_on = rt.config.resilience == crate::config::Resilience::On;
        let pause = if retry_on {
            retry::pause(self.options.retry, &error, self.number, &mut self.rng)
        } else {
            None
        };
        let attributes = Attributes::new()
            .with("upstream", upstream)
            .with("attempt", self.number)
            .with("error.code", &error.api.reason)
            .with("error.details", &error.api.message);
        match pause {
            Some(pause) if rt.resilience.take_retry(rt, upstream) => {
                rt.telemetry.warn(
                    "retry.scheduled",
                    "call failed and will be tried again",
                    attributes,
                );
                tokio::time::sleep(pause).await;
                Verdict::Again
            }
            _ => {
                if error.is_server_failure() {
                    rt.telemetry.error(
                        "upstream.failed",
                        "call to another service failed",
                        attributes,
                    );
                }
                Verdict::Done(Err(error))
            }
        }
    }
}

async fn prepare(rt: &Rt, options: &CallOptions<'_>) -> Result<(Instance, Place), ApiError> {
    let upstream = options.service;
    // The breaker comes last: a trial that it let through must really be made.
    let place = rt
        .resilience
        .bulkheads
        .enter(rt, upstream, options.timeout)
        .await?;
    rt.resilience.admit(rt, upstream)?;
    let instance = crate::discovery::pick(rt, upstream).await?;
    Ok((instance, place))
}

fn settle<R>(rt: &Rt, upstream: &'static str, instance: &str, attempted: &Attempted<R>) {
    let failed = attempted
        .result
        .as_ref()
        .err()
        .is_some_and(CallError::is_server_failure);
    rt.resilience.record(rt, upstream, failed);
    let (code, error) = match &attempted.result {
        Ok(_) => (200, None),
        Err(error) => (
            error.api.http_status(),
            Some(format!("{}: {}", error.api.reason, error.api.message)),
        ),
    };
    if let Err(error) = &attempted.result
        && error.certainty != Certainty::Definite
    {
        rt.discovery.skip(rt, upstream, instance);
    }
    let metrics = rt.telemetry.metrics();
    let text = code.to_string();
    let labels = [
        ("service", rt.spec.name),
        ("upstream", upstream),
        ("code", text.as_str()),
        ("status", text.as_str()),
    ];
    metrics.add("testservice_upstream_calls_total", &labels, 1.0);
    let labels = [("service", rt.spec.name), ("upstream", upstream)];
    metrics.observe(
        "testservice_upstream_duration_seconds",
        &labels,
        attempted.duration.as_secs_f64(),
    );
    let part = attempted.part.clone().unwrap_or_default();
    context::current().record_call(UpstreamCall {
        name: upstream.to_owned(),
        uri: attempted.uri.clone(),
        protocol: attempted.protocol.to_owned(),
        code,
        duration: duration_text(attempted.duration.as_nanos() as u64),
        error,
        behaviors_applied: part.behaviors_applied,
        upstream_calls: part.upstream_calls,
        truncated: part.truncated,
    });
}
