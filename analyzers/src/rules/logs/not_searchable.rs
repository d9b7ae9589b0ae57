//! `log/trace-id-not-searchable`: lines of a request exist, or should, and a search by its trace id finds none.

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::counts::{Counts, What};
use crate::evidence::tracing::{Fault, tell};
use case::model::SpanKind;

const NOT_INDEXED: &str = "log-correlation/search-finds-nothing#not-indexed";
const FORMAT: &str = "log-correlation/search-finds-nothing#id-format-differs";
const ELSEWHERE: &str = "log-correlation/search-finds-nothing#routed-elsewhere";
const NOT_WRITTEN: &str = "log-correlation/fields-wrong#record-not-populated";

const LEAST: u64 = 5;
const MOSTLY: f64 = 0.5;
/// Requests served without a line before silence tells anything.
const SILENT: usize = 20;
/// Lines that were due since the last one, by how many a request has had before.
const DUE: u64 = 10;
/// The last seconds of a window may be on their way.
const MARGIN: u64 = 5_000_000_000;

static ABOUT: About = About {
    id: "log/trace-id-not-searchable",
    title: "A search by trace id finds no log lines",
    severity: Severity::Warning,
    needs: &[need::SPANS, need::LOGS],
    meaning: "A service writes log lines of its requests, and whoever searches for them by trace id finds nothing: the id \
              stands in another place, in another form, or the lines go to another system.",
    threshold: "5 lines with the id elsewhere, half of the lines about requests meanwhile; or 20 requests without any line \
                of a service that has written lines, or counts that it does",
    causes: &[
        Cause {
            id: NOT_INDEXED,
            what: "the trace id is in the text and not in the field for it",
            sign: "the text holds a known trace id, the field is empty",
        },
        Cause {
            id: FORMAT,
            what: "the trace id is written in another form",
            sign: "it equals a known id only after case, hyphens or length are evened out",
        },
        Cause {
            id: ELSEWHERE,
            what: "lines are sent to another system",
            sign: "no lines at all of the service, which serves requests and counts lines that it writes",
        },
        Cause {
            id: NOT_WRITTEN,
            what: "lines are written without the name of the service",
            sign: "lines of nobody are there",
        },
    ],
    remedy: "write trace_id and span_id into their own fields, as 32 and 16 lower-case hex digits, and send logs where traces go",
    follows: &[],
};

pub(crate) struct NotSearchable;

impl Rule for NotSearchable {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let rows = &tracing.rows;
        let mut judgement = Judgement {
            seen: vec![format!(
                "{} log records were held against the spans",
                tracing.lines.len()
            )],
            ..Judgement::default()
        };
        let mut nearest = 0;
        for (fault, cause, how) in [
            (Fault::IdInText, NOT_INDEXED, "in the text alone"),
            (Fault::IdInOddForm, FORMAT, "in a form that no span has"),
        ] {
            for (who, seen) in tracing.table.with(fault) {
                nearest = nearest.max(seen.odd);
                if seen.odd < LEAST || seen.share() < MOSTLY {
                    continue;
                }
                let (since, until) = tell::between(evidence, seen.first, seen.last);
                let peer = &rows.peers[who as usize];
                let text = format!(
                    "{} writes trace ids {how}: {} of {} lines about requests can not be found by id.",
                    tell::who(rows, who),
                    seen.odd,
                    seen.odd + seen.usual,
                );
                judgement.findings.push(
                    Finding::of(&ABOUT, cause, text)
                        .about(&peer.service, &peer.instance, "sender")
                        .between(since, until)
                        .seen(tell::lines(
                            rows,
                            &tracing.lines,
                            &seen,
                            format!(
                                "{} such lines; their ids are those of traces that are here",
                                seen.odd
                            ),
                        ))
                        .sure(),
                );
            }
        }
        for who in 0..rows.peers.len() as u32 {
            if let Some(finding) = silent(evidence, who) {
                judgement.findings.push(finding);
            }
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} lines of one instance with the id elsewhere; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

/// An instance that serves requests and has stopped writing lines, or never began although it counts them.
fn silent(evidence: &Evidence, who: u32) -> Option<Finding> {
    let tracing = &evidence.tracing;
    let rows = &tracing.rows;
    let presence = tracing.table.presence.get(&who);
    // What began before the window may have left its lines there.
    let since = presence.map_or(evidence.window().from.0, |presence| presence.last);
    let until = evidence.window().until.0.saturating_sub(MARGIN);
    if since >= until {
        return None;
    }
    let mut served: Vec<usize> = (0..rows.len())
        .filter(|row| {
            rows.who[*row] == who
                && rows.kind(*row) == SpanKind::Server
                && rows.end[*row] > since.saturating_add(1_000_000)
                && rows.end[*row] <= until
        })
        .collect();
    if served.len() < SILENT {
        return None;
    }
    served.sort_by_key(|row| (rows.end[*row], *row));
    let written: Option<f64> = {
        let mut sum = None;
        for (_, points) in tracing.counts.of(who, What::Lines) {
            if let Some(rise) = Counts::rise(points, since, u64::MAX) {
                *sum.get_or_insert(0.0) += rise;
            }
        }
        sum
    };
    // A service that never wrote a line and does not count any may simply have no log.
    if written.is_some_and(|lines| lines < LEAST as f64)
        || (presence.is_none() && written.is_none())
    {
        return None;
    }
    // Whoever writes a line now and then may just have had nothing to say.
    if let Some(presence) = presence
        && written.is_none()
    {
        let before = (0..rows.len())
            .filter(|row| {
                rows.who[*row] == who
                    && rows.kind(*row) == SpanKind::Server
                    && rows.end[*row] <= since
            })
            .count() as u64;
        if before == 0 || presence.lines * served.len() as u64 / before < DUE {
            return None;
        }
    }
    let nameless = tracing
        .table
        .presence
        .iter()
        .any(|(other, presence)| rows.service(*other).is_empty() && presence.lines >= LEAST);
    let peer = &rows.peers[who as usize];
    let text = format!(
        "no log lines of {} have come since {}, though it served {} requests.",
        tell::who(rows, who),
        case::Nanos(since).clock(),
        served.len(),
    );
    let mut finding = Finding::of(&ABOUT, ELSEWHERE, text)
        .about(&peer.service, &peer.instance, "sender")
        .between(case::Nanos(since), None)
        .in_traces(served.iter().take(3).map(|row| rows.trace_id(*row)))
        .seen(tell::span(
            rows,
            served[0] as u32,
            "served after its last line",
        ));
    if nameless {
        return None;
    }
    match written {
        Some(lines) => {
            finding = finding.seen(tell::metric(
                rows,
                who,
                "shop_log_emitted_total",
                format!("it counts {lines:.0} lines written meanwhile"),
            ));
            let dropped = tracing
                .counts
                .one(who, What::DroppedLogs, "")
                .and_then(|points| Counts::rise(points, since, u64::MAX))
                .unwrap_or(0.0);
            Some(match dropped * 2.0 >= lines {
                false => finding.sure(),
                true => finding.seen(Seen::note(format!(
                    "{dropped:.0} log records were dropped on export"
                ))),
            })
        }
        None => Some(finding.or(
            NOT_WRITTEN,
            "how many lines the service writes (shop_log_emitted_total)",
        )),
    }
}
