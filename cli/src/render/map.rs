//! The service map as lines: services, then who calls whom, then what is beyond its bounds.

use analyzers::map::{self, Edge, EdgeKind, Node, NodeKind, Red, ServiceMap};
use analyzers::objectives::Verdicts;
use case::time::human_duration;

use super::names;
use super::spark::{resample, spark};
use crate::output::{Column, Line, Table, Tone, count, thousands};

/// Columns of the small charts.
const CHART: usize = 12;
/// Kinds of failure named beside a figure.
const KINDS: usize = 3;

/// One line that says what the map is of.
pub fn title(map: &ServiceMap) -> Line {
    let of = |kind| map.nodes.iter().filter(|node| node.kind == kind).count() as u64;
    let mut line = Line::new().with(Tone::Strong, "map");
    line.push(
        Tone::Dim,
        format!(
            "  {} · {} · {} outside · {} in {}",
            count(of(NodeKind::Service), "service", "services"),
            count(
                of(NodeKind::Store) + of(NodeKind::Broker),
                "store",
                "stores"
            ),
            of(NodeKind::Outside),
            count(map.spans, "span", "spans"),
            human_duration(map.window.until.0.saturating_sub(map.window.from.0)),
        ),
    );
    line
}

fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => thousands(rate.round() as u64),
        rate => format!("{rate:.1}"),
    }
}

/// A share as percent; what is not nothing must not read as nothing.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 0.05 {
        "<0.1".to_owned()
    } else {
        format!("{percent:.1}")
    }
}

fn errors(red: &Red) -> Line {
    let share = red.stats.error_share();
    let (tone, mark) = match share {
        share if share >= 0.05 => (Tone::Bad, " ✗"),
        share if share > 0.0 => (Tone::Odd, " !"),
        _ => (Tone::Dim, ""),
    };
    Line::new().with(tone, format!("{}{mark}", percent(share)))
}

fn durations(red: &Red) -> [Line; 3] {
    [red.stats.p50, red.stats.p95, red.stats.p99].map(|nanos| {
        if red.stats.requests == 0 {
            Line::new().with(Tone::Dim, "·")
        } else {
            Line::plain(human_duration(nanos))
        }
    })
}

fn kinds(red: &Red) -> Line {
    let mut texts: Vec<String> = red
        .error_kinds
        .iter()
        .take(KINDS)
        .map(|kind| format!("{} ×{}", kind.kind, thousands(kind.count)))
        .collect();
    if red.error_kinds.len() > KINDS {
        texts.push(format!("{} more kinds", red.error_kinds.len() - KINDS));
    }
    Line::new().with(Tone::Dim, texts.join(", "))
}

fn chart(node: &Node) -> Line {
    let rates: Vec<f64> = node
        .over_time
        .iter()
        .map(|slot| slot.requests as f64)
        .collect();
    Line::new().with(Tone::Dim, spark(&resample(&rates, CHART), 0.0))
}

/// How a service compares with its baseline: what stands out, or a dot.
fn beside(red: &Red, baseline: Option<&ServiceMap>, service: &str) -> Line {
    let Some(against) = baseline.and_then(|before| map::against(red, before, service)) else {
        return Line::new().with(Tone::Dim, if baseline.is_some() { "?" } else { "" });
    };
    let mut line = Line::new();
    let mut say = |tone, text: String| {
        if !line.pieces().is_empty() {
            line.push(Tone::Dim, "  ");
        }
        line.push(tone, text);
    };
    if against.p95 >= 2.0 {
        say(Tone::Bad, format!("p95 ×{:.1}", against.p95));
    } else if against.p99 >= 5.0 {
        say(Tone::Odd, format!("p99 ×{:.1}", against.p99));
    } else if against.p95 >= 1.2 {
        say(Tone::Odd, format!("p95 ×{:.1}", against.p95));
    }
    if against.error_share >= 0.005 {
        say(Tone::Bad, format!("err +{}", percent(against.error_share)));
    }
    if against.rate <= 0.5 || against.rate >= 1.5 {
        say(Tone::Odd, format!("rate ×{:.1}", against.rate));
    }
    if line.pieces().is_empty() {
        line.push(Tone::Dim, "·");
    }
    line
}

