//! Owns serving gRPC: HTTP/2 connections, and the tracing around the generated services. The part of the report travels
//! in a trailer.

use std::sync::Arc;

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower_service::Service;

use super::filter::Filter;
use super::{Done, begin, is_server_failure, while_hanging};
use crate::context::Context;
use crate::error::{ApiError, code_text};
use crate::faults::saga;
use crate::report::{GRPC_TRAILER, Part};
use crate::runtime::Rt;

/// Serves until `stop` changes, then lets running requests end.
pub async fn serve(rt: Rt, listener: TcpListener, routes: Routes, mut stop: watch::Receiver<bool>) {
    let filter = Filter::before(Some(&rt), &listener);
    loop {
        filter.until_open(&listener).await;
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            },
            () = filter.changed() => continue,
            () = super::stopped(&mut stop) => return,
        };
        let Some(stream) = filter.pass(stream) else {
            continue;
        };
        tokio::spawn(serve_connection(
            filter.clone(),
            Arc::clone(&rt),
            stream,
            routes.clone(),
            stop.clone(),
        ));
    }
}

async fn serve_connection(
    filter: Filter,
    rt: Rt,
    stream: TcpStream,
    routes: Routes,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let before = filter.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (rt, routes, filter) = (Arc::clone(&rt), routes.clone(), before.clone());
        async move {
            filter.swallow().await;
            Ok::<_, std::convert::Infallible>(answer(rt, routes, request).await)
        }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(200)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = filter.cut() => return,
        () = super::stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn answer(rt: Rt, mut routes: Routes, request: Request<Incoming>) -> Response<Body> {
    let request = request.map(Body::new);
    let method = request.uri().path().trim_start_matches('/').to_owned();
    while_hanging(&rt).await;
    if method.starts_with("grpc.health.v1.Health/") {
        return call(&mut routes, request).await;
    }
    // In a task of its own: a caller that gives up must not stop work half-way.
    let name = method.clone();
    match tokio::spawn(handle(Arc::clone(&rt), routes, method, request)).await {
        Ok(response) => {
            super::lose_reply(&rt, &name).await;
            response
        }
        Err(_) => Status::internal("the request could not be handled").into_http(),
    }
}

async fn handle(
    rt: Rt,
    mut routes: Routes,
    method: String,
    request: Request<Body>,
) -> Response<Body> {
    let mut begun = begin(&rt, request.headers(), method.clone(), |_| {});
    let span = begun.span.clone();
    span.set("rpc.system.name", "grpc");
    span.set("rpc.method", &method);
    span.set("server.address", "127.0.0.1");
    if let Some(port) = rt.ports.grpc {
        span.set("server.port", port);
    }
    if let Some(key) = &begun.context.shared.idempotency_key {
        span.set("shop.idempotency.key", key);
    }
    let context = begun.context.clone();
    let response = context
        .clone()
        .scope(async {
            match begun.disturb(&rt).await {
                Ok(()) => {
                    saga::die_as_callee(&rt, &method, saga::Done::Nothing);
                    let response = call(&mut routes, request).await;
                    saga::die_as_callee(&rt, &method, saga::Done::All);
                    response
                }
                Err(error) => error.to_status().into_http(),
            }
        })
        .await;
    let status = Status::from_header_map(response.headers());
    let code = status.as_ref().map_or(Code::Ok, Status::code);
    let error = status
        .as_ref()
        .filter(|_| code != Code::Ok)
        .map(ApiError::from_status);
    let failed = is_server_failure(code);
    span.set("rpc.response.status_code", code_text(code));
    if failed {
        span.fail(
            code_text(code),
            error.as_ref().map_or("", |error| &error.message),
        );
    }
    let labels = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", method.as_str()),
        ("rpc.response.status_code", code_text(code)),
    ];
    rt.telemetry
        .metrics()
        .observe("rpc.server.call.duration", &labels, begun.seconds());
    let http_status = error.as_ref().map_or(200, ApiError::http_status);
    begun.finish(
        &rt,
        &Done {
            protocol: "grpc",
            method: &method,
            status: http_status,
            failed,
            error,
        },
    );
    if mismatched(&rt, &method) && code == Code::Ok {
        return scrambled();
    }
    attach_part(&context, response)
}

/// Whether answers of a method are written by another contract than callers know.
fn mismatched(rt: &Rt, method: &str) -> bool {
    rt.faults.find("proto_mismatch").is_some_and(|params| {
        params["rpc"]
            .as_str()
            .is_none_or(|wanted| method.contains(wanted))
    })
}

/// A message whose first field is of another type than any reader of ours expects: the handler ran, the answer is lost.
fn scrambled() -> Response<Body> {
    // A frame of three bytes: field 1 as a number of 64 bits that ends too soon.
    let frame: &[u8] = &[0, 0, 0, 0, 3, 0x09, 0x01, 0x02];
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = http_body_util::Full::new(bytes::Bytes::from_static(frame))
        .with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

async fn call(routes: &mut Routes, request: Request<Body>) -> Response<Body> {
    match routes.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// An answer without body carries its trailers in the headers; any other gets the part added when its trailers come.
fn attach_part(context: &Context, response: Response<Body>) -> Response<Body> {
    if !context.wants_report() {
        return response;
    }
    let (upstream_calls, behaviors_applied) = context.gathered();
    let part = Part {
        behaviors_applied,
        upstream_calls,
        truncated: false,
    };
    let Ok(value) = HeaderValue::from_str(&part.to_header()) else {
        return response;
    };
    let mut response = response;
    if response.headers().contains_key("grpc-status") {
        response.headers_mut().insert(GRPC_TRAILER, value);
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                trailers.insert(GRPC_TRAILER, value.clone());
                hyper::body::Frame::trailers(trailers)
            }
            Err(frame) => frame,
        }))
    })
}
