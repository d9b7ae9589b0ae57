//! What brings signals in and carries them out again.
//!
//! Owns everything between a network or a file and the bytes a case keeps. Leaves storage to `case` and rendering to
//! the command line.

pub mod otlp;
