//! Reading segment files back: pages into columns, columns into rows.
//!
//! All columns of a file are cut into pages at the same rows, so readers go through them page by page, in step.

mod columns;
mod decode;
pub(crate) mod rows;
mod table;

pub(crate) use columns::{ListCursor, ListPage, MapCursor, MapPage, NestedCursor, NestedPage};
pub(crate) use decode::{PageValues, TextArena, TextPage};
pub(crate) use table::{Cursor, CursorSource, TableReader};
