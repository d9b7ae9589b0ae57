//! The slow part: what can be asked, what is answered, and the threads that find it out. Reading itself is the desk's
//! matter.
//!
//! There are three lanes, so that what a person waits for never stands behind what only has to come some time: what is
//! on screen, what lies around it, and the diagnosis. In each lane a question makes older ones of its kind superfluous:
//! they are taken out of the queue, or ended where they are at work.

mod books;
mod desk;
mod faults;
mod files;

use std::collections::{BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use analyzers::engine::Report;
use analyzers::red::{Overview, Service};
use case::{Progress, TraceId, Window};

use super::state::{
    BookLine, Busy, Content, FaultLine, Head, Loaded, LogsFound, Near, Notebook, Subject,
};
use crate::commands::traces::TraceSummary;
use crate::error::CliError;
use crate::render::trace::Linked;

pub use desk::{Desk, Shop};
pub use files::{Place, load_place, save_place};

/// Something to find out.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Overview {
        baseline: Option<Window>,
    },
    Diagnosis,
    Traces {
        filter: String,
    },
    Logs {
        filter: String,
        baseline: Option<Window>,
    },
    Sheet {
        subject: Subject,
    },
    Trace {
        id: TraceId,
        skew: bool,
    },
    Near {
        id: TraceId,
    },
    Linked {
        id: TraceId,
    },
    Pin {
        id: TraceId,
        on: bool,
    },
    /// What was kept before.
    Notebook,
    Keep {
        notebook: Notebook,
    },
    /// Books, those first that a report calls for.
    Books {
        report: Option<Arc<Report>>,
    },
    Walk {
        book: String,
        report: Arc<Report>,
    },
    Faults,
    StartFault {
        kind: String,
        target: String,
    },
    StopFault {
        id: String,
    },
}

/// A question: what, within which stretch of time, and the number its answer bears.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub serial: u64,
    pub window: Window,
    pub request: Request,
}

/// What the overview shows.
pub struct OverviewFound {
    pub head: Head,
    pub overview: Overview,
    /// Only the newest part so far; the rest is being read.
    pub partial: bool,
    pub baseline: Option<(Window, Vec<Service>)>,
    pub pinned: BTreeSet<TraceId>,
}

/// What was found.
pub enum Found {
    Overview(OverviewFound),
    Report(Arc<Report>),
    Traces {
        rows: Vec<TraceSummary>,
        left_out: u64,
        window: Option<Window>,
    },
    Logs(LogsFound),
    Sheet(Content),
    Trace {
        id: TraceId,
        skew: bool,
        loaded: Loaded,
    },
    Near {
        id: TraceId,
        near: Near,
    },
    Linked {
        id: TraceId,
        linked: Vec<Linked>,
    },
    Pins(BTreeSet<TraceId>, String),
    Notebook(Notebook),
    Faults {
        lines: Vec<FaultLine>,
        said: Option<String>,
    },
    Books {
        lines: Vec<BookLine>,
        said: Option<String>,
    },
    Walk(Box<playbooks::walk::Run>),
    Failed(String),
    Stopped,
}

/// An answer, with the number of its question and how long it took to find.
pub struct Answer {
    pub serial: u64,
    pub took: Duration,
    pub found: Found,
}

