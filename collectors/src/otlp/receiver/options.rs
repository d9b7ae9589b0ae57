//! What a receiver is started with, and what may keep it from starting.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where to listen, for whom, and within which bounds.
#[derive(Clone)]
pub struct ReceiverOptions {
    /// The address announced for gRPC; port 0 picks one. Both listeners answer both protocols.
    pub grpc: Option<SocketAddr>,
    /// The address announced for HTTP.
    pub http: Option<SocketAddr>,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Asked of every request as `authorization: Bearer …`.
    pub token: Option<String>,
    pub tls: Option<TlsFiles>,
    /// Allows an address beyond this machine without token or TLS.
    pub insecure: bool,
}

impl Default for ReceiverOptions {
    fn default() -> ReceiverOptions {
        let local = |port| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        ReceiverOptions {
            grpc: local(4317),
            http: local(4318),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            token: None,
            tls: None,
            insecure: false,
        }
    }
}

/// Bounds on size and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one body as it is sent.
    pub request_bytes: usize,
    /// Bytes of one body after decompression, and again as protobuf.
    pub decoded_bytes: usize,
    /// Bytes of all bodies in flight, compressed and not. Beyond it requests are told to come back.
    pub in_flight_bytes: usize,
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_bytes: 64 << 20,
            decoded_bytes: 64 << 20,
            in_flight_bytes: 128 << 20,
            connections: 1024,
        }
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TLS handshake, and for the head of an HTTP/1 request once it has begun.
    pub header: Duration,
    /// For a whole body.
    pub body: Duration,
    /// Without any request, before the connection is closed.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(300),
        }
    }
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificates: PathBuf,
    pub key: PathBuf,
}

/// Why a receiver did not start.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    #[error("no address to listen on")]
    NoAddress,
    #[error("can't listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("{address} can be reached from other machines, and {missing} missing")]
    Exposed {
        address: SocketAddr,
        missing: &'static str,
    },
    #[error("the bearer token is empty or has characters a header can't carry")]
    UnusableToken,
    #[error("can't use {path} for TLS: {reason}")]
    Tls { path: PathBuf, reason: String },
    #[error(
        "{in_flight} bytes in flight are too few for one request of {request} bytes that becomes {decoded}"
    )]
    Limits {
        in_flight: usize,
        request: usize,
        decoded: usize,
    },
    #[error("a receiver needs a running tokio runtime")]
    NoRuntime,
}

impl ReceiverError {
    /// What to do about it, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ReceiverError::NoAddress => Some("give an address for gRPC, for HTTP or for both"),
            ReceiverError::Bind { source, .. }
                if source.kind() == std::io::ErrorKind::AddrInUse =>
            {
                Some(
                    "another process listens there: stop it, choose another port, or 0 for any free one",
                )
            }
            ReceiverError::Exposed { .. } => Some(
                "listen on 127.0.0.1, or set both a bearer token and a TLS certificate, or say --insecure to go without",
            ),
            ReceiverError::UnusableToken => Some("use printable ASCII without spaces"),
            ReceiverError::Tls { .. } => {
                Some("give a PEM certificate chain and its unencrypted PEM private key")
            }
            ReceiverError::Limits { .. } => {
                Some("raise the bound on bytes in flight or lower the request limits")
            }
            ReceiverError::Bind { .. } | ReceiverError::NoRuntime => None,
        }
    }
}

impl ReceiverOptions {
    /// Checks what can be checked before anything is opened.
    pub(super) fn check(&self) -> Result<(), ReceiverError> {
        let addresses: Vec<SocketAddr> = self.grpc.into_iter().chain(self.http).collect();
        if addresses.is_empty() {
            return Err(ReceiverError::NoAddress);
        }
        if let Some(token) = &self.token
            && (token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(ReceiverError::UnusableToken);
        }
        let missing = match (&self.token, &self.tls) {
            (None, None) => Some("a bearer token and TLS are"),
            (None, Some(_)) => Some("a bearer token is"),
            (Some(_), None) => Some("TLS is"),
            (Some(_), Some(_)) => None,
        };
        if let Some(missing) = missing
            && !self.insecure
            && let Some(&address) = addresses
                .iter()
                .find(|address| !address.ip().to_canonical().is_loopback())
        {
            return Err(ReceiverError::Exposed { address, missing });
        }
        let Limits {
            request_bytes,
            decoded_bytes,
            in_flight_bytes,
            ..
        } = self.limits;
        // A body is held as sent and decompressed, then decompressed and as protobuf.
        if in_flight_bytes
            < request_bytes
                .saturating_add(decoded_bytes)
                .max(decoded_bytes.saturating_mul(2))
        {
            return Err(ReceiverError::Limits {
                in_flight: in_flight_bytes,
                request: request_bytes,
                decoded: decoded_bytes,
            });
        }
        Ok(())
    }
}
