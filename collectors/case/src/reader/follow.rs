//! Following a live case: what is new is read, and nothing twice.

use std::collections::BTreeMap;

use super::spans::add_live;
use super::{Case, live};
use crate::CaseError;
use crate::log::LogReader;
use crate::manifest::Content;
use crate::segment::read::rows::add_skeleton;
use crate::signal::Signal;
use crate::skeleton::SpanTable;
use crate::time::{Nanos, Window};

/// What is known of a case that grows: its spans as a skeleton, its bounds in time, how much of each signal.
#[derive(Debug, Default)]
pub struct Follower {
    pub table: SpanTable,
    pub items: BTreeMap<Signal, u64>,
    bounds: Option<(Nanos, Nanos)>,
    /// Logs that are not in segments yet, each as far as it was read.
    readers: BTreeMap<u64, LogReader>,
    /// The newest log that was seen.
    seen: u64,
    dropped: u64,
    begun: bool,
}

impl Follower {
    /// From the earliest event to the latest.
    pub fn window(&self) -> Option<Window> {
        self.bounds.map(|(first, last)| Window {
            from: first,
            until: last.saturating_add(1),
        })
    }

    /// Takes in what has come since the last look. The case has to be refreshed by the caller. True if there was anything.
    pub fn look(&mut self, case: &Case) -> Result<bool, CaseError> {
        let missed = case.manifest.sealed_through > self.seen;
        let lost = case.manifest.dropped.segments != self.dropped;
        let anew = !self.begun || missed || lost;
        if anew {
            self.begin(case)?;
        }
        let mut changed = anew;
        // A log that became a segment meanwhile is held open: what it grew by is read from it, not from the segment.
        let gone: Vec<u64> = self
            .readers
            .keys()
            .copied()
            .filter(|id| !case.live.iter().any(|log| log.id == *id))
            .collect();
        for id in gone {
            if let Some(mut reader) = self.readers.remove(&id) {
                reader.grow_to_end()?;
                changed |= self.read(&mut reader)?;
            }
        }
        for log in &case.live {
            let mut reader = match self.readers.remove(&log.id) {
                Some(mut reader) => {
                    reader.grow(log.len)?;
                    reader
                }
                None => match LogReader::of(log.path.clone(), log.file.clone(), log.len) {
                    // Nothing but its name is there yet.
                    Ok(reader) if reader.mark().is_none() => continue,
                    Ok(reader) => reader,
                    Err(error) => {
                        case.note(error.to_string());
                        continue;
                    }
                },
            };
            changed |= self.read(&mut reader)?;
            self.readers.insert(log.id, reader);
            self.seen = self.seen.max(log.id);
            case.check_progress()?;
        }
        Ok(changed)
    }

    /// Forgets everything, and reads the segments.
    fn begin(&mut self, case: &Case) -> Result<(), CaseError> {
        *self = Follower {
            seen: case.manifest.sealed_through,
            dropped: case.manifest.dropped.segments,
            ..Follower::default()
        };
        for segment in &case.manifest.segments {
            for (signal, count) in &segment.items {
                *self.items.entry(*signal).or_default() += count;
            }
            if segment.items.values().any(|count| *count > 0) {
                self.widen(segment.first, segment.last);
            }
        }
        for (reader, _) in case.tables(Content::Traces, Window::ALL) {
            case.tolerate(add_skeleton(&reader, Window::ALL, &mut self.table));
            case.pass(reader.rows() as u64)?;
        }
        self.begun = true;
        Ok(())
    }

    fn widen(&mut self, first: Nanos, last: Nanos) {
        let (from, until) = self.bounds.unwrap_or((first, last));
        self.bounds = Some((from.min(first), until.max(last)));
    }

    fn read(&mut self, reader: &mut LogReader) -> Result<bool, CaseError> {
        let mut payload = Vec::new();
        let mut any = false;
        loop {
            while let Some(head) = reader.next(&mut payload)? {
                any = true;
                *self.items.entry(head.signal).or_default() += u64::from(head.items);
                if head.signal == Signal::Traces {
                    add_live(&payload, Window::ALL, &mut self.table);
                }
                live::times(head.signal, &payload, &mut |first, last| {
                    let (from, until) = self.bounds.unwrap_or((first, last));
                    self.bounds = Some((from.min(first), until.max(last)));
                });
            }
            // What is cut short is a write under way, and is looked at again; damage is passed over.
            let under_way = reader
                .torn()
                .is_none_or(|torn| torn.kind == crate::log::TornKind::CutShort);
            if under_way || reader.gap()?.is_none() {
                return Ok(any);
            }
        }
    }
}