impl Request {
    /// What is being done, for who waits.
    fn doing(&self) -> &'static str {
        match self {
            Request::Overview { .. } => "reading spans",
            Request::Diagnosis => "diagnosing",
            Request::Traces { .. } => "looking for traces",
            Request::Logs { .. } => "reading logs",
            Request::Sheet { .. } => "reading",
            Request::Trace { .. } | Request::Near { .. } => "reading the trace",
            Request::Linked { .. } => "looking for linked traces",
            Request::Pin { .. } | Request::Keep { .. } | Request::Notebook => "writing",
            Request::Books { .. } | Request::Walk { .. } => "walking the book",
            Request::Faults | Request::StartFault { .. } | Request::StopFault { .. } => {
                "asking the shop"
            }
        }
    }

    fn lane(&self) -> usize {
        match self {
            Request::Diagnosis => 2,
            Request::Near { .. } | Request::Linked { .. } => 1,
            _ => 0,
        }
    }

    /// Whether an answer to this makes one to the other superfluous.
    fn supersedes(&self, other: &Request) -> bool {
        match (self, other) {
            (Request::Overview { .. }, Request::Overview { .. })
            | (Request::Diagnosis, Request::Diagnosis)
            | (Request::Traces { .. }, Request::Traces { .. })
            | (Request::Logs { .. }, Request::Logs { .. })
            | (Request::Sheet { .. }, Request::Sheet { .. })
            | (Request::Faults, Request::Faults) => true,
            (
                Request::Trace { id, .. },
                Request::Near { id: other } | Request::Linked { id: other },
            ) => id != other,
            (Request::Near { id }, Request::Near { id: other })
            | (Request::Linked { id }, Request::Linked { id: other })
            | (Request::Near { id }, Request::Linked { id: other }) => id != other,
            _ => false,
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Ask>,
    running: Option<(Ask, Instant)>,
    closed: bool,
}

/// One thread, what it is at and what waits for it.
struct Lane {
    queue: Arc<(Mutex<Queue>, Condvar)>,
    progress: Arc<Progress>,
}

fn locked<'a>(queue: &'a (Mutex<Queue>, Condvar)) -> MutexGuard<'a, Queue> {
    queue.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    fn start(mut desk: Desk, tell: impl Fn(Answer) -> bool + Send + 'static) -> Lane {
        let queue: Arc<(Mutex<Queue>, Condvar)> = Arc::default();
        let progress = desk.progress();
        let lane = Lane {
            queue: Arc::clone(&queue),
            progress: Arc::clone(&progress),
        };
        std::thread::spawn(move || {
            loop {
                let ask = {
                    let mut held = locked(&queue);
                    loop {
                        if held.closed {
                            return;
                        }
                        if let Some(ask) = held.waiting.pop_front() {
                            progress.reset();
                            held.running = Some((ask.clone(), Instant::now()));
                            break ask;
                        }
                        held = queue.1.wait(held).unwrap_or_else(PoisonError::into_inner);
                    }
                };
                let mut gone = false;
                let serial = ask.serial;
                let worked = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    desk.work(ask, &mut |answer| gone |= !tell(answer));
                }));
                locked(&queue).running = None;
                if worked.is_err() {
                    let what =
                        "this could not be worked out: a fault of casefile's own, please report it";
                    gone |= !tell(Answer {
                        serial,
                        took: Duration::ZERO,
                        found: Found::Failed(what.to_owned()),
                    });
                }
                if gone {
                    return;
                }
            }
        });
        lane
    }

    fn ask(&self, ask: Ask) {
        let mut held = locked(&self.queue);
        held.waiting
            .retain(|older| !ask.request.supersedes(&older.request));
        if let Some((running, _)) = &held.running
            && ask.request.supersedes(&running.request)
        {
            self.progress.stop();
        }
        held.waiting.push_back(ask);
        self.queue.1.notify_one();
    }
}

/// Who finds things out. Dropping it ends the threads, and what they are at.
pub struct Worker {
    lanes: [Lane; 3],
}

impl Worker {
    /// Starts the lanes on a case, with a desk of its own for each. `tell` takes the answers, as long as it wants more.
    pub fn start(
        path: &Path,
        shop: &Shop,
        tell: impl Fn(Answer) -> bool + Clone + Send + 'static,
    ) -> Result<Worker, CliError> {
        let lane =
            || Ok::<Lane, CliError>(Lane::start(Desk::open(path, shop.clone())?, tell.clone()));
        Ok(Worker {
            lanes: [lane()?, lane()?, lane()?],
        })
    }

    /// Whether anything is being worked at.
    pub fn is_at_work(&self) -> bool {
        self.lanes
            .iter()
            .any(|lane| locked(&lane.queue).running.is_some())
    }

    pub fn ask(&self, ask: Ask) {
        // A trace that is opened ends what was being looked for around another.
        if matches!(ask.request, Request::Trace { .. }) {
            let around = locked(&self.lanes[1].queue);
            if let Some((running, _)) = &around.running
                && ask.request.supersedes(&running.request)
            {
                self.lanes[1].progress.stop();
            }
        }
        self.lanes[ask.request.lane()].ask(ask);
    }

    /// Gives up everything that is being worked at.
    pub fn cancel(&self) {
        for lane in &self.lanes {
            let mut held = locked(&lane.queue);
            held.waiting.clear();
            if held.running.is_some() {
                lane.progress.stop();
            }
        }
    }

    /// What has been at work for longer than a moment.
    pub fn busy(&self) -> Option<Busy> {
        const MOMENT: Duration = Duration::from_millis(300);
        self.lanes.iter().find_map(|lane| {
            let held = locked(&lane.queue);
            let (ask, since) = held.running.as_ref()?;
            (since.elapsed() > MOMENT).then(|| Busy {
                what: ask.request.doing(),
                rows: lane.progress.done(),
                of: None,
            })
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for lane in &self.lanes {
            locked(&lane.queue).closed = true;
            lane.progress.stop();
            lane.queue.1.notify_one();
        }
    }
}