/// Services as a table, the most failing first.
pub fn services(map: &ServiceMap, baseline: Option<&ServiceMap>, width: usize) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("service").shrinks_to(12),
        Column::right("inst"),
        Column::right("rate/s"),
        Column::left(""),
        Column::right("err%"),
        Column::right("p50"),
        Column::right("p95"),
        Column::right("p99"),
        Column::left(if baseline.is_some() {
            "vs baseline"
        } else {
            ""
        }),
        Column::left("").shrinks_to(0),
    ]);
    for node in in_order(map) {
        let [p50, p95, p99] = durations(&node.red);
        table.row(vec![
            Line::plain(names::service(&node.name)),
            Line::new().with(Tone::Dim, node.instances.to_string()),
            Line::plain(rate(node.red.rate)),
            chart(node),
            errors(&node.red),
            p50,
            p95,
            p99,
            beside(&node.red, baseline, &node.name),
            kinds(&node.red),
        ]);
    }
    table.lines(width)
}

/// Services in the order they are shown: the most failing first, then the busiest, then by name.
pub fn in_order(map: &ServiceMap) -> Vec<&Node> {
    let mut nodes: Vec<&Node> = map.services().collect();
    nodes.sort_by(|a, b| {
        let of = |node: &Node| (node.red.stats.error_share(), node.red.stats.requests);
        let (a_key, b_key) = (of(a), of(b));
        b_key
            .0
            .total_cmp(&a_key.0)
            .then(b_key.1.cmp(&a_key.1))
            .then_with(|| a.name.cmp(&b.name))
    });
    nodes
}

fn arrow(kind: EdgeKind) -> &'static str {
    match kind {
        EdgeKind::Call => "→",
        EdgeKind::Message => "⇢",
        EdgeKind::Store => "⊟",
    }
}

/// Edges as a table, by caller.
pub fn edges<'a>(edges: impl Iterator<Item = &'a Edge>, width: usize) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("from").shrinks_to(10),
        Column::left("to").shrinks_to(12),
        Column::right("rate/s"),
        Column::right("err%"),
        Column::right("p50"),
        Column::right("p95"),
        Column::right("p99"),
        Column::left("").shrinks_to(0),
    ]);
    let mut last = "";
    for edge in edges {
        let [p50, p95, p99] = durations(&edge.red);
        let from = if edge.from == last {
            Line::new()
        } else {
            Line::plain(names::service(&edge.from))
        };
        last = &edge.from;
        let mut said = Line::new();
        if edge.unseen > 0 {
            let unseen = count(edge.unseen, "call left", "calls left");
            said.push(Tone::Odd, format!("{unseen} no span there "));
        }
        said.append(kinds(&edge.red));
        table.row(vec![
            from,
            Line::new()
                .with(Tone::Dim, format!("{} ", arrow(edge.kind)))
                .with(Tone::Plain, names::service(&edge.to)),
            Line::plain(rate(edge.red.rate)),
            errors(&edge.red),
            p50,
            p95,
            p99,
            said,
        ]);
    }
    table.lines(width)
}

/// What is beyond its bounds, and how objectives came out.
pub fn verdicts(verdicts: &Verdicts) -> Vec<Line> {
    let mut out = Vec::new();
    for breach in &verdicts.breaches {
        out.push(
            Line::new()
                .with(Tone::Bad, "✗ ")
                .with(Tone::Strong, &breach.alert)
                .with(
                    Tone::Plain,
                    format!(
                        "  {}  {} {} (bound {})",
                        breach.subject,
                        breach.measure,
                        figure(breach.measure, breach.worst),
                        figure(breach.measure, breach.bound),
                    ),
                )
                .with(
                    Tone::Dim,
                    format!(
                        "  {} – {}",
                        &breach.since.clock()[..8],
                        &breach.until.clock()[..8]
                    ),
                ),
        );
    }
    for kept in &verdicts.objectives {
        let (tone, mark) = if kept.kept {
            (Tone::Dim, "· ")
        } else {
            (Tone::Bad, "✗ ")
        };
        let of = kept.operation.as_ref().unwrap_or(&kept.service);
        let mut line = Line::new()
            .with(tone, mark)
            .with(Tone::Plain, &kept.objective)
            .with(
                Tone::Dim,
                format!(
                    "  {of}  {} {} (asked {}) over {}",
                    kept.what,
                    figure(kept.what, kept.found),
                    figure(kept.what, kept.asked),
                    count(kept.requests, "request", "requests"),
                ),
            );
        if let Some(used) = kept.budget_used.filter(|used| *used > 0.0) {
            let tone = if used > 1.0 { Tone::Bad } else { Tone::Dim };
            line.push(tone, format!("  {}% of its room used", percent(used)));
        }
        out.push(line);
    }
    for untold in &verdicts.cannot_tell {
        out.push(Line::new().with(Tone::Odd, format!("? {untold}")));
    }
    out
}

