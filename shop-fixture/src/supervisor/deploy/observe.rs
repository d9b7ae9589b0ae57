//! Owns counting what instances did, from their metrics pages, as any scraper could.

use std::sync::Arc;
use std::time::Duration;

use super::judge::Counted;
use crate::supervisor::Supervisor;
use crate::supervisor::process::Managed;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What these instances have counted since each of them began. One that does not answer has counted nothing.
pub(super) async fn count(supervisor: &Supervisor, instances: &[Arc<Managed>]) -> Counted {
    let mut sum = Counted::default();
    for managed in instances {
        let Some(ports) = managed.ports() else {
            continue;
        };
        let url = format!("http://127.0.0.1:{}/metrics", ports.admin);
        let answer = supervisor.client.get(url).timeout(TIMEOUT).send().await;
        if let Ok(answer) = answer
            && let Ok(page) = answer.text().await
        {
            sum.add(&read(&page));
        }
    }
    sum
}

/// Reads a page of the Prometheus text format, as far as it is about requests and deals.
fn read(page: &str) -> Counted {
    let mut counted = Counted::default();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let is_failed = || {
            label(labels, "code")
                .and_then(|code| code.parse::<u16>().ok())
                .is_none_or(|code| code >= 500)
        };
        match name {
            "testservice_requests_total" => {
                counted.requests += value;
                if is_failed() {
                    counted.errors += value;
                }
            }
            "testservice_request_duration_seconds_bucket" => {
                let bound = match label(labels, "le") {
                    Some("+Inf") | None => u64::MAX,
                    Some(text) => text
                        .parse::<f64>()
                        .map_or(u64::MAX, |seconds| (seconds * 1e6).round() as u64),
                };
                *counted.buckets.entry(bound).or_default() += value;
            }
            "shop_orders_total" | "shop_payments_total" => match label(labels, "status") {
                // Giving money back is neither a deal nor the end of one.
                Some("REFUNDED" | "VOIDED") => {}
                Some("FAILED" | "CANCELLED") => counted.deals += value,
                _ => {
                    counted.deals += value;
                    counted.good_deals += value;
                }
            },
            "testservice_upstream_calls_total" => {
                counted.calls += value;
                if is_failed() {
                    counted.failed_calls += value;
                }
            }
            _ => {}
        }
    }
    counted
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.trim_end_matches('}').split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_added_up() {
        let page = "\
# TYPE testservice_requests_total counter
testservice_requests_total{service=\"payment\",method=\"m\",code=\"200\",status=\"200\"} 7
testservice_requests_total{service=\"payment\",method=\"m\",code=\"503\",status=\"503\"} 2
testservice_request_duration_seconds_bucket{service=\"payment\",le=\"0.1\"} 5
testservice_request_duration_seconds_bucket{service=\"payment\",le=\"+Inf\"} 9
shop_payments_total{status=\"COMPLETED\"} 6
shop_payments_total{status=\"FAILED\"} 1
shop_payments_total{status=\"REFUNDED\"} 3
testservice_upstream_calls_total{service=\"payment\",upstream=\"message-bus\",code=\"202\",status=\"202\"} 4
";
        let counted = read(page);
        assert_eq!((counted.requests, counted.errors), (9.0, 2.0));
        assert_eq!(counted.buckets.get(&100_000), Some(&5.0));
        assert_eq!((counted.deals, counted.good_deals), (7.0, 6.0));
        assert_eq!((counted.calls, counted.failed_calls), (4.0, 0.0));
    }
}
