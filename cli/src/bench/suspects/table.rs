//! Comma-separated files with a header, read whole; and what a folder holds.

use std::path::{Path, PathBuf};

use super::ReadError;

/// A file with its header and its rows.
pub(super) struct Table {
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
    path: PathBuf,
}

impl Table {
    pub(super) fn read(path: &Path) -> Result<Table, ReadError> {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .from_path(path)
            .map_err(|error| ReadError::bad(path, error))?;
        let header = reader
            .headers()
            .map_err(|error| ReadError::bad(path, error))?
            .clone();
        let rows = reader
            .records()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ReadError::bad(path, error))?;
        Ok(Table {
            header,
            rows,
            path: path.to_owned(),
        })
    }

    pub(super) fn header(&self) -> impl Iterator<Item = &str> {
        self.header.iter()
    }

    pub(super) fn all(&self) -> &[csv::StringRecord] {
        &self.rows
    }

    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column.trim() == name)
    }

    /// Hands over the named columns of every row; a row that lacks one gives nothing there.
    pub(super) fn rows<const N: usize>(
        &self,
        names: [&str; N],
        mut take: impl FnMut([&str; N]),
    ) -> Result<(), ReadError> {
        let mut columns = [0; N];
        for (column, name) in columns.iter_mut().zip(names) {
            *column = self
                .column(name)
                .ok_or_else(|| ReadError::bad(&self.path, format!("it has no column {name}")))?;
        }
        for row in &self.rows {
            take(columns.map(|column| row.get(column).unwrap_or_default()));
        }
        Ok(())
    }
}

pub(super) fn text(path: &Path) -> Result<String, ReadError> {
    std::fs::read_to_string(path).map_err(|error| ReadError::bad(path, error))
}

/// Files of a folder with this ending, by name.
pub(super) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, ReadError> {
    let mut out: Vec<PathBuf> = entries(folder)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    out.sort_unstable();
    Ok(out)
}

/// What a folder holds, by name.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let bad = |error| ReadError::bad(folder, error);
    let mut out = std::fs::read_dir(folder)
        .map_err(bad)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(bad)?;
    out.sort_unstable();
    Ok(out)
}
