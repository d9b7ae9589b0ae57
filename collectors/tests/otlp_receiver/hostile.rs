use std::io::Write;
use std::time::{Duration, Instant};

use collectors::otlp::json::protobuf_to_json;
use collectors::otlp::receiver::Receiver;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    EXPORT_TRACES, Memory, call, framed, gzip, http2, options, post, request, samples, soon, start,
    until, zstd,
};

const GIGABYTE: usize = 1 << 30;

fn gzip_bomb() -> Vec<u8> {
    let zeros = vec![0u8; 1 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    for _ in 0..GIGABYTE / zeros.len() {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

/// In one frame that tells its size, or in one that doesn't.
fn zstd_bomb(tell: bool) -> Vec<u8> {
    let zeros = vec![0u8; 1 << 20];
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    if tell {
        encoder.include_contentsize(true).unwrap();
        encoder.set_pledged_src_size(Some(GIGABYTE as u64)).unwrap();
    }
    for _ in 0..GIGABYTE / zeros.len() {
        encoder.write_all(&zeros).unwrap();
    }
    encoder.finish().unwrap()
}

/// The most bytes in flight that are seen while the future runs.
async fn watching<T>(receiver: &Receiver, future: impl Future<Output = T>) -> (T, usize) {
    tokio::pin!(future);
    let mut most = 0;
    loop {
        tokio::select! {
            value = &mut future => return (value, most),
            () = tokio::time::sleep(Duration::from_millis(1)) => most = most.max(receiver.in_flight_bytes()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_are_refused_on_both_transports_within_the_limits() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let (grpc, http) = (receiver.grpc_addr().unwrap(), receiver.http_addr().unwrap());
    let bombs = [
        ("gzip", gzip_bomb()),
        ("zstd", zstd_bomb(true)),
        ("zstd", zstd_bomb(false)),
    ];
    for (encoding, bomb) in &bombs {
        assert!(
            bomb.len() < 2 << 20,
            "{encoding}: 1 GB in {} bytes",
            bomb.len()
        );
        for content_type in ["application/x-protobuf", "application/json"] {
            let headers = [
                ("content-type", content_type),
                ("content-encoding", encoding),
            ];
            let (reply, most) =
                watching(&receiver, post(http, "/v1/traces", &headers, bomb.clone())).await;
            assert_eq!(reply.status, 413, "{encoding} {content_type}");
            assert!(most <= 128 << 20, "{most} bytes in flight");
        }
        let body = framed(true, bomb);
        let (reply, most) = watching(
            &receiver,
            call(grpc, EXPORT_TRACES, &[("grpc-encoding", encoding)], body),
        )
        .await;
        assert_eq!(reply.grpc("grpc-status"), "8", "{encoding}");
        assert!(most <= 128 << 20, "{most} bytes in flight");
    }
    assert!(sink.taken().is_empty());
    assert_eq!(receiver.in_flight_bytes(), 0);
    for (_, path, good) in samples() {
        assert_eq!(
            post(
                http,
                path,
                &[("content-type", "application/x-protobuf")],
                good
            )
            .await
            .status,
            200
        );
    }
}

/// A small generator of its own, so that a failure can be repeated.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                bytes.push(self.next() as u8);
            }
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = self.next() as u8,
                2 => bytes.truncate(at),
                3 => bytes.insert(at, self.next() as u8),
                4 => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ => drop(bytes.drain(at..(at + 3).min(bytes.len()))),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_mutated_requests_are_each_answered() {
    const REQUESTS: usize = 6000;
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let address = receiver.grpc_addr().unwrap();
    let mut random = Xorshift(0x5eed_cafe_f00d_1234);
    let mut sender = http2(address).await;
    let mut codes = std::collections::BTreeMap::new();
    for n in 0..REQUESTS {
        let (signal, path, protobuf) = samples()[random.below(3)].clone();
        let form = random.below(3);
        let mut body = match form {
            1 => protobuf_to_json(signal, &protobuf).unwrap().into_bytes(),
            _ => protobuf,
        };
        // Damage the inside, the outside or both of what is compressed.
        if random.below(4) > 0 {
            random.mutate(&mut body);
        }
        let encoding = ["identity", "gzip", "zstd"][random.below(3)];
        let mut body = match encoding {
            "gzip" => gzip(&body),
            "zstd" => zstd(&body),
            _ => body,
        };
        if random.below(3) == 0 {
            random.mutate(&mut body);
        }
        let (path, headers) = match form {
            0 => (
                path,
                [
                    ("content-type", "application/x-protobuf"),
                    ("content-encoding", encoding),
                ],
            ),
            1 => (
                path,
                [
                    ("content-type", "application/json"),
                    ("content-encoding", encoding),
                ],
            ),
            _ => (
                EXPORT_TRACES,
                [
                    ("content-type", "application/grpc"),
                    ("grpc-encoding", encoding),
                ],
            ),
        };
        if form == 2 {
            body = framed(encoding != "identity", &body);
            if random.below(4) == 0 {
                random.mutate(&mut body);
            }
        }
        let mut request = request(http::Method::POST, "/", &headers, body);
        *request.uri_mut() = format!("http://{address}{path}").parse().unwrap();
        sender.ready().await.unwrap();
        let response = soon("an answer to damage", sender.send_request(request))
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = soon("its body", body.collect()).await.unwrap();
        let code = if form == 2 {
            let status = body
                .trailers()
                .and_then(|trailers| trailers.get("grpc-status"))
                .or(parts.headers.get("grpc-status"));
            let code = status.unwrap().to_str().unwrap().to_owned();
            assert_eq!(parts.status, 200);
            assert!(
                ["0", "3", "8"].contains(&code.as_str()),
                "request {n}: {code}"
            );
            format!("grpc {code}")
        } else {
            let code = parts.status.as_u16();
            assert!([200, 400, 413].contains(&code), "request {n}: {code}");
            format!("http {code}")
        };
        *codes.entry(code).or_insert(0) += 1;
    }
    for expected in ["grpc 0", "grpc 3", "http 200", "http 400"] {
        assert!(
            codes.get(expected).is_some_and(|count| *count > 100),
            "{codes:?}"
        );
    }
    assert_eq!(receiver.in_flight_bytes(), 0);
    assert_eq!(
        receiver.counters().snapshot().connections,
        1,
        "one connection bore it all"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_http_itself_never_stops_the_service() {
    let sink = Memory::accepting();
    let mut quick = options();
    quick.timeouts.header = Duration::from_millis(200);
    quick.timeouts.body = Duration::from_millis(200);
    quick.timeouts.idle = Duration::from_millis(500);
    let receiver = start(quick, &sink);
    let address = receiver.http_addr().unwrap();
    let (_, path, body) = samples()[0].clone();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let plain = [head.as_bytes(), &body].concat();
    let preface = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
        &[0; 64],
    ]
    .concat();
    let mut random = Xorshift(0xdead_beef_0bad_cafe);
    let mut running = Vec::new();
    for n in 0..400 {
        let mut bytes = if n % 2 == 0 {
            plain.clone()
        } else {
            preface.clone()
        };
        random.mutate(&mut bytes);
        running.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The receiver may have closed already, which is an answer too.
            let _ = stream.write_all(&bytes).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }));
        if running.len() == 50 {
            for client in running.drain(..) {
                soon("the end of a damaged connection", client)
                    .await
                    .unwrap();
            }
        }
    }
    until("all are gone", || receiver.open_connections() == 0).await;
    assert_eq!(
        post(
            address,
            path,
            &[("content-type", "application/x-protobuf")],
            body
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn a_body_that_dawdles_is_timed_out() {
    let sink = Memory::accepting();
    let mut quick = options();
    quick.timeouts.body = Duration::from_millis(150);
    let receiver = start(quick, &sink);
    let address = receiver.http_addr().unwrap();

    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("a timeout", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.contains("connection: close") && answer.contains("\"code\":4"),
        "{answer}"
    );

    // Dripping does not help: the time is for the whole body.
    let dripping = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reads, mut writes) = stream.split();
        let drip = async {
            while writes.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut answer = [0u8; 12];
        tokio::select! {
            () = drip => panic!("closed without an answer"),
            read = reads.read_exact(&mut answer) => { read.unwrap(); }
        }
        answer
    };
    assert_eq!(
        &soon("a timeout in spite of drops", dripping).await,
        b"HTTP/1.1 408"
    );

    // And over gRPC, with a body that never ends.
    let (io, mut sender) = {
        let stream = TcpStream::connect(address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, io) =
            hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io)
                .await
                .unwrap();
        (tokio::spawn(io), sender)
    };
    let first = hyper::body::Frame::data(bytes::Bytes::from_static(&[0, 0, 0, 0, 9, 1]));
    let first = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(first)]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    let request = http::Request::post(format!("http://{address}{EXPORT_TRACES}"))
        .header("content-type", "application/grpc")
        .body(http_body_util::StreamBody::new(endless))
        .unwrap();
    let response = soon("a deadline", sender.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    io.abort();
    assert!(sink.taken().is_empty());
    until("bytes are given back", || receiver.in_flight_bytes() == 0).await;
}

#[tokio::test]
async fn a_head_that_dawdles_is_cut_off() {
    let sink = Memory::accepting();
    let mut quick = options();
    quick.timeouts.header = Duration::from_millis(150);
    let receiver = start(quick, &sink);
    let began = Instant::now();
    for start in [
        "POST /v1/tra",
        "P",
        "PRX",
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n",
    ] {
        let mut stream = TcpStream::connect(receiver.http_addr().unwrap())
            .await
            .unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset ends it as well as a close.
        let _ = soon("the connection's end", stream.read_to_end(&mut answer)).await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "long before the idle time"
    );
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_costs_nothing() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    for _ in 0..20 {
        let mut stream = TcpStream::connect(receiver.http_addr().unwrap())
            .await
            .unwrap();
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; 50_000]).await.unwrap();
    }
    until("all are gone", || {
        receiver.counters().snapshot().connections == 20 && receiver.open_connections() == 0
    })
    .await;
    assert_eq!(receiver.in_flight_bytes(), 0);
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn an_announced_giant_is_refused_before_it_is_sent() {
    let sink = Memory::accepting();
    let receiver = start(options(), &sink);
    let mut stream = TcpStream::connect(receiver.http_addr().unwrap())
        .await
        .unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("a refusal", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
