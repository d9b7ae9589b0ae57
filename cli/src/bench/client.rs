//! A gRPC client that sends requests encoded beforehand: what is measured is the receiver, not the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use case::wire::proto::{Fields, Raw};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

use super::payload::Payload;
use crate::error::CliError;

const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    None,
    Gzip,
}

/// Requests that never repeat: a few encoded ones, with ids, times and order numbers changed for every use.
pub struct Requests {
    templates: Vec<(Bytes, Vec<Place>)>,
    /// Nanoseconds that all templates cover together: each round of them begins where the last one ended.
    round: u64,
    next: AtomicU64,
    encoding: Encoding,
}

/// What is changed in a template, and where.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The last eight bytes of an id.
    Id(usize),
    /// An eight-byte time.
    Time(usize),
    /// The eight digits of an order number.
    Order(usize),
}

/// Requests kept encoded; enough that a receiver can't learn them by heart.
const TEMPLATES: usize = 96;

impl Requests {
    pub fn new(seed: u64, encoding: Encoding) -> Requests {
        let mut payload = Payload::new(seed);
        let begun = payload.clock();
        let templates = (0..TEMPLATES)
            .map(|_| {
                let bytes = Bytes::from(payload.request().encode_to_vec());
                let places = places(&bytes);
                (bytes, places)
            })
            .collect();
        Requests {
            templates,
            round: payload.clock() - begun,
            next: AtomicU64::new(0),
            encoding,
        }
    }

    /// The next request's message.
    pub fn message(&self) -> BytesMut {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (template, places) = &self.templates[number as usize % TEMPLATES];
        let round = number / TEMPLATES as u64;
        let mut message = BytesMut::from(template.as_ref());
        // Scattered, so that ids stay as random as they were.
        let mask = (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | u64::from(round > 0)).to_le_bytes();
        let mut order = number.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        for place in places {
            match *place {
                Place::Id(at) => {
                    for (byte, change) in message[at..at + 8].iter_mut().zip(mask) {
                        *byte ^= change;
                    }
                }
                Place::Time(at) => {
                    let mut word = [0; 8];
                    word.copy_from_slice(&message[at..at + 8]);
                    let later = u64::from_le_bytes(word) + round * self.round;
                    message[at..at + 8].copy_from_slice(&later.to_le_bytes());
                }
                Place::Order(at) => {
                    order = order
                        .wrapping_mul(0x5851_f42d_4c95_7f2d)
                        .wrapping_add(0x1405_7b7e_f767_814f);
                    let mut rest = (order >> 33) % 100_000_000;
                    for digit in message[at..at + 8].iter_mut().rev() {
                        *digit = b'0' + (rest % 10) as u8;
                        rest /= 10;
                    }
                }
            }
        }
        message
    }

    fn framed(&self) -> Result<Bytes, CliError> {
        let message = self.message();
        let (flag, message) = match self.encoding {
            Encoding::None => (0, message.freeze()),
            Encoding::Gzip => (1, gzip(&message)?),
        };
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(flag);
        framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        framed.extend_from_slice(&message);
        Ok(framed.freeze())
    }
}

fn gzip(message: &[u8]) -> Result<Bytes, CliError> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(message)
        .and_then(|()| encoder.finish())
        .map(Bytes::from)
        .map_err(|error| CliError::io("compress a request", &error))
}

/// Every trace, span and parent id, start and end time, and order number of a request.
fn places(request: &[u8]) -> Vec<Place> {
    let mut places = Vec::new();
    let offset = |part: &[u8]| part.as_ptr() as usize - request.as_ptr() as usize;
    let mut of_span = |span: &[u8]| {
        let mut fields = Fields::new(span);
        while let Ok(Some((number, raw))) = fields.step() {
            match (number, raw) {
                (1 | 2 | 4, Raw::Bytes(id)) if id.len() >= 8 => {
                    places.push(Place::Id(offset(id) + id.len() - 8))
                }
                // A fixed number ends where the next field begins.
                (7 | 8, Raw::Fixed64(_)) => places.push(Place::Time(offset(fields.rest()) - 8)),
                _ => {}
            }
        }
        for at in memchr::memmem::find_iter(span, b"/ord_") {
            places.push(Place::Order(offset(span) + at + 5));
        }
    };
    each(request, |number, group| {
        if number == 1 {
            each(group, |number, scoped| {
                if number == 2 {
                    each(scoped, |number, span| {
                        if number == 2 {
                            of_span(span);
                        }
                    });
                }
            });
        }
    });
    places
}

