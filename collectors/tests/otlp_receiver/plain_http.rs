use std::time::Duration;

use case::{AppendError, Receipt, Signal};
use collectors::otlp::json::protobuf_to_json;
use http::Method;
use prost::Message;

use crate::support::{Memory, gzip, options, post, request, samples, send, start, traces, zstd};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn every_signal_arrives_in_both_forms_and_every_compression() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.http_addr().unwrap();
    for (signal, path, protobuf) in samples() {
        let text = protobuf_to_json(signal, &protobuf).unwrap();
        let json = text.clone().into_bytes();
        for (content_type, plain) in [
            (PROTOBUF, &protobuf),
            (JSON, &json),
            (("content-type", "Application/JSON; charset=utf-8"), &json),
        ] {
            for (encoding, body) in [
                ("identity", plain.clone()),
                ("gzip", gzip(plain)),
                ("zstd", zstd(plain)),
            ] {
                let reply = post(
                    address,
                    path,
                    &[content_type, ("content-encoding", encoding)],
                    body,
                )
                .await;
                assert_eq!(
                    reply.status, 200,
                    "{signal:?} {content_type:?} {encoding}: {reply:?}"
                );
                let json = content_type != PROTOBUF;
                let expected = if json { "application/json" } else { PROTOBUF.1 };
                assert_eq!(reply.header("content-type"), expected);
                assert_eq!(&reply.body[..], if json { &b"{}"[..] } else { b"" });
                let (taken, payload) = sink.received.lock().unwrap().pop().unwrap();
                assert_eq!(taken, signal);
                // From JSON, fields come in the order of the keys: the same message in another order.
                let arrived = protobuf_to_json(signal, &payload).unwrap();
                let same = payload[..] == protobuf[..] || json && arrived == text;
                assert!(same, "{signal:?} {content_type:?} {encoding}: {arrived}");
            }
        }
    }
}

#[tokio::test]
async fn chunked_bodies_and_kept_connections_work() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let url = format!("http://{}/v1/traces", receiver.http_addr().unwrap());
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(1)
        .build()
        .unwrap();
    let message = traces(5000).encode_to_vec();
    for _ in 0..3 {
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = message
            .chunks(1777)
            .map(|piece| Ok(piece.to_vec()))
            .collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let answer = client
            .post(&url)
            .header(PROTOBUF.0, PROTOBUF.1)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert!(sink.received.lock().unwrap().pop().unwrap().1[..] == message[..]);
    }
    assert_eq!(receiver.counters().snapshot().connections, 1);
}

#[tokio::test]
async fn empty_requests_succeed() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.http_addr().unwrap();
    assert_eq!(post(address, "/v1/logs", &[PROTOBUF], "").await.status, 200);
    assert_eq!(post(address, "/v1/logs", &[JSON], "{}").await.status, 200);
    assert_eq!(
        sink.taken(),
        [(Signal::Logs, "".into()), (Signal::Logs, "".into())]
    );
}

#[tokio::test]
async fn partial_success_is_told_in_the_request_s_form() {
    let sink = Memory::answering(|_, _| {
        Some(Ok(Receipt {
            accepted: 1,
            rejected: 3,
            message: Some("no \"ids\"".to_owned()),
            duplicate: false,
        }))
    });
    let receiver = start(options(), &sink);
    let address = receiver.http_addr().unwrap();
    for (path, name) in [
        ("/v1/traces", "rejectedSpans"),
        ("/v1/logs", "rejectedLogRecords"),
        ("/v1/metrics", "rejectedDataPoints"),
    ] {
        let reply = post(address, path, &[JSON], "{}").await;
        let expected =
            serde_json::json!({ "partialSuccess": { name: "3", "errorMessage": "no \"ids\"" } });
        assert_eq!((reply.status, reply.json()), (200, expected));
    }
    let reply = post(address, "/v1/logs", &[PROTOBUF], "").await;
    assert_eq!(&reply.body[..], b"\x0a\x0c\x08\x03\x12\x08no \"ids\"");
}

#[tokio::test]
async fn a_warning_alone_rejects_nothing() {
    let sink = Memory::answering(|_, _| {
        Some(Ok(Receipt {
            message: Some("late".to_owned()),
            ..Receipt::default()
        }))
    });
    let receiver = start(options(), &sink);
    let reply = post(receiver.http_addr().unwrap(), "/v1/traces", &[JSON], "{}").await;
    assert_eq!(
        reply.json(),
        serde_json::json!({ "partialSuccess": { "errorMessage": "late" } })
    );
}

/// Method, path, headers and body, and what they get: HTTP status and code of the `Status`.
type Case<'a> = (
    Method,
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a [u8],
    u16,
    i32,
);

