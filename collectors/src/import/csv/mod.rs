//! CSV through a mapping: spans, log records or points a row; a column or a cell a metric; a square of names.

mod grid;
pub(crate) mod mapping;
mod plan;
mod rows;
mod split;

use super::batch::Batch;
use super::recognise::LOOK_BYTES;
use super::report::Place;
use super::stream::Text;
use super::{AtLine, ImportError, Options, Stop};
use mapping::{Layout, Mapping, MappingError};
use plan::Plan;
use split::{Record, RecordEnd};

/// A record longer than this is taken for one with a quote that is never closed.
const LONGEST_RECORD: usize = 16 << 20;

pub(super) fn import(
    text: &mut Text<'_>,
    head: &[u8],
    options: &Options,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    text.skip_mark().at_line(1)?;
    let mapping = match &options.mapping {
        Some(mapping) => mapping.clone(),
        None => by_header(head).map_err(ImportError::Mapping)?,
    };
    batch.report.mapping = Plan::mapped(&mapping);
    batch.report.mapping.insert(
        0,
        super::Mapped {
            role: "mapping".to_owned(),
            from: mapping.name.clone(),
            records: 0,
        },
    );
    let mut rows = Rows {
        text,
        record: Record::default(),
    };
    match mapping.layout {
        Layout::Matrix => grid::matrix(&mut rows, &mapping, batch),
        Layout::Edges => grid::edges(&mut rows, &mapping, options.at, batch),
        layout => {
            let header = rows.header(&mapping)?;
            let mut plan = Plan::new(&mapping, &header).map_err(ImportError::Mapping)?;
            match layout {
                Layout::Spans => rows.each(plan.width, batch, &mut |record, batch| {
                    batch
                        .span(rows::span(record, &mut plan)?)
                        .map_err(Row::Stop)
                }),
                Layout::Logs => rows.each(plan.width, batch, &mut |record, batch| {
                    batch
                        .log(rows::log(record, &mut plan, options.at)?)
                        .map_err(Row::Stop)
                }),
                Layout::Points => rows.each(plan.width, batch, &mut |record, batch| {
                    batch
                        .point(rows::point(record, &mut plan)?)
                        .map_err(Row::Stop)
                }),
                _ => grid::wide(&mut rows, &mapping, plan, &header, batch),
            }
        }
    }
}

fn by_header(head: &[u8]) -> Result<Mapping, MappingError> {
    const LOOK: usize = 8;
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = String::from_utf8_lossy(&head[..head.len().min(LOOK_BYTES)]);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(LOOK)
        .collect();
    Mapping::built_in_for(&lines).ok_or_else(|| MappingError::Incomplete {
        mapping: "none".to_owned(),
        reason: "no built-in mapping knows this header; give one with --mapping".to_owned(),
    })
}

/// What became of a row.
enum Row {
    Bad(String),
    Stop(ImportError),
}

impl From<String> for Row {
    fn from(reason: String) -> Row {
        Row::Bad(reason)
    }
}

struct Rows<'t, 'r> {
    text: &'t mut Text<'r>,
    record: Record,
}

type EachRow<'e> = &'e mut dyn FnMut(&Record, &mut Batch<'_>) -> Result<(), Row>;

impl Rows<'_, '_> {
    /// Splits the next record that is no empty line; its line, and what is wrong with it.
    fn next(&mut self) -> Result<Option<(u64, Option<String>)>, Stop> {
        loop {
            let mut end = RecordEnd::default();
            let line = self.text.line_number();
            let longest = LONGEST_RECORD.min(self.text.longest());
            let Some(piece) = self
                .text
                .piece(longest, |bytes, seen, ended| end.find(bytes, seen, ended))
                .at_line(line)?
            else {
                return Ok(None);
            };
            if piece.too_long || piece.cut_short {
                return Ok(Some((
                    piece.line,
                    Some("a quote that begins here is never closed".to_owned()),
                )));
            }
            if piece.bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
                continue;
            }
            self.record.split(piece.bytes);
            return Ok(Some((piece.line, None)));
        }
    }

    /// The cells of a header row.
    fn header(&mut self, mapping: &Mapping) -> Result<Vec<String>, Stop> {
        match self.next()? {
            Some((_, None)) => Ok(self.record.texts()),
            _ => Err(Stop::Import(ImportError::Mapping(
                MappingError::Incomplete {
                    mapping: mapping.name.clone(),
                    reason: "the file has no header row".to_owned(),
                },
            ))),
        }
    }

    /// Every row that has as many cells as the header; bad ones are entered.
    fn each(&mut self, width: usize, batch: &mut Batch<'_>, each: EachRow<'_>) -> Result<(), Stop> {
        while let Some((line, problem)) = self.next()? {
            batch.report.records += 1;
            let problem = problem.or_else(|| {
                (self.record.len() != width).then(|| {
                    format!(
                        "it has {} cells where the header has {width}",
                        self.record.len()
                    )
                })
            });
            let done = match problem {
                Some(reason) => Err(Row::Bad(reason)),
                None => each(&self.record, batch),
            };
            match done {
                Ok(()) => {}
                Err(Row::Bad(reason)) => batch.bad(Place::Line(line), reason)?,
                Err(Row::Stop(error)) => return Err(Stop::Import(error)),
            }
        }
        Ok(())
    }
}
