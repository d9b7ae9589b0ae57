//! An OTLP receiver that keeps what it is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

#[derive(Clone, Default)]
pub struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    logs: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    /// Takes everything and keeps nothing, for runs that only want somebody to export to.
    forgets: bool,
}

/// A span with the resource attributes of its process.
#[derive(Debug, Clone)]
pub struct Seen {
    pub service: String,
    pub resource: Vec<KeyValue>,
    pub span: Span,
}

impl Collector {
    /// Listens on a free port of the loopback.
    pub async fn start() -> (Self, String) {
        Self::default().listen().await
    }

    pub async fn sink() -> (Self, String) {
        let collector = Self {
            forgets: true,
            ..Self::default()
        };
        collector.listen().await
    }

    async fn listen(self) -> (Self, String) {
        let collector = self;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(LogsServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()))
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
        tokio::spawn(server);
        (collector, url)
    }

    /// The traces in which a service has ended a span of a kind.
    pub fn traces_with(&self, service: &str, kind: i32) -> HashSet<Vec<u8>> {
        let mut traces = HashSet::new();
        for request in self.traces.lock().unwrap().iter() {
            for resource in &request.resource_spans {
                let attributes = &resource.resource.as_ref().unwrap().attributes;
                if text(attributes, "service.name") != service {
                    continue;
                }
                let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
                traces.extend(
                    spans
                        .filter(|span| span.kind == kind)
                        .map(|span| span.trace_id.clone()),
                );
            }
        }
        traces
    }

    pub fn spans(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for request in self.traces.lock().unwrap().iter() {
            for resource in &request.resource_spans {
                let attributes = resource.resource.as_ref().unwrap().attributes.clone();
                for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
                    seen.push(Seen {
                        service: text(&attributes, "service.name"),
                        resource: attributes.clone(),
                        span: span.clone(),
                    });
                }
            }
        }
        seen
    }

    pub fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        self.logs.lock().unwrap().clone()
    }

    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.metrics.lock().unwrap().clone()
    }

    /// Everything that was received, as one text to search.
    pub fn everything(&self) -> String {
        format!(
            "{:?}{:?}{:?}",
            self.traces.lock().unwrap(),
            self.logs.lock().unwrap(),
            self.metrics.lock().unwrap()
        )
    }
}

pub fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found
        .and_then(|attribute| attribute.value.as_ref())
        .and_then(|value| value.value.as_ref())
    {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if !self.forgets {
            self.traces.lock().unwrap().push(request.into_inner());
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        if !self.forgets {
            self.logs.lock().unwrap().push(request.into_inner());
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        if !self.forgets {
            self.metrics.lock().unwrap().push(request.into_inner());
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
