//! `registry/field-id-malformed`: the id of a registration can stand for several instances at once.

use super::instance_id_collision::{missing_part, records_of, shared_ids};
use crate::engine::{About, Cause, Finding, Judgement, Rule, Seen, Severity};
use crate::evidence::{Evidence, need};
use crate::rules::facts::count;

const SAME: &str = "registration/field-id#same-id-across-instances";
const HOST: &str = "registration/field-id#hostname-missing";

static ABOUT: About = About {
    id: "registry/field-id-malformed",
    title: "An instance id is not the instance's own",
    severity: Severity::Error,
    needs: &[need::REGISTRY],
    meaning: "An id of the form service-host-port-uuid belongs to one process. One that is copied, or leaves the host \
              out, is claimed by several: each registration overwrites the other, and the registry has fewer rows than \
              there are instances.",
    threshold: "one id registered from two addresses while both instances run",
    causes: &[
        Cause {
            id: SAME,
            what: "the id is a constant or a copied configuration value",
            sign: "the id is identical in every part",
        },
        Cause {
            id: HOST,
            what: "the id leaves out the host, so that equal ports collide",
            sign: "its form is wrong: no host before the port",
        },
    ],
    remedy: "build the id at every start from service, host, port and a new uuid",
    follows: &[],
};

pub(crate) struct FieldIdMalformed;

impl Rule for FieldIdMalformed {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn judge(&self, evidence: &Evidence) -> Judgement {
        let mut judgement = Judgement::default();
        let shared = shared_ids(evidence);
        for shared in &shared {
            let entry = shared.entry;
            let cause = match missing_part(&entry.id, entry.name()) {
                None => SAME,
                Some("host") if entry.id.len() > entry.name().len() => HOST,
                // A bare constant is found by what it does to the traffic.
                Some(_) => continue,
            };
            let what = if cause == SAME {
                "one of them uses the other's id"
            } else {
                "their ids leave out the host"
            };
            let found = Finding::of(
                &ABOUT,
                cause,
                format!(
                    "{} of {} overwrite each other as {}: {what}.",
                    count(shared.live, "instance"),
                    entry.name(),
                    entry.id
                ),
            )
            .about(entry.name(), &entry.id, "collided")
            .between(shared.since, None)
            .sure();
            judgement
                .findings
                .push(records_of(found, entry).seen(Seen::note(format!(
                    "the registry saw it at {}",
                    shared.addresses.join(" and ")
                ))));
        }
        let odd = evidence
            .roster
            .entries
            .iter()
            .filter(|entry| missing_part(&entry.id, entry.name()).is_some())
            .count();
        judgement.seen.push(format!(
            "{} ids, {odd} of them not of the form service-host-port-uuid; {} claimed twice at a time",
            evidence.roster.entries.len(),
            shared.len()
        ));
        if judgement.findings.is_empty() {
            judgement.distance = Some("no id was claimed by two live instances".to_owned());
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, event, log};

    fn scene(id: &str, second: f64) -> Scene {
        let scene = Scene::new()
            .event(event(0.0, "registered", "search", id, "127.0.0.1:1"))
            .event(event(second, "replaced", "search", id, "127.0.0.1:2"));
        ["search-h-1-a", "search-h-2-b"]
            .iter()
            .fold(scene, |scene, instance| {
                scene
                    .log(log("search", instance, 1.0, "INFO", "alive", &[]))
                    .log(log("search", instance, 500.0, "INFO", "alive", &[]))
            })
    }

    #[test]
    fn a_copied_id_is_told_from_one_without_its_host() {
        let copied = scene("search-h-1-0a1b2c3d", 1.0).finding(&FieldIdMalformed);
        assert_eq!(copied.cause_id, SAME);
        let short = scene("search-8080", 1.0).finding(&FieldIdMalformed);
        assert_eq!(short.cause_id, HOST);
        scene("search", 1.0).passes(&FieldIdMalformed);
    }

    #[test]
    fn passes_when_the_first_one_was_gone_by_then() {
        scene("search-8080", 484.9).finding(&FieldIdMalformed);
        // Both have to be heard one heartbeat interval (15 s) after the second came: they were heard up to 500 s.
        scene("search-8080", 485.1).passes(&FieldIdMalformed);
        assert!(!Scene::new().cannot_tell(&FieldIdMalformed).is_empty());
    }
}
