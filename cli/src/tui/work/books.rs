//! Books for the workbench: which there are, and walking one by itself over a case that is diagnosed already.

use std::path::Path;

use analyzers::engine::Report;
use case::Window;
use playbooks::walk::{self, Nobody, Run};

use super::Found;
use crate::commands::playbook::{Walking, shelf_telling};
use crate::error::CliError;
use crate::reading::Reading;
use crate::tui::state::BookLine;

/// All books, those first that the findings call for, worst finding first.
pub(super) fn list(case: &Path, report: Option<&Report>) -> Result<Found, CliError> {
    let mut said = None;
    let shelf = shelf_telling(Some(case), &mut |what| said = Some(what))?;
    let mut called: Vec<(String, String)> = Vec::new();
    for finding in report.iter().flat_map(|report| report.findings()) {
        if let Some(prove) = shelf.prove(finding) {
            let id = prove.book.to_owned();
            if !called.iter().any(|(known, _)| *known == id) {
                called.push((id, finding.headline.clone()));
            }
        }
    }
    let line = |id: &str, because: Option<String>| {
        shelf.find(id).map(|book| BookLine {
            id: book.id.clone(),
            title: book.title.clone(),
            because,
        })
    };
    let mut lines: Vec<BookLine> = called
        .iter()
        .filter_map(|(id, headline)| line(id, Some(headline.clone())))
        .collect();
    let rest = shelf
        .ids()
        .filter(|id| !called.iter().any(|(known, _)| known == id));
    lines.extend(rest.filter_map(|id| line(id, None)));
    Ok(Found::Books { lines, said })
}

/// Walks a book to its end.
pub(super) fn walk(
    case: &Path,
    window: Window,
    id: &str,
    report: &Report,
) -> Result<Found, CliError> {
    let shelf = shelf_telling(Some(case), &mut |_| {})?;
    let book = shelf
        .find(id)
        .ok_or_else(|| CliError::new(format!("no book {id:?}")))?;
    let walking = Walking::diagnosed(Reading::at(case, window)?, report.clone())?;
    walking.check(book)?;
    let taken = walking.scene(&shelf, |scene| walk::walk(scene, book, &mut Nobody));
    Ok(Found::Walk(Box::new(Run {
        schema: Run::SCHEMA.to_owned(),
        book: book.id.clone(),
        title: book.title.clone(),
        window: walking.window,
        given: walking.given.clone(),
        came_to: Some(walk::close(book, &taken)),
        steps: taken,
    })))
}
