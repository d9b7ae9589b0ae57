//! One bounded HTTP GET, and one bounded TCP connect.
//!
//! Written for talking to things that may be broken: every phase has a deadline, sizes are bounded before and after
//! decompression, redirects and proxies are not followed, and what went wrong is told as the kind of failure it was,
//! because for a diagnosis "refused" and "no answer in time" are different facts. One connection a request: what is
//! measured is the whole way, and a pool can't hide that an address is gone.

mod endpoint;

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT,
};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub use endpoint::{Endpoint, EndpointError, HostPort, Reach};

/// How far a request may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub connect: Duration,
    /// From start to the last byte, connecting included.
    pub total: Duration,
    /// Body bytes, as sent and after decompression alike.
    pub body: usize,
    pub reach: Reach,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            connect: Duration::from_secs(2),
            total: Duration::from_secs(10),
            body: 32 << 20,
            reach: Reach::Loopback,
        }
    }
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Bytes,
    pub took: Duration,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error(
        "{0} is not on this machine, and only loopback addresses are contacted unless told otherwise"
    )]
    NotAllowed(String),
    #[error("{0} can't be resolved: {1}")]
    Unresolved(String, String),
    #[error("{0} refused the connection")]
    Refused(String),
    #[error("{0} can't be reached: {1}")]
    Unreachable(String, String),
    #[error("no {phase} from {from} within {after:?}")]
    Timeout {
        phase: &'static str,
        from: String,
        after: Duration,
    },
    #[error("{0} closed the connection without a whole answer: {1}")]
    Reset(String, String),
    #[error("{0} doesn't answer in HTTP: {1}")]
    NotHttp(String, String),
    #[error("{from} answered with more than {limit} bytes{when}")]
    TooLarge {
        from: String,
        limit: usize,
        when: &'static str,
    },
    #[error("{0} answered in an encoding that can't be read: {1}")]
    Encoding(String, String),
}

impl FetchError {
    /// One word for it, as probe results carry.
    pub fn kind(&self) -> &'static str {
        match self {
            FetchError::NotAllowed(_) => "not allowed",
            FetchError::Unresolved(..) => "unresolved",
            FetchError::Refused(_) => "refused",
            FetchError::Unreachable(..) => "unreachable",
            FetchError::Timeout { .. } => "timeout",
            FetchError::Reset(..) => "reset",
            FetchError::NotHttp(..) => "not http",
            FetchError::TooLarge { .. } => "too large",
            FetchError::Encoding(..) => "encoding",
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            FetchError::NotAllowed(_) => {
                Some("allow other hosts explicitly if the registry is to be trusted with them")
            }
            FetchError::TooLarge { .. } => {
                Some("raise the body limit if an answer of that size is expected")
            }
            _ => None,
        }
    }
}

/// Opens a TCP connection, trying each address the name has.
pub async fn connect(to: &HostPort, bounds: &Bounds) -> Result<TcpStream, FetchError> {
    let deadline = Instant::now() + bounds.connect.min(bounds.total);
    let timeout = || FetchError::Timeout {
        phase: "connection",
        from: to.to_string(),
        after: bounds.connect.min(bounds.total),
    };
    let addresses = timeout_at(deadline, to.resolve(bounds.reach))
        .await
        .map_err(|_| timeout())??;
    let mut last = None;
    for address in addresses {
        match timeout_at(deadline, TcpStream::connect(address)).await {
            Err(_) => return Err(timeout()),
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => {
                last = Some(match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => FetchError::Refused(to.to_string()),
                    std::io::ErrorKind::ConnectionReset => {
                        FetchError::Reset(to.to_string(), "while connecting".into())
                    }
                    _ => FetchError::Unreachable(to.to_string(), error.to_string()),
                });
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        FetchError::Unresolved(to.to_string(), "the name has no address".into())
    }))
}

/// Ends the connection's task with the request, so that a half-read body can't keep it alive.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches `endpoint`, asking for `accept`.
pub async fn get(endpoint: &Endpoint, accept: &str, bounds: &Bounds) -> Result<Answer, FetchError> {
    let started = Instant::now();
    let deadline = started + bounds.total;
    let from = || endpoint.at.to_string();
    let timeout = |phase| FetchError::Timeout {
        phase,
        from: endpoint.at.to_string(),
        after: bounds.total,
    };
    let not_http = |error: &dyn std::fmt::Display| FetchError::NotHttp(from(), error.to_string());

    let stream = connect(&endpoint.at, bounds).await?;
    let (mut sender, connection) = timeout_at(
        deadline,
        hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 << 10)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream)),
    )
    .await
    .map_err(|_| timeout("answer"))?
    .map_err(|error| sort(&error, from()))?;
    let _connection = Connection(tokio::spawn(async move {
        // Its failure shows where the answer is awaited.
        let _ = connection.await;
    }));

    let request = http::Request::get(endpoint.path.as_str())
        .header(HOST, endpoint.at.to_string())
        .header(USER_AGENT, concat!("casefile/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, accept)
        .header(ACCEPT_ENCODING, "gzip")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| not_http(&error))?;
    let response = timeout_at(deadline, sender.send_request(request))
        .await
        .map_err(|_| timeout("answer"))?
        .map_err(|error| sort(&error, from()))?;
    let (head, mut incoming) = response.into_parts();

    let mut body = BytesMut::new();
    loop {
        let frame = match timeout_at(deadline, incoming.frame()).await {
            Err(_) => return Err(timeout("whole body")),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(sort(&error, from())),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            if body.len() + data.len() > bounds.body {
                return Err(FetchError::TooLarge {
                    from: from(),
                    limit: bounds.body,
                    when: "",
                });
            }
            body.extend_from_slice(&data);
        }
    }
    let text = |name| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .trim()
    };
    let body = match text(CONTENT_ENCODING).to_ascii_lowercase().as_str() {
        "" | "identity" => body.freeze(),
        "gzip" | "x-gzip" => gunzip(&body, bounds.body, &from())?,
        other => {
            return Err(FetchError::Encoding(
                from(),
                format!("{other:?} wasn't asked for"),
            ));
        }
    };
    Ok(Answer {
        status: head.status.as_u16(),
        content_type: text(CONTENT_TYPE).to_owned(),
        body,
        took: started.elapsed(),
    })
}

fn gunzip(body: &[u8], limit: usize, from: &str) -> Result<Bytes, FetchError> {
    let mut plain = Vec::with_capacity(body.len().saturating_mul(4).min(limit).min(1 << 20));
    flate2::read::MultiGzDecoder::new(body)
        .take(limit as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| FetchError::Encoding(from.to_owned(), format!("gzip: {error}")))?;
    if plain.len() > limit {
        return Err(FetchError::TooLarge {
            from: from.to_owned(),
            limit,
            when: " once decompressed",
        });
    }
    Ok(plain.into())
}

fn sort(error: &hyper::Error, from: String) -> FetchError {
    if error.is_parse() || error.is_parse_too_large() {
        return FetchError::NotHttp(from, error.to_string());
    }
    FetchError::Reset(from, error.to_string())
}

#[cfg(test)]
mod tests;
