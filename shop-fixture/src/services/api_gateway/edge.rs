//! Owns the gateway's edge: which baggage may come in, behaviour strings from query and header, and the envelope around
//! every answer under `/api/v1`.

use serde_json::{Value, json};
use tonic::Code;

use crate::behaviour::Behaviour;
use crate::clock::rfc3339;
use crate::error::ApiError;
use crate::propagation::{Baggage, baggage};
use crate::report::{duration_text, flatten};
use crate::runtime::Rt;
use crate::server::Begun;
use crate::server::http::{Edge, HttpReply, HttpRequest};

pub struct GatewayEdge;

impl Edge for GatewayEdge {
    fn admit(&self, rt: &Rt, request: &HttpRequest, carried: &mut Baggage) -> Result<(), ApiError> {
        if !rt.config.trust_baggage {
            for member in baggage::OURS {
                carried.remove(member);
            }
        }
        if is_enveloped(&request.path) {
            carried.set(baggage::REPORT, "1");
        }
        let text = request
            .query("behavior")
            .or_else(|| request.header("x-behavior"))
            .map(str::to_owned);
        let text = text.or_else(|| carried.get(baggage::BEHAVIOR));
        let Some(text) = text else { return Ok(()) };
        carried.remove(baggage::BEHAVIOR);
        Behaviour::parse(&text).map_err(|error| {
            ApiError::new(Code::InvalidArgument, "INVALID_BEHAVIOR", error.to_string())
                .fact("position", error.position)
        })?;
        if !text.is_empty() {
            carried.set(baggage::BEHAVIOR, &text);
            crate::truth::behaviour_seen(rt, &text);
        }
        Ok(())
    }

    fn dress(
        &self,
        rt: &Rt,
        request: &HttpRequest,
        begun: &Begun,
        started: u64,
        outcome: Result<HttpReply, ApiError>,
    ) -> HttpReply {
        let trace_id = begun.span.context().trace_hex();
        if !is_enveloped(&request.path) {
            return outcome.unwrap_or_else(|error| HttpReply::from_error(&error, Some(&trace_id)));
        }
        let (mut reply, payload, error) = match outcome {
            Ok(reply) => {
                let payload = reply.json.clone().unwrap_or(Value::Null);
                (reply, payload, None)
            }
            Err(error) => {
                let mut body = error.body(Some(&trace_id));
                (
                    HttpReply::from_error(&error, Some(&trace_id)),
                    Value::Null,
                    Some(body["error"].take()),
                )
            }
        };
        let ended = rt.clock.now();
        let (calls, applied) = begun.context.gathered();
        let identity = rt.telemetry.identity();
        let mut envelope = json!({
            "service": {
                "name": identity.service,
                "version": identity.version,
                "namespace": identity.namespace,
                "instance": identity.instance_id,
                "protocol": "http",
            },
            "start_time": rfc3339(started),
            "end_time": rfc3339(ended),
            "duration": duration_text(ended.saturating_sub(started)),
            "code": reply.status,
            "body": payload,
            "trace_id": trace_id,
            "span_id": begun.span.context().span_hex(),
            "all_calls": flatten(rt.spec.name, &calls),
            "upstream_calls": calls,
        });
        if !rt.config.blind {
            envelope["behaviors_applied"] = json!(applied);
        }
        if let Some(error) = error {
            envelope["error"] = error;
        }
        reply.body = serde_json::to_vec(&envelope).unwrap_or_default().into();
        reply.json = Some(envelope);
        reply
    }
}

fn is_enveloped(path: &str) -> bool {
    path == "/api/v1" || path.starts_with("/api/v1/")
}
