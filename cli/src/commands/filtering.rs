//! Flags that build a filter, shared by the commands that list signals. A flag and its term in the filter language are
//! the same thing.

use case::filter::{self, LogFilter, MetricFilter, SpanFilter};
use clap::Args;

use crate::error::CliError;

/// Flags for every list.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonFilterArgs {
    /// Only what this filter means: service:payment duration>500ms -status:ok attr.http.route:/api/*
    #[arg(long = "where", short = 'w', value_name = "FILTER")]
    wanted: Vec<String>,
    /// Leave out what this filter means.
    #[arg(long = "not", value_name = "FILTER")]
    unwanted: Vec<String>,
    /// Only this service; given more than once, any of them.
    #[arg(long, short = 's', value_name = "NAME")]
    service: Vec<String>,
    /// Only with this attribute, as KEY=VALUE (* stands for anything) or KEY.
    #[arg(long = "attr", short = 'a', value_name = "KEY=VALUE")]
    attributes: Vec<String>,
}

/// Flags for spans.
#[derive(Debug, Clone, Default, Args)]
pub struct SpanFilterArgs {
    #[command(flatten)]
    common: CommonFilterArgs,
    /// Only spans of this name (* stands for anything); given more than once, any of them.
    #[arg(long, visible_alias = "name", value_name = "NAME")]
    operation: Vec<String>,
    /// Only spans of this status.
    #[arg(long, value_name = "STATUS", value_parser = ["ok", "error", "unset"])]
    status: Option<String>,
    /// Only failed spans.
    #[arg(long, conflicts_with = "status")]
    errors: bool,
    /// Only spans of this kind.
    #[arg(long, value_name = "KIND", value_parser = ["server", "client", "internal", "producer", "consumer", "unspecified"])]
    kind: Option<String>,
    /// Only spans at least this long.
    #[arg(long, value_name = "DURATION")]
    min_duration: Option<String>,
    /// Only spans at most this long.
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<String>,
    /// Only calls to this address (host:port).
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Only spans of this trace.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
}

/// Flags for log records.
#[derive(Debug, Clone, Default, Args)]
pub struct LogFilterArgs {
    #[command(flatten)]
    common: CommonFilterArgs,
    /// Only records at least this severe.
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Only records of this trace.
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Only records of this span.
    #[arg(long, value_name = "ID")]
    span: Option<String>,
}

/// Flags for metric points.
#[derive(Debug, Clone, Default, Args)]
pub struct MetricFilterArgs {
    #[command(flatten)]
    common: CommonFilterArgs,
    /// Only metrics of this name (* stands for anything); given more than once, any of them.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
}

/// A value in which `*` keeps its meaning.
fn pattern(text: &str) -> String {
    filter::quote(text).replace("\\*", "*")
}

fn any_of(key: &str, values: &[String], quote: impl Fn(&str) -> String) -> Option<String> {
    let terms: Vec<String> = values
        .iter()
        .map(|value| format!("{key}:{}", quote(value)))
        .collect();
    (!terms.is_empty()).then(|| format!("({})", terms.join(" OR ")))
}

impl CommonFilterArgs {
    fn terms(&self) -> Vec<String> {
        let mut terms: Vec<String> = any_of("service", &self.service, filter::quote)
            .into_iter()
            .collect();
        terms.extend(
            self.attributes
                .iter()
                .map(|attribute| match attribute.split_once('=') {
                    Some((key, value)) => format!("attr.{key}:{}", pattern(value)),
                    None => format!("attr.{attribute}:*"),
                }),
        );
        terms
    }

    /// The terms of flags as one filter, with those written by hand. Each is read on its own, so that an error's column
    /// is a column of what was typed.
    fn build<F>(
        &self,
        flags: &[String],
        parse: impl Fn(&str) -> Result<F, filter::FilterError>,
        and: impl Fn(F, F) -> F,
        negate: impl Fn(F) -> F,
    ) -> Result<F, CliError> {
        let mut all = parse("")?;
        for term in flags {
            all = and(
                all,
                parse(term).map_err(|error| CliError::new(error.reason))?,
            );
        }
        for wanted in &self.wanted {
            all = and(all, parse(wanted)?);
        }
        for unwanted in &self.unwanted {
            all = and(all, negate(parse(unwanted)?));
        }
        Ok(all)
    }
}

