//! The slow part: reading the case and working things out, on a thread of its own.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use analyzers::engine::{self, Report};
use analyzers::evidence::Evidence;
use analyzers::red::{self, Overview};
use analyzers::rules;
use case::filter::SpanFilter;
use case::{CaseState, Signal, TraceId, Window};

use super::state::{Content, Head, Loaded, Subject};
use crate::commands::trace::logs_of;
use crate::commands::traces::{TraceSummary, newest_traces};
use crate::error::CliError;
use crate::reading::{Reading, threads};
use crate::render::waterfall::Waterfall;
use crate::views;

/// Traces a list holds; older ones are counted.
const LISTED: usize = 500;
/// Stretches the window is cut into for charts.
const SLOTS: usize = 60;

/// Something to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Overview,
    Traces { filter: String },
    Trace { id: TraceId },
    Sheet { subject: Subject },
}

/// What was found.
pub enum Answer {
    Overview {
        head: Head,
        overview: Overview,
        report: Report,
    },
    Traces {
        filter: String,
        rows: Vec<TraceSummary>,
        left_out: u64,
    },
    Trace {
        id: TraceId,
        loaded: Loaded,
    },
    Sheet {
        subject: Subject,
        content: Content,
    },
    Failed {
        what: String,
    },
}

/// A case with somebody who reads in it.
pub struct Desk {
    reading: Reading,
}

impl Desk {
    pub fn open(path: &Path) -> Result<Desk, CliError> {
        Ok(Desk {
            reading: Reading::at(path, Window::ALL)?,
        })
    }

    /// What the case is called.
    pub fn name(&self) -> String {
        self.reading.path.file_name().map_or_else(
            || self.reading.path.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Finds out what is asked.
    pub fn work(&mut self, request: Request) -> Answer {
        let answer = match request {
            Request::Overview => self.overview(),
            Request::Traces { filter } => self.traces(filter),
            Request::Trace { id } => self.trace(id),
            Request::Sheet { subject } => self.sheet(subject),
        };
        answer.unwrap_or_else(|error| Answer::Failed {
            what: match error.hint_text() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            },
        })
    }

    fn overview(&mut self) -> Result<Answer, CliError> {
        self.reading.case.refresh()?;
        let case = &self.reading.case;
        let info = case.info()?;
        let window = case.window()?;
        let seen = window.unwrap_or(Window {
            from: case::Nanos(0),
            until: case::Nanos(0),
        });
        let count = |signal| info.items.get(&signal).copied().unwrap_or(0);
        let evidence = Evidence::gather_with(
            case,
            Window::ALL,
            threads(),
            &crate::models::of_case(case.path())?,
        )?;
        Ok(Answer::Overview {
            head: Head {
                live: info.state == CaseState::Live,
                sealed: info.state == CaseState::Sealed,
                window,
                spans: count(Signal::Traces),
                logs: count(Signal::Logs),
            },
            overview: red::overview(&case.skeleton(Window::ALL)?, seen, SLOTS),
            report: engine::diagnose(&evidence, &rules::ALL),
        })
    }

    fn traces(&mut self, filter: String) -> Result<Answer, CliError> {
        let parsed = SpanFilter::parse(&filter)?;
        self.reading.case.refresh()?;
        self.reading.check_services(&parsed.services())?;
        let (rows, left_out) = newest_traces(&self.reading, &parsed, Some(LISTED))?;
        Ok(Answer::Traces {
            filter,
            rows,
            left_out,
        })
    }

    fn sheet(&mut self, subject: Subject) -> Result<Answer, CliError> {
        self.reading.case.refresh()?;
        let (case, window) = (&self.reading.case, self.reading.window);
        let content = match subject {
            Subject::Map => {
                let gather = views::map(case, window, &SpanFilter::parse("")?)?;
                Content::Map(gather.settle(SLOTS).into())
            }
            Subject::Registry => Content::Registry(views::roster(case, window)?.into()),
            Subject::Sagas => Content::Sagas(
                views::sagas(case, window, false, crate::models::of_case(case.path())?)?.into(),
            ),
        };
        Ok(Answer::Sheet { subject, content })
    }

    fn trace(&mut self, id: TraceId) -> Result<Answer, CliError> {
        let spans = self.reading.case.trace(id)?;
        let logs = logs_of(&self.reading.case, id, &spans)?;
        Ok(Answer::Trace {
            id,
            loaded: Loaded {
                waterfall: Waterfall::new(spans),
                logs,
            },
        })
    }
}

/// A desk on a thread of its own. Dropping it ends the thread after what it is at.
pub struct Worker {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
}

impl Worker {
    pub fn start(mut desk: Desk) -> Worker {
        let (requests, waiting) = channel::<Request>();
        let (found, answers) = channel();
        std::thread::spawn(move || {
            while let Ok(mut request) = waiting.recv() {
                // Somebody who pressed three keys wants the third answer first; refreshes can be skipped altogether.
                while let Ok(newer) = waiting.try_recv() {
                    let skipped = std::mem::replace(&mut request, newer);
                    if skipped != Request::Overview && found.send(desk.work(skipped)).is_err() {
                        return;
                    }
                }
                if found.send(desk.work(request)).is_err() {
                    return;
                }
            }
        });
        Worker { requests, answers }
    }

    pub fn ask(&self, request: Request) {
        // A worker that is gone has panicked, and the panic's message is on the screen already.
        drop(self.requests.send(request));
    }

    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}
