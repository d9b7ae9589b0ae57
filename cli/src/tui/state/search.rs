//! Going to the next row with a text.

use super::{Screen, State};

impl State {
    /// Rows of the screen, and the text of each.
    fn rows(&self) -> usize {
        match self.screen() {
            Screen::Overview { .. } => self
                .overview
                .as_ref()
                .map_or(0, |overview| overview.services.len()),
            Screen::Traces(view) => view.rows.as_ref().map_or(0, Vec::len),
            Screen::Trace(view) => view.rows.len(),
            Screen::Logs(view) => view.rows(),
            Screen::Sheet(view) => view.rows(),
            Screen::Findings(view) => match &self.report {
                Some(report) if view.opened.is_some() => view.parts(report).len(),
                Some(report) => report.findings().len(),
                None => 0,
            },
            Screen::Compare(view) => view.pairs.len(),
            Screen::Faults(view) => view.lines.len(),
            Screen::Notes { .. } => self.kept().len(),
            Screen::Playbooks(view) => view.lines.len(),
        }
    }

    fn row_text(&self, row: usize) -> String {
        match self.screen() {
            Screen::Overview { .. } => self
                .overview
                .as_ref()
                .and_then(|overview| overview.services.get(row))
                .map(|service| service.name.clone())
                .unwrap_or_default(),
            Screen::Traces(view) => view
                .rows
                .as_ref()
                .and_then(|rows| rows.get(row))
                .map(|row| format!("{} {} {}", row.id, row.service, row.name))
                .unwrap_or_default(),
            Screen::Trace(view) => view.text(row),
            Screen::Logs(view) => view.text(row),
            Screen::Sheet(view) => view.text(row),
            Screen::Findings(view) if view.opened.is_none() => self
                .report
                .as_ref()
                .and_then(|report| {
                    report
                        .findings()
                        .get(row)
                        .map(|f| format!("{} {}", f.rule, f.headline))
                })
                .unwrap_or_default(),
            Screen::Findings(_) => String::new(),
            Screen::Compare(view) => view.text(row),
            Screen::Faults(view) => view
                .lines
                .get(row)
                .map(|line| format!("{} {} {}", line.kind, line.target, line.what))
                .unwrap_or_default(),
            Screen::Playbooks(view) => view
                .lines
                .get(row)
                .map(|line| format!("{} {}", line.id, line.title))
                .unwrap_or_default(),
            Screen::Notes { .. } => self
                .kept()
                .get(row)
                .map(|kept| kept.text.clone())
                .unwrap_or_default(),
        }
    }

    /// Searches for a text from the selected row on.
    pub(super) fn search(&mut self, text: String) {
        if !text.is_empty() {
            self.sought = text;
        }
        self.find(true, true);
    }

    pub(super) fn go_to_match(&mut self, forward: bool) {
        if self.sought.is_empty() {
            return self.say("search for something first, with /");
        }
        self.find(forward, false);
    }

    fn find(&mut self, forward: bool, here_too: bool) {
        let rows = self.rows();
        let at = self.selected().unwrap_or(0).min(rows.saturating_sub(1));
        let sought = self.sought.to_lowercase();
        let first = usize::from(!here_too);
        // All the way round, back to where it began.
        let found = (first..=rows).find_map(|step| {
            let row = if forward {
                (at + step) % rows.max(1)
            } else {
                (at + rows - step % rows.max(1)) % rows.max(1)
            };
            (row < rows && self.row_text(row).to_lowercase().contains(&sought)).then_some(row)
        });
        match found {
            Some(row) => self.move_by(row as isize - at as isize),
            None => {
                let sought = self.sought.clone();
                self.say(format!("nothing here says {sought:?}"));
            }
        }
    }
}
