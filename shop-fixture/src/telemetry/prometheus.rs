//! Owns the Prometheus text page.

use std::fmt::Write;

use super::metrics::{Definition, Labels, Metrics, Shape, Value, bound_seconds};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every series in the text exposition format. Dotted names become underscored ones with their unit.
#[must_use]
pub fn page(metrics: &Metrics) -> String {
    let mut page = String::new();
    for (definition, series) in metrics.families() {
        let name = exposed_name(definition);
        let kind = match definition.shape {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram(_) => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "# HELP {name} {}\n# TYPE {name} {kind}",
            definition.help
        );
        for (labels, value) in series {
            write_series(&mut page, &name, definition, &labels, &value);
        }
    }
    page
}

fn write_series(
    page: &mut String,
    name: &str,
    definition: &Definition,
    labels: &Labels,
    value: &Value,
) {
    match (value, definition.shape) {
        (Value::Number(number), _) => {
            let _ = writeln!(page, "{name}{} {number}", braces(labels, None));
        }
        (Value::Histogram { counts, sum, count }, Shape::Histogram(bounds)) => {
            let mut below = 0;
            for (bound, bucket) in bounds.iter().zip(counts) {
                below += bucket;
                let limit = bound_seconds(*bound).to_string();
                let _ = writeln!(
                    page,
                    "{name}_bucket{} {below}",
                    braces(labels, Some(&limit))
                );
            }
            let _ = writeln!(
                page,
                "{name}_bucket{} {count}",
                braces(labels, Some("+Inf"))
            );
            let _ = writeln!(page, "{name}_sum{} {sum}", braces(labels, None));
            let _ = writeln!(page, "{name}_count{} {count}", braces(labels, None));
        }
        (Value::Histogram { .. }, _) => {}
    }
}

fn exposed_name(definition: &Definition) -> String {
    // A gauge must not end like the count of a histogram, and these have names that everybody knows.
    let known = match definition.name {
        "process.thread.count" => "process.threads",
        "process.unix.file_descriptor.count" => "process.open_fds",
        other => other,
    };
    let mut name = known.replace('.', "_");
    let unit = match definition.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    if !name.ends_with(unit) {
        name.push_str(unit);
    }
    if definition.shape == Shape::Counter && !name.ends_with("_total") {
        name.push_str("_total");
    }
    name
}

fn braces(labels: &Labels, limit: Option<&str>) -> String {
    let mut parts: Vec<String> = labels
        .iter()
        .map(|(label, value)| {
            let escaped = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{}=\"{escaped}\"", label.replace('.', "_"))
        })
        .collect();
    if let Some(limit) = limit {
        parts.push(format!("le=\"{limit}\""));
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_help_type_and_cumulative_buckets() {
        let metrics = Metrics::new(0);
        metrics.observe("rpc.client.call.duration", &[("rpc.method", "a\"b")], 0.03);
        metrics.add("shop_orders_total", &[("status", "PAID")], 2.0);
        let page = page(&metrics);
        for line in [
            "# TYPE rpc_client_call_duration_seconds histogram",
            "rpc_client_call_duration_seconds_bucket{rpc_method=\"a\\\"b\",le=\"0.025\"} 0",
            "rpc_client_call_duration_seconds_bucket{rpc_method=\"a\\\"b\",le=\"0.05\"} 1",
            "rpc_client_call_duration_seconds_bucket{rpc_method=\"a\\\"b\",le=\"+Inf\"} 1",
            "shop_orders_total{status=\"PAID\"} 2",
        ] {
            assert!(
                page.lines().any(|known| known == line),
                "{line} not in\n{page}"
            );
        }
    }
}
