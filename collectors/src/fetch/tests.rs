//! Fetching from servers that refuse, stall, flood, lie about their encoding or speak something else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{Reply, Server, closed_port};

fn bounds() -> Bounds {
    Bounds {
        connect: Duration::from_secs(20),
        total: Duration::from_secs(20),
        body: 100_000,
        ..Bounds::default()
    }
}

async fn fetched(url: &str, bounds: &Bounds) -> Result<Answer, FetchError> {
    get(&url.parse().unwrap(), "*/*", bounds).await
}

/// Answers each connection with these bytes, then keeps it open or closes it.
async fn raw(answer: &'static [u8], close: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer).await.unwrap();
            if !close {
                open.push(stream);
            }
        }
    });
    port
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_answer_is_told_whole() {
    let server = Server::start(|_| Reply::text("text/plain; charset=utf-8", "hello")).await;
    let answer = fetched(&server.url("/x?y=1"), &bounds()).await.unwrap();
    assert_eq!(
        (
            answer.status,
            answer.content_type.as_str(),
            &answer.body[..]
        ),
        (200, "text/plain; charset=utf-8", &b"hello"[..])
    );
    assert_eq!(server.seen(), ["/x?y=1 */*"]);
    let server = Server::start(|_| Reply::status(503, "not now")).await;
    assert_eq!(
        fetched(&server.url("/"), &bounds()).await.unwrap().status,
        503
    );
}

#[tokio::test]
async fn gzip_is_undone_within_bounds() {
    let packed = |plain: Vec<u8>| Reply {
        encoding: Some("gzip"),
        ..Reply::text("text/plain", gzip(&plain))
    };
    let server = Server::start(move |path| match path {
        "/fine" => packed(vec![b'a'; 100_000]),
        "/bomb" => packed(vec![0; 50_000_000]),
        "/liar" => Reply {
            encoding: Some("gzip"),
            ..Reply::text("text/plain", "plain")
        },
        _ => Reply {
            encoding: Some("br"),
            ..Reply::text("text/plain", "?")
        },
    })
    .await;
    assert_eq!(
        fetched(&server.url("/fine"), &bounds())
            .await
            .unwrap()
            .body
            .len(),
        100_000
    );
    let bomb = fetched(&server.url("/bomb"), &bounds()).await.unwrap_err();
    assert!(
        bomb.to_string()
            .ends_with("more than 100000 bytes once decompressed"),
        "{bomb}"
    );
    assert_eq!(
        fetched(&server.url("/liar"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "encoding"
    );
    assert_eq!(
        fetched(&server.url("/odd"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "encoding"
    );
}

#[tokio::test]
async fn each_failure_has_its_own_name() {
    let gone = closed_port().await;
    let short = Bounds {
        total: Duration::from_millis(150),
        ..bounds()
    };
    assert_eq!(
        fetched(&format!("http://127.0.0.1:{gone}/"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "refused"
    );

    let slow = Server::start(|_| Reply::status(200, "late").after(Duration::from_secs(60))).await;
    let error = fetched(&slow.url("/"), &short).await.unwrap_err();
    assert!(
        error.to_string().starts_with("no answer from 127.0.0.1"),
        "{error}"
    );

    let stalls = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", false).await;
    let error = fetched(&format!("http://127.0.0.1:{stalls}/"), &short)
        .await
        .unwrap_err();
    assert!(
        error.to_string().starts_with("no whole body from"),
        "{error}"
    );

    let cut = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", true).await;
    assert_eq!(
        fetched(&format!("http://127.0.0.1:{cut}/"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "reset"
    );

    let other = raw(b"SSH-2.0-OpenSSH_9.6\r\n", false).await;
    assert_eq!(
        fetched(&format!("http://127.0.0.1:{other}/"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "not http"
    );

    let large = Server::start(|_| Reply::text("text/plain", vec![b'x'; 100_001])).await;
    assert_eq!(
        fetched(&large.url("/"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "too large"
    );
}

#[tokio::test]
async fn an_endless_body_is_cut_off_at_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(
        fetched(&format!("http://127.0.0.1:{port}/"), &bounds())
            .await
            .unwrap_err()
            .kind(),
        "too large"
    );
}

#[tokio::test]
async fn only_this_machine_is_contacted_unless_allowed() {
    let at = |host: &str| HostPort::new(host, 80);
    for host in [
        "192.0.2.1",
        "0.0.0.0",
        "169.254.169.254",
        "::ffff:192.0.2.1",
        "2001:db8::1",
        "example.invalid",
    ] {
        let refused = at(host).resolve(Reach::Loopback).await;
        assert!(
            matches!(refused, Err(FetchError::NotAllowed(_))),
            "{host}: {refused:?}"
        );
    }
    for host in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "LOCALHOST",
    ] {
        assert!(
            !at(host).resolve(Reach::Loopback).await.unwrap().is_empty(),
            "{host}"
        );
    }
    assert_eq!(
        at("192.0.2.1")
            .resolve(Reach::Anywhere)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn addresses_and_urls_are_read_or_refused_with_a_reason() {
    let fine = |text: &str| text.parse::<Endpoint>().unwrap().to_string();
    assert_eq!(fine("http://127.0.0.1:8081"), "http://127.0.0.1:8081/");
    assert_eq!(fine("HTTP://[::1]:9/a/b?c=d"), "http://[::1]:9/a/b?c=d");
    assert_eq!(fine("http://host?x"), "http://host:80/?x");
    assert_eq!(fine("http://[::1]"), "http://[::1]:80/");
    let base: Endpoint = "http://h:1/base/".parse().unwrap();
    assert_eq!(base.join("/x").unwrap().to_string(), "http://h:1/base/x");
    for (text, why) in [
        ("https://h", "needs TLS"),
        ("ftp://h", "no http:// URL"),
        ("h:80", "no http:// URL"),
        ("http://u:p@h/", "user name or password"),
        ("http://h:0/", "outside 1 to 65535"),
        ("http://h:99999/", "outside 1 to 65535"),
        ("http://h:+1/", "no usable port"),
        ("http://:80/", "no usable host"),
        ("http://h/a b", "no path"),
        ("http://h/a\r\nX: y", "no path"),
        ("http://[::1/", "without ]"),
    ] {
        let error = text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    assert!(
        !"http://u:secret@h/"
            .parse::<Endpoint>()
            .unwrap_err()
            .to_string()
            .contains("secret")
    );
    assert!(
        "::1:80"
            .parse::<HostPort>()
            .unwrap_err()
            .to_string()
            .contains("without [ ]")
    );
    assert!(
        "payment"
            .parse::<HostPort>()
            .unwrap_err()
            .to_string()
            .contains("has no port")
    );
}
