//! One segment file, opened: its footer, and cursors that walk single columns.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page as RawPage, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::decode::{self, Layout, Page, PageValues, TextArena, TextPage};
use crate::CaseError;
use crate::manifest::SegmentFile;
use crate::segment::parquet::page_sums::{self, PageSum};

/// A file of one table.
#[derive(Debug)]
pub(crate) struct TableReader {
    path: PathBuf,
    file: Arc<Positioned>,
    metadata: ParquetMetaData,
    /// First leaf of each top-level column.
    leaves: HashMap<String, usize>,
    rows: usize,
    /// First row of each page, the same in every column.
    page_rows: Vec<usize>,
}

/// A file read by position, so that cursors share it.
#[derive(Debug)]
struct Positioned {
    file: File,
    len: u64,
    /// Known once the footer is read.
    pages: OnceLock<Vec<PageSum>>,
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Positioned {
    type T = PositionedRead;

    fn get_read(&self, start: u64) -> Result<PositionedRead, ParquetError> {
        let file = self.file.try_clone()?;
        Ok(PositionedRead { file, at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.len {
            return Err(ParquetError::EOF(
                "a page lies behind the end of the file".to_owned(),
            ));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        if let Some(pages) = self.pages.get() {
            let page = pages.binary_search_by_key(&start, |page| page.at);
            let whole = page.ok().and_then(|at| pages.get(at)).is_some_and(|page| {
                page.len == length as u64 && page.sum == crc32fast::hash(&bytes)
            });
            if !whole {
                return Err(ParquetError::General(format!(
                    "the page at byte {start} is not what was written"
                )));
            }
        }
        Ok(Bytes::from(bytes))
    }
}

fn check_footer(file: &File, path: &Path, listed: &SegmentFile) -> Result<(), CaseError> {
    let footer = listed
        .footer
        .filter(|footer| footer.bytes <= listed.bytes)
        .ok_or_else(|| CaseError::damaged(path, "the manifest does not say where its footer is"))?;
    let mut bytes = vec![0; footer.bytes as usize];
    file.read_exact_at(&mut bytes, listed.bytes - footer.bytes)
        .map_err(CaseError::io("read", path))?;
    if crc32fast::hash(&bytes) != footer.crc {
        return Err(CaseError::damaged(
            path,
            "its footer is not what was written",
        ));
    }
    Ok(())
}

struct PositionedRead {
    file: File,
    at: u64,
}

impl std::io::Read for PositionedRead {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl TableReader {
    /// Opens the file that a manifest lists. Nothing of it is decoded that is not what was written: the manifest vouches
    /// for the footer, the footer for each page.
    pub(crate) fn open(case: &Path, listed: &SegmentFile) -> Result<TableReader, CaseError> {
        let path = case.join(&listed.path);
        let path = path.as_path();
        let file = File::open(path).map_err(CaseError::io("open", path))?;
        let len = file
            .metadata()
            .map_err(CaseError::io("look at", path))?
            .len();
        if len != listed.bytes {
            let what = format!("it has {len} bytes and should have {}", listed.bytes);
            return Err(CaseError::damaged(path, what));
        }
        check_footer(&file, path, listed)?;
        let file = Arc::new(Positioned {
            file,
            len,
            pages: OnceLock::new(),
        });
        let metadata = ParquetMetaDataReader::new()
            .with_offset_index_policy(PageIndexPolicy::Required)
            .with_column_index_policy(PageIndexPolicy::Skip)
            .parse_and_finish(&*file)
            .map_err(|error| CaseError::damaged(path, error.to_string()))?;
        let pages = page_sums::read(&metadata).map_err(|what| CaseError::damaged(path, what))?;
        let _ = file.pages.set(pages);
        let mut leaves = HashMap::new();
        for (leaf, column) in metadata
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .enumerate()
        {
            if let Some(top) = column.path().parts().first() {
                leaves.entry(top.clone()).or_insert(leaf);
            }
        }
        let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let mut reader = TableReader {
            path: path.to_owned(),
            file,
            metadata,
            leaves,
            rows,
            page_rows: Vec::new(),
        };
        reader.page_rows = reader.first_rows(0).unwrap_or_default();
        Ok(reader)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn pages(&self) -> usize {
        self.page_rows.len()
    }

    /// The rows of one page.
    pub(crate) fn page_range(&self, page: usize) -> std::ops::Range<usize> {
        let until = self.page_rows.get(page + 1).copied().unwrap_or(self.rows);
        self.page_rows[page]..until
    }

    /// The page a row is in.
    pub(crate) fn page_of(&self, row: usize) -> usize {
        self.page_rows
            .partition_point(|first| *first <= row)
            .saturating_sub(1)
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> CaseError {
        CaseError::damaged(&self.path, reason)
    }

    fn first_rows(&self, leaf: usize) -> Option<Vec<usize>> {
        self.metadata
            .page_index()?
            .offset_index(0, leaf)?
            .page_locations()
            .iter()
            .map(|page| usize::try_from(page.first_row_index).ok())
            .collect()
    }

    /// A cursor over the `nth` leaf of a top-level column.
    pub(crate) fn cursor(&self, column: &str, nth: usize) -> Result<Cursor<'_>, CaseError> {
        Cursor::open(Held::Borrowed(self), column, nth)
    }

    fn leaf(&self, column: &str, nth: usize) -> Result<usize, CaseError> {
        let leaf = self
            .leaves
            .get(column)
            .map(|leaf| leaf + nth)
            .ok_or_else(|| self.damaged(format!("column {column} is missing")))?;
        if self.rows == 0 {
            return Err(self.damaged("the file has no rows"));
        }
        if self.first_rows(leaf).as_ref() != Some(&self.page_rows) {
            return Err(self.damaged(format!(
                "pages of column {column} do not line up with the others"
            )));
        }
        Ok(leaf)
    }

    /// The pages of a leaf, from the first on.
    fn pages_of(&self, leaf: usize) -> Result<SerializedPageReader<Positioned>, CaseError> {
        let locations = self
            .metadata
            .page_index()
            .and_then(|index| index.offset_index(0, leaf))
            .map(|index| index.page_locations().clone());
        SerializedPageReader::new(
            Arc::clone(&self.file),
            self.metadata.row_group(0).column(leaf),
            self.rows,
            locations,
        )
        .map_err(|error| self.damaged(error.to_string()))
    }
}

/// What cursors are opened on: a borrowed file, or one that its cursors keep open.
pub(crate) trait CursorSource<'a>: Copy {
    fn open_cursor(self, column: &str, nth: usize) -> Result<Cursor<'a>, CaseError>;
}

impl<'a> CursorSource<'a> for &'a TableReader {
    fn open_cursor(self, column: &str, nth: usize) -> Result<Cursor<'a>, CaseError> {
        self.cursor(column, nth)
    }
}

impl CursorSource<'static> for &Arc<TableReader> {
    fn open_cursor(self, column: &str, nth: usize) -> Result<Cursor<'static>, CaseError> {
        Cursor::open(Held::Shared(Arc::clone(self)), column, nth)
    }
}

enum Held<'a> {
    Borrowed(&'a TableReader),
    Shared(Arc<TableReader>),
}

impl std::ops::Deref for Held<'_> {
    type Target = TableReader;

