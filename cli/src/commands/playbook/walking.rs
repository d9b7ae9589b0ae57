//! What a walk takes place in: a case that was read and diagnosed, and what the book was given.

use analyzers::engine::{self, Finding, Report};
use analyzers::evidence::Evidence;
use analyzers::rules;
use case::{Nanos, Window};
use clap::Args;
use playbooks::book::{Book, Input, Shelf};
use playbooks::walk::{Given, Scene};

use crate::args::{CaseArgs, WindowArgs};
use crate::commands::diagnose::focus::{Focus, FocusArgs};
use crate::error::CliError;
use crate::output::Console;
use crate::reading::{Reading, threads};

#[derive(Debug, Clone, Args)]
pub struct WalkingArgs {
    #[command(flatten)]
    pub case: CaseArgs,
    #[command(flatten)]
    pub window: WindowArgs,
    #[command(flatten)]
    pub focus: FocusArgs,
    /// Only what has to do with this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// When all was well, or, after a fix, when it was not: what to compare with.
    #[arg(long, value_name = "A..B")]
    pub baseline: Option<String>,
}

/// A case, diagnosed, and what a book is given.
pub struct Walking {
    pub reading: Reading,
    pub report: Report,
    pub window: Window,
    pub given: Given,
    focus: Option<Focus>,
}

impl Walking {
    pub fn open(args: &WalkingArgs, console: &Console) -> Result<Walking, CliError> {
        let reading = Reading::open(&args.case, &args.window, console)?;
        if let Some(service) = &args.service {
            reading.check_services(&[service])?;
        }
        let focus = args.focus.resolve(&reading)?;
        let baseline = match &args.baseline {
            Some(text) => Some(Window::parse(text, reading.now)?),
            None => None,
        };
        // The beginning of an id stands for the whole one, which queries need.
        let trace = match (&args.focus.trace, &focus) {
            (Some(_), Some(focus)) => focus.traces().next().map(|id| id.to_string()),
            _ => None,
        };
        let given = Given {
            service: args.service.clone(),
            trace,
            order: args.focus.order.clone(),
            baseline,
        };
        let evidence = Evidence::gather_on(&reading.case, reading.window, threads())?;
        let report = engine::diagnose(&evidence, &rules::ALL);
        Walking::of(reading, report, given, focus)
    }

    /// A case that is diagnosed already, with nothing given.
    pub fn diagnosed(reading: Reading, report: Report) -> Result<Walking, CliError> {
        Walking::of(reading, report, Given::default(), None)
    }

    fn of(
        reading: Reading,
        report: Report,
        given: Given,
        focus: Option<Focus>,
    ) -> Result<Walking, CliError> {
        let whole = reading.case.window()?.unwrap_or(Window {
            from: Nanos(0),
            until: Nanos(0),
        });
        let from = reading.window.from.max(whole.from);
        let window = Window {
            from,
            until: reading.window.until.min(whole.until).max(from),
        };
        Ok(Walking {
            reading,
            report,
            window,
            given,
            focus,
        })
    }

    /// Refuses to walk a book without what it needs.
    pub fn check(&self, book: &Book) -> Result<(), CliError> {
        for (input, given) in Input::ALL.map(|input| (input, self.given.has(input))) {
            if given && !book.inputs.contains(&input) && !book.needs.contains(&input) {
                let known: Vec<String> = book
                    .inputs
                    .iter()
                    .map(|input| format!("--{}", input.name()))
                    .collect();
                let error = CliError::new(format!("book {} takes no --{}", book.id, input.name()));
                return Err(if known.is_empty() {
                    error.hint("it takes nothing but a window")
                } else {
                    error.hint(format!("it takes {}", known.join(", ")))
                });
            }
        }
        let either = [Input::Trace, Input::Order];
        let met = |input: &Input| {
            self.given.has(*input)
                || (either.contains(input)
                    && either
                        .iter()
                        .any(|other| book.needs.contains(other) && self.given.has(*other)))
        };
        match book.needs.iter().find(|input| !met(input)) {
            None => Ok(()),
            Some(_) => {
                let needs: Vec<String> = book
                    .needs
                    .iter()
                    .map(|input| format!("--{}", input.name()))
                    .collect();
                Err(
                    CliError::new(format!("book {} has nothing to begin with", book.id))
                        .hint(format!("give it {}", needs.join(" or "))),
                )
            }
        }
    }

    /// Hands the scene of a walk to `then`.
    pub fn scene<T>(&self, shelf: &Shelf, then: impl FnOnce(&Scene<'_>) -> T) -> T {
        let concerns = |finding: &Finding| {
            let of_service = self.given.service.as_ref().is_none_or(|service| {
                finding
                    .subjects
                    .iter()
                    .any(|subject| subject.service == *service)
            });
            of_service
                && self
                    .focus
                    .as_ref()
                    .is_none_or(|focus| focus.is_about(finding))
        };
        then(&Scene {
            case: &self.reading.case,
            window: self.window,
            report: &self.report,
            shelf,
            given: &self.given,
            concerns: &concerns,
        })
    }
}
