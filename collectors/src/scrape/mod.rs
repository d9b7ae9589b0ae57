//! Metrics pages of others, fetched at intervals: Prometheus text and OpenMetrics in, OTLP metrics out.
//!
//! `exposition` reads pages, `convert` turns them into OTLP, `target` says what to scrape and whose it is, `once`
//! scrapes it, `scraper` does so on time. A scrape that fails is evidence too: it becomes `up` 0 and a probe result that says why.

mod convert;
pub mod exposition;
mod once;
mod scraper;
mod target;

pub use convert::{Context, page_to_otlp};
pub use scraper::{ScrapeOptions, Scraper};
pub use target::{Target, TargetError};

#[cfg(test)]
mod tests;
