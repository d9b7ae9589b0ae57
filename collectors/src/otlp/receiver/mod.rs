//! Receives OTLP: gRPC and HTTP, protobuf and JSON, plain or compressed, from clients that may be hostile.
//!
//! Owns listening, framing, limits, timeouts and the codes that answers carry. Knows nothing of what requests say: a
//! [`Sink`] validates and keeps them, and a client hears of success only when the sink does.
//!
//! Both listeners speak both protocols, since one server serves them; the two addresses are those that clients expect.

mod access;
mod activity;
mod answer;
mod body;
mod budget;
mod connection;
mod counters;
mod grpc;
mod http;
mod intake;
mod listener;
mod options;
mod refusal;
mod sink;
mod status;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use counters::{Counters, Counts, SignalCounts};
pub use options::{Limits, ReceiverError, ReceiverOptions, Timeouts, TlsFiles};
pub use sink::{Done, Sink};

use budget::Budget;
use connection::Serving;
use intake::Shared;
use listener::Connections;

/// A running receiver. Dropping it stops it at once; [`Receiver::stop`] lets requests under way end.
pub struct Receiver {
    grpc: Option<SocketAddr>,
    http: Option<SocketAddr>,
    shared: Arc<Shared>,
    connections: Arc<Connections>,
    stopping: watch::Sender<bool>,
    listeners: JoinSet<()>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every request under way was answered.
    Drained,
    /// The deadline came first; so many connections were cut off.
    CutOff { connections: usize },
}

impl Receiver {
    /// Listens, or says why not. Needs a tokio runtime around it.
    pub fn start(options: ReceiverOptions, sink: Arc<dyn Sink>) -> Result<Receiver, ReceiverError> {
        options.check()?;
        if Handle::try_current().is_err() {
            return Err(ReceiverError::NoRuntime);
        }
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let grpc = options.grpc.map(listener::bind).transpose()?;
        let http = options.http.map(listener::bind).transpose()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            sink,
            limits: options.limits,
            timeouts: options.timeouts,
            token: options.token,
            budget: Budget::new(options.limits.in_flight_bytes),
            counters: Arc::new(Counters::default()),
            heavy: Arc::new(Semaphore::new(processors)),
        });
        let (stopping, stopped) = watch::channel(false);
        let serving = Arc::new(Serving {
            builder: connection::builder(&shared),
            shared: Arc::clone(&shared),
            tls,
            stopping: stopped,
        });
        let connections = Arc::new(Connections::new(options.limits.connections));
        let mut receiver = Receiver {
            grpc: grpc.as_ref().map(|(_, address)| *address),
            http: http.as_ref().map(|(_, address)| *address),
            shared,
            connections: Arc::clone(&connections),
            stopping,
            listeners: JoinSet::new(),
        };
        for (listener, _) in grpc.into_iter().chain(http) {
            let accepting =
                listener::accept(listener, Arc::clone(&serving), Arc::clone(&connections));
            receiver.listeners.spawn(accepting);
        }
        Ok(receiver)
    }

    /// Where gRPC is announced, with the port that was picked.
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc
    }

    /// Where HTTP is announced, with the port that was picked.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Counts that go on growing while they are read.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Bytes of requests that have arrived and are not yet answered.
    pub fn in_flight_bytes(&self) -> usize {
        self.shared.budget.used()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.connections.count()
    }

    /// Stops listening, lets requests under way be answered until the deadline, then closes what is left.
    pub async fn stop(mut self, deadline: Duration) -> Stopped {
        // Nobody to tell means nobody to wait for.
        let _ = self.stopping.send(true);
        let drained = async { while self.listeners.join_next().await.is_some() {} };
        match tokio::time::timeout(deadline, drained).await {
            Ok(()) => Stopped::Drained,
            Err(_) => {
                let connections = self.connections.count();
                self.listeners.shutdown().await;
                Stopped::CutOff { connections }
            }
        }
    }
}
