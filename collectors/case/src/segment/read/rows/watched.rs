//! Rows of watchers, as they were written.

use serde::de::DeserializeOwned;

use crate::CaseError;
use crate::segment::read::table::TableReader;
use crate::time::{Nanos, Window};

/// Rows of the window, in the order of their times.
pub(crate) fn watched_rows<T: DeserializeOwned>(
    table: &TableReader,
    window: Window,
    mut each: impl FnMut(T),
) -> Result<(), CaseError> {
    let mut timestamp = table.cursor("Timestamp", 0)?;
    let mut row = table.cursor("Row", 0)?;
    for page in 0..table.pages() {
        let times = timestamp.i64s(page)?;
        let rows = row.texts(page)?;
        for (at, time) in times.iter().enumerate() {
            if window.contains(Nanos(time.cast_unsigned())) {
                let read = serde_json::from_slice(rows.get(at));
                each(read.map_err(|error| table.damaged(error.to_string()))?);
            }
        }
    }
    Ok(())
}
