//! Owns the packet filter that a `port_blocked` fault puts before the service port: `drop` lets nothing in and nothing
//! out, `reject` cuts every connection off. Ports beside the service port go on.

use tokio::net::{TcpListener, TcpStream};

use crate::runtime::Rt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Drop,
    Reject,
}

/// The filter before one listener.
#[derive(Clone)]
pub(super) struct Filter {
    /// None before a port that is no service port.
    rt: Option<Rt>,
}

impl Filter {
    /// Of a listener: only the port under which the instance registers can be blocked.
    pub(super) fn before(rt: Option<&Rt>, listener: &TcpListener) -> Self {
        let port = listener.local_addr().map(|address| address.port()).ok();
        let guarded = rt.filter(|rt| {
            let own = if rt.spec.grpc {
                rt.ports.grpc
            } else {
                rt.ports.http
            };
            own.is_some() && own == port
        });
        Self {
            rt: guarded.cloned(),
        }
    }

    fn mode(&self) -> Mode {
        let params = self
            .rt
            .as_ref()
            .and_then(|rt| rt.faults.find("port_blocked"));
        match params {
            None => Mode::Open,
            Some(params) if params["mode"] == "reject" => Mode::Reject,
            Some(_) => Mode::Drop,
        }
    }

    /// Waits until connections may come in; while they may not, keeps the kernel from taking them either.
    pub(super) async fn until_open(&self, listener: &TcpListener) {
        let Some(rt) = &self.rt else { return };
        let mut changes = rt.faults.changes();
        if self.mode() != Mode::Drop {
            return;
        }
        // A queue of one that is full: the kernel then answers nobody.
        let socket = socket2::SockRef::from(listener);
        let _ = socket.listen(0);
        let mut filling = Vec::new();
        if let Ok(address) = listener.local_addr() {
            for _ in 0..2 {
                let connect = TcpStream::connect(address);
                let limit = std::time::Duration::from_millis(100);
                if let Ok(Ok(stream)) = tokio::time::timeout(limit, connect).await {
                    filling.push(stream);
                }
            }
        }
        while self.mode() == Mode::Drop && changes.changed().await.is_ok() {}
        let _ = socket.listen(1_024);
    }

    /// A connection that came in, unless it is to be cut off.
    pub(super) fn pass(&self, stream: TcpStream) -> Option<TcpStream> {
        if self.mode() == Mode::Reject {
            let _ = stream.set_zero_linger();
            return None;
        }
        Some(stream)
    }

    /// Ends when the connections that are open are to be cut off.
    pub(super) async fn cut(&self) {
        let Some(rt) = &self.rt else {
            return std::future::pending().await;
        };
        let mut changes = rt.faults.changes();
        while self.mode() != Mode::Reject {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Waits while nothing that is sent arrives.
    pub(super) async fn swallow(&self) {
        let Some(rt) = &self.rt else { return };
        let mut changes = rt.faults.changes();
        while self.mode() == Mode::Drop && changes.changed().await.is_ok() {}
    }

    /// Ends when what is before the listener may have changed.
    pub(super) async fn changed(&self) {
        let Some(rt) = &self.rt else {
            return std::future::pending().await;
        };
        let mut changes = rt.faults.changes();
        while self.mode() != Mode::Drop {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
