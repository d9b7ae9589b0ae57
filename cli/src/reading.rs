//! What every reading command does first: open the case, settle the window, read the filter, refuse unknown services.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;

use case::{Case, Nanos, Window};

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::output::Console;

/// How many threads a diagnosis may use.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A case being read, and the part of its time that is asked for.
pub struct Reading {
    pub case: Case,
    pub path: PathBuf,
    pub window: Window,
    /// What durations count back from.
    pub now: Nanos,
}

impl Reading {
    pub fn open(
        case: &CaseArgs,
        window: &WindowArgs,
        console: &Console,
    ) -> Result<Reading, CliError> {
        let path = case.resolve(console)?;
        let case = Case::open(&path)?;
        crate::commands::drill::session::talk::looked(&path);
        let now = end_of(&case)?;
        let window = window.resolve(now)?;
        Ok(Reading {
            case,
            path,
            window,
            now,
        })
    }

    /// A case and a window that are known already.
    pub fn at(path: &std::path::Path, window: Window) -> Result<Reading, CliError> {
        let case = Case::open(path)?;
        let now = end_of(&case)?;
        Ok(Reading {
            case,
            path: path.to_owned(),
            window,
            now,
        })
    }

    /// A case and all of its time, without looking for its end: that takes a walk over what is not sealed yet.
    pub fn at_once(path: &std::path::Path) -> Result<Reading, CliError> {
        Ok(Reading {
            case: Case::open(path)?,
            path: path.to_owned(),
            window: Window::ALL,
            now: Nanos(0),
        })
    }

    /// Tells on standard error of what could not be read. To be called once the reading is done.
    pub fn tell_damage(&self, console: &Console) {
        let damage = self.case.damage();
        for what in damage.iter().take(5) {
            console.notice(&format!("warning: passed over what is damaged: {what}"));
        }
        if damage.len() > 5 {
            console.notice(&format!(
                "warning: and {} more; `casefile verify` names them",
                damage.len() - 5
            ));
        }
    }

    /// Refuses names that no span, log record or metric point of the case carries: an empty answer to a misspelt
    /// question would look like good news.
    pub fn check_services(&self, asked: &[&str]) -> Result<(), CliError> {
        if asked.is_empty() {
            return Ok(());
        }
        let known = services(&self.case)?;
        match asked.iter().find(|name| !known.contains(**name)) {
            None => Ok(()),
            Some(unknown) => {
                let error =
                    CliError::new(format!("no service {unknown:?} in {}", self.path.display()));
                Err(
                    match case::nearest::nearest(unknown, known.iter().map(String::as_str)) {
                        Some(near) => error.hint(format!("did you mean {near}?")),
                        None if known.is_empty() => {
                            error.hint("the case holds no signals of any service yet")
                        }
                        None => {
                            let names: Vec<&str> =
                                known.iter().take(20).map(String::as_str).collect();
                            let more = if known.len() > names.len() {
                                ", …"
                            } else {
                                ""
                            };
                            error.hint(format!("it has {}{more}", names.join(", ")))
                        }
                    },
                )
            }
        }
    }
}

/// The moment that stands for "now" in a case: just after its last signal. A case then answers the same tomorrow.
pub fn end_of(case: &Case) -> Result<Nanos, CliError> {
    Ok(case.window()?.map_or(Nanos(0), |window| window.until))
}

/// Every service that sent a signal.
pub fn services(case: &Case) -> Result<BTreeSet<String>, CliError> {
    let mut known: BTreeSet<String> = case
        .skeleton(Window::ALL)?
        .services
        .iter()
        .map(str::to_owned)
        .collect();
    let mut note = |service: &str| {
        if !known.contains(service) {
            known.insert(service.to_owned());
        }
        ControlFlow::Continue(())
    };
    case.logs(Window::ALL, &mut |log| note(log.origin.resource.service()))?;
    case.metrics(Window::ALL, &mut |point| {
        note(point.origin.resource.service())
    })?;
    known.remove("");
    Ok(known)
}
