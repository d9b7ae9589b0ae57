//! Owns who may change the registry: instances show a token. A caller without one is let in unless the shop was started
//! with `--registry-auth required`; a token that is shown must hold in any case.

use serde_json::Value;
use tonic::Code;

use crate::config::RegistryAuth;
use crate::discovery::token;
use crate::error::ApiError;
use crate::runtime::Rt;
use crate::server::http::HttpRequest;
use crate::telemetry::Attributes;

/// Lets a request in, or says why not; the log names the client that was turned away.
pub(super) fn admit(rt: &Rt, request: &HttpRequest) -> Result<(), ApiError> {
    let Some(shown) = request.header("authorization") else {
        if rt.config.registry_auth == RegistryAuth::Open {
            return Ok(());
        }
        let error = denial("TOKEN_MISSING", "a token is needed");
        return Err(refused(rt, request, error));
    };
    let now_s = rt.clock.now() / 1_000_000_000;
    let token = shown.strip_prefix("Bearer ").unwrap_or(shown);
    token::check(&rt.config.registry_secret, token, now_s)
        .map(|_| ())
        .map_err(|error| refused(rt, request, denial(error.reason(), &error.to_string())))
}

fn denial(reason: &str, message: &str) -> ApiError {
    ApiError::new(Code::Unauthenticated, reason, message)
}

/// Logs that a change was refused, and whose it was as far as its body says.
pub(super) fn refused(rt: &Rt, request: &HttpRequest, error: ApiError) -> ApiError {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| {
        body[name]
            .as_str()
            .map(|text| text.chars().take(256).collect::<String>())
    };
    rt.telemetry.warn(
        "registry.refused",
        "a change to the registry was refused",
        Attributes::new()
            .with_some("instance_id", text("id"))
            .with_some("name", text("name"))
            .with("error.code", &error.reason)
            .with("error.details", &error.message),
    );
    error
}
