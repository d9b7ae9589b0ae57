//! Owns a unary gRPC call to another service.

use std::error::Error;
use std::time::Instant;

use http::uri::PathAndQuery;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::{Attempted, Attempts, CallError, CallOptions, Verdict, spoil, transport_kind};
use crate::context;
use crate::discovery::Instance;
use crate::error::{ApiError, code_text};
use crate::propagation;
use crate::report::{GRPC_TRAILER, Part};
use crate::runtime::Rt;
use crate::telemetry::{Kind, Span};

/// Calls `method`, such as `payments.v1.PaymentsService/ProcessPayment`.
pub async fn unary<Req, Res>(
    rt: &Rt,
    method: &'static str,
    options: CallOptions<'_>,
    request: Req,
) -> Result<Res, CallError>
where
    Req: Message + Clone + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    let mut attempts = Attempts::new(rt, options);
    let mut number = 0;
    loop {
        let verdict = match attempts.next_instance().await {
            Err(error) => attempts.failed(error).await,
            Ok((instance, place)) => {
                let attempted =
                    attempt::<Req, Res>(rt, method, &options, &request, &instance, number).await;
                drop(place);
                attempts.settle(&instance.id, attempted).await
            }
        };
        match verdict {
            Verdict::Done(outcome) => return outcome,
            Verdict::Again => number += 1,
        }
    }
}

async fn attempt<Req, Res>(
    rt: &Rt,
    method: &'static str,
    options: &CallOptions<'_>,
    request: &Req,
    instance: &Instance,
    number: u32,
) -> Attempted<Res>
where
    Req: Message + Clone + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    let span = rt.telemetry.span(method, Kind::Client);
    span.set("rpc.system.name", "grpc");
    span.set("rpc.method", method);
    span.set("server.address", &instance.host);
    span.set("server.port", instance.port);
    span.set("shop.instance.target", &instance.id);
    if number > 0 {
        span.set("shop.call.resend_count", number);
    }
    let started = Instant::now();
    let sent = send::<Req, Res>(rt, method, options, request, instance, &span);
    let outcome = match tokio::time::timeout(options.timeout, sent).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let error = ApiError::new(
                Code::DeadlineExceeded,
                "TIMEOUT",
                format!(
                    "{} did not answer within {} ms",
                    options.service,
                    options.timeout.as_millis()
                ),
            );
            Err((CallError::unknown(error).by("timeout"), None))
        }
    };
    let duration = started.elapsed();
    let (result, part) = match outcome {
        Ok((reply, part)) => (Ok(reply), part),
        Err((error, part)) => (Err(error), part),
    };
    let code = result
        .as_ref()
        .err()
        .map_or(Code::Ok, |error| error.api.code);
    span.set("rpc.response.status_code", code_text(code));
    if let Err(error) = &result {
        span.fail(
            error.transport.unwrap_or_else(|| code_text(code)),
            &error.api.message,
        );
    }
    span.end();
    let labels = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", method),
        ("rpc.response.status_code", code_text(code)),
        ("server.address", instance.host.as_str()),
    ];
    rt.telemetry
        .metrics()
        .observe("rpc.client.call.duration", &labels, duration.as_secs_f64());
    Attempted {
        result,
        part,
        uri: format!("grpc://{}/{method}", options.service),
        protocol: "grpc",
        duration,
    }
}

type Sent<R> = Result<(R, Option<Part>), (CallError, Option<Part>)>;

async fn send<Req, Res>(
    rt: &Rt,
    method: &'static str,
    options: &CallOptions<'_>,
    body: &Req,
    instance: &Instance,
    span: &Span,
) -> Sent<Res>
where
    Req: Message + Clone + Send + Sync + 'static,
    Res: Message + Default + Send + Sync + 'static,
{
    if crate::faults::is_call_cut_off(rt, options.service, options.key) {
        std::future::pending::<()>().await;
    }
    let refuse = |error: ApiError| (CallError::not_sent(error), None);
    let channel = rt
        .connections
        .channel(&instance.address())
        .map_err(refuse)?;
    let path = PathAndQuery::try_from(format!("/{method}"))
        .map_err(|error| refuse(ApiError::internal(error.to_string())))?;
    let mut request = Request::new(body.clone());
    let headers = outgoing_headers(rt, span, options.key, "grpc").await;
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    let mut client = tonic::client::Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| classify(options.service, &Status::from_error(Box::new(error))))?;
    match client
        .unary(request, path, ProstCodec::<Req, Res>::default())
        .await
    {
        Ok(reply) => {
            let part = part_of(reply.metadata());
            Ok((reply.into_inner(), part))
        }
        Err(status) => Err(classify(options.service, &status)),
    }
}

/// The headers that every hop carries: context, baggage, user and key.
pub(super) async fn outgoing_headers(
    rt: &Rt,
    span: &Span,
    key: Option<&str>,
    transport: &str,
) -> http::HeaderMap {
    let mut headers = http::HeaderMap::new();
    let context = context::current();
    spoil::end_before_call(rt, &context);
    let told = spoil::told(rt, span, &context).await;
    propagation::inject(&mut headers, &told, &context.shared.baggage);
    spoil::headers(rt, &mut headers, transport);
    let mut put = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| http::HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    put("idempotency-key", key);
    put("x-user-id", context.shared.user_id.as_deref());
    headers
}

fn part_of(metadata: &MetadataMap) -> Option<Part> {
    let bytes = metadata.get_bin(GRPC_TRAILER)?.to_bytes().ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Tells an answer of the callee from a failure of the way to it: only the latter has a source.
fn classify(service: &str, status: &Status) -> (CallError, Option<Part>) {
    let Some(source) = status.source() else {
        return (
            CallError::definite(ApiError::from_status(status)),
            part_of(status.metadata()),
        );
    };
    let kind = transport_kind(source);
    // Without a connection nothing can have been sent.
    let refused = matches!(kind, "refused" | "host_unreachable" | "dns");
    if refused {
        let error = ApiError::new(
            Code::Unavailable,
            "CONNECTION_REFUSED",
            format!("{service} refused the connection"),
        );
        return (CallError::not_sent(error).by(kind), None);
    }
    let error = ApiError::new(
        Code::Unavailable,
        "CONNECTION_LOST",
        format!("the connection to {service} was lost"),
    );
    (CallError::unknown(error).by(kind), None)
}
