//! The figures of services, edges and kinds of failure over time, in equal stretches.

use std::collections::BTreeMap;

use case::Nanos;
use case::model::{SpanKind, StatusCode};

use super::gather::{Gather, NOTHING};
use crate::exact::{self, Stats};
use crate::red::Slot;
use crate::tree::{NONE, shapes};

/// Stretches at most; longer windows get longer ones.
const MOST_SLOTS: u64 = 5_000;
/// Stretches of all services together at most: names of services may be without number.
const MOST_CELLS: u64 = 4_000_000;

/// Figures over time. Services, edges and kinds in the order of their names.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub from: Nanos,
    /// Nanoseconds of a stretch.
    pub slot: u64,
    pub slots: usize,
    /// Sparse: only stretches with requests, by service and place.
    pub services: BTreeMap<String, BTreeMap<u32, Stats>>,
    /// Calls of one service to another, by caller, callee and place.
    pub edges: BTreeMap<(String, String), BTreeMap<u32, Slot>>,
    /// Failures of one kind within a service.
    pub kinds: BTreeMap<(String, String), BTreeMap<u32, u64>>,
}

impl Series {
    /// When a stretch begins.
    pub fn at(&self, place: u32) -> Nanos {
        Nanos(
            self.from
                .0
                .saturating_add(self.slot.saturating_mul(u64::from(place))),
        )
    }
}

impl Gather {
    /// The window in stretches of `slot` nanoseconds, or longer ones if there would be too many.
    pub fn series(&self, slot: u64) -> Series {
        let table = &self.table;
        let (from, until) = (self.window.from.0, self.window.until.0);
        let length = until.saturating_sub(from);
        let services = table.services.len().max(1) as u64;
        let most = (MOST_CELLS / services).clamp(1, MOST_SLOTS);
        let slot = slot.max(1).max(length.div_ceil(most));
        let slots = length.div_ceil(slot).max(1) as usize;
        let place = |row: usize| {
            let since = table.start[row].saturating_sub(from) / slot;
            since.min(slots as u64 - 1) as u32
        };
        let served = |row: usize| matches!(table.kind(row), SpanKind::Server | SpanKind::Consumer);
        let failed = |row: usize| table.status(row) == StatusCode::Error;
        // Groups are (service, place), numbered densely.
        let group = |row: usize| table.service[row] * slots as u32 + place(row);
        let stats = exact::by_group(
            table.services.len() * slots,
            (0..table.len())
                .filter(|row| served(*row))
                .map(|row| (group(row), table.duration[row], failed(row))),
        );
        let mut services: BTreeMap<String, BTreeMap<u32, Stats>> = BTreeMap::new();
        for (number, stats) in stats.into_iter().enumerate() {
            if stats.requests > 0 {
                let name = table.services.get((number / slots) as u32).to_owned();
                let of = services.entry(name).or_default();
                of.insert((number % slots) as u32, stats);
            }
        }
        let mut kinds: BTreeMap<(u32, u32), BTreeMap<u32, u64>> = BTreeMap::new();
        for row in (0..table.len()).filter(|row| served(*row) && self.error[*row] != NOTHING) {
            let of = kinds.entry((table.service[row], self.error[row]));
            *of.or_default().entry(place(row)).or_default() += 1;
        }
        Series {
            from: self.window.from,
            slot,
            slots,
            services,
            edges: self.edges_over_time(&place),
            kinds: kinds
                .into_iter()
                .map(|((service, kind), counts)| {
                    let key = (
                        table.services.get(service).to_owned(),
                        self.errors.all[kind as usize].clone(),
                    );
                    (key, counts)
                })
                .collect(),
        }
    }

    fn edges_over_time(
        &self,
        place: &impl Fn(usize) -> u32,
    ) -> BTreeMap<(String, String), BTreeMap<u32, Slot>> {
        let table = &self.table;
        let shapes = shapes(table);
        let mut answered = vec![NONE; table.len()];
        for row in 0..table.len() {
            let parent = shapes.parent[row];
            if table.kind(row) == SpanKind::Server && parent != NONE {
                answered[parent as usize] = table.service[row];
            }
        }
        let mut out: BTreeMap<(u32, String), BTreeMap<u32, Slot>> = BTreeMap::new();
        for (row, answered) in answered.into_iter().enumerate() {
            if table.kind(row) != SpanKind::Client {
                continue;
            }
            let callee = if answered == NONE {
                use crate::callee::Target;
                match &self.targets.all[self.target[row] as usize] {
                    Target::Named(name) => name.clone(),
                    Target::Address(address) => self
                        .directory
                        .resident(address, Nanos(table.start[row]))
                        .map_or_else(|| address.clone(), |resident| resident.service.clone()),
                    Target::Store { system, name } => format!("{system} {name}"),
                    Target::Broker { .. } | Target::Unknown => continue,
                }
            } else {
                table.services.get(answered).to_owned()
            };
            let of = out.entry((table.service[row], callee)).or_default();
            let slot = of.entry(place(row)).or_default();
            slot.requests += 1;
            slot.errors += u64::from(table.status(row) == StatusCode::Error);
        }
        out.into_iter()
            .map(|((caller, callee), slots)| {
                let caller = table.services.get(caller).to_owned();
                ((caller, callee), slots)
            })
            .collect()
    }
}
