//! Owns the way out: a task that gathers spans and logs for a second and metrics for five, and sends them by OTLP/gRPC.
//! What cannot be sent is dropped and counted; nothing is kept for a second try, so a dead collector costs no memory.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord as ProtoLog, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as ProtoSpan, Status as ProtoStatus, span,
};
use tokio::sync::{mpsc, oneshot};
use tonic::transport::{Channel, Endpoint};

use super::attributes::key_value;
use super::{
    Attr, Identity, Item, Kind, Level, LogRecord, SCHEMA_URL, SCOPE, SpanData, Status, Telemetry,
};
use crate::error::ShopError;
use crate::rng::Rng;

const BATCH_DELAY: Duration = Duration::from_secs(1);
const METRIC_INTERVAL: Duration = Duration::from_secs(5);
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// A batch of this size goes out before its delay is over.
const FULL_BATCH: usize = 512;

pub(super) fn start(
    telemetry: Telemetry,
    endpoint: Option<&str>,
    items: mpsc::Receiver<Item>,
) -> Result<(), ShopError> {
    let channel = match endpoint {
        None => None,
        Some(endpoint) => Some(
            Endpoint::from_shared(endpoint.to_owned())
                .map_err(|error| {
                    ShopError::Internal(format!("{endpoint} is no OTLP endpoint: {error}"))
                })?
                .connect_timeout(SEND_TIMEOUT)
                .timeout(SEND_TIMEOUT)
                .connect_lazy(),
        ),
    };
    let resource = resource(telemetry.identity());
    tokio::spawn(
        Exporter {
            telemetry,
            channel,
            resource,
            spans: Vec::new(),
            logs: Vec::new(),
            bare_logs: Vec::new(),
        }
        .run(items),
    );
    Ok(())
}

struct Exporter {
    telemetry: Telemetry,
    channel: Option<Channel>,
    resource: Resource,
    spans: Vec<ProtoSpan>,
    logs: Vec<ProtoLog>,
    /// Those that do not say which service they are of.
    bare_logs: Vec<ProtoLog>,
}

impl Exporter {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        let mut batches = tokio::time::interval(BATCH_DELAY);
        batches.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut metrics = tokio::time::interval(METRIC_INTERVAL);
        metrics.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                item = items.recv() => match item {
                    Some(item) => {
                        if let Some(done) = self.take(item) {
                            // Items behind the flush came later and may wait.
                            self.send_batches().await;
                            self.send_metrics().await;
                            let _ = done.send(());
                        } else if self.spans.len() >= FULL_BATCH || self.logs.len() >= FULL_BATCH || self.bare_logs.len() >= FULL_BATCH {
                            self.send_batches().await;
                        }
                    }
                    None => return,
                },
                _ = batches.tick() => self.send_batches().await,
                _ = metrics.tick() => self.send_metrics().await,
            }
        }
    }

    fn take(&mut self, item: Item) -> Option<oneshot::Sender<()>> {
        match item {
            Item::Span(span) if self.channel.is_some() => {
                let queue = self.telemetry.sabotaged().queue;
                if queue.is_some_and(|size| self.spans.len() >= size) {
                    self.telemetry.count_dropped(1, 0);
                } else {
                    self.spans.push(span_to_proto(*span));
                }
            }
            Item::Log(log) if self.channel.is_some() => {
                let bare = log.bare;
                let log = log_to_proto(*log);
                match bare {
                    true => self.bare_logs.push(log),
                    false => self.logs.push(log),
                }
            }
            Item::Span(_) | Item::Log(_) => {}
            Item::Flush(done) => return Some(done),
        }
        None
    }

    async fn send_batches(&mut self) {
        let Some(channel) = self.channel.clone() else {
            return;
        };
        let sabotage = self.telemetry.sabotaged();
        if let Some(delay) = sabotage.delay {
            tokio::time::sleep(delay).await;
        }
        if sabotage.drop > 0.0 && Rng::new(crate::ids::random_u64()).chance(sabotage.drop) {
            self.spans.clear();
            self.logs.clear();
            return;
        }
        let scope = Some(scope());
        if !self.spans.is_empty() {
            let spans = std::mem::take(&mut self.spans);
            let count = spans.len() as u64;
            let request = ExportTraceServiceRequest {
                resource_spans: vec![ResourceSpans {
                    resource: Some(self.resource.clone()),
                    scope_spans: vec![ScopeSpans {
                        scope: scope.clone(),
                        spans,
                        schema_url: SCHEMA_URL.to_owned(),
                    }],
                    schema_url: SCHEMA_URL.to_owned(),
                }],
            };
            match TraceServiceClient::new(channel.clone())
                .export(request)
                .await
            {
                Ok(_) => self.telemetry.count_exported(count, 0),
                Err(_) => self.telemetry.count_dropped(count, 0),
            }
        }
        let logs = std::mem::take(&mut self.logs);
        self.send_logs(&channel, self.resource.clone(), logs).await;
        let bare = std::mem::take(&mut self.bare_logs);
        let mut nobody = self.resource.clone();
        nobody
            .attributes
            .retain(|attribute| attribute.key != "service.name");
        self.send_logs(&channel, nobody, bare).await;
    }

    async fn send_logs(&self, channel: &Channel, resource: Resource, log_records: Vec<ProtoLog>) {
        if log_records.is_empty() {
            return;
        }
        let count = log_records.len() as u64;
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(resource),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records,
                    schema_url: SCHEMA_URL.to_owned(),
                }],
                schema_url: SCHEMA_URL.to_owned(),
            }],
        };
        match LogsServiceClient::new(channel.clone())
            .export(request)
            .await
        {
            Ok(_) => self.telemetry.count_exported(0, count),
            Err(_) => self.telemetry.count_dropped(0, count),
        }
    }

    async fn send_metrics(&mut self) {
        let Some(channel) = self.channel.clone() else {
            return;
        };
        self.telemetry.settle_metrics();
        let metrics = self.telemetry.metrics().to_proto(self.telemetry.now());
        if metrics.is_empty() {
            return;
        }
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    schema_url: SCHEMA_URL.to_owned(),
                }],
                schema_url: SCHEMA_URL.to_owned(),
            }],
        };
        // Cumulative values: the next export carries what this one lost.
        let _ = MetricsServiceClient::new(channel).export(request).await;
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn resource(identity: &Identity) -> Resource {
    let attributes: Vec<KeyValue> = [
        ("service.name", Attr::from(&identity.service)),
        ("service.namespace", Attr::from(&identity.namespace)),
        ("service.criticality", Attr::from(&identity.criticality)),
        ("service.version", Attr::from(&identity.version)),
        ("service.instance.id", Attr::from(&identity.instance_id)),
        ("deployment.environment.name", Attr::from("shop-fixture")),
        ("host.name", Attr::from(&identity.host)),
        ("process.pid", Attr::from(std::process::id())),
        ("telemetry.sdk.name", Attr::from("shop-fixture")),
        ("telemetry.sdk.language", Attr::from("rust")),
        (
            "telemetry.sdk.version",
            Attr::from(env!("CARGO_PKG_VERSION")),
        ),
        ("shop.run.id", Attr::from(&identity.run_id)),
        ("shop.track", Attr::from(&identity.track)),
        ("shop.time_scale", Attr::from(identity.time_scale)),
    ]
    .into_iter()
    .map(|(key, value)| key_value(key, value))
    .collect();
    Resource {
        attributes,
        ..Resource::default()
    }
}

