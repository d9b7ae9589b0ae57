//! The map, the registry and the sagas as lists, and one row of them opened.

use analyzers::map::ServiceMap;

use super::body::Body;
use super::{in_sight, reading, rule};
use crate::output::{Line, Tone};
use crate::render;
use crate::tui::state::{Content, SheetView, State, Subject, listed};

/// Lines kept for what stands under a list.
const BENEATH: usize = 10;

pub(super) fn body(state: &State, view: &SheetView, columns: usize, room: usize) -> Body {
    let mut body = Body::default();
    body.line(rule(columns));
    let Some(content) = &view.content else {
        body.line(reading());
        return body;
    };
    // Two columns on the left mark the selection.
    let width = columns.saturating_sub(2);
    if let Some(scroll) = view.opened {
        let lines = opened(view, content, width);
        let from = scroll.min(lines.len().saturating_sub(room.saturating_sub(1)));
        body.lines(
            lines
                .into_iter()
                .skip(from)
                .map(|line| Line::plain(" ").joined(line)),
        );
        return body;
    }
    if view.rows() == 0 {
        body.line(Line::plain(match view.subject {
            Subject::Map => "   no spans yet",
            Subject::Registry => "   no instance is known: collect with --registry URL",
            Subject::Sagas => {
                "   no journal was watched: collect with --registry URL of a system that has one"
            }
        }));
        return body;
    }
    let (head, mut table, beneath) = match content {
        Content::Map(map) if view.drawn => {
            graph(&mut body, state, view, map, width, room);
            return body;
        }
        Content::Map(map) => {
            let beneath = view.node(map, view.selected).map_or_else(Vec::new, |node| {
                let edges = map.into_node(&node.name).chain(map.out_of(&node.name));
                render::map::edges(edges, width)
            });
            let head = vec![render::map::title(map)];
            (head, render::map::services(map, None, width), beneath)
        }
        Content::Registry(roster) => {
            let table = render::roster::table(roster, roster.instances.iter(), width);
            let head = vec![render::roster::title(roster)];
            (head, table, vec![render::roster::legend()])
        }
        Content::Sagas(sagas) => {
            let table = render::saga::table(sagas, listed(sagas).into_iter(), width);
            (render::saga::machines(sagas, width), table, Vec::new())
        }
    };
    body.lines(head.into_iter().map(|line| Line::plain(" ").joined(line)));
    let rows = table.split_off(1.min(table.len()));
    body.lines(table.into_iter().map(|line| Line::plain("  ").joined(line)));
    let kept = beneath.len().min(BENEATH);
    let sight = in_sight(view.selected, rows.len(), body.left(room, kept + 1));
    let hidden = rows.len() - sight.len();
    for (place, row) in rows
        .into_iter()
        .enumerate()
        .take(sight.end)
        .skip(sight.start)
    {
        body.row(place, place == view.selected, row);
    }
    if hidden > 0 {
        body.line(Line::new().with(Tone::Dim, format!("  … {hidden} more")));
    }
    if !beneath.is_empty() {
        body.line(rule(columns));
        body.lines(
            beneath
                .into_iter()
                .map(|line| Line::plain("  ").joined(line)),
        );
    }
    body
}

/// The map as a drawing. A service is selected where it is drawn first.
fn graph(
    body: &mut Body,
    state: &State,
    view: &SheetView,
    map: &ServiceMap,
    width: usize,
    room: usize,
) {
    let mut title = render::map::title(map);
    let lit = state.lit.as_ref().filter(|_| view.lit);
    if let Some(path) = lit {
        title.push(
            Tone::Accent,
            format!(
                "  lit: the path of {} (l)",
                render::names::short_trace(path.id)
            ),
        );
    }
    body.line(Line::plain(" ").joined(title));
    body.line(Line::plain("  ").joined(render::graph::header(width)));
    let drawn = render::graph::drawn(map);
    let order = render::graph::order(map);
    let busiest = render::graph::busiest(map);
    let place = |name: &str| order.iter().position(|node| node.name == name);
    let selected = order
        .get(view.selected)
        .map_or("", |node| node.name.as_str());
    let at = drawn
        .iter()
        .position(|line| line.node == selected && !line.again)
        .unwrap_or(0);
    let mut caller: Vec<&str> = Vec::new();
    let mut ways = Vec::with_capacity(drawn.len());
    for line in &drawn {
        caller.truncate(line.depth);
        let from = caller.last().copied();
        ways.push(lit.is_some_and(|path| {
            match from {
                Some(from) => path
                    .calls
                    .contains(&(from.to_owned(), line.node.to_owned())),
                None => path.services.contains(line.node),
            }
        }));
        caller.push(line.node);
    }
    let sight = in_sight(at, drawn.len(), body.left(room, 1));
    let hidden = drawn.len() - sight.len();
    for number in sight {
        let line = &drawn[number];
        let text = render::graph::line(map, line, busiest, ways[number], width);
        match place(line.node) {
            Some(row) => body.row(row, number == at, text),
            None => body.line(Line::plain("  ").joined(text)),
        }
    }
    if hidden > 0 {
        body.line(Line::new().with(Tone::Dim, format!("  … {hidden} more lines")));
    }
}

/// The selected row with everything known of it.
fn opened(view: &SheetView, content: &Content, width: usize) -> Vec<Line> {
    match content {
        Content::Map(map) => view
            .node(map, view.selected)
            .map_or_else(Vec::new, |node| render::map::detail(map, node, None, width)),
        Content::Registry(roster) => roster
            .instances
            .get(view.selected)
            .map_or_else(Vec::new, |instance| {
                render::roster::detail(instance, roster, &[])
            }),
        Content::Sagas(sagas) => listed(sagas)
            .into_iter()
            .nth(view.selected)
            .map_or_else(Vec::new, |story| render::saga::story(sagas, story, width)),
    }
}
