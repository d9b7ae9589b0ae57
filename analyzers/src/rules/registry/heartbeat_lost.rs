//! `registry/heartbeat-lost`: an instance that runs fades from the registry because its heartbeats stopped counting.

use case::Nanos;
use case::time::human_duration;

use crate::engine::{About, Cause, Certainty, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::registry_calls::{Asked, Op};
use crate::evidence::roster::{Entry, State};
use crate::evidence::vitals::Vital;
use crate::evidence::{Evidence, Who, need};
use crate::reference::Reference;
use crate::rules::facts::{between, count, heard_of, sender};

const STOPPED: &str = "registration/traffic-stops-later#heartbeat-task-stopped";
const DEADLOCKED: &str = "registration/traffic-stops-later#heartbeat-task-deadlocked";
const CUT: &str = "registration/traffic-stops-later#heartbeat-path-cut";
const RARE: &str = "registration/traffic-stops-later#interval-exceeds-timeout";
const FORGOT: &str = "registration/traffic-stops-later#registry-forgot-instance";

/// Heartbeats answered 404 in a row before it counts: the first one is how an instance learns of it.
const DEAF: usize = 3;

/// Times the registry lost patience and was proven wrong, before the interval is to blame.
const SAWS: usize = 2;

static ABOUT: About = About {
    id: "registry/heartbeat-lost",
    title: "An instance that runs fades from the registry",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "The registry stopped hearing from an instance and handed it out no more, although the instance runs on. \
              Its callers lose it one by one; those that are left carry its load.",
    threshold: "the registry expired it, no heartbeat counted for twice its time limit since, and the instance was \
                heard at least a time limit later; or 2 rounds of expiring and coming back with heartbeats that all \
                succeed; or 3 heartbeats in a row answered 404 without a new registration; not where more than a third of \
                all instances were expired, which is nobody's own doing",
    causes: &[
        Cause {
            id: STOPPED,
            what: "its heartbeat task has ended",
            sign: "no heartbeat leaves the process, and its task metric says that the task is gone",
        },
        Cause {
            id: DEADLOCKED,
            what: "its heartbeat task waits for ever",
            sign: "no heartbeat leaves the process, and the task is alive with a growing time since its last round",
        },
        Cause {
            id: CUT,
            what: "its heartbeats are sent and do not arrive",
            sign: "heartbeats go on leaving the process and fail on the way",
        },
        Cause {
            id: RARE,
            what: "its heartbeats are further apart than the registry allows",
            sign: "every heartbeat succeeds, and the row heals after each of them",
        },
        Cause {
            id: FORGOT,
            what: "the registry lost its table and the instance does not register again",
            sign: "heartbeats arrive and are answered 404",
        },
    ],
    remedy: "watch the heartbeat task from outside it, register anew on 404, and keep the interval below a third of the \
             registry's time limit",
    follows: &["registry/never-registered", "resolve/not-found-then-found"],
};

pub(crate) struct HeartbeatLost;

impl Rule for HeartbeatLost {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let mut expired = 0;
        let mut longest = 0;
        let common = held_up_together(evidence);
        for entry in &evidence.roster.entries {
            let Some(activity) = sender(evidence, entry) else {
                continue;
            };
            let who = &activity.who;
            let (_, last) = heard_of(evidence, activity);
            if let Some(found) = forgotten(evidence, entry, who) {
                judgement.findings.push(found);
                continue;
            }
            let losses = losses(evidence, entry);
            expired += losses.len();
            if common.is_some() {
                continue;
            }
            if let Some(found) = too_rare(evidence, entry, who, &losses) {
                judgement.findings.push(found);
                continue;
            }
            let Some(loss) = losses.last().filter(|loss| loss.healed.is_none()) else {
                continue;
            };
            let outlived = between(loss.at, last);
            longest = longest.max(outlived);
            let limit = evidence.roster.expiry();
            let patience = between(loss.at, evidence.window().until) >= 2 * limit;
            if outlived < limit || !patience || is_dead(evidence, entry, loss.at) {
                continue;
            }
            judgement
                .findings
                .push(silent(evidence, entry, who, loss, last));
        }
        judgement.seen.push(format!(
            "{} ids in the registry; {} of instances that named themselves",
            evidence.roster.entries.len(),
            match expired {
                0 => "none was expired".to_owned(),
                number => format!("{number} times one was expired"),
            }
        ));
        if let Some((lost, all)) = common {
            judgement.seen.push(format!(
                "{lost} of {all} instances were expired in the window: what they share is to blame, not their heartbeats"
            ));
        }
        if judgement.findings.is_empty() {
            judgement.distance = Some(format!(
                "longest heard after it was expired: {}; {} make a finding",
                human_duration(longest),
                human_duration(evidence.roster.expiry()),
            ));
        }
        judgement
    }
}

