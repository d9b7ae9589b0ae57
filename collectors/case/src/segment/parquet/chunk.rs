//! One column of one file: its pages, its dictionary, and where they lie.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::super::intern::Interner;
use super::{delta, levels};

/// Rows in a page. Small enough that a single trace costs little to read, large enough to compress.
const PAGE_ROWS: usize = 16_384;

/// How hard pages are compressed. Texts are numbered by then: higher levels find next to nothing more.
const LEVEL: i32 = 1;
const NUMBERS_LEVEL: i32 = 3;

/// A column's values, without those that are absent.
pub(crate) enum Values<'a> {
    I64(Vec<i64>),
    I32(Vec<i32>),
    F64(Vec<f64>),
    /// Numbers into a table of texts.
    Texts(Texts<'a>),
    /// Texts that hardly ever repeat, back to back, with their lengths.
    Unique {
        lengths: Vec<i32>,
        bytes: Vec<u8>,
    },
}

/// Texts by number.
pub(crate) struct Texts<'a> {
    pub(crate) table: &'a Interner,
    pub(crate) numbers: Vec<u32>,
}

impl<'a> Texts<'a> {
    /// The same texts with like ones side by side: those that occur again first, then by `group`. Neighbours in the
    /// dictionary then share their beginnings, and numbers of texts that occur once simply count up.
    pub(crate) fn grouped(&self, groups: &[u32]) -> (Interner, Vec<u32>) {
        let len = self.table.len();
        let (mut count, mut group) = (vec![0u32; len], vec![0u32; len]);
        let mut order = Vec::new();
        for (number, of) in self.numbers.iter().zip(groups) {
            let at = *number as usize;
            count[at] += 1;
            if count[at] == 1 {
                group[at] = *of;
                order.push(*number);
            }
        }
        // `order` is that of first use, and the sort is stable.
        order.sort_by_key(|number| {
            let at = *number as usize;
            (count[at] == 1, group[at])
        });
        let mut renumbered = vec![0u32; len];
        let mut table = Interner::default();
        for number in order {
            renumbered[number as usize] = table.append(self.table.get(number));
        }
        let numbers = self
            .numbers
            .iter()
            .map(|number| renumbered[*number as usize])
            .collect();
        (table, numbers)
    }
}

/// How values lie in rows: for lists and maps, and where values may be absent.
#[derive(Default)]
pub(crate) struct Levels {
    pub(crate) repetition: Vec<u8>,
    pub(crate) definition: Vec<u8>,
    /// The keys and the values of a map lie the same way: what was made for the one serves the other.
    made: RefCell<Option<(Shape, Rc<LevelPages>)>>,
}

/// What the pages of levels depend on.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    rows: usize,
    max_repetition: u8,
    max_definition: u8,
}

/// The levels of all pages, encoded.
struct LevelPages {
    pages: Vec<Span>,
    bytes: Vec<u8>,
}

/// One page: how many rows and entries it has, and where its values and its encoded levels lie.
struct Span {
    rows: usize,
    entries: usize,
    values: Range<usize>,
    levels: Range<usize>,
}

impl Levels {
    fn pages(&self, column: &ColumnDescPtr, rows: usize) -> Rc<LevelPages> {
        let shape = Shape {
            rows,
            max_repetition: column.max_rep_level() as u8,
            max_definition: column.max_def_level() as u8,
        };
        let mut made = self.made.borrow_mut();
        match &*made {
            Some((of, pages)) if *of == shape => Rc::clone(pages),
            _ => {
                let pages = Rc::new(self.make_pages(shape));
                *made = Some((shape, Rc::clone(&pages)));
                pages
            }
        }
    }

    fn make_pages(&self, shape: Shape) -> LevelPages {
        let (mut pages, mut bytes) = (Vec::new(), Vec::new());
        let (mut entry, mut value, mut row) = (0, 0, 0);
        while row < shape.rows {
            let take = PAGE_ROWS.min(shape.rows - row);
            let entries = if shape.max_repetition > 0 {
                let mut seen = 0;
                let rest = &self.repetition[entry..];
                rest.iter()
                    .position(|level| {
                        seen += usize::from(*level == 0);
                        seen > take
                    })
                    .unwrap_or(rest.len())
            } else {
                take
            };
            let from = bytes.len();
            if shape.max_repetition > 0 {
                let levels = &self.repetition[entry..entry + entries];
                levels::levels(levels, shape.max_repetition, &mut bytes);
            }
            let mut values = entries;
            if shape.max_definition > 0 {
                let levels = &self.definition[entry..entry + entries];
                values = present(levels, shape.max_definition);
                levels::levels(levels, shape.max_definition, &mut bytes);
            }
            pages.push(Span {
                rows: take,
                entries,
                values: value..value + values,
                levels: from..bytes.len(),
            });
            entry += entries;
            value += values;
            row += take;
        }
        LevelPages { pages, bytes }
    }
}

pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

pub(super) fn encode(
    column: &ColumnDescPtr,
    values: &Values<'_>,
    levels: &Levels,
    rows: usize,
) -> Result<Encoded> {
    COMPRESSORS.with_borrow_mut(|compressors| {
        let compressors = match compressors {
            Some(kept) => kept,
            None => compressors.insert(Compressors::new()?),
        };
        encode_with(column, values, levels, rows, compressors)
    })
}

fn encode_with(
    column: &ColumnDescPtr,
    values: &Values<'_>,
    levels: &Levels,
    rows: usize,
    compressors: &mut Compressors,
) -> Result<Encoded> {
    let mut sink = TrackedWrite::new(Vec::new());
    let dictionary = match values {
        Values::Texts(texts) => Some(Dictionary::of(texts)),
        _ => None,
    };
    let mut state = Chunk {
        values,
        dictionary,
        uncompressed: 0,
        page: Vec::new(),
    };
    let mut writer = SerializedPageWriter::new(&mut sink);
    let dictionary_offset = state.write_dictionary(&mut compressors.texts, &mut writer)?;
    let of_levels = levels.pages(column, rows);
    let of_pages = compressors.for_pages(values);
    let encoding = state.choose(of_pages, of_levels.pages.first());
    let mut offsets = OffsetIndexBuilder::new();
    let (mut data_offset, mut entries, mut first_row) = (None, 0, 0);
    for span in &of_levels.pages {
        state.page.clear();
        state
            .page
            .extend_from_slice(&of_levels.bytes[span.levels.clone()]);
        let header = state.fill(span.values.clone(), encoding);
        let raw_len = state.page.len();
        let packed = of_pages.compress(&state.page)?;
        let num_values = span.entries as u32;
        let page = Page::DataPage {
            buf: packed,
            num_values,
            encoding: header,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let spec = writer.write_page(CompressedPage::new(page, raw_len))?;
        state.uncompressed += spec.uncompressed_size;
        data_offset.get_or_insert(spec.offset);
        offsets.append_row_count(span.rows as i64);
        offsets.append_offset_and_size(
            spec.offset as i64,
            i32::try_from(spec.compressed_size).unwrap_or(i32::MAX),
        );
        entries += span.entries;
        first_row += span.rows;
    }
    writer.close()?;
    let uncompressed = state.uncompressed;
    let has_dictionary = dictionary_offset.is_some();
    drop(state);
    let bytes = Bytes::from(sink.into_inner()?);
    let mut encodings = vec![Encoding::RLE, encoding.parquet()];
    if has_dictionary {
        encodings.push(Encoding::PLAIN);
    }
    let metadata = ColumnChunkMetaData::builder(Arc::clone(column))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(LEVEL)?))
        .set_encodings(encodings)
        .set_num_values(entries as i64)
        .set_total_compressed_size(bytes.len() as i64)
        .set_total_uncompressed_size(uncompressed as i64)
        .set_data_page_offset(data_offset.unwrap_or(0) as i64)
        .set_dictionary_page_offset(dictionary_offset.map(|offset| offset as i64))
        .build()?;
    debug_assert_eq!(first_row, rows);
    Ok(Encoded {
        close: ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(offsets.build()),
        },
        bytes,
    })
}

thread_local! {
    /// Making one costs as much as compressing a page.
    static COMPRESSORS: RefCell<Option<Compressors>> = const { RefCell::new(None) };
}

struct Compressors {
    texts: Compressor,
    ids: Compressor,
    numbers: Compressor,
}

impl Compressors {
    fn new() -> Result<Compressors> {
        // Random hexadecimal digits hold short matches by chance, which cost more than the digits do: for ids only
        // matches of a useful length count.
        let mut ids = Compressor::new(LEVEL)?;
        ids.0
            .set_parameter(zstd::zstd_safe::CParameter::MinMatch(7))?;
        Ok(Compressors {
            texts: Compressor::new(LEVEL)?,
            ids,
            // Numbers repeat with small changes from row to row, which the lowest level misses.
            numbers: Compressor::new(NUMBERS_LEVEL)?,
        })
    }

    fn for_pages(&mut self, values: &Values<'_>) -> &mut Compressor {
        match values {
            Values::Unique { .. } => &mut self.ids,
            Values::Texts(_) => &mut self.numbers,
            _ => &mut self.texts,
        }
    }
}

struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    fn new(level: i32) -> Result<Compressor> {
        Ok(Compressor(zstd::bulk::Compressor::new(level)?))
    }

    fn compress(&mut self, raw: &[u8]) -> Result<Bytes> {
        Ok(Bytes::from(self.0.compress(raw)?))
    }
}

/// The texts a column really uses, in the order of first use.
struct Dictionary {
    used: Vec<u32>,
    numbers: Vec<u32>,
}

