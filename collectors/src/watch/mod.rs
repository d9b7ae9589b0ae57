//! Watching a registry and the sagas and ledgers behind it, over HTTP, while things may be broken.
//!
//! `source` is what a registry must be able to tell, whichever it is; `shop` is the one implementation there is, over
//! the bundled shop's API. `snapshots`, `events`, `probes` and `books` each look at one thing on their own schedule;
//! `watcher` runs them. Rows go to the case through `crate::delivery`; a cursor or a memory of what was seen moves on
//! only when the case has it.

mod books;
mod events;
mod fields;
mod memory;
mod probes;
mod shop;
mod snapshots;
mod source;
mod watcher;

pub use fields::parse as parse_json;
pub use probes::look;
pub use shop::{ShopRegistry, read_events, read_snapshot};
pub use source::{Answering, EventBatch, RegistrySource, SourceError};
pub use watcher::{WatchError, WatchOptions, Watcher};

#[cfg(test)]
mod tests;
