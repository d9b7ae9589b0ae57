//! What brings signals in and carries them out again.
//!
//! Owns everything between a network or a file and the bytes a case keeps. Leaves storage to `case` and rendering to
//! the command line.

mod delivery;
pub mod fetch;
pub mod otlp;
pub mod scrape;
pub mod sink;
pub mod status;

#[cfg(test)]
mod testing;
