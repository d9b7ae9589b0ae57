//! Owns the instance's metrics: what exists (`DEFINITIONS`), and the present value of every series. The Prometheus page
//! and the OTLP export are both written from here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    metric, number_data_point,
};

use super::attributes::key_value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Counter,
    Gauge,
    Histogram(&'static [Millis]),
}

/// A bucket bound in milliseconds: integers keep the table comparable and exact.
pub type Millis = u32;

#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    pub unit: &'static str,
    pub help: &'static str,
    pub shape: Shape,
}

/// Bounds in milliseconds: the defaults of the Prometheus clients.
const SEED: &[Millis] = &[5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];
/// Bounds in milliseconds: what the semantic conventions advise for durations.
const CONVENTION: &[Millis] = &[
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000,
];

const fn counter(name: &'static str, help: &'static str) -> Definition {
    Definition {
        name,
        unit: "1",
        help,
        shape: Shape::Counter,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Definition {
    Definition {
        name,
        unit: "1",
        help,
        shape: Shape::Gauge,
    }
}

const fn seconds(name: &'static str, bounds: &'static [Millis], help: &'static str) -> Definition {
    Definition {
        name,
        unit: "s",
        help,
        shape: Shape::Histogram(bounds),
    }
}

const fn age(name: &'static str, help: &'static str) -> Definition {
    Definition {
        name,
        unit: "s",
        help,
        shape: Shape::Gauge,
    }
}

const fn bytes(name: &'static str, help: &'static str) -> Definition {
    Definition {
        name,
        unit: "By",
        help,
        shape: Shape::Gauge,
    }
}

/// Every metric of the shop; a name that does not stand here cannot be recorded.
pub const DEFINITIONS: &[Definition] = &[
    counter("testservice_requests_total", "Requests handled."),
    seconds(
        "testservice_request_duration_seconds",
        SEED,
        "Duration of handled requests.",
    ),
    counter(
        "testservice_upstream_calls_total",
        "Calls made to other services.",
    ),
    seconds(
        "testservice_upstream_duration_seconds",
        SEED,
        "Duration of calls to other services.",
    ),
    gauge("testservice_active_requests", "Requests being handled now."),
    counter(
        "testservice_behavior_applied_total",
        "Injected behaviours that took effect.",
    ),
    seconds("checkout_duration_seconds", SEED, "Duration of checkouts."),
    counter("checkout_service_requests_total", "Checkouts by track."),
    counter(
        "checkout_service_errors_total",
        "Failed checkouts by track.",
    ),
    counter(
        "inventory_reservation_failures_total",
        "Reservations that were refused.",
    ),
    counter("http_requests_total", "HTTP requests handled."),
    seconds(
        "http_request_duration_seconds",
        SEED,
        "Duration of handled HTTP requests.",
    ),
    seconds(
        "http.server.request.duration",
        CONVENTION,
        "Duration of HTTP server requests.",
    ),
    seconds(
        "http.client.request.duration",
        CONVENTION,
        "Duration of HTTP client requests.",
    ),
    seconds(
        "rpc.server.call.duration",
        CONVENTION,
        "Duration of inbound calls.",
    ),
    seconds(
        "rpc.client.call.duration",
        CONVENTION,
        "Duration of outbound calls.",
    ),
    seconds(
        "messaging.client.operation.duration",
        CONVENTION,
        "Duration of messaging operations.",
    ),
    seconds(
        "messaging.process.duration",
        CONVENTION,
        "Duration of processing a message.",
    ),
    seconds(
        "db.client.operation.duration",
        CONVENTION,
        "Duration of database operations.",
    ),
    gauge(
        "shop_breaker_state",
        "Circuit breaker state: 0 closed, 1 half-open, 2 open.",
    ),
    counter(
        "shop_breaker_transitions_total",
        "Changes of circuit breaker state.",
    ),
    gauge(
        "shop_registry_instances",
        "Instances in the registry by state.",
    ),
    age(
        "shop_registry_heartbeat_age_seconds",
        "Time since the last accepted heartbeat.",
    ),
    age(
        "shop_discovery_cache_age_seconds",
        "Age of the lookup cache entry.",
    ),
    gauge("shop_sagas_active", "Sagas that are not terminal."),
    counter("shop_sagas_total", "Sagas that ended, by outcome."),
    seconds("shop_saga_duration_seconds", SEED, "Duration of sagas."),
    counter(
        "shop_saga_compensations_total",
        "Compensations run, by step and outcome.",
    ),
    gauge("shop_outbox_pending", "Events that wait to be published."),
    age(
        "shop_outbox_oldest_age_seconds",
        "Age of the oldest event that waits to be published.",
    ),
    gauge("shop_bus_queue_depth", "Events that wait to be delivered."),
    counter("shop_bus_deliveries_total", "Delivery attempts by answer."),
    counter("shop_dead_letters_total", "Events given up."),
    counter(
        "shop_ratelimit_rejections_total",
        "Requests refused by the rate limit.",
    ),
    counter("shop_idempotency_total", "Keyed requests by result."),
    gauge("shop_pool_in_use", "Connections of a pool in use."),
    gauge("shop_pool_waiting", "Calls that wait for a connection."),
    gauge(
        "shop_db_lock_waits",
        "Times that somebody else's lock on the store was waited for.",
    ),
    gauge("shop_pool_size", "Connections that a pool may hold."),
    age("shop_mv_age_seconds", "Age of a materialised view."),
    gauge(
        "canary_traffic_percentage",
        "Share of traffic sent to the canary.",
    ),
    counter("shop_orders_total", "Order state changes."),
    counter("shop_payments_total", "Payment outcomes."),
    gauge(
        "shop.task.alive",
        "Whether a background task runs: 1 alive, 0 ended.",
    ),
    age(
        "shop.task.last_tick_age",
        "Time since a background task last did its work.",
    ),
    age("process.uptime", "Time since the process began."),
    Definition {
        name: "process.cpu.time",
        unit: "s",
        help: "Processor time used.",
        shape: Shape::Counter,
    },
    gauge("process.thread.count", "Threads of the process."),
    bytes("process.memory.usage", "Resident memory."),
    bytes("process.memory.virtual", "Committed address space."),
    gauge(
        "process.unix.file_descriptor.count",
        "Descriptors that are open.",
    ),
    counter(
        "otel.sdk.span.started",
        "Spans begun, by the origin of their parent.",
    ),
    gauge("otel.sdk.span.live", "Spans that have begun and not ended."),
    gauge(
        "otel.sdk.processor.span.queue.size",
        "Records that wait to be exported.",
    ),
    gauge(
        "otel.sdk.processor.span.queue.capacity",
        "Records that may wait to be exported.",
    ),
    counter(
        "otel.sdk.exporter.span.exported",
        "Spans exported, or lost with error.type.",
    ),
    counter(
        "otel.sdk.exporter.log.exported",
        "Log records exported, or lost with error.type.",
    ),
    counter(
        "shop_log_emitted_total",
        "Log lines written, wherever they go.",
    ),
    counter(
        "shop_telemetry_dropped_total",
        "Telemetry records that could not be sent.",
    ),
];

/// Series of one metric beyond this many are not opened: a runaway label must not eat the memory.
const MAX_SERIES: usize = 2_000;

pub type Labels = Vec<(&'static str, String)>;

#[derive(Debug, Clone)]
pub enum Value {
    Number(f64),
    Histogram {
        counts: Vec<u64>,
        sum: f64,
        count: u64,
    },
}

#[derive(Debug)]
pub struct Metrics {
    started: u64,
    series: Mutex<Vec<BTreeMap<Labels, Value>>>,
}

impl Metrics {
    #[must_use]
    pub fn new(started: u64) -> Self {
        Self {
            started,
            series: Mutex::new(DEFINITIONS.iter().map(|_| BTreeMap::new()).collect()),
        }
    }

    fn update(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        change: impl FnOnce(&Definition, &mut Value),
    ) {
        let Some(position) = DEFINITIONS
            .iter()
            .position(|definition| definition.name == name)
        else {
            debug_assert!(false, "no metric is called {name}");
            return;
        };
        let definition = &DEFINITIONS[position];
        let mut key: Labels = labels
            .iter()
            .map(|(label, value)| (*label, (*value).to_owned()))
            .collect();
        key.sort_unstable();
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let family = &mut series[position];
        if family.len() >= MAX_SERIES && !family.contains_key(&key) {
            return;
        }
        let value = family.entry(key).or_insert_with(|| match definition.shape {
            Shape::Histogram(bounds) => Value::Histogram {
                counts: vec![0; bounds.len() + 1],
                sum: 0.0,
                count: 0,
            },
            Shape::Counter | Shape::Gauge => Value::Number(0.0),
        });
        change(definition, value);
    }

    /// Adds to a counter, or moves a gauge.
    pub fn add(&self, name: &'static str, labels: &[(&'static str, &str)], amount: f64) {
        self.update(name, labels, |_, value| {
            if let Value::Number(number) = value {
                *number += amount;
            }
        });
    }

    pub fn set(&self, name: &'static str, labels: &[(&'static str, &str)], amount: f64) {
        self.update(name, labels, |_, value| {
            if let Value::Number(number) = value {
                *number = amount;
            }
        });
    }

    /// Records a duration in seconds.
    pub fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], seconds: f64) {
        self.update(name, labels, |definition, value| {
            if let (Shape::Histogram(bounds), Value::Histogram { counts, sum, count }) =
                (definition.shape, value)
            {
                let bucket = bounds
                    .iter()
                    .position(|bound| seconds <= bound_seconds(*bound))
                    .unwrap_or(bounds.len());
                counts[bucket] += 1;
                *sum += seconds;
                *count += 1;
            }
        });
    }

    /// Forgets the series of a gauge, before it is set anew from a table whose rows come and go.
    pub fn clear(&self, name: &'static str) {
        if let Some(position) = DEFINITIONS
            .iter()
            .position(|definition| definition.name == name)
        {
            self.series.lock().unwrap_or_else(PoisonError::into_inner)[position].clear();
        }
    }

    /// Every family that has a series, in the order of the table.
    #[must_use]
    pub fn families(&self) -> Vec<(&'static Definition, Vec<(Labels, Value)>)> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        DEFINITIONS
            .iter()
            .zip(series.iter())
            .filter(|(_, family)| !family.is_empty())
            .map(|(definition, family)| {
                (
                    definition,
                    family
                        .iter()
                        .map(|(labels, value)| (labels.clone(), value.clone()))
                        .collect(),
                )
            })
            .collect()
    }

    /// Requests, errors and duration of what this process served, with the raw buckets, so that instances can be added up.
    #[must_use]
    pub fn red(&self) -> serde_json::Value {
        let (mut requests, mut errors) = (0.0, 0.0);
        let mut buckets = vec![0_u64; SEED.len() + 1];
        for (definition, series) in self.families() {
            for (labels, value) in series {
                match (definition.name, value) {
                    ("testservice_requests_total", Value::Number(count)) => {
                        requests += count;
                        let code = labels.iter().find(|(label, _)| *label == "code");
                        if code.is_some_and(|(_, code)| code.starts_with('5')) {
                            errors += count;
                        }
                    }
                    ("testservice_request_duration_seconds", Value::Histogram { counts, .. }) => {
                        for (sum, count) in buckets.iter_mut().zip(counts) {
                            *sum += count;
                        }
                    }
                    _ => {}
                }
            }
        }
        serde_json::json!({ "requests": requests, "errors": errors, "buckets": buckets })
    }

    #[must_use]
    pub fn to_proto(&self, now: u64) -> Vec<Metric> {
        self.families()
            .into_iter()
            .map(|(definition, series)| Metric {
                name: definition.name.to_owned(),
                description: definition.help.to_owned(),
                unit: definition.unit.to_owned(),
                metadata: Vec::new(),
                data: Some(self.data(definition, series, now)),
            })
            .collect()
    }

    fn data(
        &self,
        definition: &Definition,
        series: Vec<(Labels, Value)>,
        now: u64,
    ) -> metric::Data {
        let attributes = |labels: &Labels| {
            labels
                .iter()
                .map(|(label, value)| key_value(label, value.as_str().into()))
                .collect::<Vec<_>>()
        };
        let cumulative = AggregationTemporality::Cumulative as i32;
        match definition.shape {
            Shape::Histogram(bounds) => metric::Data::Histogram(Histogram {
                aggregation_temporality: cumulative,
                data_points: series
                    .into_iter()
                    .filter_map(|(labels, value)| match value {
                        Value::Histogram { counts, sum, count } => Some(HistogramDataPoint {
                            attributes: attributes(&labels),
                            start_time_unix_nano: self.started,
                            time_unix_nano: now,
                            count,
                            sum: Some(sum),
                            bucket_counts: counts,
                            explicit_bounds: bounds
                                .iter()
                                .map(|bound| bound_seconds(*bound))
                                .collect(),
                            ..HistogramDataPoint::default()
                        }),
                        Value::Number(_) => None,
                    })
                    .collect(),
            }),
            Shape::Counter | Shape::Gauge => {
                let data_points = series
                    .into_iter()
                    .filter_map(|(labels, value)| match value {
                        Value::Number(number) => Some(NumberDataPoint {
                            attributes: attributes(&labels),
                            start_time_unix_nano: if definition.shape == Shape::Counter {
                                self.started
                            } else {
                                0
                            },
                            time_unix_nano: now,
                            value: Some(number_data_point::Value::AsDouble(number)),
                            ..NumberDataPoint::default()
                        }),
                        Value::Histogram { .. } => None,
                    })
                    .collect();
                if definition.shape == Shape::Counter {
                    metric::Data::Sum(Sum {
                        data_points,
                        aggregation_temporality: cumulative,
                        is_monotonic: true,
                    })
                } else {
                    metric::Data::Gauge(Gauge { data_points })
                }
            }
        }
    }
}

