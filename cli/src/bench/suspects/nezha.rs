//! Folders of labelled cases as `nezha-trainticket` has them: a minute of traces and logs for each fault, one without for
//! each day, and metrics of every pod.
//!
//! Rows become the same spans, log records and points that a collector brings in. Labels are read here and handed to who
//! scores, to nobody else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use analyzers::suspects::sight::{HISTORY, Sight};
use case::model::{Attributes, LogRecord, MetricPoint, Origin, PointData, Resource, Span, Value};
use case::{Nanos, SpanId, TraceId, Window};
use serde::Deserialize;

use super::ReadError;
use super::table::{Table, text};

const MINUTE: u64 = 60 * 1_000_000_000;

/// One labelled case.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    pub case: String,
    pub minute: String,
    pub baseline: String,
    pub pod: String,
    #[serde(rename = "type")]
    pub fault: String,
}

impl Case {
    pub fn culprit(&self) -> &str {
        service_of(&self.pod)
    }

    pub fn day(&self) -> &str {
        self.case.split('/').next().unwrap_or_default()
    }
}

/// Which signals are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Using {
    pub traces: bool,
    pub logs: bool,
    pub metrics: bool,
    /// Of 1000 traces, so many are kept, chosen by id.
    pub sampled: u64,
    pub draw: u64,
}

impl Using {
    pub const ALL: Using = Using {
        traces: true,
        logs: true,
        metrics: true,
        sampled: 1000,
        draw: 0,
    };

    fn keeps(&self, trace: TraceId) -> bool {
        if self.sampled >= 1000 {
            return true;
        }
        let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ self.draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in trace.0 {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
        (hash >> 32) % 1000 < self.sampled
    }
}

/// The set under a folder.
pub struct Set {
    folder: PathBuf,
    pub cases: Vec<Case>,
    metrics: BTreeMap<String, Vec<MetricPoint>>,
}

/// The service of a pod: its name without the last two parts.
pub fn service_of(pod: &str) -> &str {
    let mut parts = pod.rsplitn(3, '-');
    let (_, _, service) = (parts.next(), parts.next(), parts.next());
    service.unwrap_or(pod)
}

impl Set {
    pub fn open(folder: &Path) -> Result<Set, ReadError> {
        let path = folder.join("cases.json");
        let cases: Vec<Case> =
            serde_json::from_str(&text(&path)?).map_err(|error| ReadError::bad(&path, error))?;
        let mut metrics = BTreeMap::new();
        for case in &cases {
            if !metrics.contains_key(case.day()) {
                metrics.insert(
                    case.day().to_owned(),
                    pod_metrics(&folder.join(case.day()).join("metric"))?,
                );
            }
        }
        Ok(Set {
            folder: folder.to_owned(),
            cases,
            metrics,
        })
    }

    /// What was seen in the fault-free minute, and in the hour before the fault of its metrics.
    pub fn baseline(&self, case: &Case, minute: &str, using: Using) -> Result<Sight, ReadError> {
        let mut sight = self.minute(minute, using)?;
        let from = self.begin(case)?;
        if using.metrics {
            let window = Window {
                from: from.saturating_sub(HISTORY),
                until: from,
            };
            self.take_metrics(case, window, &mut sight);
        }
        Ok(sight)
    }

    pub fn incident(&self, case: &Case, using: Using) -> Result<Sight, ReadError> {
        let mut sight = self.minute(&case.case, using)?;
        let from = self.begin(case)?;
        if using.metrics {
            let window = Window {
                from,
                until: from.saturating_add(MINUTE),
            };
            self.take_metrics(case, window, &mut sight);
        }
        Ok(sight)
    }

    fn begin(&self, case: &Case) -> Result<Nanos, ReadError> {
        case::time::parse_time(&case.minute, Nanos(0))
            .map_err(|error| ReadError::bad(&self.folder.join("cases.json"), error))
    }

    /// Rows are stamped at the end of the minute they are about: the middle of it decides.
    fn take_metrics(&self, case: &Case, window: Window, sight: &mut Sight) {
        for point in self.metrics.get(case.day()).into_iter().flatten() {
            if window.contains(point.at.saturating_sub(MINUTE / 2)) {
                sight.take_metric(point);
            }
        }
    }

