//! Owns sagas: the flushed journal, the engine that runs steps and unwinds them, recovery, and the models.

pub mod debug;
pub mod engine;
pub mod journal;
pub mod models;
pub mod recovery;
mod salvage;
mod spoilt;
pub mod types;