fn span_to_proto(span: SpanData) -> ProtoSpan {
    let kind = match span.kind {
        Kind::Internal => span::SpanKind::Internal,
        Kind::Server => span::SpanKind::Server,
        Kind::Client => span::SpanKind::Client,
        Kind::Producer => span::SpanKind::Producer,
        Kind::Consumer => span::SpanKind::Consumer,
    };
    ProtoSpan {
        trace_id: span.context.trace_id.to_vec(),
        span_id: span.context.span_id.to_vec(),
        trace_state: span.context.state.to_header(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: u32::from(span.context.flags),
        name: span.name,
        kind: kind as i32,
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: span.attributes.to_proto(),
        links: span
            .links
            .into_iter()
            .map(|link| span::Link {
                trace_id: link.context.trace_id.to_vec(),
                span_id: link.context.span_id.to_vec(),
                trace_state: link.context.state.to_header(),
                attributes: link.attributes.to_proto(),
                flags: u32::from(link.context.flags),
                ..span::Link::default()
            })
            .collect(),
        status: match span.status {
            Status::Unset => None,
            Status::Error(message) => Some(ProtoStatus { message, code: 2 }),
        },
        ..ProtoSpan::default()
    }
}

fn log_to_proto(log: LogRecord) -> ProtoLog {
    let severity = match log.level {
        _ if log.bare => 0,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Warn => 13,
        Level::Error => 17,
    };
    let (trace_id, span_id, flags) = match &log.trace {
        Some(trace) => (
            trace.trace_id.to_vec(),
            trace.span_id.to_vec(),
            u32::from(trace.flags),
        ),
        None => (Vec::new(), Vec::new(), 0),
    };
    ProtoLog {
        time_unix_nano: log.time,
        observed_time_unix_nano: log.time,
        severity_number: severity,
        severity_text: match log.bare {
            true => String::new(),
            false => log.level.as_str().to_owned(),
        },
        body: Some(AnyValue {
            value: Some(any_value::Value::StringValue(log.message.to_string())),
        }),
        attributes: log
            .attributes
            .iter()
            .map(|(key, value)| key_value(log.field(key), value.clone()))
            .collect(),
        trace_id,
        span_id,
        flags,
        event_name: log.event.to_owned(),
        ..ProtoLog::default()
    }
}
