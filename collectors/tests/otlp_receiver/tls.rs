use std::sync::Arc;
use std::time::Duration;

use collectors::otlp::receiver::{Receiver, ReceiverError, ReceiverOptions, Sink, TlsFiles};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{
    EXPORT_TRACES, Memory, collect, framed, options, request, soon, start, traces,
};

struct Identity {
    _folder: tempfile::TempDir,
    files: TlsFiles,
    certificate: CertificateDer<'static>,
}

fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificates: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    std::fs::write(&files.certificates, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    Identity {
        _folder: folder,
        files,
        certificate: made.cert.der().clone(),
    }
}

async fn connect(
    address: std::net::SocketAddr,
    identity: &Identity,
    protocol: &[u8],
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

#[tokio::test]
async fn both_protocols_work_over_tls_with_a_token() {
    let identity = identity();
    let sink = Memory::accepting();
    let everywhere = "0.0.0.0:0".parse().ok();
    let guarded = ReceiverOptions {
        grpc: everywhere,
        http: everywhere,
        token: Some("s3cret".to_owned()),
        tls: Some(identity.files.clone()),
        ..options()
    };
    let receiver = start(guarded, &sink);
    let local =
        |address: Option<std::net::SocketAddr>| ([127, 0, 0, 1], address.unwrap().port()).into();
    let body = traces(2000).encode_to_vec();

    let stream = connect(local(receiver.http_addr()), &identity, b"http/1.1").await;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let headers = [
        ("host", "localhost"),
        ("content-type", "application/x-protobuf"),
        ("authorization", "Bearer s3cret"),
    ];
    let sent = request(http::Method::POST, "/v1/traces", &headers, body.clone());
    assert_eq!(
        soon("an answer", sender.send_request(sent))
            .await
            .unwrap()
            .status(),
        200
    );

    let stream = connect(local(receiver.grpc_addr()), &identity, b"h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let headers = [
        ("content-type", "application/grpc"),
        ("authorization", "Bearer s3cret"),
    ];
    let mut sent = request(http::Method::POST, "/", &headers, framed(false, &body));
    *sent.uri_mut() = format!("https://localhost{EXPORT_TRACES}").parse().unwrap();
    let reply = collect(soon("an answer", sender.send_request(sent)).await.unwrap()).await;
    assert_eq!(reply.grpc("grpc-status"), "0", "{reply:?}");
    assert!(
        sink.taken()
            .iter()
            .all(|(_, payload)| payload[..] == body[..])
    );
    assert_eq!(sink.taken().len(), 2);
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_cut_off() {
    let identity = identity();
    let mut guarded = ReceiverOptions {
        tls: Some(identity.files.clone()),
        ..options()
    };
    guarded.timeouts.header = Duration::from_millis(100);
    let receiver = start(guarded, &Memory::accepting());
    let mut silent = TcpStream::connect(receiver.http_addr().unwrap())
        .await
        .unwrap();
    assert_eq!(soon("an end", silent.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn unusable_files_are_named() {
    let identity = identity();
    let other = self::identity();
    let refuse = |files: TlsFiles| {
        let sink: Arc<dyn Sink> = Memory::accepting();
        match Receiver::start(
            ReceiverOptions {
                tls: Some(files),
                ..options()
            },
            sink,
        ) {
            Ok(_) => panic!("it started"),
            Err(error @ ReceiverError::Tls { .. }) => {
                assert!(error.hint().is_some());
                error.to_string()
            }
            Err(error) => panic!("{error}"),
        }
    };
    let good = identity.files.clone();
    let missing = refuse(TlsFiles {
        certificates: "nowhere.pem".into(),
        ..good.clone()
    });
    assert!(
        missing.starts_with("can't use nowhere.pem for TLS: "),
        "{missing}"
    );
    refuse(TlsFiles {
        certificates: good.key.clone(),
        key: good.key.clone(),
    });
    refuse(TlsFiles {
        certificates: good.certificates.clone(),
        key: good.certificates.clone(),
    });
    refuse(TlsFiles {
        key: other.files.key.clone(),
        ..good
    });
}
