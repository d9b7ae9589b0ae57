//! What one connection is doing, seen from outside: which are idle, which are slow to say what they want.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::options::Timeouts;

/// Times are milliseconds since the connection was accepted, so that they fit an atomic.
pub(super) struct Activity {
    accepted: Instant,
    in_flight: AtomicUsize,
    served: AtomicU64,
    /// When a request last began or ended.
    last: AtomicU64,
    /// One more than when bytes came that no request has claimed yet; 0 when there are none.
    unclaimed_since: AtomicU64,
    /// HTTP/2 sends bytes of its own (pings, window updates), which are no request being slow.
    http2: AtomicBool,
    begun: AtomicBool,
    told_to_go: AtomicBool,
    go: Notify,
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity {
            accepted: Instant::now(),
            in_flight: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            last: AtomicU64::new(0),
            unclaimed_since: AtomicU64::new(0),
            http2: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            told_to_go: AtomicBool::new(false),
            go: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts a request until the guard goes.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.touch();
        InFlight(Arc::clone(self))
    }

    fn touch(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
        self.unclaimed_since.store(0, Ordering::Relaxed);
    }

    fn received(&self, bytes: &[u8]) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.http2
                .store(bytes.starts_with(b"PRI"), Ordering::Relaxed);
        }
        if self.in_flight.load(Ordering::Relaxed) == 0
            && self.unclaimed_since.load(Ordering::Relaxed) == 0
        {
            self.unclaimed_since
                .store(self.now() + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    /// Who goes first when room is needed: those that never asked for anything, then those idle for longest. `None`
    /// for those that must not go.
    pub(super) fn expendable(&self) -> Option<(bool, Instant)> {
        let may_go = self.is_idle() && !self.told_to_go.load(Ordering::Relaxed);
        let last = self.accepted + Duration::from_millis(self.last.load(Ordering::Relaxed));
        may_go.then(|| (self.served.load(Ordering::Relaxed) > 0, last))
    }

    pub(super) fn tell_to_go(&self) {
        self.told_to_go.store(true, Ordering::Relaxed);
        self.go.notify_one();
    }

    pub(super) async fn told_to_go(&self) {
        self.go.notified().await;
    }

    /// When the connection will have been silent, or slow, for too long, as things are.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Instant {
        if !self.is_idle() {
            return Instant::now() + timeouts.idle;
        }
        let after =
            |millis: u64, wait: Duration| self.accepted + Duration::from_millis(millis) + wait;
        let unclaimed = self.unclaimed_since.load(Ordering::Relaxed);
        let silent = after(self.last.load(Ordering::Relaxed), timeouts.idle);
        if unclaimed > 0 && !self.http2.load(Ordering::Relaxed) {
            silent.min(after(unclaimed - 1, timeouts.header))
        } else {
            silent
        }
    }
}

/// A request being answered.
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.touch();
        self.0.served.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose reads are noted.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            self.activity.received(read);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
