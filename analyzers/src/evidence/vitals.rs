//! Measurements that say how an instance fares: its age, its background tasks, processor, pools. Only metrics of these
//! names are kept, each as a line of times and values.

use std::collections::BTreeMap;

use case::Nanos;
use case::model::{MetricPoint, PointData, Value};

use super::{Basis, Domain, Intake, Who};
use crate::names::Name;

/// What is kept, under the names that are in use, and the attribute that tells lines of one instance apart.
const KEPT: &[(&str, Vital, &str)] = &[
    ("process.uptime", Vital::Uptime, ""),
    ("process_uptime_seconds", Vital::Uptime, ""),
    ("process.cpu.utilization", Vital::Cpu, ""),
    ("process_cpu_utilization", Vital::Cpu, ""),
    ("shop.task.alive", Vital::TaskAlive, "task"),
    ("shop_task_alive", Vital::TaskAlive, "task"),
    ("shop.task.last_tick_age", Vital::TaskAge, "task"),
    ("shop_task_last_tick_age", Vital::TaskAge, "task"),
    ("shop_task_last_tick_age_seconds", Vital::TaskAge, "task"),
    ("shop_pool_waiting", Vital::PoolWaiting, "pool"),
    (
        "db.client.connection.pending_requests",
        Vital::PoolWaiting,
        "db.client.connection.pool.name",
    ),
    ("shop_pool_in_use", Vital::PoolUsed, "pool"),
    ("shop_pool_size", Vital::PoolSize, "pool"),
    ("testservice_active_requests", Vital::InFlight, ""),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vital {
    Uptime,
    Cpu,
    TaskAlive,
    TaskAge,
    PoolWaiting,
    PoolUsed,
    PoolSize,
    InFlight,
}

/// Points of one line; a line that has more keeps its first.
const POINTS: usize = 200_000;

#[derive(Debug, Default)]
pub struct Vitals {
    /// By sender, then what, then which; values by time.
    pub lines: BTreeMap<(Who, Vital, Name), Vec<(Nanos, f64)>>,
}

impl Vitals {
    /// The lines of one kind of an instance, with their own names.
    pub fn of<'a>(
        &'a self,
        who: &'a Who,
        vital: Vital,
    ) -> impl Iterator<Item = (&'a str, &'a [(Nanos, f64)])> {
        self.lines
            .iter()
            .filter(move |((sender, kind, _), _)| sender == who && *kind == vital)
            .map(|((_, _, name), line)| (&**name, line.as_slice()))
    }
}

impl Domain for Vitals {
    fn take_metric(&mut self, point: &MetricPoint, of: &mut Intake<'_>) {
        let Some((_, vital, key)) = KEPT.iter().find(|(name, _, _)| *name == point.name) else {
            return;
        };
        let Some(value) = value_of(&point.data) else {
            return;
        };
        let named = of.names.of(point.attributes.text(key).unwrap_or(""));
        let line = self
            .lines
            .entry((of.who.clone(), *vital, named))
            .or_default();
        if line.len() < POINTS {
            line.push((point.at, value));
        }
    }

    fn settle(&mut self, _basis: &Basis) {
        for line in self.lines.values_mut() {
            line.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            line.dedup();
        }
    }
}

fn value_of(data: &PointData) -> Option<f64> {
    let value = match data {
        PointData::Gauge(value) | PointData::Sum { value, .. } => value,
        _ => return None,
    };
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Double(number) => *number,
        _ => return None,
    };
    number.is_finite().then_some(number)
}
