//! Questions in SQL: the same answers live and sealed, exact numbers, and no way out of the case.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod answers;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod limits;