    fn minute(&self, minute: &str, using: Using) -> Result<Sight, ReadError> {
        let folder = self.folder.join(minute);
        let mut sight = Sight::new(Window::ALL);
        let mut origins = Origins::default();
        if using.traces {
            spans(&folder.join("trace.csv"), &mut origins, |span| {
                if using.keeps(span.trace_id) {
                    sight.take_span(&span);
                }
            })?;
        }
        if using.logs {
            logs(&folder.join("log.csv"), &mut origins, |log| {
                if using.keeps(log.trace_id) {
                    sight.take_log(&log);
                }
            })?;
        }
        Ok(sight)
    }
}

#[derive(Default)]
struct Origins {
    known: BTreeMap<String, Origin>,
}

impl Origins {
    fn of(&mut self, pod: &str) -> Origin {
        if let Some(origin) = self.known.get(pod) {
            return origin.clone();
        }
        let mut attributes = Attributes::default();
        attributes.push("service.name", Value::Text(service_of(pod).to_owned()));
        attributes.push("service.instance.id", Value::Text(pod.to_owned()));
        let origin = Origin {
            resource: Arc::new(Resource {
                attributes,
                ..Resource::default()
            }),
            ..Origin::default()
        };
        self.known.insert(pod.to_owned(), origin.clone());
        origin
    }
}

/// An id of any even length, as the ends of the wanted one; ids too short are filled up with zeros in front.
fn id<const N: usize>(hex: &str) -> [u8; N] {
    let mut out = [0u8; N];
    let digits: Vec<u8> = hex
        .bytes()
        .filter_map(|b| (b as char).to_digit(16))
        .map(|d| d as u8)
        .collect();
    for (at, pair) in digits.rchunks(2).take(N).enumerate() {
        out[N - 1 - at] = match pair {
            [high, low] => high << 4 | low,
            [low] => *low,
            _ => 0,
        };
    }
    out
}

fn spans(path: &Path, origins: &mut Origins, mut take: impl FnMut(Span)) -> Result<(), ReadError> {
    let table = Table::read(path)?;
    let columns = [
        "TraceID",
        "SpanID",
        "ParentID",
        "PodName",
        "OperationName",
        "StartTimeUnixNano",
        "EndTimeUnixNano",
    ];
    table.rows(columns, |[trace, span, parent, pod, name, start, end]| {
        take(Span {
            origin: origins.of(pod),
            trace_id: TraceId(id(trace)),
            span_id: SpanId(id(span)),
            parent_span_id: if parent == "root" {
                SpanId::NONE
            } else {
                SpanId(id(parent))
            },
            name: name.to_owned(),
            start: Nanos(start.parse().unwrap_or(0)),
            end: Nanos(end.parse().unwrap_or(0)),
            ..Span::default()
        });
    })
}

fn logs(
    path: &Path,
    origins: &mut Origins,
    mut take: impl FnMut(LogRecord),
) -> Result<(), ReadError> {
    /// What a container runtime wraps around a line.
    #[derive(Deserialize)]
    struct Wrapped {
        log: String,
    }
    let table = Table::read(path)?;
    table.rows(
        ["TimeUnixNano", "PodName", "TraceID", "SpanID", "Log"],
        |[at, pod, trace, span, line]| {
            let line = serde_json::from_str(line)
                .map_or_else(|_| line.to_owned(), |wrapped: Wrapped| wrapped.log);
            take(LogRecord {
                origin: origins.of(pod),
                time: Nanos(at.parse().unwrap_or(0)),
                body: Value::Text(line),
                trace_id: TraceId(id(trace)),
                span_id: SpanId(id(span)),
                ..LogRecord::default()
            });
        },
    )
}

/// Every number column of every pod's file, as gauges.
fn pod_metrics(folder: &Path) -> Result<Vec<MetricPoint>, ReadError> {
    let mut out = Vec::new();
    let mut origins = Origins::default();
    for path in super::table::files(folder, "csv")? {
        let table = Table::read(&path)?;
        let (Some(at), Some(pod)) = (table.column("TimeStamp"), table.column("PodName")) else {
            continue;
        };
        let numbers: Vec<(usize, &str)> = table
            .header()
            .enumerate()
            .filter(|(column, name)| {
                *column != at && *column != pod && !matches!(*name, "Time" | "TimeStamp")
            })
            .collect();
        for row in table.all() {
            let Ok(seconds) = row.get(at).unwrap_or_default().parse::<u64>() else {
                continue;
            };
            let origin = origins.of(row.get(pod).unwrap_or_default());
            for (column, name) in &numbers {
                let Some(value) = row.get(*column).and_then(|cell| cell.parse::<f64>().ok()) else {
                    continue;
                };
                out.push(gauge(
                    origin.clone(),
                    name,
                    Attributes::default(),
                    Nanos(seconds.saturating_mul(1_000_000_000)),
                    value,
                ));
            }
        }
    }
    Ok(out)
}

pub(super) fn gauge(
    origin: Origin,
    name: &str,
    attributes: Attributes,
    at: Nanos,
    value: f64,
) -> MetricPoint {
    MetricPoint {
        origin,
        name: name.to_owned(),
        description: String::new(),
        unit: String::new(),
        metadata: Attributes::default(),
        attributes,
        start: Nanos(0),
        at,
        flags: 0,
        data: PointData::Gauge(Value::Double(value)),
        exemplars: Vec::new(),
    }
}
