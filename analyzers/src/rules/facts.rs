//! What several rules of registration, resolution and health ask of the evidence.

use case::Nanos;
use case::signal::ProbeResult;

use crate::evidence::instances::Activity;
use crate::evidence::roster::Entry;
use crate::evidence::serving::Served;
use crate::evidence::{Evidence, Who};

/// When a sender was first and last heard. Of metrics only those that tell of the process itself count, where there are
/// any: a scraper's own word about a page that it could not fetch comes under the name of the dead.
pub(super) fn heard_of(evidence: &Evidence, activity: &Activity) -> (Nanos, Nanos) {
    let mut own: Option<(Nanos, Nanos)> = None;
    for ((who, ..), line) in &evidence.vitals.lines {
        if let (true, Some((first, _)), Some((last, _))) =
            (*who == activity.who, line.first(), line.last())
        {
            let (from, until) = own.unwrap_or((*first, *last));
            own = Some((from.min(*first), until.max(*last)));
        }
    }
    let Some((mut from, mut until)) = own else {
        return heard(activity);
    };
    for heard in [activity.spans, activity.logs] {
        if heard.number > 0 {
            from = from.min(heard.first);
            until = until.max(heard.last);
        }
    }
    (from, until)
}

/// When a sender was first and last heard, by whatever signal.
pub(super) fn heard(activity: &Activity) -> (Nanos, Nanos) {
    let kinds = [activity.spans, activity.logs, activity.metrics];
    let heard = kinds.iter().filter(|heard| heard.number > 0);
    (
        heard
            .clone()
            .map(|heard| heard.first)
            .min()
            .unwrap_or_default(),
        heard.map(|heard| heard.last).max().unwrap_or_default(),
    )
}

/// The sender that an entry of the registry stands for.
pub(super) fn sender<'a>(evidence: &'a Evidence, entry: &Entry) -> Option<&'a Activity> {
    evidence
        .instances
        .all
        .iter()
        .filter(|activity| *activity.who.instance == *entry.id)
        // What a scraper fetched stands under the name in the registry, which may be the wrong one.
        .max_by_key(|activity| activity.spans.number + activity.logs.number)
}

/// Instances of a service that named themselves, and when they were heard.
pub(super) fn running<'a>(
    evidence: &'a Evidence,
    service: &'a str,
) -> impl Iterator<Item = (&'a Who, Nanos, Nanos)> {
    evidence
        .instances
        .all
        .iter()
        .filter(move |row| *row.who.service == *service && !row.who.instance.is_empty())
        .map(|row| {
            let (first, last) = heard(row);
            (&row.who, first, last)
        })
}

/// What a detector's probes of one check of an instance found, by time.
pub(super) fn probes<'a>(
    evidence: &'a Evidence,
    id: &'a str,
    check: &'a str,
) -> impl Iterator<Item = &'a ProbeResult> {
    evidence
        .basis
        .probes
        .iter()
        .filter(move |probe| probe.check == check && probe.instance.as_deref() == Some(id))
}

/// The failing checks of a health page, with what they say.
pub(super) fn failing_checks(probe: &ProbeResult) -> Vec<(String, String)> {
    let checks = probe
        .raw
        .get("body")
        .and_then(|body| body.get("checks"))
        .and_then(serde_json::Value::as_array);
    checks
        .into_iter()
        .flatten()
        .filter(|check| {
            let status = check.get("status").and_then(serde_json::Value::as_str);
            !matches!(status, Some("pass" | "ok" | "up" | "healthy"))
        })
        .take(20)
        .map(|check| {
            let text = |key: &str| {
                let text = check
                    .get(key)
                    .and_then(serde_json::Value::as_str)
                    .unwrap_or("");
                crate::names::cut(text, 200).to_owned()
            };
            (text("name"), text("error"))
        })
        .collect()
}

/// The names of all checks that a health page lists.
pub(super) fn check_names(probe: &ProbeResult) -> Option<Vec<&str>> {
    let checks = probe.raw.get("body")?.get("checks")?.as_array()?;
    Some(
        checks
            .iter()
            .filter_map(|check| check.get("name")?.as_str())
            .collect(),
    )
}

/// How many of some requests failed, and of how many.
pub(super) fn failures(served: &[Served]) -> (usize, usize) {
    (
        served.iter().filter(|served| served.failed).count(),
        served.len(),
    )
}

/// Times in one piece: "3 times", "once".
pub(super) fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        number => format!("{number} times"),
    }
}

/// "1 call", "3 calls".
pub(super) fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number if one.ends_with('s') => format!("{number} {one}es"),
        number => format!("{number} {one}s"),
    }
}

/// Nanoseconds between two moments, none if they come the other way round.
pub(super) fn between(from: Nanos, until: Nanos) -> u64 {
    until.0.saturating_sub(from.0)
}

/// Lower case, without what people add to a service's name: the two of a pair that was meant to be one come out alike.
pub(super) fn plain_name(name: &str) -> String {
    const AFFIXES: &[&str] = &[
        "service",
        "svc",
        "server",
        "app",
        "api",
        "prod",
        "production",
        "staging",
        "stage",
        "dev",
        "test",
    ];
    let lower = name.to_lowercase().replace(['_', '.', ' '], "-");
    let parts: Vec<&str> = lower
        .split('-')
        .filter(|part| !part.is_empty() && !AFFIXES.contains(part) && !is_version(part))
        .collect();
    // A name made of such words alone is one.
    if parts.is_empty() {
        lower
    } else {
        parts.join("-")
    }
}

/// `v1`, `2`, `1.0.3`.
pub(super) fn is_version(part: &str) -> bool {
    let digits = part.strip_prefix('v').unwrap_or(part);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_meant_to_be_one_come_out_alike() {
        for name in [
            "Payment",
            "prod-payment-svc",
            "payment_service",
            "payment-v1",
        ] {
            assert_eq!(plain_name(name), "payment", "{name}");
        }
        assert_eq!(plain_name("api"), "api");
        assert_ne!(plain_name("shopping-cart"), plain_name("cart"));
        assert!(is_version("v2") && is_version("1.0") && !is_version("v") && !is_version("vx"));
    }
}
