//! Owns the saga models, one file each; `calls` holds what they have in common.

pub mod amazon;
mod calls;
pub mod cancellation;
pub mod capstone;
pub mod cloudscale;
pub mod shopflow;

pub(crate) use calls::{notify, order_event, recommend};

pub const SHOPFLOW: &str = "shopflow";
pub const CAPSTONE: &str = "capstone";
pub const CLOUDSCALE: &str = "cloudscale";
pub const AMAZON: &str = "amazon";
pub const CANCELLATION: &str = "cancellation";

/// The models that a checkout can run.
pub const CHOICES: &[&str] = &[SHOPFLOW, CAPSTONE, CLOUDSCALE, AMAZON];
