//! The sheets of the workbench: the map, the registry and the sagas, each as a list, and one of its rows opened.

use std::sync::Arc;

use analyzers::map::ServiceMap;
use analyzers::roster::Roster;
use analyzers::saga::{Sagas, Story};

use crate::render;

/// What a sheet is about.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        }
    }

    /// Rows of the list.
    pub fn rows(&self) -> usize {
        match &self.content {
            None => 0,
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
