//! What rebuilding traces needs of a span, without its texts.

use super::spans::{kind, status};
use crate::CaseError;
use crate::ids::{SpanId, TraceId};
use crate::segment::read::TextPage;
use crate::segment::read::table::TableReader;
use crate::skeleton::SpanTable;
use crate::time::{Nanos, Window};

/// Adds a file's spans that begin in the window.
pub(crate) fn add_skeleton(
    reader: &TableReader,
    window: Window,
    table: &mut SpanTable,
) -> Result<(), CaseError> {
    let column = |name: &str| reader.cursor(name, 0);
    let mut timestamp = column("Timestamp")?;
    let mut trace_id = column("TraceId")?;
    let mut span_id = column("SpanId")?;
    let mut parent = column("ParentSpanId")?;
    let mut duration = column("Duration")?;
    let mut service = column("ServiceName")?;
    let mut name = column("SpanName")?;
    let mut kinds = column("SpanKind")?;
    let mut statuses = column("StatusCode")?;
    let (mut traces, mut services, mut names) =
        (Mapped::default(), Mapped::default(), Mapped::default());
    let (mut kind_numbers, mut status_numbers) = (Mapped::default(), Mapped::default());
    table.reserve(reader.rows());
    for page in 0..reader.pages() {
        let starts = timestamp.i64s(page)?;
        let traces = traces.page(trace_id.texts(page)?, |hex| {
            table.trace(TraceId::from_hex(hex).unwrap_or_default())
        });
        let services = services.page(service.texts(page)?, |text| table.services.intern(text));
        let names = names.page(name.texts(page)?, |text| table.names.intern(text));
        let kinds = kind_numbers.page(kinds.texts(page)?, |text| u32::from(kind(text).number()));
        let statuses = status_numbers.page(statuses.texts(page)?, |text| {
            u32::from(status(text).number())
        });
        let durations = duration.i64s(page)?;
        let ids = span_id.texts(page)?;
        let parents = parent.texts(page)?;
        let rows = starts.len();
        if [
            traces.len(),
            services.len(),
            names.len(),
            kinds.len(),
            statuses.len(),
            durations.len(),
            ids.numbers.len(),
            parents.numbers.len(),
        ]
        .iter()
        .any(|len| *len != rows)
        {
            return Err(reader.damaged("a page holds fewer rows than it should"));
        }
        for row in 0..rows {
            let start = starts[row].cast_unsigned();
            if !window.contains(Nanos(start)) {
                continue;
            }
            table.trace.push(traces[row]);
            table
                .span_id
                .push(SpanId::from_hex(ids.get(row)).unwrap_or_default());
            table
                .parent
                .push(SpanId::from_hex(parents.get(row)).unwrap_or_default());
            table.start.push(start);
            table.duration.push(durations[row].cast_unsigned());
            table.service.push(services[row]);
            table.name.push(names[row]);
            table.kind.push(kinds[row] as u8);
            table.status.push(statuses[row] as u8);
        }
    }
    Ok(())
}

/// Numbers of one file's dictionary turned into those of the table, each text looked up once.
#[derive(Default)]
struct Mapped {
    dense: Vec<u32>,
}

const UNKNOWN: u32 = u32::MAX;

impl Mapped {
    fn page(&mut self, page: TextPage, mut number: impl FnMut(&[u8]) -> u32) -> Vec<u32> {
        if self.dense.len() < page.arena.len() {
            self.dense.resize(page.arena.len(), UNKNOWN);
        }
        let dense = &mut self.dense;
        let arena = &page.arena;
        page.numbers
            .iter()
            .map(|at| {
                let slot = &mut dense[*at as usize];
                if *slot == UNKNOWN {
                    *slot = number(arena.get(*at));
                }
                *slot
            })
            .collect()
    }
}