fn each<'a>(message: &'a [u8], mut visit: impl FnMut(u32, &'a [u8])) {
    let mut fields = Fields::new(message);
    while let Ok(Some((number, raw))) = fields.step() {
        if let Raw::Bytes(bytes) = raw {
            visit(number, bytes);
        }
    }
}

/// What a run of requests took.
#[derive(Debug, Clone)]
pub struct Sent {
    pub requests: u64,
    pub seconds: f64,
    /// Of every acknowledged request, sorted.
    pub latencies: Vec<Duration>,
}

impl Sent {
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * quantile).ceil() as usize;
        self.latencies
            .get(rank.saturating_sub(1))
            .map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Sends `count` requests over `connections` connections, `in_flight` at a time in all.
pub async fn send(
    address: &str,
    requests: Arc<Requests>,
    count: u64,
    connections: usize,
    in_flight: usize,
) -> Result<Sent, CliError> {
    let left = Arc::new(AtomicU64::new(count));
    let begun = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for connection in 0..connections {
        let sender = connect(address).await?;
        for _ in 0..in_flight
            .div_ceil(connections)
            .min(in_flight - connection * in_flight / connections)
        {
            let (mut sender, requests, left, address) = (
                sender.clone(),
                Arc::clone(&requests),
                Arc::clone(&left),
                address.to_owned(),
            );
            workers.spawn(async move {
                let mut latencies = Vec::new();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok()
                {
                    let body = requests.framed()?;
                    let at = Instant::now();
                    export(&mut sender, &address, body, requests.encoding).await?;
                    latencies.push(at.elapsed());
                }
                Ok::<_, CliError>(latencies)
            });
        }
    }
    let mut latencies = Vec::new();
    while let Some(worker) = workers.join_next().await {
        latencies
            .extend(worker.map_err(|error| CliError::new(format!("a sender stopped: {error}")))??);
    }
    latencies.sort_unstable();
    Ok(Sent {
        requests: latencies.len() as u64,
        seconds: begun.elapsed().as_secs_f64(),
        latencies,
    })
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>, CliError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| CliError::io(format!("connect to {address}"), &error))?;
    stream
        .set_nodelay(true)
        .map_err(|error| CliError::io("set up the connection", &error))?;
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| CliError::new(format!("can't speak HTTP/2 with {address}: {error}")))?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn export(
    sender: &mut SendRequest<Full<Bytes>>,
    address: &str,
    body: Bytes,
    encoding: Encoding,
) -> Result<(), CliError> {
    let failed = |what: String| CliError::new(format!("the receiver at {address} {what}"));
    let mut request = http::Request::post(format!("http://{address}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if encoding == Encoding::Gzip {
        request = request.header("grpc-encoding", "gzip");
    }
    let request = request
        .body(Full::new(body))
        .map_err(|error| CliError::new(format!("can't build a request: {error}")))?;
    sender
        .ready()
        .await
        .map_err(|error| failed(format!("closed the connection: {error}")))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| failed(format!("did not answer: {error}")))?;
    let of_head = response.headers().get("grpc-status").cloned();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|error| failed(format!("broke off: {error}")))?;
    let status = body
        .trailers()
        .and_then(|trailers| trailers.get("grpc-status").cloned())
        .or(of_head);
    match status {
        Some(status) if status == "0" => Ok(()),
        Some(status) => Err(failed(format!(
            "answered with status {}",
            status.to_str().unwrap_or("?")
        ))),
        None => Err(failed("answered without a status".to_owned())),
    }
}
