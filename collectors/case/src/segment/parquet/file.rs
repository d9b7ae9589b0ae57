//! One Parquet file: a schema in words, columns one after the other, one row group.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::chunk::{self, Levels, Values};
use super::page_sums;
use crate::CaseError;
use crate::manifest::Footer;

/// A file being written. Columns come in the order of the schema.
pub(crate) struct TableFile {
    path: PathBuf,
    writer: SerializedFileWriter<Hashing>,
    rows: usize,
    columns: Vec<chunk::Encoded>,
}

/// What a finished file is.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) hash: String,
    pub(crate) footer: Option<Footer>,
}

/// Hashes what passes through, so that the file need not be read again to be hashed.
struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Of what comes after the last page.
    footer: Option<crc32fast::Hasher>,
    footer_bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        if let Some(footer) = &mut self.footer {
            footer.update(&bytes[..written]);
            self.footer_bytes += written as u64;
        }
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl TableFile {
    /// Starts a file of `rows` rows. The schema is in Parquet's own notation.
    pub(crate) fn create(path: &Path, schema: &str, rows: usize) -> Result<TableFile, CaseError> {
        let file = File::create(path).map_err(CaseError::io("create", path))?;
        let fault = |error: parquet::errors::ParquetError| failed(path, &error);
        let schema = parse_message_type(schema).map_err(fault)?;
        let properties = WriterProperties::builder()
            .set_created_by(concat!("casefile ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let sink = Hashing {
            file,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            footer: None,
            footer_bytes: 0,
        };
        let writer = SerializedFileWriter::new(sink, Arc::new(schema), Arc::new(properties))
            .map_err(fault)?;
        Ok(TableFile {
            path: path.to_owned(),
            writer,
            rows,
            columns: Vec::new(),
        })
    }

    /// Encodes the next column.
    pub(crate) fn column(&mut self, values: &Values<'_>, levels: &Levels) -> Result<(), CaseError> {
        let column = self.writer.schema_descr().column(self.columns.len());
        let encoded = chunk::encode(&column, values, levels, self.rows)
            .map_err(|error| failed(&self.path, &error))?;
        self.columns.push(encoded);
        Ok(())
    }

    /// A required column.
    pub(crate) fn plain(&mut self, values: &Values<'_>) -> Result<(), CaseError> {
        self.column(values, &Levels::default())
    }

    /// Writes the columns and the footer, and flushes the file.
    pub(crate) fn finish(self) -> Result<Written, CaseError> {
        let TableFile {
            path,
            mut writer,
            columns,
            rows,
        } = self;
        let write = || {
            let mut group = writer.next_row_group()?;
            let mut sums = page_sums::PageSums::default();
            for column in columns {
                sums.add(&column.bytes, &column.close);
                group.append_column(&column.bytes, column.close)?;
            }
            group.close()?;
            // What the writer still buffers belongs to the pages.
            writer.flush()?;
            writer.inner_mut().footer = Some(crc32fast::Hasher::new());
            writer.append_key_value_metadata(sums.entry());
            Ok(())
        };
        write().map_err(|error| failed(&path, &error))?;
        let sink = writer.into_inner().map_err(|error| failed(&path, &error))?;
        sink.file
            .sync_all()
            .map_err(CaseError::io("flush", &path))?;
        Ok(Written {
            bytes: sink.bytes,
            rows: rows as u64,
            hash: sink.hasher.finalize().to_hex().to_string(),
            footer: sink.footer.map(|footer| Footer {
                bytes: sink.footer_bytes,
                crc: footer.finalize(),
            }),
        })
    }
}

/// The crate wraps input and output errors in its own; people need the cause.
fn failed(path: &Path, error: &parquet::errors::ParquetError) -> CaseError {
    CaseError::Io {
        action: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    }
}
