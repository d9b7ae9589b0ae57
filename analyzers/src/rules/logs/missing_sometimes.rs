//! `log/trace-id-missing-sometimes`: some lines of requests have no trace id, and others of the same service have.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::Evidence;
use crate::evidence::need;
use crate::evidence::tracing::lines::LineKey;
use crate::evidence::tracing::{Fault, Seen as Counted, Tracing, tell};

const CALL: &str = "log-correlation/some-lines-uncorrelated#call-without-context";
const ROUTE: &str = "log-correlation/some-lines-uncorrelated#middleware-gap";
const TASK: &str = "log-correlation/some-lines-uncorrelated#async-context-lost";

const LEAST: u64 = 5;
const ALWAYS: f64 = 0.9;

static ABOUT: About = About {
    id: "log/trace-id-missing-sometimes",
    title: "Some log lines of requests have no trace id",
    severity: Severity::Warning,
    needs: &[need::LOGS],
    meaning: "Lines that are about an order, a payment or a request have no trace id, while other lines of the same service \
              have one. They are not found with the request they belong to. Lines of start, stop and upkeep, which belong to \
              no request, do not count.",
    threshold: "5 such lines of one statement, route or task, 9 in 10 of its lines meanwhile, beside 5 lines of the service \
                that have an id",
    causes: &[
        Cause {
            id: CALL,
            what: "a statement does not log through the request's context",
            sign: "one event never has an id, others of the same request and task have",
        },
        Cause {
            id: ROUTE,
            what: "some routes are outside the part that sets the context",
            sign: "all lines of one route lack ids, whatever the statement",
        },
        Cause {
            id: TASK,
            what: "work handed to a task logs without the request's context",
            sign: "only lines after the hand-over lack ids, of every statement there",
        },
    ],
    remedy: "log through the request's context, on every route, and carry it into tasks",
    follows: &[],
};

pub(crate) struct MissingSometimes;

impl Rule for MissingSometimes {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let tracing = &evidence.tracing;
        let mut judgement = Judgement {
            seen: vec![format!(
                "{} log records were looked at",
                tracing.lines.len()
            )],
            ..Judgement::default()
        };
        let mut nearest = 0;
        let mut services: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (who, seen) in tracing.table.with(Fault::NoId) {
            nearest = nearest.max(seen.odd);
            services
                .entry(tracing.rows.service(who))
                .or_default()
                .push(who);
        }
        for (service, instances) in services {
            judgement
                .findings
                .extend(finding(evidence, service, &instances));
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "at most {nearest} lines about requests without id on one instance; {LEAST} make a finding"
            ));
        }
        judgement
    }
}

/// Lines of a service that always lack an id, by event and by method.
struct Lacking {
    events: BTreeSet<u32>,
    methods: BTreeSet<u32>,
    /// Methods whose lines have their ids.
    other_methods: u64,
    /// Tasks of the lines that lack ids, and of those that do not.
    tasks: BTreeSet<u32>,
    other_tasks: BTreeSet<u32>,
    all: Counted,
    with_id: u64,
}

fn lacking(tracing: &Tracing, instances: &[u32]) -> Lacking {
    let mut events: BTreeMap<u32, Counted> = BTreeMap::new();
    let mut methods: BTreeMap<u32, Counted> = BTreeMap::new();
    let mut found = Lacking {
        events: BTreeSet::new(),
        methods: BTreeSet::new(),
        other_methods: 0,
        tasks: BTreeSet::new(),
        other_tasks: BTreeSet::new(),
        all: Counted::default(),
        with_id: 0,
    };
    let cells = instances.iter().flat_map(|who| tracing.table.of(*who));
    let seen = |cell: &[Counted; 8]| cell[Fault::NoId as usize].clone();
    for (key, cell) in cells {
        let LineKey {
            event,
            method,
            task,
            ..
        } = *key;
        let seen = seen(cell);
        found.with_id += seen.usual;
        if tracing.lines.words.get(method).is_empty() {
            events.entry(event).or_default().add(&seen);
        } else {
            methods.entry(method).or_default().add(&seen);
        }
        if seen.odd > 0 {
            found.tasks.insert(task);
        }
        if seen.usual > seen.odd {
            found.other_tasks.insert(task);
        }
        found.all.add(&seen);
    }
    let always = |seen: &Counted| seen.odd >= LEAST && seen.share() >= ALWAYS;
    for (method, seen) in &methods {
        if always(seen) {
            found.methods.insert(*method);
        } else {
            found.other_methods += seen.usual;
        }
    }
    found.events = events
        .iter()
        .filter(|(_, seen)| always(seen))
        .map(|(event, _)| *event)
        .collect();
    found
}

fn finding(evidence: &Evidence, service: &str, instances: &[u32]) -> Option<Finding> {
    let tracing = &evidence.tracing;
    let words = &tracing.lines.words;
    let lacking = lacking(tracing, instances);
    if lacking.all.odd < LEAST || lacking.with_id < LEAST {
        return None;
    }
    let names = |numbers: &BTreeSet<u32>| {
        let texts: Vec<&str> = numbers
            .iter()
            .map(|number| words.get(*number))
            .take(4)
            .collect();
        tell::list(texts)
    };
    // A task that only lines without id have is what they share, however many statements it has.
    let own_task = !lacking.tasks.is_empty()
        && lacking
            .tasks
            .iter()
            .all(|task| !lacking.other_tasks.contains(task) && !words.get(*task).is_empty());
    let (cause, text) = if !lacking.methods.is_empty() && lacking.other_methods >= LEAST {
        let which = names(&lacking.methods);
        (ROUTE, format!("{service} logs {which} without trace ids"))
    } else if own_task || lacking.events.len() > 1 {
        let which = names(&lacking.events);
        (
            TASK,
            format!("{service} loses the trace id of what it logs in a task ({which})"),
        )
    } else if lacking.events.len() == 1 {
        let which = names(&lacking.events);
        (CALL, format!("{service} logs {which} without trace id"))
    } else {
        return None;
    };
    let (since, until) = tell::between(evidence, lacking.all.first, lacking.all.last);
    let instance = match instances {
        [one] => tracing.rows.peers[*one as usize].instance.clone(),
        _ => String::new(),
    };
    let finding = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{text}: {} lines; {} others meanwhile have theirs.",
            lacking.all.odd, lacking.with_id
        ),
    )
    .about(service, &instance, "sender")
    .between(since, until)
    .seen(tell::lines(
        &tracing.rows,
        &tracing.lines,
        &lacking.all,
        format!("{} lines about requests without trace id", lacking.all.odd),
    ));
    Some(match cause {
        TASK if !own_task => finding
            .seen(Seen::note(
                "several statements lack the id, and none of those that complete a request",
            ))
            .or(CALL, "the task or thread that lines were written in"),
        CALL if !own_task
            && lacking
                .other_tasks
                .iter()
                .all(|task| words.get(*task).is_empty()) =>
        {
            finding.or(TASK, "the task or thread that lines were written in")
        }
        _ => finding.sure(),
    })
}
