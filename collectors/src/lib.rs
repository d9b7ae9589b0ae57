//! What brings signals in and carries them out again.
//!
//! Owns everything between a network or a file and the bytes a case keeps. Leaves storage to `case` and rendering to
//! the command line.

mod delivery;
pub mod export;
pub mod fetch;
pub mod import;
pub mod otlp;
pub mod replay;
pub mod scrape;
pub mod status;
pub mod watch;

#[cfg(test)]
mod testing;
