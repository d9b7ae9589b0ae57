//! What processes count of themselves, as far as it can be held against their spans and logs: requests by route, spans
//! started, live and lost, log lines written, memory. Owns the series over time; comparing is for rules.

use std::collections::BTreeMap;

use case::model::{MetricPoint, PointData, Value};

/// Points kept of one series. A longer one loses every second point, which leaves its ends and its shape.
const MOST_POINTS: usize = 512;
const MOST_SERIES: usize = 100_000;

/// What a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// Requests served, by span name; the sum is their seconds.
    Requests,
    /// Spans that have begun and not ended.
    LiveSpans,
    /// Spans begun, by what was decided about keeping them.
    StartedSpans,
    /// Spans begun, by where their parent is.
    StartedByOrigin,
    /// Spans that were to be sent and were not.
    DroppedSpans,
    DroppedLogs,
    /// Log lines written, whoever got them.
    Lines,
    /// Bytes of memory.
    Memory,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub at: u64,
    pub value: f64,
    pub sum: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    /// By number of whoever sent it, what it counts and its label.
    pub series: BTreeMap<(u32, What, String), Vec<Point>>,
}

impl Counts {
    pub fn take(&mut self, who: u32, point: &MetricPoint) {
        let Some((what, label)) = meant(point) else {
            return;
        };
        let Some((value, sum)) = measured(&point.data) else {
            return;
        };
        if self.series.len() >= MOST_SERIES {
            return;
        }
        let series = self.series.entry((who, what, label)).or_default();
        series.push(Point {
            at: point.at.0,
            value,
            sum,
        });
        if series.len() > MOST_POINTS * 2 {
            thin(series);
        }
    }

    pub fn settle(&mut self, became: &[u32]) {
        let known = |who: u32| became.get(who as usize).copied();
        self.series = std::mem::take(&mut self.series)
            .into_iter()
            .filter_map(|((who, what, label), series)| Some(((known(who)?, what, label), series)))
            .collect();
        for series in self.series.values_mut() {
            thin(series);
        }
    }

    pub fn of(&self, who: u32, what: What) -> impl Iterator<Item = (&str, &[Point])> {
        self.series
            .range((who, what, String::new())..)
            .take_while(move |((other, kind, _), _)| (*other, *kind) == (who, what))
            .map(|((_, _, label), points)| (label.as_str(), points.as_slice()))
    }

    pub fn one(&self, who: u32, what: What, label: &str) -> Option<&[Point]> {
        self.series
            .get(&(who, what, label.to_owned()))
            .map(Vec::as_slice)
    }

    /// How much a counter rose between two times, restarts counted from zero; `None` without two points there.
    pub fn rise(points: &[Point], from: u64, until: u64) -> Option<f64> {
        let inside: Vec<&Point> = points
            .iter()
            .filter(|point| (from..=until).contains(&point.at))
            .collect();
        (inside.len() > 1).then(|| {
            inside
                .windows(2)
                .map(|pair| match pair[1].value >= pair[0].value {
                    true => pair[1].value - pair[0].value,
                    false => pair[1].value,
                })
                .sum()
        })
    }
}

fn thin(series: &mut Vec<Point>) {
    series.sort_by(|a, b| a.at.cmp(&b.at).then(a.value.total_cmp(&b.value)));
    series.dedup_by_key(|point| point.at);
    while series.len() > MOST_POINTS {
        let last = series.len() - 1;
        let mut place = 0;
        series.retain(|_| {
            place += 1;
            (place - 1) % 2 == 0 || place - 1 == last
        });
    }
}

fn meant(point: &MetricPoint) -> Option<(What, String)> {
    let text = |key: &str| point.attributes.text(key).unwrap_or("");
    let some = match point.name.as_str() {
        "http.server.request.duration" => {
            let (method, route) = (text("http.request.method"), text("http.route"));
            (What::Requests, format!("{method} {route}"))
        }
        "rpc.server.call.duration" | "rpc.server.duration" => {
            (What::Requests, text("rpc.method").to_owned())
        }
        "otel.sdk.span.live" => (What::LiveSpans, String::new()),
        "otel.sdk.span.started" => {
            let decided = text("otel.span.sampling_result");
            let origin = text("otel.span.parent.origin");
            (What::StartedSpans, format!("{decided} {origin}"))
        }
        "shop_telemetry_dropped_total" if text("signal") == "spans" => {
            (What::DroppedSpans, String::new())
        }
        "shop_telemetry_dropped_total" if text("signal") == "logs" => {
            (What::DroppedLogs, String::new())
        }
        "shop_log_emitted_total" | "shop.log.emitted" => (What::Lines, text("level").to_owned()),
        "process.memory.usage" => (What::Memory, String::new()),
        _ => return None,
    };
    Some(some)
}

fn measured(data: &PointData) -> Option<(f64, f64)> {
    let number = |value: &Value| match value {
        Value::Int(number) => Some(*number as f64),
        Value::Double(number) => Some(*number),
        _ => None,
    };
    match data {
        PointData::Gauge(value) | PointData::Sum { value, .. } => {
            number(value).map(|value| (value, 0.0))
        }
        PointData::Histogram { count, sum, .. }
        | PointData::ExponentialHistogram { count, sum, .. } => {
            Some((*count as f64, sum.unwrap_or(f64::NAN)))
        }
        PointData::Summary { count, sum, .. } => Some((*count as f64, *sum)),
    }
}
