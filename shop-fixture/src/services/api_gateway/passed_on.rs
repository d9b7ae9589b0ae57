//! Owns the gateway's routes to services that speak HTTP: path, known parameters and body are passed on, and the answer
//! comes back as it is. What a body must look like is the service's own to say.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::routes::{DEFAULT_USER, keyed_options};
use crate::call::CallOptions;
use crate::call::http::{HttpAsk, send};
use crate::catalog::{CART, REVIEWS, SEARCH};
use crate::error::ApiError;
use crate::propagation::baggage::percent_encode;
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::parse;

/// One route: where it leads, and how.
struct Passed {
    method: Method,
    path: &'static str,
    service: &'static str,
    /// The service's own path, with the same variable as `path`.
    to: &'static str,
    /// Query parameters that are handed on.
    query: &'static [&'static str],
    timeout_s: u64,
    retry: retry::Class,
}

const fn passed(
    method: Method,
    path: &'static str,
    service: &'static str,
    to: &'static str,
    query: &'static [&'static str],
    timeout_s: u64,
    retry: retry::Class,
) -> Passed {
    Passed {
        method,
        path,
        service,
        to,
        query,
        timeout_s,
        retry,
    }
}

const ROUTES: &[Passed] = &[
    passed(
        Method::GET,
        "/api/v1/cart",
        CART,
        "/cart",
        &[],
        3,
        retry::Class::Read,
    ),
    passed(
        Method::POST,
        "/api/v1/cart/add",
        CART,
        "/cart/add",
        &[],
        5,
        retry::Class::None,
    ),
    passed(
        Method::DELETE,
        "/api/v1/cart/items/{product_id}",
        CART,
        "/cart/items/{product_id}",
        &[],
        5,
        retry::Class::None,
    ),
    passed(
        Method::GET,
        "/api/v1/search",
        SEARCH,
        "/search",
        &["q", "brand", "category", "price_min", "price_max", "limit"],
        5,
        retry::Class::Read,
    ),
    passed(
        Method::GET,
        "/api/v1/reviews",
        REVIEWS,
        "/reviews",
        &["product_id", "limit"],
        5,
        retry::Class::Read,
    ),
    passed(
        Method::POST,
        "/api/v1/reviews",
        REVIEWS,
        "/reviews",
        &[],
        5,
        retry::Class::WriteKeyed,
    ),
];

pub(super) fn router(rt: &Rt) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let shared = Arc::clone(rt);
        router = router.route(
            route.method.clone(),
            route.path,
            Class::Business,
            move |request: HttpRequest| {
                let rt = Arc::clone(&shared);
                async move { pass_on(&rt, route, &request).await }
            },
        );
    }
    router
}

async fn pass_on(rt: &Rt, route: &Passed, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let body: Option<Value> = match route.method {
        Method::POST | Method::PUT => Some(parse(&request.body)?),
        _ => None,
    };
    let mut path = match route.to.split_once("/{") {
        None => route.to.to_owned(),
        Some((before, variable)) => {
            let name = variable.trim_end_matches('}');
            format!("{before}/{}", percent_encode(request.param(name)))
        }
    };
    let user = request.header("x-user-id").unwrap_or(DEFAULT_USER);
    path.push_str(&format!("?user_id={}", percent_encode(user)));
    for name in route.query {
        if let Some(value) = request.query(name) {
            path.push_str(&format!("&{name}={}", percent_encode(value)));
        }
    }
    let options = match route.retry {
        retry::Class::WriteKeyed => CallOptions {
            timeout: Duration::from_secs(route.timeout_s),
            ..keyed_options(route.service, request.header("idempotency-key"))?
        },
        retry => CallOptions {
            service: route.service,
            timeout: Duration::from_secs(route.timeout_s),
            retry,
            key: None,
        },
    };
    let ask = HttpAsk {
        method: route.method.clone(),
        template: route.to,
        path: &path,
        body: body.as_ref(),
    };
    let answer = send(rt, &ask, options).await?;
    Ok(HttpReply::json(answer.status, answer.body))
}
