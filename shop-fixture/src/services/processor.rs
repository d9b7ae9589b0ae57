//! Owns the payment processor: the company behind payment that really moves money. It is simulated within payment's
//! process, and payment talks to it as to anybody outside: in a client span, with a timeout, and it can be out of order.

use std::time::Instant;

use tonic::Code;

use crate::error::ApiError;
use crate::resilience::timeouts;
use crate::rng::Rng;
use crate::runtime::Rt;
use crate::telemetry::{Attributes, Kind};

const HOST: &str = "processor.example";

/// What payment asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Charge,
    Authorize,
    Capture,
    Void,
    Refund,
}

impl Operation {
    /// As a fault names it.
    fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Authorize => "authorize",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Charge => "/charges",
            Self::Authorize => "/authorizations",
            Self::Capture => "/captures",
            Self::Void => "/voids",
            Self::Refund => "/refunds",
        }
    }
}

/// What the processor decided: approved, or the code with which it refuses for good.
pub type Decision = Result<(), &'static str>;

/// Asks the processor. An error is a failure to get a decision, after which asking again makes sense.
pub async fn ask(
    rt: &Rt,
    operation: Operation,
    method: &str,
    amount_cents: i64,
) -> Result<Decision, ApiError> {
    let outage = outage(rt, operation);
    if outage.as_deref() == Some("unconfigured") {
        // Nothing to call: no span leaves the process.
        return Err(ApiError::internal(
            "the processor's address is not configured",
        ));
    }
    let span = rt
        .telemetry
        .span(format!("POST {}", operation.path()), Kind::Client);
    span.set("http.request.method", "POST");
    span.set("url.template", operation.path());
    span.set("url.full", format!("https://{HOST}{}", operation.path()));
    span.set("server.address", HOST);
    span.set("server.port", 443);
    span.set("peer.service", "processor");
    let started = Instant::now();
    let answer = decide(outage.as_deref(), operation, method).await;
    let status: u16 = match &answer {
        Ok(Ok(())) => 200,
        Ok(Err(_)) => 402,
        Err(error) if error.code == Code::DeadlineExceeded => 0,
        Err(_) => 503,
    };
    let text = status.to_string();
    if status == 0 {
        span.fail("timeout", "no answer");
    } else {
        span.set("http.response.status_code", status);
        if status >= 400 {
            span.fail(&text, "");
        }
    }
    span.end();
    rt.telemetry.metrics().observe(
        "http.client.request.duration",
        &[
            ("http.request.method", "POST"),
            ("server.address", HOST),
            ("http.response.status_code", &text),
        ],
        started.elapsed().as_secs_f64(),
    );
    if let Err(error) = &answer {
        rt.telemetry.warn(
            "upstream.failed",
            "the processor gave no decision",
            Attributes::new()
                .with("upstream", "processor")
                .with("operation", operation.name())
                .with("amount_cents", amount_cents)
                .with("error.code", &error.reason)
                .with("error.details", &error.message),
        );
    }
    answer
}

async fn decide(
    outage: Option<&str>,
    operation: Operation,
    method: &str,
) -> Result<Decision, ApiError> {
    match outage {
        Some("silent") => return silence().await,
        Some("refusing") => return Ok(Err("PROCESSOR_REFUSED")),
        Some(_) => {
            return Err(ApiError::new(
                Code::Unavailable,
                "PROCESSOR_FAILED",
                "the processor answered 503",
            ));
        }
        None => {}
    }
    // Who could be charged can be refunded: the method matters when money is asked for.
    if !matches!(operation, Operation::Charge | Operation::Authorize) {
        return Ok(Ok(()));
    }
    match refusal(method) {
        _ if method == "card-timeout" => silence().await,
        Some(code) => Ok(Err(code)),
        None => Ok(Ok(())),
    }
}

/// The code with which a payment method is refused, if it is: it follows from the method, never from the network.
#[must_use]
pub fn refusal(method: &str) -> Option<&'static str> {
    match method {
        "card" | "card-456" | "card-timeout" => None,
        "card-expired" => Some("CARD_EXPIRED"),
        "card-insufficient" => Some("INSUFFICIENT_FUNDS"),
        "card-fraud" => Some("FRAUD"),
        _ => Some("DECLINED"),
    }
}

async fn silence() -> Result<Decision, ApiError> {
    tokio::time::sleep(timeouts::PROCESSOR).await;
    Err(ApiError::new(
        Code::DeadlineExceeded,
        "PROCESSOR_TIMEOUT",
        "the processor did not answer",
    ))
}

/// How the processor is out of order for this request, if it is.
fn outage(rt: &Rt, operation: Operation) -> Option<String> {
    if operation == Operation::Refund
        && let Some(params) = rt.faults.find("processor_refunds")
    {
        return Some(params["mode"].as_str().unwrap_or_default().to_owned());
    }
    let params = rt.faults.find("processor_down")?;
    let meant = params["operation"]
        .as_str()
        .is_none_or(|wanted| wanted == operation.name());
    let share = params["share"].as_f64().unwrap_or(1.0);
    let strikes = meant && Rng::new(crate::ids::random_u64()).chance(share);
    strikes.then(|| params["mode"].as_str().unwrap_or_default().to_owned())
}
