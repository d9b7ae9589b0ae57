//! What tests of collectors share: a small HTTP server that answers as told, and a sink that records.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use case::{AppendError, Receipt, Signal};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::otlp::receiver::{Done, Sink};

/// One answer of the test server.
#[derive(Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub encoding: Option<&'static str>,
    pub body: Bytes,
    pub after: Duration,
}

impl Reply {
    pub(crate) fn json(value: &serde_json::Value) -> Reply {
        Reply {
            status: 200,
            content_type: "application/json",
            encoding: None,
            body: value.to_string().into(),
            after: Duration::ZERO,
        }
    }

    pub(crate) fn text(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
        Reply {
            content_type,
            body: body.into(),
            ..Reply::json(&serde_json::Value::Null)
        }
    }

    pub(crate) fn status(status: u16, body: &'static str) -> Reply {
        Reply {
            status,
            ..Reply::text("text/plain", body)
        }
    }

    pub(crate) fn after(self, after: Duration) -> Reply {
        Reply { after, ..self }
    }
}

/// A server on a port of its own; it goes away with the value.
pub(crate) struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Server::on(listener, answer)
    }

    pub(crate) fn on(
        listener: TcpListener,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            // Connections end with the server, so that a stopped one refuses rather than hangs.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, answer) = (log.clone(), answer.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (log, answer) = (log.clone(), answer.clone());
                        async move {
                            let path = request.uri().path_and_query().unwrap().to_string();
                            let accept = request
                                .headers()
                                .get("accept")
                                .map(|value| value.to_str().unwrap().to_owned());
                            log.lock()
                                .unwrap()
                                .push(format!("{path} {}", accept.unwrap_or_default()));
                            let reply = answer(&path);
                            tokio::time::sleep(reply.after).await;
                            let mut response = Response::builder()
                                .status(reply.status)
                                .header("content-type", reply.content_type);
                            if let Some(encoding) = reply.encoding {
                                response = response.header("content-encoding", encoding);
                            }
                            Ok::<_, std::convert::Infallible>(
                                response.body(Full::new(reply.body)).unwrap(),
                            )
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Server { port, seen, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Requests so far: path and query, a blank, the Accept header.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A port nobody listens on.
pub(crate) async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Records payloads; may be told to answer otherwise first.
#[derive(Default)]
pub(crate) struct Recorder {
    kept: Mutex<Vec<(Signal, Bytes)>>,
    refusals: Mutex<VecDeque<AppendError>>,
}

impl Recorder {
    pub(crate) fn refusing(refusals: impl IntoIterator<Item = AppendError>) -> Arc<Recorder> {
        Arc::new(Recorder {
            kept: Mutex::default(),
            refusals: Mutex::new(refusals.into_iter().collect()),
        })
    }

    pub(crate) fn payloads(&self, signal: Signal) -> Vec<Bytes> {
        let kept = self.kept.lock().unwrap();
        kept.iter()
            .filter(|(kind, _)| *kind == signal)
            .map(|(_, payload)| payload.clone())
            .collect()
    }

    pub(crate) fn rows<T: DeserializeOwned>(&self, signal: Signal) -> Vec<T> {
        let payloads = self.payloads(signal);
        let lines = payloads
            .iter()
            .flat_map(|payload| payload.split(|byte| *byte == b'\n'));
        lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }
}

impl Sink for Recorder {
    fn submit(&self, signal: Signal, payload: Bytes, done: Done) {
        if let Some(refusal) = self.refusals.lock().unwrap().pop_front() {
            return done(Err(refusal));
        }
        let accepted = payload.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.kept.lock().unwrap().push((signal, payload));
        done(Ok(Receipt {
            accepted,
            ..Receipt::default()
        }));
    }
}

/// Waits until `found` finds something; says what was waited for when it never does.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "never saw {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