/// A measure's value in its own unit.
fn figure(measure: &str, value: f64) -> String {
    match measure {
        "p50" | "p95" | "p99" => human_duration((value * 1e9) as u64),
        "rate" => format!("{value:.1}/s"),
        "errors_of_one_kind_per_minute" => format!("{value:.0}"),
        _ => format!("{}%", trimmed(value * 100.0)),
    }
}

/// Up to three figures behind the point, none that is only zeros.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One service, whole: its operations, versions, callers and callees.
pub fn detail(
    map: &ServiceMap,
    node: &Node,
    baseline: Option<&ServiceMap>,
    width: usize,
) -> Vec<Line> {
    let mut out = vec![
        Line::new()
            .with(Tone::Strong, names::service(&node.name))
            .with(
                Tone::Dim,
                format!(
                    "  {} · {} · {}/s · {}% failed",
                    count(node.instances as u64, "instance", "instances"),
                    count(node.red.stats.requests, "request", "requests"),
                    rate(node.red.rate),
                    percent(node.red.stats.error_share()),
                ),
            ),
    ];
    let compared = beside(&node.red, baseline, &node.name);
    if baseline.is_some() {
        out.push(
            Line::new()
                .with(Tone::Dim, "against the baseline  ")
                .joined(compared),
        );
    }
    for (title, parts) in [("operation", &node.operations), ("version", &node.versions)] {
        if parts.is_empty() {
            continue;
        }
        out.push(Line::new());
        let mut table = Table::new(vec![
            Column::left(title).shrinks_to(16),
            Column::right("requests"),
            Column::right("rate/s"),
            Column::right("err%"),
            Column::right("p50"),
            Column::right("p95"),
            Column::right("p99"),
            Column::left("").shrinks_to(0),
        ]);
        for part in parts {
            let [p50, p95, p99] = durations(&part.red);
            let name = if part.name.is_empty() {
                "(none said)"
            } else {
                &part.name
            };
            table.row(vec![
                Line::plain(name),
                Line::plain(thousands(part.red.stats.requests)),
                Line::plain(rate(part.red.rate)),
                errors(&part.red),
                p50,
                p95,
                p99,
                kinds(&part.red),
            ]);
        }
        out.extend(table.lines(width));
    }
    for (title, list) in [
        ("called by", map.into_node(&node.name).collect::<Vec<_>>()),
        ("calls", map.out_of(&node.name).collect()),
    ] {
        out.push(Line::new());
        if list.is_empty() {
            out.push(Line::new().with(Tone::Dim, format!("{title}  nobody")));
            continue;
        }
        out.push(Line::new().with(Tone::Dim, title));
        out.extend(edges(list.into_iter(), width));
    }
    out
}

/// The whole map.
pub fn lines(
    map: &ServiceMap,
    baseline: Option<&ServiceMap>,
    judged: Option<&Verdicts>,
    width: usize,
) -> Vec<Line> {
    let mut out = vec![title(map)];
    out.extend(services(map, baseline, width));
    if !map.edges.is_empty() {
        out.push(Line::new());
        out.extend(edges(map.edges.iter(), width));
    }
    if map.unattributed > 0 {
        let calls = count(map.unattributed, "call does", "calls do");
        out.push(Line::new().with(
            Tone::Odd,
            format!("? {calls} not say where to, and nobody left a span of being called"),
        ));
    }
    if let Some(judged) = judged {
        let said = verdicts(judged);
        if !said.is_empty() {
            out.push(Line::new());
            out.extend(said);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_shares_are_not_nothing() {
        assert_eq!(percent(0.0), "0.0");
        assert_eq!(percent(0.0001), "<0.1");
        assert_eq!(percent(0.214), "21.4");
        assert_eq!(figure("error_share", 0.05), "5%");
        assert_eq!(figure("success", 0.9995), "99.95%");
        assert_eq!(figure("p95", 2.0), "2.00s");
    }
}
