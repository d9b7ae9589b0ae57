//! Books and incidents: how a cause is proven step by step, and which faults practice and tests are made of.
//!
//! A book is data: ordered questions that evidence answers, ending in a cause. An incident is data: which fault the shop
//! is given, under which load, and what is to be found. Nothing here starts a shop, asks a network or speaks to a
//! terminal: the command line does, and hands over cases, reports and people's answers.

pub mod book;
pub mod drill;
pub mod incident;
pub mod lesson;
pub mod place;
pub mod score;
pub mod walk;