#[tokio::test]
async fn every_refusal_is_a_status_in_the_request_s_form() {
    let sink = Memory::accepting();
    let mut small = options();
    small.limits.request_bytes = 100_000;
    small.limits.decoded_bytes = 200_000;
    let receiver = start(small, &sink);
    let address = receiver.http_addr().unwrap();
    let large = vec![0u8; 100_001];
    let bomb = gzip(&vec![0u8; 200_001]);
    let cases: [Case; 9] = [
        (Method::POST, "/v1/traces", &[], b"\xff\xff", 400, 3),
        (Method::POST, "/v1/profiles", &[], b"", 404, 5),
        (Method::POST, "/v1/traces/", &[], b"", 404, 5),
        (Method::GET, "/v1/traces", &[], b"", 405, 12),
        (Method::PUT, "/v1/logs", &[], b"", 405, 12),
        (
            Method::POST,
            "/v1/traces",
            &[("content-encoding", "br")],
            b"x",
            415,
            12,
        ),
        (
            Method::POST,
            "/v1/traces",
            &[("content-encoding", "gzip")],
            b"junk",
            400,
            3,
        ),
        (Method::POST, "/v1/traces", &[], &large, 413, 8),
        (
            Method::POST,
            "/v1/traces",
            &[("content-encoding", "gzip")],
            &bomb,
            413,
            8,
        ),
    ];
    for (method, path, headers, body, status, code) in cases {
        for form in [PROTOBUF, JSON] {
            let headers = [&[form][..], headers].concat();
            let reply = send(
                address,
                request(method.clone(), path, &headers, body.to_vec()),
            )
            .await;
            assert_eq!(
                reply.status, status,
                "{method} {path} {headers:?}: {reply:?}"
            );
            let message = if form == PROTOBUF {
                let body = reply.status_body();
                assert_eq!(body.code, code, "{method} {path}");
                body.message
            } else {
                let body = reply.json();
                assert_eq!(body["code"], code, "{method} {path}");
                body["message"].as_str().unwrap().to_owned()
            };
            assert!(!message.is_empty(), "{method} {path}");
            match status {
                405 => assert_eq!(reply.header("allow"), "POST"),
                415 => assert_eq!(reply.header("accept-encoding"), "gzip, zstd"),
                _ => {}
            }
        }
    }
    for headers in [
        &[][..],
        &[("content-type", "text/plain")][..],
        &[("content-type", "application/grpc")][..],
    ] {
        let reply = post(address, "/v1/traces", headers, "x").await;
        assert_eq!(
            (reply.status, &reply.json()["code"]),
            (415, &3.into()),
            "{headers:?}"
        );
    }
    let reply = send(address, request(Method::GET, "/", &[], "")).await;
    assert_eq!((reply.status, &reply.json()["code"]), (404, &5.into()));
    let taken = sink.taken();
    assert_eq!(
        taken.len(),
        1,
        "only the undecodable protobuf came through to the case"
    );
}

#[tokio::test]
async fn json_errors_say_where() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let body = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[\n{\"traceId\":\"xyz1\"}]}]}]}";
    let reply = post(receiver.http_addr().unwrap(), "/v1/traces", &[JSON], body).await;
    assert_eq!(reply.status, 400);
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("isn't hex in resourceSpans[0].scopeSpans[0].spans[0].traceId at line 2"),
        "{message}"
    );
}

#[tokio::test]
async fn a_busy_or_full_case_says_when_to_come_back() {
    for (error, seconds) in [
        (
            AppendError::Busy {
                waiting_bytes: 9,
                retry_after: Duration::from_millis(1500),
            },
            "2",
        ),
        (
            AppendError::Storage {
                reason: "no space left".to_owned(),
                retry_after: Duration::ZERO,
            },
            "1",
        ),
        (AppendError::Closed, "5"),
    ] {
        let sink = Memory::refusing(error.clone());
        let receiver = start(options(), &sink);
        let address = receiver.http_addr().unwrap();
        let reply = post(
            address,
            "/v1/traces",
            &[PROTOBUF],
            traces(1).encode_to_vec(),
        )
        .await;
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, seconds),
            "{error}"
        );
        assert_eq!(reply.status_body().code, 14);
        let reply = post(address, "/v1/traces", &[JSON], "{}").await;
        assert_eq!(reply.status, 503);
        assert_eq!(
            reply.json()["details"][0]["@type"],
            "type.googleapis.com/google.rpc.RetryInfo"
        );
    }
}

#[tokio::test]
async fn the_token_is_asked_of_every_request() {
    let sink = Memory::accepting();
    let mut guarded = options();
    guarded.token = Some("s3cret".to_owned());
    let receiver = start(guarded, &sink);
    let address = receiver.http_addr().unwrap();
    for path in ["/v1/traces", "/nothing"] {
        let reply = post(
            address,
            path,
            &[JSON, ("authorization", "Bearer nope")],
            "{}",
        )
        .await;
        assert_eq!(
            (reply.status, reply.header("www-authenticate")),
            (401, "Bearer")
        );
        assert_eq!(reply.json()["code"], 16);
    }
    assert_eq!(
        post(
            address,
            "/v1/traces",
            &[JSON, ("authorization", "Bearer s3cret")],
            "{}"
        )
        .await
        .status,
        200
    );
    assert_eq!(sink.taken().len(), 1);
}

#[tokio::test]
async fn each_listener_speaks_both_protocols() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    assert_eq!(
        post(receiver.grpc_addr().unwrap(), "/v1/traces", &[JSON], "{}")
            .await
            .status,
        200
    );
    let body = crate::support::framed(false, b"");
    let reply = crate::support::call(
        receiver.http_addr().unwrap(),
        crate::support::EXPORT_TRACES,
        &[],
        body,
    )
    .await;
    assert_eq!(reply.grpc("grpc-status"), "0");
}

#[tokio::test]
async fn large_json_leaves_the_serving_threads_and_comes_back() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let protobuf = traces(20_000).encode_to_vec();
    let json = protobuf_to_json(Signal::Traces, &protobuf).unwrap();
    assert!(json.len() > 2 << 20);
    let reply = post(receiver.http_addr().unwrap(), "/v1/traces", &[JSON], json).await;
    assert_eq!(reply.status, 200);
    assert!(sink.taken()[0].1[..] == protobuf[..]);
}
