//! The map, the registry and the sagas as lists, and one row of them opened.

use super::{in_sight, rule};
use crate::output::{Line, Tone};
use crate::render;
use crate::tui::state::{Content, SheetView, Subject, listed};

/// Lines kept for what stands under a list.
const BENEATH: usize = 10;

pub(super) fn body(view: &SheetView, columns: usize, room: usize) -> Vec<Line> {
    let mut out = vec![rule(columns)];
    let Some(content) = &view.content else {
        out.push(Line::new().with(Tone::Dim, "   reading …"));
        return out;
    };
    // Two columns on the left mark the selection.
    let width = columns.saturating_sub(2);
    if let Some(scroll) = view.opened {
        let lines = opened(view, content, width);
        let from = scroll.min(lines.len().saturating_sub(room.saturating_sub(1)));
        out.extend(
            lines
                .into_iter()
                .skip(from)
                .map(|line| Line::plain(" ").joined(line)),
        );
        return out;
    }
    if view.rows() == 0 {
        out.push(Line::plain(match view.subject {
            Subject::Map => "   no spans yet",
            Subject::Registry => "   no instance is known: collect with --registry URL",
            Subject::Sagas => {
                "   no journal was watched: collect with --registry URL of a system that has one"
            }
        }));
        return out;
    }
    let (head, mut table, beneath) = match content {
        Content::Map(map) => {
            let node = render::map::in_order(map).into_iter().nth(view.selected);
            let beneath = node.map_or_else(Vec::new, |node| {
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
    out.extend(head.into_iter().map(|line| Line::plain(" ").joined(line)));
    let rows = table.split_off(1.min(table.len()));
    out.extend(table.into_iter().map(|line| Line::plain("  ").joined(line)));
    let kept = beneath.len().min(BENEATH);
    let list = room.saturating_sub(out.len() + kept + 1).max(1);
    let sight = in_sight(view.selected, rows.len(), list);
    let hidden = rows.len() - sight.len();
    for (place, row) in rows
        .into_iter()
        .enumerate()
        .take(sight.end)
        .skip(sight.start)
    {
        let mark = if place == view.selected { "▸ " } else { "  " };
        out.push(Line::new().with(Tone::Accent, mark).joined(row));
    }
    if hidden > 0 {
        out.push(Line::new().with(Tone::Dim, format!("  … {hidden} more")));
    }
    if !beneath.is_empty() {
        out.push(rule(columns));
        out.extend(
            beneath
                .into_iter()
                .map(|line| Line::plain("  ").joined(line)),
        );
    }
    out
}

/// The selected row with everything known of it.
fn opened(view: &SheetView, content: &Content, width: usize) -> Vec<Line> {
    match content {
        Content::Map(map) => render::map::in_order(map)
            .into_iter()
            .nth(view.selected)
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
