//! The service map drawn: who calls whom as a tree from the outside in, with volume and health on every edge.

use std::collections::{BTreeMap, BTreeSet};

use analyzers::map::{Edge, EdgeKind, Node, NodeKind, OUTSIDE, ServiceMap};
use case::time::human_duration;

use super::map::percent;
use super::names;
use crate::output::width::{fit, left, right};
use crate::output::{Line, Tone, sanitise};

/// A line of the drawing: an edge and where it leads.
pub struct Drawn<'a> {
    pub edge: Option<&'a Edge>,
    pub node: &'a str,
    pub depth: usize,
    /// Whether the node was drawn above with all that it calls.
    pub again: bool,
}

/// Deeper edges are drawn at this depth.
const DEEPEST: usize = 10;

/// The lines from top to bottom: each service once with what it calls, a store beneath whoever uses it.
pub fn drawn(map: &ServiceMap) -> Vec<Drawn<'_>> {
    let mut out_of: BTreeMap<&str, Vec<&Edge>> = BTreeMap::new();
    let mut called: BTreeSet<&str> = BTreeSet::new();
    for edge in &map.edges {
        if edge.from == edge.to {
            continue;
        }
        out_of.entry(&edge.from).or_default().push(edge);
        if edge.from != OUTSIDE {
            called.insert(&edge.to);
        }
    }
    for edges in out_of.values_mut() {
        edges.sort_by(|a, b| {
            let stores = |edge: &Edge| edge.kind == EdgeKind::Store;
            (stores(a), b.red.stats.requests)
                .cmp(&(stores(b), a.red.stats.requests))
                .then_with(|| a.to.cmp(&b.to))
        });
    }
    let mut out = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let from_outside: Vec<&Edge> = out_of.remove(OUTSIDE).unwrap_or_default();
    let services: Vec<&str> = map
        .nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Service && node.name != OUTSIDE)
        .map(|node| node.name.as_str())
        .collect();
    let entered: BTreeMap<&str, &Edge> = from_outside
        .iter()
        .map(|edge| (edge.to.as_str(), *edge))
        .collect();
    // Those nobody else calls first, the busiest first; then whoever is in a circle and was not reached.
    let begun = |name: &str| -> f64 {
        let out = out_of.get(name).into_iter().flatten();
        out.map(|edge| edge.red.rate).sum::<f64>()
            + entered.get(name).map_or(0.0, |edge| edge.red.rate)
    };
    let mut roots: Vec<&&str> = services
        .iter()
        .filter(|name| !called.contains(**name))
        .collect();
    roots.sort_by(|a, b| begun(b).total_cmp(&begun(a)).then_with(|| a.cmp(b)));
    for root in roots.into_iter().chain(&services) {
        if seen.contains(root) {
            continue;
        }
        let mut waiting = vec![(entered.get(root).copied(), *root, 0)];
        while let Some((edge, node, depth)) = waiting.pop() {
            let again = !seen.insert(node);
            out.push(Drawn {
                edge,
                node,
                depth,
                again,
            });
            if again {
                continue;
            }
            let next = out_of.get(node).into_iter().flatten();
            waiting.extend(
                next.rev()
                    .map(|edge| (Some(*edge), edge.to.as_str(), depth + 1)),
            );
        }
    }
    out
}

/// Services in the order in which they are drawn.
pub fn order(map: &ServiceMap) -> Vec<&Node> {
    let mut seen = BTreeSet::new();
    drawn(map)
        .into_iter()
        .filter(|line| seen.insert(line.node))
        .filter_map(|line| map.services().find(|node| node.name == line.node))
        .collect()
}

/// How much goes over an edge, as a stroke: a step for each tenth of the busiest.
fn stroke(edge: &Edge, busiest: f64) -> &'static str {
    let share = edge.red.rate / busiest.max(f64::MIN_POSITIVE);
    match edge.kind {
        EdgeKind::Message => "┄┄▷",
        EdgeKind::Store => "──⊟",
        EdgeKind::Call if share >= 0.5 => "══▶",
        EdgeKind::Call if share >= 0.1 => "━━▶",
        EdgeKind::Call => "──▶",
    }
}

