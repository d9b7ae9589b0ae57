//! Declared models of sagas: which steps there are, who serves them, what undoes them, and what recovery is to do from
//! where. They are TOML; those of the bundled shop come along, a user's stand beside them.

use serde::Deserialize;

/// The models that come along.
const BUNDLED: [(&str, &str); 5] = [
    (
        "amazon.toml",
        include_str!("../../models/sagas/amazon.toml"),
    ),
    (
        "capstone.toml",
        include_str!("../../models/sagas/capstone.toml"),
    ),
    (
        "cloudscale.toml",
        include_str!("../../models/sagas/cloudscale.toml"),
    ),
    ("ride.toml", include_str!("../../models/sagas/ride.toml")),
    (
        "shopflow.toml",
        include_str!("../../models/sagas/shopflow.toml"),
    ),
];

/// The text of a model that comes along.
pub fn bundled_text(name: &str) -> Option<&'static str> {
    BUNDLED
        .iter()
        .find(|(file, _)| file.strip_suffix(".toml") == Some(name))
        .map(|(_, text)| *text)
}

/// The JSON schema of a model.
pub const SCHEMA: &str = include_str!("../../models/saga-model.schema.json");

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    /// The service that runs it.
    pub coordinator: String,
    #[serde(default)]
    pub timing: Timing,
    #[serde(default, rename = "step")]
    pub steps: Vec<ModelStep>,
    /// For models that are sequences of events.
    #[serde(default, rename = "event")]
    pub events: Vec<ModelEvent>,
    #[serde(default)]
    pub recovery: Vec<Decision>,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// From this age on a saga that stood still counts as stale, in the system's own time.
    pub stale_after_s: f64,
    /// Times a step is sent again while its outcome is unknown.
    pub resends: u64,
    /// Attempts at undoing a step before a person is asked.
    pub undo_attempts: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            stale_after_s: 300.0,
            resends: 3,
            undo_attempts: 8,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelStep {
    pub name: String,
    pub service: String,
    /// The called method, as client spans name it.
    pub call: String,
    /// The method that undoes it; absent where nothing is to undo.
    #[serde(default)]
    pub undo: Option<String>,
    /// The ledger that shows its effect.
    #[serde(default)]
    pub ledger: Option<Book>,
    /// The saga's state once the step is done.
    pub state: String,
    /// The order's state once the step is done.
    #[serde(default)]
    pub order: Option<String>,
    /// Whether its failure fails the saga.
    #[serde(default = "yes")]
    pub critical: bool,
}

fn yes() -> bool {
    true
}

/// A ledger that a step has an effect in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Book {
    Orders,
    Payments,
    Reservations,
    Shipments,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEvent {
    pub name: String,
    #[serde(default)]
    pub fields: Vec<String>,
}

/// A line of the recovery matrix; what it does not name it does not ask for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    #[serde(default)]
    pub state: Option<String>,
    #[serde(default)]
    pub age: Option<Age>,
    #[serde(default)]
    pub next: Option<Reach>,
    pub action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Age {
    Fresh,
    Stale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    Reachable,
    Unreachable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Continue,
    Compensate,
}

impl Action {
    /// As `saga recover` spans say it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Continue => "continue",
            Action::Compensate => "compensate",
        }
    }
}

/// Why a model can't be used, and where it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct ModelError {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub what: String,
}

