//! What the views show, read from a case: the service map, the registry beside reality, sagas and orders. The command
//! line and the workbench ask here; what things mean is worked out in `analyzers`.

mod around;
mod repaired;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::ControlFlow;

use analyzers::correlate::{Correlation, Correlator};
use analyzers::gaps::Directory;
use analyzers::map;
use analyzers::roster::{self, Roster};
use analyzers::saga::model::Models;
use analyzers::saga::{self, Sagas};
use case::filter::{Brief, SpanFilter};
use case::{Case, Nanos, TraceId, Window};

pub use around::{AroundTrace, KnownAround, around_trace};
pub use repaired::{InferredLink, RepairedTrace, repaired};

use crate::error::CliError;

/// The part of a window in which something is known: rates are over that, not over all of time.
pub fn known_part(case: &Case, window: Window) -> Result<Window, CliError> {
    let known = case.window()?.unwrap_or(Window {
        from: Nanos(0),
        until: Nanos(0),
    });
    let from = window.from.max(known.from);
    Ok(Window {
        from,
        until: window.until.min(known.until).max(from),
    })
}

/// Everything up to the end of a window: who registered before it began is there in it.
fn up_to_end(window: Window) -> Window {
    Window {
        from: Nanos(0),
        until: window.until,
    }
}

/// Who lives where, as registries say.
pub fn directory(case: &Case, window: Window) -> Result<Directory, CliError> {
    let mut directory = Directory::default();
    for event in case.registry_events(up_to_end(window))? {
        directory.take_event(&event);
    }
    for snapshot in case.registry_snapshots(up_to_end(window))? {
        directory.take_snapshot(&snapshot);
    }
    Ok(directory)
}

/// The spans of a window on their way into a map. With a filter, those of traces that have such a span.
pub fn map(case: &Case, window: Window, filter: &SpanFilter) -> Result<map::Gather, CliError> {
    let window = known_part(case, window)?;
    let wanted = if filter.is_empty() {
        None
    } else {
        Some(traces_with(case, window, filter)?)
    };
    let mut gather = map::Gather::new(window, directory(case, window)?);
    case.spans(window, &mut |span| {
        if wanted
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&span.trace_id))
        {
            gather.take(&span);
        }
        ControlFlow::Continue(())
    })?;
    Ok(gather)
}

/// The traces with a span in the window that is meant.
fn traces_with(
    case: &Case,
    window: Window,
    filter: &SpanFilter,
) -> Result<HashSet<TraceId>, CliError> {
    let mut wanted = HashSet::new();
    if filter.is_brief() {
        let table = case.skeleton(window)?;
        for row in 0..table.len() {
            if filter.matches_brief(&Brief::of(&table, row)) {
                wanted.insert(table.traces[table.trace[row] as usize]);
            }
        }
        return Ok(wanted);
    }
    case.spans(window, &mut |span| {
        if filter.matches(&span) {
            wanted.insert(span.trace_id);
        }
        ControlFlow::Continue(())
    })?;
    Ok(wanted)
}

/// The registry beside reality, as of the end of a window.
pub fn roster(case: &Case, window: Window) -> Result<Roster, CliError> {
    let window = known_part(case, window)?;
    let mut gather = roster::Gather::default();
    case.spans(window, &mut |span| {
        gather.take(&span);
        ControlFlow::Continue(())
    })?;
    let mut events = case.registry_events(up_to_end(window))?;
    events.sort_by(|a, b| (a.at, &a.registry, a.seq).cmp(&(b.at, &b.registry, b.seq)));
    events.dedup();
    let snapshots = case.registry_snapshots(up_to_end(window))?;
    let probes = case.probes(window)?;
    Ok(gather.settle(window, &events, &snapshots, &probes))
}

/// The stories of sagas up to the end of a window; with their spans only where those are asked for, which takes a look
/// at every span.
pub fn sagas(
    case: &Case,
    window: Window,
    with_spans: bool,
    models: Models,
) -> Result<Sagas, CliError> {
    let window = known_part(case, window)?;
    let mut gather = saga::Gather::new(models);
    for record in case.journal(up_to_end(window))? {
        gather.take_journal(&record);
    }
    for row in case.ledger(up_to_end(window))? {
        gather.take_ledger(&row);
    }
    if with_spans {
        case.spans(up_to_end(window), &mut |span| {
            gather.take_span(&span);
            ControlFlow::Continue(())
        })?;
    }
    Ok(gather.settle(window))
}

/// What of a window's signals belongs together.
pub fn correlation(case: &Case, window: Window) -> Result<Correlation, CliError> {
    let mut correlator = Correlator::default();
    case.spans(window, &mut |span| {
        correlator.take_span(&span);
        ControlFlow::Continue(())
    })?;
    correlator.spans_done();
    for record in case.journal(window)? {
        correlator.take_journal(&record);
    }
    for row in case.ledger(window)? {
        correlator.take_ledger(&row);
    }
    for event in case.registry_events(window)? {
        correlator.take_registry(&event);
    }
    for probe in case.probes(window)? {
        correlator.take_probe(&probe);
    }
    case.logs(window, &mut |log| {
        correlator.take_log(&log);
        ControlFlow::Continue(())
    })?;
    case.metrics(window, &mut |point| {
        correlator.take_metric(&point);
        ControlFlow::Continue(())
    })?;
    Ok(correlator.settle())
}
