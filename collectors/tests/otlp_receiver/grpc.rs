use std::time::Duration;

use base64::Engine as _;
use case::{AppendError, Receipt, Signal};
use collectors::otlp::receiver::Receiver;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

use crate::support::{
    EXPORT_TRACES, Memory, Status, call, framed, gzip, http2, logs, metrics, options, request,
    start, traces, zstd,
};

async fn channel(receiver: &Receiver) -> Channel {
    let address = format!("http://{}", receiver.grpc_addr().unwrap());
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn every_signal_arrives_byte_for_byte_in_every_compression() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let channel = channel(&receiver).await;
    for compression in [
        None,
        Some(CompressionEncoding::Gzip),
        Some(CompressionEncoding::Zstd),
    ] {
        let mut spans = TraceServiceClient::new(channel.clone());
        let mut records = LogsServiceClient::new(channel.clone());
        let mut points = MetricsServiceClient::new(channel.clone());
        if let Some(compression) = compression {
            spans = spans.send_compressed(compression);
            records = records.send_compressed(compression);
            points = points.send_compressed(compression);
        }
        let answer = spans.export(traces(2000)).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None, "unset on full success");
        assert_eq!(
            records
                .export(logs())
                .await
                .unwrap()
                .into_inner()
                .partial_success,
            None
        );
        assert_eq!(
            points
                .export(metrics())
                .await
                .unwrap()
                .into_inner()
                .partial_success,
            None
        );
        let taken = std::mem::take(&mut *sink.received.lock().unwrap());
        let expected = [
            (Signal::Traces, traces(2000).encode_to_vec()),
            (Signal::Logs, logs().encode_to_vec()),
            (Signal::Metrics, metrics().encode_to_vec()),
        ];
        assert_eq!(taken.len(), 3);
        for ((signal, payload), (wanted, bytes)) in taken.iter().zip(&expected) {
            assert_eq!(signal, wanted, "{compression:?}");
            assert!(payload[..] == bytes[..], "{compression:?} {signal:?}");
        }
    }
    let counts = receiver.counters().snapshot();
    assert_eq!(
        (
            counts.traces.requests,
            counts.traces.acknowledged,
            counts.traces.accepted_items
        ),
        (3, 3, 3)
    );
    assert!(counts.traces.received_bytes < counts.traces.payload_bytes);
    assert_eq!(
        (counts.logs.acknowledged, counts.metrics.acknowledged),
        (3, 3)
    );
    assert_eq!(receiver.in_flight_bytes(), 0);
}

#[tokio::test]
async fn an_empty_request_succeeds() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let mut client = TraceServiceClient::new(channel(&receiver).await);
    let answer = client
        .export(ExportTraceServiceRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer, ExportTraceServiceResponse::default());
    assert_eq!(sink.taken(), [(Signal::Traces, bytes::Bytes::new())]);
}

#[tokio::test]
async fn partial_success_tells_how_many_and_why() {
    let sink = Memory::answering(|_, _| {
        Some(Ok(Receipt {
            accepted: 1,
            rejected: 2,
            message: Some("2 spans without ids".to_owned()),
            duplicate: true,
        }))
    });
    let receiver = start(options(), &sink);
    let mut client = TraceServiceClient::new(channel(&receiver).await);
    let partial = client
        .export(traces(3))
        .await
        .unwrap()
        .into_inner()
        .partial_success
        .unwrap();
    assert_eq!(
        (partial.rejected_spans, partial.error_message.as_str()),
        (2, "2 spans without ids")
    );
    let counts = receiver.counters().snapshot().traces;
    assert_eq!(
        (
            counts.accepted_items,
            counts.rejected_items,
            counts.duplicates
        ),
        (1, 2, 1)
    );
}

#[tokio::test]
async fn what_the_case_refuses_has_its_code() {
    let later = Duration::from_millis(2500);
    let cases = [
        (
            AppendError::Busy {
                waiting_bytes: 9,
                retry_after: later,
            },
            Code::Unavailable,
            Some(2500),
        ),
        (
            AppendError::Storage {
                reason: "no space left".to_owned(),
                retry_after: later,
            },
            Code::Unavailable,
            Some(2500),
        ),
        (AppendError::Closed, Code::Unavailable, Some(5000)),
        (
            AppendError::Malformed {
                signal: "traces",
                reason: "bad tag",
                offset: 12,
            },
            Code::InvalidArgument,
            None,
        ),
    ];
    for (error, code, retry) in cases {
        let sink = Memory::refusing(error.clone());
        let receiver = start(options(), &sink);
        let mut client = TraceServiceClient::new(channel(&receiver).await);
        let status = client.export(traces(1)).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (code, error.to_string().as_str())
        );
        let details = Status::decode(status.details()).unwrap();
        assert_eq!(details.retry_millis(), retry, "{error}");
        if retry.is_some() {
            assert_eq!(
                (details.code, details.message),
                (code as i32, error.to_string())
            );
        }
    }
}

#[tokio::test]
async fn oversize_is_exhausted_and_never_retryable() {
    let sink = Memory::accepting();
    let mut small = options();
    small.limits.request_bytes = 64 << 10;
    small.limits.decoded_bytes = 128 << 10;
    let receiver = start(small, &sink);
    let channel = channel(&receiver).await;
    let plain = TraceServiceClient::new(channel.clone());
    let zipped = plain.clone().send_compressed(CompressionEncoding::Gzip);
    let zstd = plain.clone().send_compressed(CompressionEncoding::Zstd);
    for mut client in [plain, zipped, zstd] {
        let status = client.export(traces(20_000)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.details().is_empty(), "no RetryInfo");
        assert!(
            client.export(traces(10)).await.is_ok(),
            "the connection goes on"
        );
    }
    assert_eq!(sink.taken().len(), 3);
    assert_eq!(
        receiver.counters().snapshot().traces.refused,
        [("too_large", 3)]
    );
}