impl Model {
    /// Reads and checks a model; every fault with its place.
    pub fn parse(file: &str, text: &str) -> Result<Model, Vec<ModelError>> {
        let model: Model = toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            vec![ModelError {
                file: file.to_owned(),
                line,
                column,
                what: error.message().trim().to_owned(),
            }]
        })?;
        let faults: Vec<ModelError> = model
            .faults()
            .into_iter()
            .map(|(word, what)| {
                let (line, column) = place(text, find(text, &word));
                ModelError {
                    file: file.to_owned(),
                    line,
                    column,
                    what,
                }
            })
            .collect();
        if faults.is_empty() {
            Ok(model)
        } else {
            Err(faults)
        }
    }

    /// What does not fit together, each with a word to find it by.
    fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |word: &str, what: String| faults.push((word.to_owned(), what));
        if self.name.is_empty() {
            fault("name", "a model needs a name".to_owned());
        }
        if self.steps.is_empty() == self.events.is_empty() {
            fault("name", "a model has either steps or events".to_owned());
        }
        if !self.timing.stale_after_s.is_finite() || self.timing.stale_after_s <= 0.0 {
            fault(
                "stale_after_s",
                "stale_after_s must be more than 0".to_owned(),
            );
        }
        for (position, step) in self.steps.iter().enumerate() {
            let before = &self.steps[..position];
            if before.iter().any(|other| other.name == step.name) {
                fault(&step.name, format!("two steps are called {}", step.name));
            }
            if before.iter().any(|other| other.state == step.state) {
                fault(
                    &step.state,
                    format!("two steps lead to state {}", step.state),
                );
            }
            if step.call.is_empty() || step.service.is_empty() {
                fault(
                    &step.name,
                    format!("step {} needs a service and a call", step.name),
                );
            }
        }
        for (position, event) in self.events.iter().enumerate() {
            if self.events[..position]
                .iter()
                .any(|other| other.name == event.name)
            {
                fault(&event.name, format!("two events are called {}", event.name));
            }
        }
        for decision in &self.recovery {
            let Some(state) = &decision.state else {
                continue;
            };
            let known = ["initiated", "compensating"].contains(&state.as_str())
                || self.steps.iter().any(|step| step.state == *state);
            if !known {
                fault(state, format!("no step leads to state {state}"));
            }
        }
        faults
    }

    pub fn step(&self, name: &str) -> Option<&ModelStep> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// What the matrix says; `None` where no line fits, or the one that would asks for what is not known.
    pub fn decide(&self, state: &str, fresh: bool, reachable: Option<bool>) -> Option<Action> {
        for line in &self.recovery {
            if line.state.as_deref().is_some_and(|wanted| wanted != state) {
                continue;
            }
            if line.age.is_some_and(|age| (age == Age::Fresh) != fresh) {
                continue;
            }
            match (line.next, reachable) {
                (Some(_), None) => return None,
                (Some(next), Some(reachable)) if (next == Reach::Reachable) != reachable => {}
                _ => return Some(line.action),
            }
        }
        None
    }
}

fn find(text: &str, word: &str) -> usize {
    let quoted = format!("\"{word}\"");
    text.rfind(&quoted)
        .map(|at| at + 1)
        .or_else(|| text.find(word))
        .unwrap_or(0)
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The models there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Models(pub Vec<Model>);

impl Models {
    /// Those that come along.
    pub fn bundled() -> Models {
        Models(
            BUNDLED
                .iter()
                .filter_map(|(file, text)| Model::parse(file, text).ok())
                .collect(),
        )
    }

    /// Adds a model; it takes the place of one of the same name.
    pub fn add(&mut self, model: Model) {
        self.0.retain(|known| known.name != model.name);
        self.0.push(model);
    }

    pub fn find(&self, name: &str) -> Option<&Model> {
        self.0.iter().find(|model| model.name == name)
    }

    /// Every method of every step.
    pub fn methods(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .flat_map(|model| &model.steps)
            .flat_map(|step| step.undo.iter().chain([&step.call]))
            .cloned()
    }
}

impl Default for Models {
    fn default() -> Models {
        Models::bundled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_models_are_sound_and_five() {
        for (file, text) in BUNDLED {
            if let Err(faults) = Model::parse(file, text) {
                panic!("{faults:?}");
            }
        }
        assert_eq!(Models::bundled().0.len(), 5);
        serde_json::from_str::<serde_json::Value>(SCHEMA).expect("the schema is JSON");
    }

    #[test]
    fn the_matrix_of_shopflow() {
        let models = Models::bundled();
        let model = models.find("shopflow").expect("shopflow");
        assert_eq!(
            model.decide("initiated", true, None),
            Some(Action::Continue)
        );
        assert_eq!(
            model.decide("initiated", false, Some(true)),
            Some(Action::Compensate)
        );
        assert_eq!(
            model.decide("payment_processed", false, Some(true)),
            Some(Action::Continue)
        );
        assert_eq!(
            model.decide("payment_processed", true, Some(false)),
            Some(Action::Compensate)
        );
        assert_eq!(model.decide("payment_processed", true, None), None);
        assert_eq!(model.decide("nowhere", true, Some(true)), None);
    }

    #[test]
    fn faults_are_told_with_their_place() {
        let text = "name = \"mine\"\ncoordinator = \"a\"\n\n[[step]]\nname = \"one\"\nservice = \"s\"\ncall = \"c\"\nstate = \"x\"\n\n[[recovery]]\nstate = \"typo\"\naction = \"continue\"\n";
        let faults = Model::parse("mine.toml", text).expect_err("a state nobody reaches");
        assert_eq!(
            faults[0].to_string(),
            "mine.toml:11:10: no step leads to state typo"
        );
        let faults = Model::parse("mine.toml", "name = 3\n").expect_err("a number");
        assert_eq!((faults[0].line, faults[0].column), (1, 8));
    }
}