/// How many of the listed instances lost heartbeats, if it was more than a third of them and more than three: then the
/// registry, or the machine, was too slow for all of them.
fn held_up_together(evidence: &Evidence) -> Option<(usize, usize)> {
    let entries = &evidence.roster.entries;
    let lost = entries
        .iter()
        .filter(|entry| sender(evidence, entry).is_some() && !losses(evidence, entry).is_empty())
        .count();
    (lost > 3 && lost * 3 > entries.len()).then_some((lost, entries.len()))
}

/// The registry lost patience with an instance.
struct Loss<'a> {
    at: Nanos,
    state: &'a State,
    healed: Option<Nanos>,
}

/// Each time the registry lost patience for want of heartbeats, and when that ended.
fn losses<'a>(evidence: &Evidence, entry: &'a Entry) -> Vec<Loss<'a>> {
    let silent = |state: &State| {
        state.reason.contains("heartbeat")
            || state.reason == "expired"
            || state.seq.is_none() && matches!(state.status.as_str(), "suspect" | "draining")
    };
    let mut out: Vec<Loss<'a>> = Vec::new();
    for state in &entry.states {
        let lost = match state.status.as_str() {
            "draining" | "unhealthy" => silent(state),
            _ => false,
        };
        let open = out.last_mut().filter(|loss| loss.healed.is_none());
        match (open, state.status.as_str()) {
            (None, _) if lost && evidence.window().contains(state.at) => out.push(Loss {
                at: state.at,
                state,
                healed: None,
            }),
            (Some(open), "healthy" | "degraded") => open.healed = Some(state.at),
            // It said goodbye itself: nothing was lost.
            (Some(_), "deregistered") => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

/// Probes that came to the instance after a moment and all failed: then it is its death that stopped the heartbeats.
fn is_dead(evidence: &Evidence, entry: &Entry, at: Nanos) -> bool {
    let mut asked = 0;
    let mut answered = 0;
    for probe in &evidence.basis.probes {
        if probe.at >= at && probe.instance.as_deref() == Some(&*entry.id) && probe.check == "live"
        {
            asked += 1;
            answered += usize::from(probe.ok);
        }
    }
    asked > 0 && answered == 0
}

fn forgotten(evidence: &Evidence, entry: &Entry, who: &Who) -> Option<Finding> {
    let calls = &evidence.registry_calls;
    let unknown: Vec<&Asked> = calls
        .of(who, Op::Heartbeat)
        .filter(|asked| asked.status == 404)
        .collect();
    let first = unknown.first()?;
    let again = calls
        .of(who, Op::Register)
        .any(|asked| asked.at > first.at && asked.went_well());
    if unknown.len() < DEAF || again {
        return None;
    }
    let restarted = evidence
        .roster
        .restarts
        .iter()
        .rev()
        .find(|at| **at <= first.at.saturating_add(evidence.roster.expiry()));
    let since = restarted.copied().unwrap_or(first.at);
    let mut found = Finding::of(
        &ABOUT,
        FORGOT,
        format!(
            "{} ({}) is unknown to the registry since {} and goes on as if it were not: {} answered 404.",
            who.service,
            entry.address(),
            &since.clock()[..8],
            count(unknown.len(), "heartbeat"),
        ),
    )
    .about(&who.service, &who.instance, "forgotten")
    .between(since, None)
    .sure()
    .seen(Seen::trace(
        format!("{} answered 404", count(unknown.len(), "heartbeat")),
        first.trace_id,
    ))
    .in_traces(unknown.iter().map(|asked| asked.trace_id));
    if let Some(at) = restarted {
        found = found.seen(Seen::note(format!(
            "the registry began anew at {}, knowing nobody",
            &at.clock()[..8]
        )));
    }
    Some(found.seen(Seen::note("no registration by it since")))
}

fn too_rare(evidence: &Evidence, entry: &Entry, who: &Who, losses: &[Loss<'_>]) -> Option<Finding> {
    let healed = losses.iter().filter(|loss| loss.healed.is_some()).count();
    if healed < SAWS {
        return None;
    }
    let calls = &evidence.registry_calls;
    let failed = calls.of(who, Op::Heartbeat).count();
    let first = losses.first()?;
    let expire = evidence.roster.expiry();
    let beats = calls.beats.get(who).map_or(&[][..], Vec::as_slice);
    // From the one on that came too late first: the interval may have changed on the way.
    let late = Nanos(first.at.0.saturating_sub(2 * expire));
    let mut gaps: Vec<u64> = beats
        .windows(2)
        .filter(|pair| pair[0] >= late)
        .map(|pair| between(pair[0], pair[1]))
        .skip_while(|gap| *gap < expire)
        .collect();
    gaps.sort_unstable();
    // All of them, but for a few: an instance or a registry that is held up now and then has short gaps between.
    let gap = gaps.get(gaps.len() / 5).copied();
    if failed > healed || gap.is_some_and(|gap| gap < expire) {
        return None;
    }
    let found = Finding::of(
        &ABOUT,
        RARE,
        format!(
            "{} ({}) was expired and came back {healed} times: its heartbeats come {} apart.",
            who.service,
            entry.address(),
            gap.map_or_else(|| "too far".to_owned(), human_duration),
        ),
    )
    .about(&who.service, &who.instance, "faded")
    .between(first.at, None)
    .seen(note_of(first.state, &entry.id));
    Some(match gap {
        Some(gap) => found.sure().seen(Seen::note(format!(
            "every heartbeat succeeds, {} apart; the registry expires after {}",
            human_duration(gap),
            human_duration(evidence.roster.expiry())
        ))),
        None => found.or(CUT, "client spans of its heartbeats"),
    })
}

fn note_of(state: &State, id: &str) -> Seen {
    let what = format!("the registry: {id} {} ({})", state.status, state.reason);
    match state.seq {
        Some(seq) => Seen::at(what, Reference::RegistryEvent { seq }),
        None => Seen::note(what),
    }
}

fn silent(evidence: &Evidence, entry: &Entry, who: &Who, loss: &Loss<'_>, last: Nanos) -> Finding {
    let calls = &evidence.registry_calls;
    let since = loss.at.0.saturating_sub(evidence.roster.expiry());
    let lost: Vec<&Asked> = calls
        .of(who, Op::Heartbeat)
        .filter(|asked| asked.end.0 >= since && asked.unanswered())
        .collect();
    let traced = calls.beats.contains_key(who) || calls.last_try.contains_key(who);
    let (cause, why, certainty) = if lost.len() >= 2 {
        (
            CUT,
            format!(
                "{} failed on the way ({})",
                count(lost.len(), "heartbeat"),
                lost[0].error
            ),
            Certainty::Sure,
        )
    } else {
        match task(evidence, who, loss.at) {
            Some(true) => (
                DEADLOCKED,
                "its heartbeat task is alive and does nothing".to_owned(),
                Certainty::Sure,
            ),
            Some(false) => (
                STOPPED,
                "its heartbeat task is gone".to_owned(),
                Certainty::Sure,
            ),
            None => (
                STOPPED,
                "it sends no heartbeats any more".to_owned(),
                Certainty::Likely,
            ),
        }
    };
    let mut found = Finding::of(
        &ABOUT,
        cause,
        format!(
            "{} ({}) left the registry at {} while it runs on: {why}.",
            who.service,
            entry.address(),
            &loss.at.clock()[..8],
        ),
    )
    .about(&who.service, &who.instance, "faded")
    .between(loss.at, None)
    .seen(note_of(loss.state, &entry.id))
    .seen(Seen::note(format!(
        "heard {} after that",
        human_duration(between(loss.at, last))
    )));
    found.certainty = certainty;
    if let Some(asked) = lost.first() {
        found = found.seen(Seen::trace(
            "the first heartbeat that failed",
            asked.trace_id,
        ));
    } else if let Some(at) = calls.last_try.get(who) {
        found = found.seen(Seen::note(format!(
            "its last heartbeat left at {}",
            &at.clock()[..8]
        )));
    }
    let answering = evidence
        .basis
        .probes
        .iter()
        .filter(|probe| {
            probe.at >= loss.at && probe.ok && probe.instance.as_deref() == Some(&*entry.id)
        })
        .count();
    if answering > 0 {
        found = found.seen(Seen::note(format!(
            "{} of it succeeded since",
            count(answering, "probe")
        )));
    }
    if cause != CUT && !traced {
        found = found.or(CUT, "client spans of its heartbeats");
    }
    if cause == STOPPED && certainty == Certainty::Likely {
        found = found.or(
            DEADLOCKED,
            "metrics of its background tasks (shop.task.alive)",
        );
    }
    found.in_traces(lost.iter().map(|asked| asked.trace_id))
}

/// Whether the heartbeat task still exists, if metrics after a moment say.
fn task(evidence: &Evidence, who: &Who, after: Nanos) -> Option<bool> {
    let (_, line) = evidence
        .vitals
        .of(who, Vital::TaskAlive)
        .find(|(name, _)| name.contains("heartbeat"))?;
    // The first word after it was expired: later ones may tell of the end of the whole process.
    line.iter()
        .find(|(at, _)| *at >= after)
        .map(|(_, alive)| *alive > 0.0)
}

#[cfg(test)]
mod tests;
