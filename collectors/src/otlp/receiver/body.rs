//! Request bodies read within size, time and the common budget.
//!
//! A body that arrives in one frame is used as it lies; others are put together once. Memory is taken as bytes arrive,
//! never for bytes that are only announced.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::budget::Share;
use super::refusal::Refusal;

/// Taken at once for a body whose announced length is more; the rest follows when this much has really come.
const FIRST_CAPACITY: usize = 1 << 20;

/// A body being read.
pub(super) struct Reading {
    body: Incoming,
    limit: usize,
    read: usize,
    timeout: Duration,
    deadline: Instant,
    share: Share,
}

impl Reading {
    pub(super) fn new(body: Incoming, limit: usize, timeout: Duration, share: Share) -> Reading {
        Reading {
            body,
            limit,
            read: 0,
            timeout,
            deadline: Instant::now() + timeout,
            share,
        }
    }

    /// What the body is held against, for the one who goes on with its bytes.
    pub(super) fn take_share(&mut self) -> Share {
        let nothing = self.share.sibling();
        std::mem::replace(&mut self.share, nothing)
    }

    fn too_large(&self) -> Refusal {
        Refusal::TooLarge(format!("more than {} bytes in one request", self.limit))
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            match timeout_at(self.deadline, self.body.frame()).await {
                Err(_) => return Err(Refusal::TooSlow(self.timeout)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    return Err(Refusal::Abandoned(format!(
                        "the body did not arrive whole: {error}"
                    )));
                }
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    // Trailers of a request say nothing to us.
                    Err(_) => {}
                },
            }
        }
    }

    /// The next piece, counted and paid for.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(piece) = self.frame().await? else {
            return Ok(None);
        };
        self.read += piece.len();
        if self.read > self.limit {
            return Err(self.too_large());
        }
        if !self.share.grow(piece.len()) {
            return Err(Refusal::over_budget());
        }
        Ok(Some(piece))
    }

    /// The whole body.
    pub(super) async fn whole(&mut self) -> Result<Bytes, Refusal> {
        let announced = self.body.size_hint().exact();
        if announced.is_some_and(|length| length > self.limit as u64) {
            return Err(self.too_large());
        }
        let Some(first) = self.piece().await? else {
            return Ok(Bytes::new());
        };
        let announced = announced.map(|length| length as usize);
        self.gather(first, announced).await
    }

    /// The one message of a unary gRPC call: whether it is compressed, and its bytes.
    pub(super) async fn message(&mut self) -> Result<(bool, Bytes), Refusal> {
        const PREFIX: usize = 5;
        let malformed = |reason: &str| Refusal::Malformed(reason.to_owned());
        let mut first = match self.piece().await? {
            Some(piece) => piece,
            None => return Err(malformed("a call without a message")),
        };
        while first.len() < PREFIX {
            let more = self
                .piece()
                .await?
                .ok_or_else(|| malformed("a message without its length"))?;
            first = [&first[..], &more[..]].concat().into();
        }
        let compressed = match first[0] {
            0 => false,
            1 => true,
            _ => return Err(malformed("a message with unknown flags")),
        };
        let length = u32::from_be_bytes([first[1], first[2], first[3], first[4]]) as usize;
        if length > self.limit {
            return Err(self.too_large());
        }
        // The limit is on messages; their prefix comes on top.
        self.limit = self.limit.saturating_add(PREFIX);
        first.advance(PREFIX);
        let message = self.gather(first, Some(length)).await?;
        match message.len() {
            read if read == length => Ok((compressed, message)),
            read if read < length => Err(malformed("a message shorter than its length says")),
            _ => Err(malformed("more than one message in a unary call")),
        }
    }

    /// The rest of the body behind its first piece. Stops early only with an error.
    async fn gather(&mut self, first: Bytes, expected: Option<usize>) -> Result<Bytes, Refusal> {
        if self.body.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = self.piece().await? else {
            return Ok(first);
        };
        let expected = expected.unwrap_or(0);
        let mut whole =
            Vec::with_capacity(expected.min(FIRST_CAPACITY).max(first.len() + second.len()));
        whole.extend_from_slice(&first);
        drop(first);
        whole.extend_from_slice(&second);
        drop(second);
        while let Some(piece) = self.piece().await? {
            if whole.len() + piece.len() > whole.capacity() && whole.len() < expected {
                whole.reserve_exact(expected.max(whole.len() + piece.len()) - whole.len());
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// Reads on and forgets, so that an HTTP/1 client that is still sending gets to see the answer. At most as much
    /// again as the limit, and not for long.
    pub(super) async fn drain(mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        // What was read is forgotten already.
        self.share.shrink_to(0);
        self.deadline = self.deadline.min(Instant::now() + PATIENCE);
        let mut left = self.limit;
        while let Ok(Some(piece)) = self.frame().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    }
}
