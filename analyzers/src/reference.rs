//! What a piece of evidence points at: something that opens in a view and that a command shows.

use case::{Nanos, SpanId, TraceId, Window};
use serde::Serialize;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Reference {
    Trace {
        trace_id: TraceId,
    },
    Span {
        trace_id: TraceId,
        span_id: SpanId,
    },
    /// Traces with a span that all of this is true of.
    Traces {
        window: Window,
        service: Option<String>,
        /// The address or instance that was called.
        to: Option<String>,
        errors: bool,
    },
    /// Logs of a service, of which a filter is true.
    Logs {
        window: Window,
        service: Option<String>,
        filter: Option<String>,
    },
    TraceLogs {
        trace_id: TraceId,
    },
    Metric {
        name: String,
        service: Option<String>,
    },
    RegistryEvent {
        seq: u64,
    },
    Instance {
        instance: String,
    },
    Saga {
        saga_id: String,
    },
    Order {
        order_id: String,
    },
}

impl Reference {
    /// The command that shows it.
    pub fn command(&self) -> String {
        let within = |window: &Window| format!("--window {}..{}", window.from, window.until);
        let option = |flag: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| {
                format!(" {flag} {}", shell_word(value))
            })
        };
        match self {
            // A span is found by its id in the trace's waterfall; the workbench goes to it.
            Reference::Trace { trace_id } | Reference::Span { trace_id, .. } => {
                format!("casefile trace {trace_id}")
            }
            Reference::Traces {
                window,
                service,
                to,
                errors,
            } => format!(
                "casefile traces {}{}{}{}",
                within(window),
                option("--to", to),
                if *errors { " --errors" } else { "" },
                option("--service", service),
            ),
            Reference::Logs {
                window,
                service,
                filter,
            } => format!(
                "casefile logs {}{}{}",
                within(window),
                option("--service", service),
                option("--where", filter)
            ),
            Reference::TraceLogs { trace_id } => format!("casefile logs --trace {trace_id}"),
            Reference::Metric { name, service } => format!(
                "casefile metrics{}{}",
                option("--name", &Some(name.clone())),
                option("--service", service)
            ),
            Reference::RegistryEvent { seq } => format!("casefile registry --event {seq}"),
            Reference::Instance { instance } => {
                format!("casefile registry --instance {}", shell_word(instance))
            }
            Reference::Saga { saga_id } => format!("casefile sagas {}", shell_word(saga_id)),
            Reference::Order { order_id } => format!("casefile orders {}", shell_word(order_id)),
        }
    }

    /// Everything from one moment to another, the last one included.
    pub fn span_of_time(first: Nanos, last: Nanos) -> Window {
        Window {
            from: first,
            until: last.saturating_add(1),
        }
    }
}

/// `text` as one word of a shell: commands are copied by people, names come from whoever can reach a collector.
pub fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:/@%+-,=".contains(&b);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_not_break_out_of_a_command() {
        assert_eq!(shell_word("127.0.0.1:9200"), "127.0.0.1:9200");
        assert_eq!(shell_word("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(shell_word("it's $(x)"), r"'it'\''s $(x)'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn a_reference_is_a_command() {
        let window = Reference::span_of_time(Nanos(0), Nanos(999_999_999));
        let traces = Reference::Traces {
            window,
            service: Some("order management".into()),
            to: Some("127.0.0.1:9201".into()),
            errors: true,
        };
        assert_eq!(
            traces.command(),
            "casefile traces --window 1970-01-01T00:00:00.000000000Z..1970-01-01T00:00:01.000000000Z \
             --to 127.0.0.1:9201 --errors --service 'order management'"
        );
    }
}
