//! Questions that a baseline answers: is a service worse in the window than when all was well?

use std::collections::BTreeMap;

use case::sql::{self, Cell, Limits};
use case::{Case, Nanos, Window};

use super::record::{Given, Kept, Said};
use crate::book::Compared;

/// Fewer requests than this on either side say nothing of a share or a quantile.
const FEWEST: f64 = 20.0;
/// Errors: this much more of all requests fail.
const MORE_ERRORS: f64 = 0.03;
/// Latency: the 95th percentile is longer by this factor, and by this much.
const SLOWER: f64 = 2.0;
const SLOWER_BY_NANOS: f64 = 50e6;
/// Traffic: less than this share of the rate is left.
const LEFT: f64 = 0.5;

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    requests: f64,
    errors: f64,
    p95: f64,
}

/// What each service's requests were like in a window.
fn side(case: &Case, window: Window) -> Result<BTreeMap<String, Side>, String> {
    let end = |at: Nanos| at.0.min(i64::MAX as u64);
    let sql = format!(
        "SELECT ServiceName, count(*), sum(StatusCode = 'Error'), p95(Duration) FROM spans WHERE SpanKind = 'Server' AND \
         Timestamp >= {} AND Timestamp < {} GROUP BY 1",
        end(window.from),
        end(window.until)
    );
    let number = |cell: Option<&Cell>| match cell {
        Some(Cell::Int(value)) => *value as f64,
        Some(Cell::Real(value)) => *value,
        _ => 0.0,
    };
    let mut out = BTreeMap::new();
    sql::query(case, &sql, &Limits::default(), &mut |_, cells| {
        if let Some(Cell::Text(service)) = cells.first() {
            out.insert(
                service.clone(),
                Side {
                    requests: number(cells.get(1)),
                    errors: number(cells.get(2)),
                    p95: number(cells.get(3)),
                },
            );
        }
        std::ops::ControlFlow::Continue(())
    })
    .map_err(|error| format!("the comparison failed: {error}"))?;
    Ok(out)
}

/// The answer, in words, with a line of evidence for each service that is worse; the worst one's name.
pub(super) struct Compare {
    pub said: Said,
    pub words: String,
    pub evidence: Vec<Kept>,
    pub worst: Option<String>,
}

/// Without a baseline that was given, the first quarter of the window stands for it.
fn sides(window: Window, given: &Given) -> (Window, Window, &'static str) {
    match given.baseline {
        Some(baseline) => (baseline, window, "the baseline"),
        None => {
            let cut = Nanos(window.from.0 + window.until.0.saturating_sub(window.from.0) / 4);
            (
                Window {
                    from: window.from,
                    until: cut,
                },
                Window {
                    from: cut,
                    until: window.until,
                },
                "the first quarter of the window",
            )
        }
    }
}

pub(super) fn compare(
    case: &Case,
    window: Window,
    given: &Given,
    what: Compared,
) -> Result<Compare, String> {
    let (before, after, called) = sides(window, given);
    let (old, new) = (side(case, before)?, side(case, after)?);
    let length = |window: Window| window.until.0.saturating_sub(window.from.0).max(1) as f64 / 1e9;
    let mut compared = 0;
    let mut worse: Vec<(f64, String, String)> = Vec::new();
    for (service, old) in &old {
        if given
            .service
            .as_ref()
            .is_some_and(|wanted| wanted != service)
            || old.requests < FEWEST
        {
            continue;
        }
        let new = new.get(service).copied().unwrap_or_default();
        if what != Compared::Traffic && new.requests < FEWEST {
            continue;
        }
        compared += 1;
        if let Some((by, words)) = grown(what, *old, new, length(before), length(after)) {
            worse.push((by, service.clone(), words));
        }
    }
    worse.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    if compared == 0 {
        return Ok(Compare {
            said: Said::CannotTell,
            words: format!("too few requests in the window or in {called} to compare"),
            evidence: Vec::new(),
            worst: None,
        });
    }
    Ok(Compare {
        said: if worse.is_empty() {
            Said::Pass
        } else {
            Said::Fail
        },
        words: match worse.first() {
            None => format!("none of {compared} services is worse than in {called}"),
            Some((_, service, words)) => format!("{service}: {words}, against {called}"),
        },
        worst: worse.first().map(|(_, service, _)| service.clone()),
        evidence: worse
            .into_iter()
            .map(|(_, service, words)| Kept {
                what: format!("{service}: {words}"),
                command: Some(format!(
                    "casefile traces --service {} --window {}..{}",
                    analyzers::reference::shell_word(&service),
                    after.from,
                    after.until
                )),
            })
            .collect(),
    })
}

/// By how much it is worse, where it is, with words for it.
fn grown(what: Compared, old: Side, new: Side, before: f64, after: f64) -> Option<(f64, String)> {
    match what {
        Compared::Errors => {
            let share = |side: Side| side.errors / side.requests.max(1.0);
            let more = share(new) - share(old);
            (more >= MORE_ERRORS).then(|| {
                let percent = |side: Side| share(side) * 100.0;
                (
                    more,
                    format!(
                        "{:.1} % of requests fail, were {:.1} %",
                        percent(new),
                        percent(old)
                    ),
                )
            })
        }
        Compared::Latency => {
            let slower = new.p95 / old.p95.max(1.0);
            (slower >= SLOWER && new.p95 - old.p95 >= SLOWER_BY_NANOS).then(|| {
                (
                    slower,
                    format!("p95 {:.0} ms, was {:.0} ms", new.p95 / 1e6, old.p95 / 1e6),
                )
            })
        }
        Compared::Traffic => {
            let rate = |side: Side, seconds: f64| side.requests / seconds;
            let left = rate(new, after) / rate(old, before).max(f64::MIN_POSITIVE);
            (left < LEFT).then(|| {
                let words = format!(
                    "{:.1} requests a second, were {:.1}",
                    rate(new, after),
                    rate(old, before)
                );
                (1.0 - left, words)
            })
        }
    }
}
