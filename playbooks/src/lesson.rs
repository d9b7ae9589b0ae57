//! Lessons: `lessons/*.toml`, a few steps each over a shop that was just staged, every one checked by what the person did.
//!
//! A step is done when a command was run whose output holds what a query over the case says it must, or when a value was
//! typed that the query gives. Staging, asking and running stand with the command line.

use serde::Deserialize;
use toml::Spanned;

use crate::place::{Misplaced, Source};
use crate::walk::variables;

/// The files that are built in: id and text, sorted by id.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/lessons.rs"));

/// A lesson.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// `1-follow-a-request`
    pub id: String,
    pub title: String,
    pub about: String,
    /// The incident that is staged; none for a healthy shop.
    pub incident: Option<String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What is told. `{column}` is filled in from the queries of `given`.
    pub say: String,
    /// A query whose first row fills in what this step and those after it speak of.
    pub given: Option<String>,
    pub check: Check,
    /// Told when what the person did was not it.
    pub hint: String,
}

/// When a step is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// A command that begins with these words, whose output holds the first value of the query, if there is one.
    Run {
        words: Vec<String>,
        shows: Option<String>,
    },
    /// The person types the first value of the query.
    Answer { query: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LessonFile {
    title: String,
    about: String,
    incident: Option<Spanned<String>>,
    step: Vec<StepTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    say: Spanned<String>,
    given: Option<String>,
    run: Option<String>,
    shows: Option<String>,
    answer: Option<String>,
    #[serde(default)]
    hint: String,
}

impl Lesson {
    pub fn parse(id: &str, file: &str, text: &str) -> Result<Lesson, Misplaced> {
        let source = Source { file, text };
        let read: LessonFile = toml::from_str(text).map_err(|error| source.toml_error(&error))?;
        if let Some(incident) = &read.incident {
            let known = crate::incident::all()?;
            if !known.iter().any(|one| one.id == *incident.get_ref()) {
                return Err(source.error(
                    incident.span(),
                    format!("no incident '{}'", incident.get_ref()),
                ));
            }
        }
        let steps =
            read.step
                .into_iter()
                .map(|step| {
                    let check = match (step.run, step.answer) {
                        (Some(run), None) => Check::Run {
                            words: run.split_whitespace().map(str::to_owned).collect(),
                            shows: step.shows,
                        },
                        (None, Some(query)) => Check::Answer { query },
                        _ => {
                            return Err(source
                                .error(step.say.span(), "a step is done by run, or by answer"));
                        }
                    };
                    Ok(Step {
                        say: step.say.into_inner(),
                        given: step.given,
                        check,
                        hint: step.hint,
                    })
                })
                .collect::<Result<Vec<Step>, Misplaced>>()?;
        Ok(Lesson {
            id: id.to_owned(),
            title: read.title,
            about: read.about,
            incident: read.incident.map(Spanned::into_inner),
            steps,
        })
    }
}

/// The lessons, in their order.
pub fn all() -> Result<Vec<Lesson>, Misplaced> {
    BUILT_IN
        .iter()
        .map(|(id, text)| Lesson::parse(id, &format!("lessons/{id}.toml"), text))
        .collect()
}

/// `{column}` filled in.
pub fn filled(text: &str, values: &std::collections::BTreeMap<String, String>) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

/// A step's query with what is known put in.
pub fn query(sql: &str, values: &std::collections::BTreeMap<String, String>) -> String {
    variables::with_values(sql, values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn there_are_five_lessons_and_each_step_can_be_done() {
        let lessons = all().unwrap();
        assert_eq!(lessons.len(), 5);
        for lesson in &lessons {
            assert!(lesson.steps.len() >= 4, "{}", lesson.id);
            assert!(
                lesson
                    .steps
                    .iter()
                    .all(|step| !step.say.is_empty() && !step.hint.is_empty())
            );
        }
    }

    #[test]
    fn a_step_that_nothing_checks_is_refused() {
        let error = Lesson::parse(
            "x",
            "x.toml",
            "title = \"t\"\nabout = \"a\"\n[[step]]\nsay = \"s\"\n",
        )
        .unwrap_err();
        assert_eq!(error.line, 4);
    }
}
