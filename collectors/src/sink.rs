//! Where collected bytes go.

use bytes::Bytes;
use case::{AppendError, Receipt, Signal};

/// Takes one payload and answers once it is durable, or refused. The answer may come on any thread.
pub trait Sink: Send + Sync + 'static {
    fn submit(
        &self,
        signal: Signal,
        payload: Bytes,
        done: Box<dyn FnOnce(Result<Receipt, AppendError>) + Send>,
    );
}