#[tokio::test]
async fn calls_that_are_none_have_the_codes_of_grpc() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.grpc_addr().unwrap();
    let message = traces(1).encode_to_vec();
    let good = framed(false, &message);

    let reply = call(
        address,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
        &[],
        good.clone(),
    )
    .await;
    assert_eq!((reply.status, reply.grpc("grpc-status")), (200, "12"));
    let reply = call(
        address,
        EXPORT_TRACES,
        &[("grpc-encoding", "snappy")],
        framed(true, b"x"),
    )
    .await;
    assert_eq!(
        (
            reply.grpc("grpc-status"),
            reply.header("grpc-accept-encoding")
        ),
        ("12", "identity,gzip,zstd")
    );
    assert!(reply.grpc("grpc-message").contains("snappy"));

    for (body, why) in [
        (vec![], "no message"),
        (good[..3].to_vec(), "half a prefix"),
        (good[..good.len() - 1].to_vec(), "cut short"),
        ([&good[..], &good[..]].concat(), "two messages"),
        (framed(true, &message), "compressed without saying how"),
        ([&[9][..], &good[1..]].concat(), "unknown flags"),
        (framed(false, b"\xff\xff\xff"), "not protobuf"),
    ] {
        let reply = call(address, EXPORT_TRACES, &[], body).await;
        assert_eq!(
            (reply.status, reply.grpc("grpc-status")),
            (200, "3"),
            "{why}: {reply:?}"
        );
    }
    for encoding in ["gzip", "zstd"] {
        let reply = call(
            address,
            EXPORT_TRACES,
            &[("grpc-encoding", encoding)],
            framed(true, b"junk"),
        )
        .await;
        assert_eq!(reply.grpc("grpc-status"), "3", "{encoding}");
        // A call that announces compression may still send this message as it is.
        let reply = call(
            address,
            EXPORT_TRACES,
            &[("grpc-encoding", encoding)],
            good.clone(),
        )
        .await;
        assert_eq!(reply.grpc("grpc-status"), "0", "{encoding}");
    }
    let reply = call(
        address,
        EXPORT_TRACES,
        &[("grpc-encoding", "gzip")],
        framed(true, &gzip(&message)),
    )
    .await;
    assert_eq!(
        (reply.grpc("grpc-status"), &reply.body[..]),
        ("0", &[0, 0, 0, 0, 0][..])
    );
    let reply = call(
        address,
        EXPORT_TRACES,
        &[("grpc-encoding", "zstd")],
        framed(true, &zstd(&message)),
    )
    .await;
    assert_eq!(reply.grpc("grpc-status"), "0");
}

#[tokio::test]
async fn other_content_types_on_a_grpc_path_are_unsupported() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.grpc_addr().unwrap();
    for content_type in [
        "application/grpc+json",
        "application/grpc-web",
        "application/x-protobuf",
        "text/plain",
    ] {
        let mut sender = http2(address).await;
        let mut request = request(
            http::Method::POST,
            "/",
            &[("content-type", content_type)],
            framed(false, b""),
        );
        *request.uri_mut() = format!("http://{address}{EXPORT_TRACES}").parse().unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 415, "{content_type}");
    }
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.grpc_addr().unwrap();
    let message = traces(50).encode_to_vec();
    let whole = framed(false, &message);
    let pieces = [
        &whole[..1],
        &whole[1..4],
        &whole[4..6],
        &whole[6..1000],
        &whole[1000..],
    ];
    let frames: Vec<_> = pieces
        .iter()
        .map(|piece| {
            Ok::<_, std::convert::Infallible>(Frame::data(bytes::Bytes::copy_from_slice(piece)))
        })
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{EXPORT_TRACES}"))
        .header("content-type", "application/grpc+proto;charset=x")
        .body(body)
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let reply = crate::support::collect(response).await;
    assert_eq!(reply.grpc("grpc-status"), "0", "{reply:?}");
    assert!(sink.taken()[0].1[..] == message[..]);
}

#[tokio::test]
async fn the_token_is_asked_of_every_call() {
    let sink = Memory::accepting();
    let mut guarded = options();
    guarded.token = Some("s3cret".to_owned());
    let receiver = start(guarded, &sink);
    let address = receiver.grpc_addr().unwrap();
    let body = framed(false, &traces(1).encode_to_vec());
    for headers in [&[][..], &[("authorization", "Bearer wrong")][..]] {
        let reply = call(address, EXPORT_TRACES, headers, body.clone()).await;
        assert_eq!(reply.grpc("grpc-status"), "16");
    }
    let reply = call(
        address,
        EXPORT_TRACES,
        &[("authorization", "Bearer s3cret")],
        body,
    )
    .await;
    assert_eq!(reply.grpc("grpc-status"), "0");
    assert_eq!(sink.taken().len(), 1);
}

#[tokio::test]
async fn details_are_base64_without_padding() {
    let sink = Memory::refusing(AppendError::Busy {
        waiting_bytes: 1,
        retry_after: Duration::from_secs(1),
    });
    let receiver = start(options(), &sink);
    let body = framed(false, &traces(1).encode_to_vec());
    let reply = call(receiver.grpc_addr().unwrap(), EXPORT_TRACES, &[], body).await;
    let details = reply.grpc("grpc-status-details-bin");
    let decoded = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(details)
        .unwrap();
    assert_eq!(
        Status::decode(&decoded[..]).unwrap().retry_millis(),
        Some(1000)
    );
}
