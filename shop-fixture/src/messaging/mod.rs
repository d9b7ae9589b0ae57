//! Owns events between services: their envelope, the three ways to publish them, and the consumer's inbox. The bus
//! itself is a service and stands with them.

pub mod consumer;
mod dispatch;
pub mod envelope;
pub mod outbox;
pub mod publisher;
mod relay;
pub mod routes;

pub use envelope::{Envelope, Event};
pub use publisher::{Publisher, Staged};
