//! What signals mean: span trees, critical paths, rates and latencies, and the rules that say what is wrong.
//!
//! Everything here is a pure function of evidence and a time window: no clock, no environment, nothing drawn. The same
//! case gives the same answer on any machine, at any time. Reading a case goes through `evidence` alone.

pub mod callee;
pub mod compare;
pub mod correlate;
pub mod engine;
pub mod evidence;
pub mod exact;
pub mod gaps;
pub mod links;
pub mod map;
pub mod names;
pub mod objectives;
pub mod patterns;
pub mod quantile;
pub mod red;
pub mod reference;
pub mod registry;
pub mod repair;
pub mod roster;
pub mod rules;
pub mod saga;
pub mod settled;
pub mod skew;
pub mod suspects;
#[cfg(test)]
mod testing;
pub mod tree;