impl SpanFilterArgs {
    pub fn filter(&self) -> Result<SpanFilter, CliError> {
        let mut terms = self.common.terms();
        terms.extend(any_of("name", &self.operation, pattern));
        terms.extend(
            self.status
                .as_ref()
                .map(|status| format!("status:{status}")),
        );
        terms.extend(self.errors.then(|| "status:error".to_owned()));
        terms.extend(self.kind.as_ref().map(|kind| format!("kind:{kind}")));
        terms.extend(
            self.min_duration
                .as_ref()
                .map(|least| format!("duration>={}", filter::quote(least))),
        );
        terms.extend(
            self.max_duration
                .as_ref()
                .map(|most| format!("duration<={}", filter::quote(most))),
        );
        terms.extend(
            self.trace
                .as_ref()
                .map(|trace| format!("trace:{}", pattern(trace))),
        );
        if let Some(address) = &self.to {
            let (host, port) = address.rsplit_once(':').ok_or_else(|| {
                CliError::new(format!("{address:?} is no address: host:port is expected"))
            })?;
            terms.push(format!("attr.server.address:{}", pattern(host)));
            terms.push(format!("attr.server.port:{}", pattern(port)));
        }
        self.common.build(
            &terms,
            SpanFilter::parse,
            SpanFilter::and,
            SpanFilter::negated,
        )
    }
}

impl LogFilterArgs {
    pub fn filter(&self) -> Result<LogFilter, CliError> {
        let mut terms = self.common.terms();
        terms.extend(
            self.severity
                .as_ref()
                .map(|least| format!("severity>={}", filter::quote(least))),
        );
        terms.extend(
            self.trace
                .as_ref()
                .map(|trace| format!("trace:{}", pattern(trace))),
        );
        terms.extend(
            self.span
                .as_ref()
                .map(|span| format!("span:{}", pattern(span))),
        );
        self.common
            .build(&terms, LogFilter::parse, LogFilter::and, LogFilter::negated)
    }
}

impl MetricFilterArgs {
    pub fn filter(&self) -> Result<MetricFilter, CliError> {
        let mut terms = self.common.terms();
        terms.extend(any_of("name", &self.name, pattern));
        self.common.build(
            &terms,
            MetricFilter::parse,
            MetricFilter::and,
            MetricFilter::negated,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use case::Nanos;
    use case::model::{Attributes, Origin, Resource, Span, StatusCode, Value};
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        spans: SpanFilterArgs,
    }

    fn matches(flags: &[&str]) -> bool {
        let flags = Flags::try_parse_from([&["x"], flags].concat()).expect("flags");
        let mut resource = Resource::default();
        resource
            .attributes
            .push("service.name", Value::Text("pay*ment".into()));
        let span = Span {
            origin: Origin {
                resource: resource.into(),
                ..Origin::default()
            },
            name: "Process \"Payment\"".into(),
            status: StatusCode::Error,
            end: Nanos(2_000_000),
            attributes: Attributes(vec![
                ("server.address".into(), Value::Text("127.0.0.1".into())),
                ("server.port".into(), Value::Int(9200)),
            ]),
            ..Span::default()
        };
        flags.spans.filter().expect("filter").matches(&span)
    }

    #[test]
    fn flags_mean_what_their_terms_mean() {
        for flags in [
            &[][..],
            &["--service", "pay*ment"],
            &["--service", "x", "--service", "pay*ment"],
            &["--operation", "Process*"],
            &["--operation", "Process \"Payment\""],
            &["--errors"],
            &[
                "--status",
                "error",
                "--min-duration",
                "2ms",
                "--max-duration",
                "2ms",
            ],
            &["--to", "127.0.0.1:9200"],
            &["--attr", "server.port=9200", "--attr", "server.address"],
            &["--where", "status:error", "--not", "status:ok"],
        ] {
            assert!(matches(flags), "{flags:?}");
        }
        for flags in [
            // A service's name is taken as it is: * is no wildcard there.
            &["--service", "pay*"][..],
            &["--status", "ok"],
            &["--min-duration", "3ms"],
            &["--to", "127.0.0.1:9201"],
            &["--attr", "missing"],
            &["--not", "status:error"],
        ] {
            assert!(!matches(flags), "{flags:?}");
        }
    }

    #[test]
    fn an_error_in_a_filter_keeps_its_column() {
        let flags = Flags::try_parse_from(["x", "--service", "a", "--where", "servcie:x"]).unwrap();
        assert_eq!(
            flags.spans.filter().unwrap_err().to_string(),
            "filter, column 1: spans have no key \"servcie\""
        );
    }
}