impl Dictionary {
    fn of(texts: &Texts<'_>) -> Dictionary {
        if texts.table.is_ordered() {
            return Dictionary {
                used: (0..texts.table.len() as u32).collect(),
                numbers: texts.numbers.clone(),
            };
        }
        const UNUSED: u32 = u32::MAX;
        let mut renumbered = vec![UNUSED; texts.table.len()];
        let mut used = Vec::new();
        let numbers = texts
            .numbers
            .iter()
            .map(|number| {
                let slot = &mut renumbered[*number as usize];
                if *slot == UNUSED {
                    *slot = used.len() as u32;
                    used.push(*number);
                }
                *slot
            })
            .collect();
        Dictionary { used, numbers }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Plain,
    Delta,
    /// Numbers of this many bits.
    Dictionary(u32),
    Lengths,
}

impl How {
    fn parquet(self) -> Encoding {
        match self {
            How::Plain => Encoding::PLAIN,
            How::Delta => Encoding::DELTA_BINARY_PACKED,
            How::Dictionary(_) => Encoding::RLE_DICTIONARY,
            How::Lengths => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        }
    }
}

struct Chunk<'a> {
    values: &'a Values<'a>,
    dictionary: Option<Dictionary>,
    uncompressed: usize,
    page: Vec<u8>,
}

impl Chunk<'_> {
    fn write_dictionary(
        &mut self,
        compressor: &mut Compressor,
        writer: &mut SerializedPageWriter<'_, Vec<u8>>,
    ) -> Result<Option<u64>> {
        let (Some(dictionary), Values::Texts(texts)) = (&self.dictionary, self.values) else {
            return Ok(None);
        };
        let mut plain = Vec::new();
        for number in &dictionary.used {
            let text = texts.table.get(*number);
            plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
            plain.extend_from_slice(text);
        }
        let page = Page::DictionaryPage {
            buf: compressor.compress(&plain)?,
            num_values: dictionary.used.len() as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let spec = writer.write_page(CompressedPage::new(page, plain.len()))?;
        debug_assert_eq!(spec.page_type, PageType::DICTIONARY_PAGE);
        self.uncompressed += spec.uncompressed_size;
        Ok(Some(spec.offset))
    }

    /// Where there is a choice, pages are written the way that makes the first one's values smaller.
    fn choose(&mut self, compressor: &mut Compressor, first: Option<&Span>) -> How {
        let ways = match self.values {
            Values::F64(_) => return How::Plain,
            Values::Unique { .. } => return How::Lengths,
            Values::I64(_) | Values::I32(_) => [How::Plain, How::Delta],
            Values::Texts(_) => {
                let texts = self
                    .dictionary
                    .as_ref()
                    .map_or(0, |dictionary| dictionary.used.len());
                levels::widths(texts).map(How::Dictionary)
            }
        };
        let Some(first) = first.filter(|_| ways[0] != ways[1]) else {
            return ways[0];
        };
        let mut size = |how| {
            self.page.clear();
            self.fill(first.values.clone(), how);
            compressor
                .compress(&self.page)
                .map_or(usize::MAX, |page| page.len())
        };
        if size(ways[1]) < size(ways[0]) {
            ways[1]
        } else {
            ways[0]
        }
    }

    fn fill(&mut self, range: Range<usize>, how: How) -> Encoding {
        let page = &mut self.page;
        match self.values {
            Values::I64(values) if how == How::Delta => {
                delta::encode(values[range].iter().copied(), page)
            }
            Values::I64(values) => values[range]
                .iter()
                .for_each(|value| page.extend_from_slice(&value.to_le_bytes())),
            Values::I32(values) if how == How::Delta => {
                delta::encode(values[range].iter().map(|value| i64::from(*value)), page);
            }
            Values::I32(values) => values[range]
                .iter()
                .for_each(|value| page.extend_from_slice(&value.to_le_bytes())),
            Values::F64(values) => values[range]
                .iter()
                .for_each(|value| page.extend_from_slice(&value.to_le_bytes())),
            Values::Texts(_) => {
                if let Some(dictionary) = &self.dictionary {
                    let width = if let How::Dictionary(width) = how {
                        width
                    } else {
                        32
                    };
                    levels::numbers(&dictionary.numbers[range], width, page);
                }
            }
            Values::Unique { lengths, bytes } => {
                let sum = |lengths: &[i32]| lengths.iter().map(|len| *len as usize).sum::<usize>();
                let from = sum(&lengths[..range.start]);
                let len = sum(&lengths[range.clone()]);
                delta::encode(lengths[range].iter().map(|len| i64::from(*len)), page);
                page.extend_from_slice(&bytes[from..from + len]);
            }
        }
        how.parquet()
    }
}

fn present(definition: &[u8], max: u8) -> usize {
    definition.iter().filter(|level| **level == max).count()
}
