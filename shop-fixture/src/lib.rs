//! The shop: a real system of many processes that can be broken on purpose. It speaks to the outside by HTTP, gRPC and
//! OTLP alone and knows nothing of who watches it.
//!
//! `supervisor` starts one process per instance, each of which runs `instance::serve`; `load` drives the gateway;
//! `fault` asks the supervisor to break something. Inside a process, `services` holds what is served, and the other
//! modules what every service shares.

pub mod behaviour;
pub mod call;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod context;
pub mod deploy;
pub mod discovery;
pub mod error;
pub mod fault;
pub mod faults;
pub mod flags;
pub mod idempotency;
pub mod ids;
pub mod instance;
pub mod load;
pub mod messaging;
pub mod propagation;
pub mod proto;
pub mod release;
mod remote;
pub mod report;
pub mod resilience;
pub mod rng;
pub mod runtime;
pub mod saga;
pub mod seed;
pub mod server;
pub mod services;
pub mod store;
pub mod supervisor;
pub mod tasks;
pub mod telemetry;
pub mod truth;

pub use error::ShopError;
pub use instance::{ServeOptions, serve};
