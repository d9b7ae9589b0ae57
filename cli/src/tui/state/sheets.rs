//! The sheets of the workbench: the map, the registry and the sagas, each as a list, and one of its rows opened.

use std::sync::Arc;

use analyzers::map::ServiceMap;
use analyzers::roster::Roster;
use analyzers::saga::{Sagas, Story};

use crate::render;

/// What a sheet is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Map,
    Registry,
    Sagas,
}

/// What was read for it.
#[derive(Debug, Clone)]
pub enum Content {
    Map(Arc<ServiceMap>),
    Registry(Arc<Roster>),
    Sagas(Arc<Sagas>),
}

/// A list, and perhaps one of its rows opened. Without content, it is still being read.
#[derive(Debug, Clone)]
pub struct SheetView {
    pub subject: Subject,
    pub content: Option<Content>,
    pub selected: usize,
    /// How far the opened row is scrolled; `None` while the list is seen.
    pub opened: Option<usize>,
    /// The row to open once it is there: an instance, a saga, an order.
    pub target: Option<String>,
    /// The map drawn as a graph rather than as a table.
    pub drawn: bool,
    /// The path of the trace opened last, lit up on the map.
    pub lit: bool,
    pub asked: u64,
}

/// Sagas a list holds.
pub(super) const MOST_SAGAS: usize = 500;

/// Sagas as they are listed: those that need a look first, then the newest.
pub fn listed(sagas: &Sagas) -> Vec<&Story> {
    let mut stories: Vec<&Story> = sagas.stories.iter().collect();
    let odd = |story: &Story| {
        render::saga::is_stuck(sagas, story) || story.now().is_some_and(|row| row.manual)
    };
    stories.sort_by(|a, b| (odd(b), b.created, &b.id).cmp(&(odd(a), a.created, &a.id)));
    stories.truncate(MOST_SAGAS);
    stories
}

impl SheetView {
    pub fn of(subject: Subject) -> SheetView {
        SheetView {
            subject,
            content: None,
            selected: 0,
            opened: None,
            target: None,
            drawn: true,
            lit: true,
            asked: 0,
        }
    }

    /// A sheet with a row of it opened.
    pub fn at(subject: Subject, target: &str) -> SheetView {
        SheetView {
            target: Some(target.to_owned()),
            ..SheetView::of(subject)
        }
    }

    /// Takes in what was read; false if a row was wanted and is not there.
    pub fn take(&mut self, content: Content) -> bool {
        self.content = Some(content);
        self.move_by(0);
        let Some(target) = self.target.take() else {
            return true;
        };
        let found = (0..self.rows()).find(|row| self.is_about(*row, &target));
        if let Some(row) = found {
            self.selected = row;
            self.opened = Some(0);
        }
        found.is_some()
    }

    fn is_about(&self, row: usize, target: &str) -> bool {
        match &self.content {
            Some(Content::Map(map)) => self.node(map, row).is_some_and(|node| node.name == target),
            Some(Content::Registry(roster)) => roster
                .instances
                .get(row)
                .is_some_and(|instance| instance.id == target || instance.address == target),
            Some(Content::Sagas(sagas)) => listed(sagas)
                .get(row)
                .is_some_and(|story| story.id == target || story.order_id == target),
            None => false,
        }
    }

    /// The service of a row: in the order it is drawn in, or the most failing first.
    pub fn node<'a>(&self, map: &'a ServiceMap, row: usize) -> Option<&'a analyzers::map::Node> {
        let nodes = if self.drawn {
            render::graph::order(map)
        } else {
            render::map::in_order(map)
        };
        nodes.into_iter().nth(row)
    }

    /// The id of a row: what is copied.
    pub fn id(&self, row: usize) -> Option<String> {
        match self.content.as_ref()? {
            Content::Map(map) => self.node(map, row).map(|node| node.name.clone()),
            Content::Registry(roster) => {
                let instance = roster.instances.get(row)?;
                let id = if instance.id.is_empty() {
                    &instance.service
                } else {
                    &instance.id
                };
                Some(id.clone())
            }
            Content::Sagas(sagas) => listed(sagas).get(row).map(|story| story.id.clone()),
        }
    }

    /// The text of a row, to search in.
    pub fn text(&self, row: usize) -> String {
        match &self.content {
            Some(Content::Registry(roster)) => roster
                .instances
                .get(row)
                .map(|instance| {
                    format!(
                        "{} {} {} {}",
                        instance.id,
                        instance.service,
                        instance.address,
                        instance.state.name()
                    )
                })
                .unwrap_or_default(),
            Some(Content::Sagas(sagas)) => listed(sagas)
                .get(row)
                .map(|story| {
                    let status = render::saga::status_name(story.status());
                    format!("{} {} {} {status}", story.id, story.order_id, story.model)
                })
                .unwrap_or_default(),
            _ => self.id(row).unwrap_or_default(),
        }
    }

    /// Rows of the list.
    pub fn rows(&self) -> usize {
        match &self.content {
            None => 0,
            Some(Content::Map(map)) if self.drawn => render::graph::order(map).len(),
            Some(Content::Map(map)) => map.services().count(),
            Some(Content::Registry(roster)) => roster.instances.len(),
            Some(Content::Sagas(sagas)) => sagas.stories.len().min(MOST_SAGAS),
        }
    }

    pub fn move_by(&mut self, rows: isize) {
        if let Some(scroll) = &mut self.opened {
            // Its length depends on the width it is drawn in; the view stops at the end.
            *scroll = scroll.saturating_add_signed(rows).min(10_000);
            return;
        }
        let last = self.rows().saturating_sub(1);
        self.selected = self.selected.saturating_add_signed(rows).min(last);
    }

    /// Opens the selected row; false if there is none.
    pub fn open(&mut self) -> bool {
        let there = self.opened.is_none() && self.selected < self.rows();
        if there {
            self.opened = Some(0);
        }
        there
    }

    /// Closes an opened row; false if none was.
    pub fn close(&mut self) -> bool {
        self.opened.take().is_some()
    }

    /// The trace of the saga that is opened.
    pub fn trace(&self) -> Option<case::TraceId> {
        self.opened?;
        match &self.content {
            Some(Content::Sagas(sagas)) => {
                let story = listed(sagas).into_iter().nth(self.selected)?;
                story.trace.as_ref()?.parse().ok()
            }
            _ => None,
        }
    }
}
