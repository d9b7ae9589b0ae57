//! What is known around one trace: who left no span in it, whether it is settled, whose clock is off, what it is linked
//! to. Looked for near it in time, not in the whole case.

use std::ops::ControlFlow;

use analyzers::gaps::{self, Gap};
use analyzers::links::{Link, Links};
use analyzers::settled::{Policy, Settled};
use analyzers::skew::{Clocks, Observations};
use analyzers::tree::{self, Tree};
use case::model::Span;
use case::{Nanos, TraceId, Window};

use super::directory;
use crate::commands::traces::TraceSummary;
use crate::error::CliError;
use crate::reading::Reading;
use crate::render::trace::Linked;

/// How far around a trace others are looked at, to learn what usually happens and how clocks stand.
const NEAR: u64 = 120_000_000_000;
/// How long after a trace what it set off may come: outboxes and recoveries take their time.
const AFTERWARDS: u64 = 900_000_000_000;
/// Linked traces looked up.
const MOST_LINKED: usize = 100;

/// What is to be found out beyond gaps, which takes a look at every span nearby.
#[derive(Debug, Clone, Copy, Default)]
pub struct AroundTrace {
    pub clocks: bool,
    pub links: bool,
}

/// What was found out.
#[derive(Debug, Clone)]
pub struct KnownAround {
    pub gaps: Vec<Gap>,
    pub settled: Settled,
    pub clocks: Option<Clocks>,
    pub links: Option<Vec<Link>>,
    pub linked: Vec<Linked>,
}

pub fn around_trace(
    reading: &Reading,
    spans: &[Span],
    asked: AroundTrace,
) -> Result<KnownAround, CliError> {
    let case = &reading.case;
    let begun = spans
        .iter()
        .map(|span| span.start)
        .min()
        .unwrap_or_default();
    let ended = spans
        .iter()
        .map(|span| span.end.max(span.start))
        .max()
        .unwrap_or_default();
    let near = Window {
        from: begun.saturating_sub(NEAR),
        until: ended.saturating_add(NEAR),
    };
    let mut known = directory(case, near)?;
    for span in spans {
        known.take_span(span);
    }
    let table = case.skeleton(near)?;
    known.take_table(&table, &tree::shapes(&table));
    drop(table);
    let state = case.info()?.state;
    let clocks = match asked.clocks {
        true => Some(clocks(reading, near)?),
        false => None,
    };
    let trace = spans.first().map(|span| span.trace_id).unwrap_or_default();
    let (links, linked) = match asked.links {
        true => {
            let (links, linked) = follow(reading, trace, begun, ended)?;
            (Some(links), linked)
        }
        false => (None, Vec::new()),
    };
    Ok(KnownAround {
        gaps: gaps::gaps(spans, &Tree::build(spans), &known),
        settled: Policy::new(reading.now, state).of(ended),
        clocks,
        links,
        linked,
    })
}

fn clocks(reading: &Reading, near: Window) -> Result<Clocks, CliError> {
    let mut observations = Observations::default();
    reading.case.spans(near, &mut |span| {
        observations.take(&span);
        ControlFlow::Continue(())
    })?;
    Ok(observations.settle())
}

/// The traces linked to one, either way, and those linked to them.
fn follow(
    reading: &Reading,
    trace: TraceId,
    begun: Nanos,
    ended: Nanos,
) -> Result<(Vec<Link>, Vec<Linked>), CliError> {
    let window = Window {
        from: begun.saturating_sub(AFTERWARDS),
        until: ended.saturating_add(AFTERWARDS),
    };
    let mut links = Links::default();
    reading.case.spans(window, &mut |span| {
        links.take(&span);
        ControlFlow::Continue(())
    })?;
    links.settle();
    let ids = links.followed(trace, MOST_LINKED);
    let own: Vec<Link> = links
        .out_of(trace)
        .chain(links.into_trace(trace))
        .copied()
        .collect();
    let mut linked = Vec::new();
    for (id, spans) in ids.iter().zip(reading.case.traces(&ids)?) {
        let link = links
            .out_of(*id)
            .map(|link| (link, true))
            .chain(links.into_trace(*id).map(|link| (link, false)))
            .next();
        let summary = TraceSummary::of(&spans);
        let start = summary.as_ref().map_or(begun, |summary| summary.start);
        linked.push(Linked {
            id: *id,
            kind: link.map_or("link", |(link, _)| link.kind.name()),
            came_of_this: link.is_none_or(|(_, away)| away),
            later: i64::try_from(i128::from(start.0) - i128::from(begun.0)).unwrap_or(0),
            service: summary
                .as_ref()
                .map(|summary| summary.service.clone())
                .unwrap_or_default(),
            name: summary.map(|summary| summary.name).unwrap_or_default(),
        });
    }
    Ok((own, linked))
}
