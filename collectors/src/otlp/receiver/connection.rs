//! One connection: TLS if asked for, HTTP/1 or HTTP/2 as the client speaks, until it ends or has to.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::activity::{Activity, Watched};
use super::body::Reading;
use super::intake::Shared;
use super::{grpc, http};

/// For a client to notice that an idle connection is being closed.
const GRACE: Duration = Duration::from_secs(1);

/// A larger frame spares work at both ends; clients use it or keep to the usual 16 KiB.
const FRAME: u32 = 1 << 20;
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const MOST_STREAMS: u32 = 256;
const LARGEST_HEADERS: u32 = 32 << 10;

/// The protocol settings of every connection.
pub(super) fn builder(shared: &Shared) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Runs between requests too, so it can only be the idle time; slow heads are seen by `Activity`.
        .header_read_timeout(shared.timeouts.idle.max(shared.timeouts.header));
    builder
        .http2()
        .timer(TokioTimer::new())
        .adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(LARGEST_HEADERS)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// What a connection is served with.
pub(super) struct Serving {
    pub(super) shared: Arc<Shared>,
    pub(super) builder: Builder<TokioExecutor>,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Serves until the client leaves, is idle or slow for too long, is told to go, or the receiver stops. `overloaded`:
/// there are too many; every request is told to come back.
pub(super) async fn serve(
    stream: TcpStream,
    serving: Arc<Serving>,
    activity: Arc<Activity>,
    overloaded: bool,
) {
    match &serving.tls {
        None => run(stream, &serving, activity, overloaded).await,
        Some(tls) => {
            let mut stopping = serving.stopping.clone();
            let handshake = timeout(serving.shared.timeouts.header, tls.accept(stream));
            // A client that can't shake hands is none of ours; there is nobody to tell.
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = stopped(&mut stopping) => return,
                () = activity.told_to_go() => return,
            };
            if let Ok(Ok(stream)) = shaken {
                run(stream, &serving, activity, overloaded).await;
            }
        }
    }
}

async fn run<S>(stream: S, serving: &Serving, activity: Arc<Activity>, overloaded: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = &serving.shared;
    let service = service_fn({
        let shared = Arc::clone(shared);
        let activity = Arc::clone(&activity);
        move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            let in_flight = activity.request();
            async move {
                let (parts, body) = request.into_parts();
                let limit = shared.limits.request_bytes;
                let reading =
                    Reading::new(body, limit, shared.timeouts.body, shared.budget.share());
                let answer = if grpc::is_call(&parts) {
                    grpc::answer(&shared, &parts, reading, overloaded).await
                } else {
                    http::answer(&shared, &parts, reading, overloaded).await
                };
                drop(in_flight);
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let watched = Watched {
        stream,
        activity: Arc::clone(&activity),
    };
    let connection = serving
        .builder
        .serve_connection(TokioIo::new(watched), service);
    tokio::pin!(connection);

    let timeouts = if overloaded {
        let mut short = shared.timeouts;
        short.idle = short.idle.min(GRACE);
        short
    } else {
        shared.timeouts
    };
    let mut stopping = serving.stopping.clone();
    let mut leaving_by = None;
    loop {
        // A slow head may begin at any time; looking this often is enough to see it in time.
        let look = activity
            .deadline(&timeouts)
            .min(Instant::now() + timeouts.header);
        let wake = leaving_by.unwrap_or(look);
        tokio::select! {
            // The error of a connection concerns its client alone, who knows it already.
            _ = connection.as_mut() => return,
            () = stopped(&mut stopping), if leaving_by.is_none() => {
                connection.as_mut().graceful_shutdown();
                // Requests under way may end; how long that may take, the receiver's own deadline says.
                leaving_by = Some(Instant::now() + GRACE);
            }
            () = activity.told_to_go(), if leaving_by.is_none() => {
                connection.as_mut().graceful_shutdown();
                leaving_by = Some(Instant::now() + GRACE);
            }
            () = sleep_until(wake) => {
                let now = Instant::now();
                if leaving_by.is_some() {
                    if activity.is_idle() {
                        return;
                    }
                    leaving_by = Some(now + GRACE);
                } else if now >= activity.deadline(&timeouts) {
                    connection.as_mut().graceful_shutdown();
                    leaving_by = Some(now + GRACE);
                }
            }
        }
    }
}

/// Returns when the receiver stops, or is gone without a word.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
