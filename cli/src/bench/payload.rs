//! The traffic that benchmarks run on: requests of 512 spans, about 525 bytes and 12 attributes a span, from ten
//! services, in traces of some twenty spans. The same seed gives the same bytes.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// Spans in a request.
pub const SPANS_PER_REQUEST: usize = 512;

const SERVICES: [&str; 10] = [
    "api-gateway",
    "product-catalog",
    "search",
    "inventory",
    "reviews",
    "user-management",
    "shopping-cart",
    "checkout",
    "order-management",
    "payment",
];
const ROUTES: [&str; 12] = [
    "/api/v1/products",
    "/api/v1/products/{id}",
    "/api/v1/search",
    "/api/v1/cart",
    "/api/v1/cart/items/{id}",
    "/api/v1/checkout",
    "/api/v1/orders",
    "/api/v1/orders/{id}",
    "/api/v1/orders/{id}/status",
    "/api/v1/account/profile",
    "/api/v1/reviews",
    "/api/v1/users/authenticate",
];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0.0.0 Safari/537.36",
    "okhttp/5.1.0",
    "grpc-rust-tonic/0.14.9",
    "python-requests/2.32.5",
];
/// 2026-09-21T13:46:40Z.
const START: u64 = 1_790_000_000_000_000_000;

/// Makes requests, each once.
#[derive(Debug, Clone)]
pub struct Payload {
    random: u64,
    trace: Vec<u8>,
    /// Ids of the trace's spans so far, to pick parents from.
    family: Vec<Vec<u8>>,
    left: usize,
    clock: u64,
}

impl Payload {
    pub fn new(seed: u64) -> Payload {
        Payload {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            trace: Vec::new(),
            family: Vec::new(),
            left: 0,
            clock: START,
        }
    }

    /// When the next trace may begin.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn id(&mut self, bytes: usize) -> Vec<u8> {
        let mut id = Vec::with_capacity(bytes);
        while id.len() < bytes {
            id.extend_from_slice(&(self.next() | 1).to_be_bytes());
        }
        id
    }

    /// One request as a client would send it.
    pub fn request(&mut self) -> ExportTraceServiceRequest {
        let mut groups: Vec<Vec<Span>> = vec![Vec::new(); SERVICES.len()];
        for _ in 0..SPANS_PER_REQUEST {
            let service = self.below(SERVICES.len() as u64) as usize;
            let span = self.span(service);
            groups[service].push(span);
        }
        ExportTraceServiceRequest {
            resource_spans: groups
                .into_iter()
                .enumerate()
                .filter(|(_, spans)| !spans.is_empty())
                .map(|(service, spans)| resource_spans(service, spans))
                .collect(),
        }
    }

    fn span(&mut self, service: usize) -> Span {
        if self.left == 0 {
            self.trace = self.id(16);
            self.family.clear();
            self.left = 12 + self.below(20) as usize;
            self.clock += self.below(40_000_000);
        }
        self.left -= 1;
        let span_id = self.id(8);
        let parent_span_id = match self.family.len() {
            0 => Vec::new(),
            known => {
                let from = known.saturating_sub(4) as u64;
                let at = from + self.below(known as u64 - from);
                self.family[at as usize].clone()
            }
        };
        self.family.push(span_id.clone());
        let route = self.of(&ROUTES);
        let method = self.of(&METHODS);
        let failed = self.below(50) == 0;
        let status = if failed {
            503
        } else {
            self.of(&[200i64, 200, 200, 201, 204, 404])
        };
        let start = self.clock + self.below(200_000_000);
        let order = self.below(1 << 26);
        let path = format!("{}/ord_{order:08}", route.trim_end_matches("/{id}"));
        let attributes = vec![
            text("http.request.method", method),
            text("http.route", route),
            int("http.response.status_code", status),
            text("url.path", &path),
            text("url.scheme", "http"),
            text(
                "server.address",
                &format!("10.4.{}.{}", service, self.below(4)),
            ),
            int("server.port", 8_100 + service as i64 * 10),
            text(
                "network.peer.address",
                &format!("10.9.{}.{}", service, self.below(40)),
            ),
            int("network.peer.port", 32_768 + self.below(4_096) as i64),
            text("user_agent.original", self.of(&AGENTS)),
            text("enduser.id", &format!("usr_{:06}", self.below(5_000))),
            int("thread.id", self.below(16) as i64),
        ];
        let events = if failed {
            vec![Event {
                time_unix_nano: start + self.below(90_000_000),
                name: "exception".to_owned(),
                attributes: vec![
                    text("exception.type", "UpstreamUnavailable"),
                    text(
                        "exception.message",
                        "the upstream answered 503 after three attempts",
                    ),
                ],
                dropped_attributes_count: 0,
            }]
        } else {
            Vec::new()
        };
        Span {
            trace_id: self.trace.clone(),
            span_id,
            parent_span_id,
            flags: 0x101,
            name: format!("{method} {route}"),
            kind: self.of(&[2, 3, 1]),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 200_000 + self.below(1 << (10 + self.random % 17)),
            attributes,
            events,
            status: Some(Status {
                message: String::new(),
                code: if failed { 2 } else { 0 },
            }),
            ..Span::default()
        }
    }
}

fn resource_spans(service: usize, spans: Vec<Span>) -> ResourceSpans {
    let name = SERVICES[service];
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                text("service.name", name),
                text("service.namespace", "shop"),
                text("service.version", "1.0.0"),
                text(
                    "service.instance.id",
                    &format!("{name}-host-{}-1", 8_100 + service * 10),
                ),
                text("deployment.environment.name", "bench"),
                text("telemetry.sdk.language", "rust"),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "casefile.bench".to_owned(),
                version: "1".to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: "https://opentelemetry.io/schemas/1.44.0".to_owned(),
        }],
        schema_url: String::new(),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn int(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
