//! Answers as lines, for the command line and the TUI alike. Pure: what is drawn comes in as arguments.

pub mod compare;
pub mod graph;
pub mod map;
pub mod names;
pub mod report;
pub mod roster;
pub mod saga;
pub mod spark;
pub mod suspects;
pub mod trace;
pub mod walk;
pub mod waterfall;
