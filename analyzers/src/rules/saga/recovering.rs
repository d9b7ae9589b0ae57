//! What rules about recovery share: where a saga stood when its process died.

use case::Nanos;

use crate::saga::{Kind, Outcome, Recovery, Sagas, Start, Status, Story};

/// A saga at the moment of a restart, from the records before it.
#[derive(Debug)]
pub(super) struct Stood<'a> {
    pub(super) story: &'a Story,
    pub(super) start: &'a Start,
    /// The last record before the restart.
    pub(super) last: Nanos,
    /// Positions of steps that the journal knew to be done.
    pub(super) done: Vec<usize>,
    /// A step with an intent and no result.
    pub(super) open: Option<usize>,
    pub(super) undoing: bool,
    /// The model's state: `initiated`, that of the last step done, or `compensating`.
    pub(super) state: String,
}

/// Every saga that was open when an orchestrator started again.
pub(super) fn stood(sagas: &Sagas) -> Vec<Stood<'_>> {
    let mut all = Vec::new();
    for start in sagas.starts.iter().filter(|start| start.again) {
        for story in &sagas.stories {
            all.extend(at_start(sagas, story, start));
        }
    }
    all
}

fn at_start<'a>(sagas: &Sagas, story: &'a Story, start: &'a Start) -> Option<Stood<'a>> {
    // What the new process writes comes after it began; its lease is the first of it.
    let before: Vec<_> = story
        .log
        .iter()
        .filter(|record| record.at < start.at && record.instance != start.instance)
        .collect();
    let last = before.last()?;
    let ended = before.iter().any(|record| record.kind == Kind::Finished);
    let served_here = start.service == story.coordinator || story.coordinator.is_empty();
    if ended || !served_here {
        return None;
    }
    let done: Vec<usize> = (0..story.steps.len())
        .filter(|step| {
            before.iter().any(|record| {
                record.kind == Kind::StepResult
                    && record.step == Some(*step)
                    && record.outcome == Outcome::Ok
            })
        })
        .collect();
    let undoing = before.iter().any(|record| record.kind == Kind::UndoIntent)
        || before
            .iter()
            .rev()
            .find(|record| record.kind == Kind::StepResult)
            .is_some_and(|record| record.outcome == Outcome::Refused);
    let open = before
        .iter()
        .rev()
        .find(|record| matches!(record.kind, Kind::StepIntent | Kind::StepResult))
        .filter(|record| record.kind == Kind::StepIntent)
        .and_then(|record| record.step);
    let state = if undoing {
        "compensating".to_owned()
    } else {
        reached(sagas, story, &done)
    };
    Some(Stood {
        story,
        start,
        last: last.at,
        done,
        open,
        undoing,
        state,
    })
}

/// The model's state after these steps. Once the money was taken, that is what counts until the goods are on their way.
fn reached(sagas: &Sagas, story: &Story, done: &[usize]) -> String {
    let Some(model) = sagas.model_of(story) else {
        return String::new();
    };
    let state = |step: usize| {
        let name = &story.steps.get(step)?.name;
        Some(model.step(name)?.state.clone())
    };
    let Some(last) = done.last().and_then(|step| state(*step)) else {
        return "initiated".to_owned();
    };
    let named = |name: &str| {
        model
            .recovery
            .iter()
            .any(|line| line.state.as_deref() == Some(name))
    };
    if named(&last) {
        return last;
    }
    done.iter()
        .rev()
        .filter_map(|step| state(*step))
        .find(|state| named(state))
        .unwrap_or(last)
}

impl<'a> Stood<'a> {
    /// The recovery that took it over.
    pub(super) fn recovery(&self) -> Option<&'a Recovery> {
        self.story
            .recoveries
            .iter()
            .find(|recovery| recovery.end >= self.start.at)
    }

    /// Nothing has happened to it since.
    pub(super) fn untouched(&self) -> bool {
        self.recovery().is_none()
            && self
                .story
                .tries
                .iter()
                .all(|attempt| attempt.instance != self.start.instance)
            && self
                .story
                .log
                .iter()
                .all(|record| record.at <= self.last || matches!(record.kind, Kind::Lease))
    }

    pub(super) fn is_open(&self) -> bool {
        !self.story.status().is_terminal()
    }

    /// The next step, which recovery needs the service of.
    pub(super) fn next_service(&self) -> Option<&'a str> {
        self.story
            .steps
            .get(self.done.len())
            .map(|step| step.service.as_str())
    }

    pub(super) fn is_stale(&self, sagas: &Sagas, at: Nanos) -> bool {
        let limit = sagas
            .model_of(self.story)
            .map_or(300.0, |model| model.timing.stale_after_s);
        at.0.saturating_sub(self.last.0) >= sagas.scaled(limit)
    }
}

/// Whether the status says that nothing more will happen.
pub(super) fn ended(story: &Story) -> bool {
    matches!(story.status(), Status::Completed | Status::Failed)
}
