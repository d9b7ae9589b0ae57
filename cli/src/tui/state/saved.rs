//! Where one stood, so that a case opens there again.

use case::{TraceId, Window};
use serde::{Deserialize, Serialize};

use super::sheets::{SheetView, Subject};
use super::trace::TraceView;
use super::{FindingsView, LogsView, Screen, State, TracesView};

/// A place in a case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    pub steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Window>,
    pub theme: Option<String>,
}

/// A screen as it is saved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    pub view: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    pub selected: usize,
    pub patterns: bool,
}

/// Steps that are saved: the last ones.
const STEPS: usize = 12;

impl State {
    pub fn saved(&self) -> Saved {
        let steps: Vec<Step> = self.trail.iter().filter_map(step).collect();
        let from = steps.len().saturating_sub(STEPS);
        Saved {
            steps: steps[from..].to_vec(),
            range: self.moment.range,
            theme: Some(self.theme.clone()),
        }
    }

    /// Goes to where one stood, and asks for what is seen there.
    pub fn restore(&mut self, saved: &Saved) {
        self.moment.range = saved.range;
        let screens: Vec<Screen> = saved.steps.iter().filter_map(screen).collect();
        for (at, screen) in screens.into_iter().enumerate() {
            match (at, &screen) {
                (0, Screen::Overview { .. }) => self.trail = vec![screen],
                _ => self.trail.push(screen),
            }
        }
        self.ask_all();
    }

    /// What a screen shows is forgotten when one goes back to it after a long time; it is asked for again.
    pub(super) fn is_empty_screen(&self) -> bool {
        match self.screen() {
            Screen::Traces(view) => view.rows.is_none(),
            Screen::Trace(view) => view.loaded.is_none(),
            Screen::Logs(view) => view.found.is_none(),
            Screen::Sheet(view) => view.content.is_none(),
            _ => false,
        }
    }
}

fn step(screen: &Screen) -> Option<Step> {
    let view = screen.title().to_owned();
    Some(match screen {
        Screen::Overview { selected } => Step {
            view,
            selected: *selected,
            ..Step::default()
        },
        Screen::Traces(traces) => Step {
            view,
            filter: traces.filter.clone(),
            window: traces.window,
            selected: traces.selected,
            ..Step::default()
        },
        Screen::Trace(trace) => Step {
            view,
            trace: Some(trace.id),
            selected: trace.selected,
            ..Step::default()
        },
        Screen::Logs(logs) => Step {
            view,
            filter: logs.filter.clone(),
            window: logs.window,
            selected: if logs.follow {
                usize::MAX
            } else {
                logs.selected
            },
            patterns: logs.patterns,
            ..Step::default()
        },
        Screen::Sheet(sheet) => Step {
            view,
            selected: sheet.selected,
            ..Step::default()
        },
        Screen::Findings(findings) => Step {
            view,
            selected: findings.selected,
            ..Step::default()
        },
        // What was being compared or broken is over.
        Screen::Compare(_) | Screen::Faults(_) | Screen::Notes { .. } | Screen::Playbooks(_) => {
            return None;
        }
    })
}

fn screen(step: &Step) -> Option<Screen> {
    let sheet = |subject| {
        let mut view = SheetView::of(subject);
        view.selected = step.selected;
        Screen::Sheet(view)
    };
    Some(match step.view.as_str() {
        "overview" => Screen::Overview {
            selected: step.selected,
        },
        "traces" => {
            let mut view = TracesView::of(step.filter.clone(), step.window);
            view.selected = step.selected;
            Screen::Traces(view)
        }
        "trace" => {
            let mut view = TraceView::of(step.trace?);
            view.selected = step.selected;
            Screen::Trace(Box::new(view))
        }
        "logs" => {
            let mut view = LogsView::of(step.filter.clone(), step.window);
            view.patterns = step.patterns;
            view.follow = step.selected == usize::MAX;
            view.selected = step.selected;
            Screen::Logs(view)
        }
        "map" => sheet(Subject::Map),
        "registry" => sheet(Subject::Registry),
        "sagas" => sheet(Subject::Sagas),
        "findings" => Screen::Findings(FindingsView {
            selected: step.selected,
            ..FindingsView::default()
        }),
        _ => return None,
    })
}
