//! Checksums of single pages, kept in the footer. The pages of one column are read without the rest of the file, so the
//! hash of the whole can't vouch for them; a page that is not what was written must be known before it is decoded.

use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{KeyValue, ParquetMetaData};

use crate::wire::text::{base64, unbase64};

const KEY: &str = "casefile.page_sums";
const SUM: usize = 4;

/// Gathers the checksums of a file's pages: column by column, its dictionary first.
#[derive(Default)]
pub(super) struct PageSums(Vec<u8>);

impl PageSums {
    pub(super) fn add(&mut self, chunk: &Bytes, close: &ColumnCloseResult) {
        let locations = close.offset_index.iter().flat_map(|i| i.page_locations());
        let pages = locations.map(|page| (page.offset, i64::from(page.compressed_page_size)));
        let dictionary = close.metadata.dictionary_page_offset();
        let dictionary = dictionary.map(|at| (at, close.metadata.data_page_offset() - at));
        for (at, len) in dictionary.into_iter().chain(pages) {
            let range = usize::try_from(at).unwrap_or(usize::MAX)
                ..usize::try_from(at + len).unwrap_or(usize::MAX);
            let sum = crc32fast::hash(chunk.get(range).unwrap_or_default());
            self.0.extend_from_slice(&sum.to_le_bytes());
        }
    }

    pub(super) fn entry(&self) -> KeyValue {
        let mut text = String::new();
        base64(&self.0, &mut text);
        KeyValue::new(KEY.to_owned(), text)
    }
}

/// One page of a file, and what its bytes sum to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PageSum {
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) sum: u32,
}

/// All pages of a file, in the order of their places.
pub(crate) fn read(metadata: &ParquetMetaData) -> Result<Vec<PageSum>, &'static str> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = pairs
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == KEY))
        .and_then(|pair| pair.value.as_deref())
        .ok_or("it holds no checksums of its pages")?;
    let sums = unbase64(text).ok_or("the checksums of its pages can't be read")?;
    let mut sums = sums.chunks_exact(SUM);
    let mut pages = Vec::new();
    let mut add = |at: i64, len: i64| {
        let mut sum = [0; SUM];
        sum.copy_from_slice(sums.next().ok_or("checksums of pages are missing")?);
        pages.push(PageSum {
            at: at.cast_unsigned(),
            len: len.cast_unsigned(),
            sum: u32::from_le_bytes(sum),
        });
        Ok::<(), &'static str>(())
    };
    for (which, group) in metadata.row_groups().iter().enumerate() {
        for (leaf, column) in group.columns().iter().enumerate() {
            let index = metadata
                .page_index()
                .and_then(|index| index.offset_index(which, leaf))
                .ok_or("a column has no index of its pages")?;
            let locations = index.page_locations();
            if let (Some(at), Some(first)) = (column.dictionary_page_offset(), locations.first()) {
                add(at, first.offset - at)?;
            }
            for page in locations {
                add(page.offset, page.compressed_page_size.into())?;
            }
        }
    }
    if sums.next().is_some() {
        return Err("there are more checksums than pages");
    }
    pages.sort_unstable_by_key(|page| page.at);
    Ok(pages)
}
