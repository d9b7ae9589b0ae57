//! Writing Parquet from columns that are interned already.
//!
//! The parquet crate writes footers and page headers; values and levels are encoded here, because what comes in is
//! numbers into tables of texts, and hashing every text a second time is what a general writer spends its time on.

mod chunk;
mod delta;
mod file;
mod levels;
pub(crate) mod page_sums;

pub(crate) use chunk::{Levels, Texts, Values};
pub(crate) use file::{TableFile, Written};
