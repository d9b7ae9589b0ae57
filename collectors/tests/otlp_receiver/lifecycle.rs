use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use collectors::otlp::receiver::{Receiver, ReceiverError, ReceiverOptions, Sink, Stopped};
use prost::Message;
use tokio::net::TcpStream;

use crate::support::{
    EXPORT_TRACES, Memory, call, framed, options, post, soon, start, traces, until,
};

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

#[tokio::test]
async fn stopping_lets_requests_under_way_end_and_lets_nobody_in() {
    let sink = Memory::holding();
    let receiver = start(options(), &sink);
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());
    let body = traces(1).encode_to_vec();
    let plain = tokio::spawn(post(http, "/v1/traces", &[PROTOBUF], body.clone()));
    let called = tokio::spawn(call(grpc, EXPORT_TRACES, &[], framed(false, &body)));
    let _idle = TcpStream::connect(http).await.unwrap();
    until("two wait", || sink.waiting() == 2).await;
    let stopping = tokio::spawn(receiver.stop(Duration::from_secs(30)));
    soon("the listeners' end", async {
        while TcpStream::connect(http).await.is_ok() || TcpStream::connect(grpc).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!stopping.is_finished(), "it waits for the two");
    sink.release();
    assert_eq!(plain.await.unwrap().status, 200);
    assert_eq!(called.await.unwrap().grpc("grpc-status"), "0");
    assert_eq!(soon("the stop", stopping).await.unwrap(), Stopped::Drained);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let sink = Memory::holding();
    let receiver = start(options(), &sink);
    let http = receiver.http_addr().unwrap();
    let url = format!("http://{http}/v1/traces");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let stuck = tokio::spawn(
        client
            .post(url)
            .header(PROTOBUF.0, PROTOBUF.1)
            .body("")
            .send(),
    );
    until("one waits", || sink.waiting() == 1).await;
    let stopped = soon("the stop", receiver.stop(Duration::from_millis(100))).await;
    assert_eq!(stopped, Stopped::CutOff { connections: 1 });
    assert!(soon("the client's end", stuck).await.unwrap().is_err());
}

#[tokio::test]
async fn dropping_a_receiver_closes_its_ports() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.http_addr().unwrap();
    assert_eq!(
        post(address, "/v1/traces", &[PROTOBUF], "").await.status,
        200
    );
    drop(receiver);
    soon("the port's end", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn refusal(options: ReceiverOptions) -> ReceiverError {
    let sink: Arc<dyn Sink> = Memory::accepting();
    match Receiver::start(options, sink) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn the_world_is_not_listened_to_without_token_and_tls() {
    let world: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let mut exposed = ReceiverOptions {
        http: Some(world),
        ..options()
    };
    let error = refusal(exposed.clone());
    assert_eq!(
        error.to_string(),
        "0.0.0.0:0 can be reached from other machines, and a bearer token and TLS are missing"
    );
    assert!(error.hint().unwrap().contains("--insecure"));
    exposed.token = Some("s3cret".to_owned());
    assert!(matches!(
        refusal(exposed.clone()),
        ReceiverError::Exposed {
            missing: "TLS is",
            ..
        }
    ));
    exposed.http = Some("[::]:0".parse().unwrap());
    assert!(matches!(
        refusal(exposed.clone()),
        ReceiverError::Exposed { .. }
    ));
    exposed.http = Some(world);
    exposed.insecure = true;
    let receiver = start(exposed, &Memory::accepting());
    assert_ne!(receiver.http_addr().unwrap().port(), 0);
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:0".parse().unwrap();
    assert!(matches!(
        refusal(ReceiverOptions {
            grpc: Some(mapped),
            ..options()
        }),
        ReceiverError::Exposed { .. }
    ));
}

#[tokio::test]
async fn what_can_not_be_used_is_said_before_anything_is_opened() {
    assert!(matches!(
        refusal(ReceiverOptions {
            grpc: None,
            http: None,
            ..options()
        }),
        ReceiverError::NoAddress
    ));
    for token in ["", "two words", "nö"] {
        let error = refusal(ReceiverOptions {
            token: Some(token.to_owned()),
            ..options()
        });
        assert!(matches!(error, ReceiverError::UnusableToken));
    }
    let mut tight = options();
    tight.limits.in_flight_bytes = 100 << 20;
    assert!(refusal(tight).hint().unwrap().contains("in flight"));

    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let taken = ReceiverOptions {
        grpc: receiver.http_addr(),
        ..options()
    };
    let error = refusal(taken);
    assert!(
        error.to_string().starts_with("can't listen on 127.0.0.1:"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("another process"));
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    assert!(matches!(refusal(options()), ReceiverError::NoRuntime));
}

#[tokio::test]
async fn one_listener_is_enough() {
    let receiver = start(
        ReceiverOptions {
            grpc: None,
            ..options()
        },
        &Memory::accepting(),
    );
    assert_eq!(receiver.grpc_addr(), None);
    assert_eq!(
        post(receiver.http_addr().unwrap(), "/v1/traces", &[PROTOBUF], "")
            .await
            .status,
        200
    );
}
