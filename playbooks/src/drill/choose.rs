//! Which incidents make a drill of a level: by seed, and the same ones for the same seed.

use serde::{Deserialize, Serialize};

use super::Level;
use crate::incident::Incident;

/// Signals that a drill may do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Nobody looks at instances from outside.
    Probes,
    /// Nobody says which addresses callers still have cached.
    Caches,
}

/// What is staged.
#[derive(Debug, Clone, PartialEq)]
pub struct Drill {
    pub level: Level,
    /// One, or two at the level of two faults.
    pub incidents: Vec<Incident>,
    /// Something harmless looks odd.
    pub decoy: bool,
    pub missing: Option<Missing>,
}

/// How far the cause of a workflow's incidents lies from what people notice: 1 the same place, 3 far away.
pub fn distance(workflow: &str) -> u8 {
    match workflow {
        // The registry names the instance that is wrong.
        "registration" | "resolution" => 1,
        // The one that is noticed is not the one to blame, or only some of its records are.
        "health" | "log-correlation" | "saga-step" => 2,
        // Telemetry itself is wrong, or what happened is over when it is noticed.
        _ => 3,
    }
}

/// Numbers that follow from a seed (SplitMix64): the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

/// The drill of a level and a seed; `given` fixes the incident. None where no incident is as the level wants it.
pub fn choose(
    all: &[Incident],
    level: Level,
    seed: u64,
    given: Option<&Incident>,
) -> Option<Drill> {
    let mut numbers = Numbers(seed ^ (u64::from(level.number()) << 56));
    let far = |incident: &&Incident| {
        let distance = distance(incident.workflow());
        match level.number() {
            1 => distance == 1,
            2 => distance == 2,
            4 => all.iter().any(|other| fits(incident, other)),
            _ => distance >= 2,
        }
    };
    let first = match given {
        Some(incident) => incident.clone(),
        None => {
            let fitting: Vec<&Incident> = all.iter().filter(far).collect();
            (*fitting.get(numbers.below(fitting.len()))?).clone()
        }
    };
    let mut incidents = vec![first];
    if level.number() == 4 {
        let beside: Vec<&Incident> = all
            .iter()
            .filter(|other| fits(&incidents[0], other))
            .collect();
        incidents.push((*beside.get(numbers.below(beside.len()))?).clone());
    }
    Some(Drill {
        level,
        incidents,
        decoy: matches!(level.number(), 3 | 5),
        missing: (level.number() == 5).then(|| match numbers.below(2) {
            0 => Missing::Caches,
            _ => Missing::Probes,
        }),
    })
}

/// Whether two incidents can be staged in one shop and told apart: the same switches and load, other services.
fn fits(one: &Incident, other: &Incident) -> bool {
    let settings = |incident: &Incident| -> Vec<(String, String)> {
        incident
            .shop
            .iter()
            .chain(&incident.load)
            .map(|setting| (setting.key.clone(), setting.value.to_string()))
            .collect()
    };
    let services = |incident: &Incident| -> Vec<String> {
        incident
            .faults
            .iter()
            .map(|fault| fault.service.clone())
            .chain(
                incident
                    .expect
                    .subjects
                    .iter()
                    .map(|name| service_of(name).to_owned()),
            )
            .collect()
    };
    let (mine, theirs) = (services(one), services(other));
    one.workflow() != other.workflow()
        && settings(one) == settings(other)
        && !mine.iter().any(|name| theirs.contains(name))
}

/// `payment:1` as `payment`.
pub(super) fn service_of(subject: &str) -> &str {
    subject.split(':').next().unwrap_or(subject)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::incident;

    #[test]
    fn a_seed_makes_one_drill_and_levels_differ_as_they_say() {
        let all = incident::all().unwrap();
        for number in Level::LOWEST..=Level::HIGHEST {
            let level = Level::new(number).unwrap();
            let mut chosen = std::collections::BTreeSet::new();
            for seed in 0..60 {
                let drill = choose(&all, level, seed, None).unwrap();
                assert_eq!(Some(&drill), choose(&all, level, seed, None).as_ref());
                let far = distance(drill.incidents[0].workflow());
                match number {
                    1 => assert_eq!(far, 1),
                    2 => assert_eq!(far, 2),
                    3 | 5 => assert!(far >= 2 && drill.decoy),
                    _ => {
                        assert_eq!(drill.incidents.len(), 2);
                        assert!(fits(&drill.incidents[0], &drill.incidents[1]));
                    }
                }
                assert_eq!(drill.missing.is_some(), number == 5);
                chosen.insert(drill.incidents[0].id.clone());
            }
            assert!(
                chosen.len() > 10,
                "level {number} has only {}",
                chosen.len()
            );
        }
        assert_eq!(Level::new(0).or(Level::new(6)), None);
    }
}
