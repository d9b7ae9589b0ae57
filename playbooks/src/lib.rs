//! Incidents and what a right diagnosis says of them; how a diagnosis is scored against that.
//!
//! An incident is data: which fault the shop is given, under which load, and what is to be found. Nothing here starts a
//! shop or reads a case: the command line does both and hands over reports. Books (ordered questions that evidence
//! answers) are to stand here as well; none is built so far.

pub mod incident;
pub mod place;
pub mod score;