    fn deref(&self) -> &TableReader {
        match self {
            Held::Borrowed(table) => table,
            Held::Shared(table) => table,
        }
    }
}

/// Walks the pages of one column. Forwards is cheap; going back begins at the first page again.
pub(crate) struct Cursor<'a> {
    table: Held<'a>,
    column: String,
    leaf: usize,
    layout: Layout,
    pages: SerializedPageReader<Positioned>,
    dictionary: Option<Arc<TextArena>>,
    next: usize,
}

impl<'a> Cursor<'a> {
    fn open(table: Held<'a>, column: &str, nth: usize) -> Result<Cursor<'a>, CaseError> {
        let leaf = table.leaf(column, nth)?;
        let descriptor = table.metadata.row_group(0).column(leaf).column_descr();
        let layout = Layout {
            physical: descriptor.physical_type(),
            max_repetition: descriptor.max_rep_level() as u8,
            max_definition: descriptor.max_def_level() as u8,
        };
        let pages = table.pages_of(leaf)?;
        Ok(Cursor {
            table,
            column: column.to_owned(),
            leaf,
            layout,
            pages,
            dictionary: None,
            next: 0,
        })
    }

    fn damaged(&self, reason: &str) -> CaseError {
        self.table
            .damaged(format!("column {}: {reason}", self.column))
    }

    /// Page number `page`.
    pub(crate) fn page(&mut self, page: usize) -> Result<Page, CaseError> {
        if page < self.next {
            self.pages = self.table.pages_of(self.leaf)?;
            self.next = 0;
        }
        loop {
            let peeked = self.pages.peek_next_page();
            let Some(peeked) = peeked.map_err(|error| self.damaged(&error.to_string()))? else {
                return Err(self.damaged("a page is missing"));
            };
            if peeked.is_dict && self.dictionary.is_some() {
                self.pages
                    .skip_next_page()
                    .map_err(|error| self.damaged(&error.to_string()))?;
                continue;
            }
            if !peeked.is_dict && self.next < page {
                self.pages
                    .skip_next_page()
                    .map_err(|error| self.damaged(&error.to_string()))?;
                self.next += 1;
                continue;
            }
            let raw = self.pages.get_next_page();
            match raw.map_err(|error| self.damaged(&error.to_string()))? {
                Some(RawPage::DictionaryPage {
                    buf, num_values, ..
                }) => {
                    let arena = TextArena::plain(buf, num_values as usize);
                    self.dictionary = Some(Arc::new(arena.map_err(|reason| self.damaged(reason))?));
                }
                Some(RawPage::DataPage {
                    buf,
                    num_values,
                    encoding,
                    ..
                }) => {
                    self.next += 1;
                    return self.decode(buf, num_values as usize, encoding);
                }
                _ => return Err(self.damaged("a page is of a kind casefile does not write")),
            }
        }
    }

    fn decode(&self, buf: Bytes, entries: usize, encoding: Encoding) -> Result<Page, CaseError> {
        decode::page(
            &self.layout,
            buf,
            entries,
            encoding,
            self.dictionary.as_ref(),
        )
        .map_err(|reason| self.damaged(reason))
    }

    pub(crate) fn texts(&mut self, page: usize) -> Result<TextPage, CaseError> {
        match self.page(page)?.values {
            PageValues::Texts(texts) => Ok(texts),
            _ => Err(self.damaged("the column holds no texts")),
        }
    }

    pub(crate) fn i64s(&mut self, page: usize) -> Result<Vec<i64>, CaseError> {
        match self.page(page)?.values {
            PageValues::I64(values) => Ok(values),
            _ => Err(self.damaged("the column holds no 64-bit integers")),
        }
    }

    pub(crate) fn i32s(&mut self, page: usize) -> Result<Vec<i32>, CaseError> {
        match self.page(page)?.values {
            PageValues::I32(values) => Ok(values),
            _ => Err(self.damaged("the column holds no 32-bit integers")),
        }
    }

    pub(crate) fn f64s(&mut self, page: usize) -> Result<Vec<f64>, CaseError> {
        match self.page(page)?.values {
            PageValues::F64(values) => Ok(values),
            _ => Err(self.damaged("the column holds no floating-point numbers")),
        }
    }
}