/// The strongest edge there is.
pub fn busiest(map: &ServiceMap) -> f64 {
    map.edges
        .iter()
        .map(|edge| edge.red.rate)
        .fold(0.0, f64::max)
}

/// One line, with figures of its edge; `lit` if the trace that is looked at went this way.
pub fn line(map: &ServiceMap, drawn: &Drawn<'_>, busiest: f64, lit: bool, width: usize) -> Line {
    const FIGURES: usize = 44;
    let room = width.saturating_sub(FIGURES + 1).max(16);
    let indent = "   ".repeat(drawn.depth.min(DEEPEST));
    let mut line = Line::plain(&indent);
    let health = drawn
        .edge
        .map_or(Tone::Plain, |edge| match edge.red.stats.error_share() {
            share if share >= 0.05 => Tone::Bad,
            share if share > 0.0 => Tone::Odd,
            _ => Tone::Dim,
        });
    let stroke = match drawn.edge {
        Some(edge) => stroke(edge, busiest),
        None => "   ",
    };
    line.push(
        if lit { Tone::Accent } else { health },
        format!("{stroke} "),
    );
    let taken = line.columns();
    let name = sanitise::clean(names::service(drawn.node));
    let again = if drawn.again { " ↑" } else { "" };
    let name = fit(&format!("{name}{again}"), room.saturating_sub(taken));
    let tone = match (lit, drawn.again) {
        (true, _) => Tone::Accent,
        (_, true) => Tone::Dim,
        _ => Tone::Plain,
    };
    line.push(tone, left(&name, room.saturating_sub(taken)));
    match drawn.edge {
        Some(edge) => {
            let stats = &edge.red.stats;
            let share = stats.error_share();
            let mark = match health {
                Tone::Bad => "✗",
                Tone::Odd => "!",
                _ => "·",
            };
            line.push(
                Tone::Plain,
                format!(" {}/s", right(&format!("{:.1}", edge.red.rate), 7)),
            );
            line.push(health, format!("  {}% {mark}", right(&percent(share), 5)));
            line.push(
                Tone::Plain,
                format!("  {}", right(&human_duration(stats.p50), 7)),
            );
            line.push(
                Tone::Plain,
                format!(" {}", right(&human_duration(stats.p95), 7)),
            );
            if edge.unseen > 0 {
                line.push(Tone::Odd, format!(" ⌁{}", edge.unseen));
            }
        }
        None => {
            if let Some(node) = map.node(drawn.node) {
                line.push(
                    Tone::Dim,
                    format!(
                        " {}/s  begins by itself",
                        right(&format!("{:.1}", node.red.rate), 7)
                    ),
                );
            }
        }
    }
    line.fit(width)
}

/// What the columns and strokes are.
pub fn header(width: usize) -> Line {
    const FIGURES: usize = 44;
    let room = width.saturating_sub(FIGURES + 1).max(16);
    Line::new()
        .with(
            Tone::Dim,
            format!(
                "{}{}{}{}{}",
                left(
                    "══▶ ━━▶ ──▶ calls, by volume   ┄┄▷ messages   ──⊟ store",
                    room
                ),
                right("rate", 10),
                right("errors", 10),
                right("p50", 9),
                right("p95", 8)
            ),
        )
        .fit(width)
}

#[cfg(test)]
mod tests {
    use analyzers::gaps::Directory;
    use analyzers::map::Gather;
    use case::Window;

    use super::*;

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let map = Gather::new(Window::default(), Directory::default()).settle(1);
        assert!(drawn(&map).is_empty() && order(&map).is_empty());
        assert!(header(20).columns() <= 20);
    }
}
