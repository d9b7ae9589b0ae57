use std::time::Duration;

use collectors::otlp::receiver::Limits;
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::{
    EXPORT_TRACES, Memory, call, framed, options, post, request, soon, start, traces, until,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test]
async fn idle_connections_make_room_for_those_that_send() {
    let sink = Memory::accepting();
    let mut few = options();
    few.limits.connections = 16;
    let receiver = start(few, &sink);
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());
    let mut idle = Vec::new();
    for n in 0..200 {
        idle.push(
            TcpStream::connect(if n % 2 == 0 { grpc } else { http })
                .await
                .unwrap(),
        );
    }
    let body = traces(1).encode_to_vec();
    assert_eq!(
        post(http, "/v1/traces", &[PROTOBUF], body.clone())
            .await
            .status,
        200
    );
    let reply = call(grpc, EXPORT_TRACES, &[], framed(false, &body)).await;
    assert_eq!(reply.grpc("grpc-status"), "0");
    until("all were seen", || {
        receiver.counters().snapshot().connections == 202
    })
    .await;
    assert!(receiver.open_connections() <= 16);
    let counts = receiver.counters().snapshot();
    assert!(counts.evicted >= 186 - counts.turned_away, "{counts:?}");
    // The first that came is closed, not left hanging.
    let read = soon("an end", idle[0].read(&mut [0; 64])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn when_all_are_at_work_more_are_told_to_come_back() {
    let sink = Memory::holding();
    let mut few = options();
    few.limits.connections = 3;
    let receiver = start(few, &sink);
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());
    let body = traces(1).encode_to_vec();
    let working: Vec<_> = (0..3)
        .map(|_| {
            let body = body.clone();
            tokio::spawn(async move { post(http, "/v1/traces", &[PROTOBUF], body).await.status })
        })
        .collect();
    until("three wait", || sink.waiting() == 3).await;
    let reply = post(http, "/v1/traces", &[PROTOBUF], body.clone()).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert_eq!(reply.status_body().retry_millis(), Some(1000));
    let reply = call(grpc, EXPORT_TRACES, &[], framed(false, &body)).await;
    assert_eq!(reply.grpc("grpc-status"), "14");
    assert_eq!(receiver.counters().snapshot().turned_away, 2);
    sink.release();
    for client in working {
        assert_eq!(client.await.unwrap(), 200);
    }
    until("they have left", || receiver.open_connections() == 0).await;
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_and_given_back() {
    let sink = Memory::holding();
    let mut tight = options();
    tight.limits = Limits {
        request_bytes: 500_000,
        decoded_bytes: 500_000,
        in_flight_bytes: 1_000_000,
        connections: 100,
    };
    let receiver = start(tight, &sink);
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());
    let body = vec![0u8; 400_000];
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let body = body.clone();
            tokio::spawn(async move { post(http, "/v1/traces", &[PROTOBUF], body).await.status })
        })
        .collect();
    until("two wait", || sink.waiting() == 2).await;
    assert_eq!(receiver.in_flight_bytes(), 800_000);
    let reply = post(http, "/v1/traces", &[PROTOBUF], body.clone()).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    assert_eq!(reply.status_body().retry_millis(), Some(1000));
    let reply = call(grpc, EXPORT_TRACES, &[], framed(false, &body)).await;
    assert_eq!(reply.grpc("grpc-status"), "14", "{reply:?}");
    // Decompressed bytes count too.
    let packed = crate::support::gzip(&body);
    let reply = post(
        http,
        "/v1/traces",
        &[PROTOBUF, ("content-encoding", "gzip")],
        packed,
    )
    .await;
    assert_eq!(reply.status, 503);
    assert_eq!(
        receiver.in_flight_bytes(),
        800_000,
        "what was refused is given back"
    );
    sink.release();
    for client in waiting {
        assert_eq!(client.await.unwrap(), 200);
    }
    assert_eq!(receiver.in_flight_bytes(), 0);
    let refused = receiver.counters().snapshot().traces.refused;
    assert_eq!(refused, [("busy", 3)]);
}

#[tokio::test]
async fn silent_connections_are_closed_in_time_and_busy_ones_are_not() {
    let sink = Memory::holding();
    let mut quick = options();
    quick.timeouts.idle = Duration::from_millis(200);
    quick.timeouts.header = Duration::from_millis(100);
    let receiver = start(quick, &sink);
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());
    let body = traces(1).encode_to_vec();
    let busy = tokio::spawn(post(http, "/v1/traces", &[PROTOBUF], body));
    until("one waits", || sink.waiting() == 1).await;

    // Silent from the start, over TCP alone and with an HTTP/2 connection set up.
    let mut silent = TcpStream::connect(http).await.unwrap();
    assert_eq!(soon("an end", silent.read(&mut [0; 1])).await.unwrap(), 0);
    let mut set_up = crate::support::http2(grpc).await;
    soon("a goodbye", async {
        while set_up.ready().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Silent after a request.
    let stream = TcpStream::connect(http).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let kept = tokio::spawn(connection);
    let asked = request(http::Method::GET, "/", &[("host", "x")], "");
    assert_eq!(sender.send_request(asked).await.unwrap().status(), 404);
    soon("the end of a kept connection", kept)
        .await
        .unwrap()
        .unwrap();

    assert_eq!(
        (receiver.open_connections(), sink.waiting()),
        (1, 1),
        "the busy one stays"
    );
    sink.release();
    assert_eq!(busy.await.unwrap().status, 200);
}
