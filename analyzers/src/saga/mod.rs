//! Sagas as rules see them: one story per saga, put together from its journal, the business ledgers and its spans.
//!
//! `story` has the types, `rows` reads what watchers wrote, `gather` takes signals in any order and puts the stories
//! together; `model` has the declared models, `books` compares ledgers with each other. What is wrong with a story is
//! said by the rules.

mod books;
mod gather;
pub mod model;
mod rows;
mod story;

pub use books::Residue;
pub use gather::Gather;
pub use story::{
    Call, Goods, Kind, LedgerState, Level, Notice, Order, Outcome, Payment, Record, Recovery,
    Reservation, Row, Sagas, Scan, Served, Shipment, SpanRef, Start, Status, Step, StepStatus,
    Stock, Story, Trouble, Try,
};
