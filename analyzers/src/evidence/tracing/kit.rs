//! For tests of the rules about traces and logs: calls with both their sides in a line each.

use case::model::{Span, Value};

use crate::testing::{SpanOf, span};

/// A call from one service to another.
#[derive(Clone)]
pub(crate) struct Call {
    /// Ids are made of it; no two calls of a test may have the same.
    pub(crate) number: u64,
    pub(crate) seconds: f64,
    pub(crate) caller: &'static str,
    pub(crate) callee: &'static str,
    pub(crate) name: &'static str,
    pub(crate) grpc: bool,
    /// Instance of the caller, of the callee.
    pub(crate) instances: (u32, u32),
    pub(crate) lasting: f64,
}

/// Every half second one, over gRPC, 100 ms each.
pub(crate) fn call(number: u64, caller: &'static str, callee: &'static str) -> Call {
    Call {
        number,
        seconds: 10.0 + number as f64 * 0.5,
        caller,
        callee,
        name: "pkg.Service/Do",
        grpc: true,
        instances: (1, 1),
        lasting: 0.1,
    }
}

/// So many of them.
pub(crate) fn calls(
    numbers: std::ops::Range<u64>,
    caller: &'static str,
    callee: &'static str,
) -> Vec<Call> {
    numbers.map(|number| call(number, caller, callee)).collect()
}

impl Call {
    pub(crate) fn http(mut self, name: &'static str) -> Call {
        self.name = name;
        self.grpc = false;
        self
    }

    fn address(&self) -> String {
        let letters: u32 = self.callee.bytes().map(u32::from).sum();
        format!(
            "127.0.0.1:{}",
            9_000 + letters % 500 + self.instances.1 * 1_000
        )
    }

    pub(crate) fn trace(&self) -> u64 {
        1_000_000 + self.number
    }

    pub(crate) fn client_id(&self) -> u64 {
        self.number * 100 + 2
    }

    pub(crate) fn server_id(&self) -> u64 {
        self.number * 100 + 3
    }

    fn on(&self, service: &str, instance: u32, name: &str, seconds: f64) -> SpanOf {
        let span = span(service, &format!("{service}-{instance}"), name, seconds);
        match self.grpc {
            true => span.text("rpc.system.name", "grpc"),
            false => span.text("http.request.method", "POST"),
        }
    }

    /// The caller's own request, from which the call is made.
    pub(crate) fn request(&self) -> SpanOf {
        self.on(
            self.caller,
            self.instances.0,
            "request",
            self.seconds - 0.01,
        )
        .server()
        .ids(self.trace(), self.number * 100 + 1, 0)
        .lasting(self.lasting + 0.02)
    }

    pub(crate) fn client(&self) -> SpanOf {
        self.on(self.caller, self.instances.0, self.name, self.seconds)
            .client()
            .to(&self.address())
            .ids(self.trace(), self.client_id(), self.number * 100 + 1)
            .lasting(self.lasting)
    }

    pub(crate) fn server(&self) -> SpanOf {
        self.on(
            self.callee,
            self.instances.1,
            self.name,
            self.seconds + 0.01,
        )
        .server()
        .to(&self.address())
        .ids(self.trace(), self.server_id(), self.client_id())
        .lasting(self.lasting - 0.02)
    }

    /// A statement that the callee runs.
    pub(crate) fn inner(&self) -> SpanOf {
        let name = "SELECT things";
        span(
            self.callee,
            &format!("{}-{}", self.callee, self.instances.1),
            name,
            self.seconds + 0.02,
        )
        .client()
        .text("db.system.name", "sqlite")
        .ids(self.trace(), self.number * 100 + 4, self.server_id())
        .lasting(0.01)
    }

    /// As it should be.
    pub(crate) fn joined(&self) -> Vec<Span> {
        [self.request(), self.client(), self.server(), self.inner()]
            .map(Span::from)
            .to_vec()
    }

    /// The callee's part in a trace of its own.
    pub(crate) fn torn(&self) -> Vec<Span> {
        let other = self.trace() + 5_000_000;
        [
            self.request(),
            self.client(),
            self.server().ids(other, self.server_id(), 0),
            self.inner()
                .ids(other, self.number * 100 + 4, self.server_id()),
        ]
        .map(Span::from)
        .to_vec()
    }
}

/// All of them as they should be.
pub(crate) fn joined(calls: &[Call]) -> Vec<Span> {
    calls.iter().flat_map(Call::joined).collect()
}

pub(crate) fn torn(calls: &[Call]) -> Vec<Span> {
    calls.iter().flat_map(Call::torn).collect()
}

/// A span with another value under a key.
pub(crate) fn with(mut span: Span, key: &str, value: &str) -> Span {
    span.attributes.push(key, Value::Text(value.to_owned()));
    span
}