/// The upper bound of the bucket in which a share of all requests ended, in seconds; `None` above the last bound.
#[must_use]
pub fn quantile_bound(buckets: &[u64], share: f64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    let wanted = (total as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0;
    for (bound, count) in SEED.iter().zip(buckets) {
        seen += count;
        if seen >= wanted {
            return Some(bound_seconds(*bound));
        }
    }
    None
}

/// A bound of the table in seconds.
#[must_use]
pub fn bound_seconds(milliseconds: Millis) -> f64 {
    f64::from(milliseconds) / 1_000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn values_add_up_per_series() {
        let metrics = Metrics::new(1);
        metrics.add("shop_orders_total", &[("status", "PAID")], 1.0);
        metrics.add("shop_orders_total", &[("status", "PAID")], 2.0);
        metrics.add("shop_orders_total", &[("status", "FAILED")], 1.0);
        metrics.observe(
            "checkout_duration_seconds",
            &[("status", "completed")],
            0.005,
        );
        metrics.observe(
            "checkout_duration_seconds",
            &[("status", "completed")],
            11.0,
        );
        let families = metrics.families();
        let (_, orders) = families
            .iter()
            .find(|(definition, _)| definition.name == "shop_orders_total")
            .unwrap();
        assert!(
            matches!(orders[1], (_, Value::Number(number)) if number == 3.0),
            "{orders:?}"
        );
        let (_, checkouts) = families
            .iter()
            .find(|(definition, _)| definition.unit == "s")
            .unwrap();
        let Value::Histogram { counts, count, .. } = &checkouts[0].1 else {
            panic!("no histogram")
        };
        assert_eq!((counts[0], counts[counts.len() - 1], *count), (1, 1, 2));
    }

    #[test]
    fn the_summary_adds_up_and_finds_its_quantiles() {
        let metrics = Metrics::new(1);
        for (code, count) in [("200", 9.0), ("500", 1.0)] {
            metrics.add("testservice_requests_total", &[("code", code)], count);
        }
        for _ in 0..9 {
            metrics.observe("testservice_request_duration_seconds", &[], 0.02);
        }
        metrics.observe("testservice_request_duration_seconds", &[], 2.0);
        let red = metrics.red();
        assert_eq!(
            (&red["requests"], &red["errors"]),
            (&10.0.into(), &1.0.into())
        );
        let buckets: Vec<u64> = serde_json::from_value(red["buckets"].clone()).unwrap();
        assert_eq!(quantile_bound(&buckets, 0.5), Some(0.025));
        assert_eq!(quantile_bound(&buckets, 0.99), Some(2.5));
        assert_eq!(quantile_bound(&[], 0.5), None);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = DEFINITIONS
            .iter()
            .map(|definition| definition.name)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DEFINITIONS.len());
    }
}
