//! Owns which of a service's tracks a call goes to: the split that the registry tells, and the choice by a request's
//! bucket. Every process hears of a change at once, because a lookup may be half a minute old.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Listed, nodes};
use crate::catalog::REGISTRY;
use crate::release::{CANARY, STABLE};
use crate::rng::fnv1a;
use crate::runtime::Rt;

/// What buckets are made with while no deployment says otherwise.
const SALT: &str = "shop";
/// How long the registry may hold a question before it says that nothing has changed.
const WAIT_S: u64 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// How a service's calls are split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub active_track: String,
    #[serde(default)]
    pub canary_percent: u8,
    #[serde(default = "salt")]
    pub salt: String,
}

fn salt() -> String {
    SALT.to_owned()
}

impl Default for Route {
    fn default() -> Self {
        Self {
            active_track: STABLE.to_owned(),
            canary_percent: 0,
            salt: salt(),
        }
    }
}

/// All splits, with the number by which the registry tells whether they have changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Routes {
    pub version: u64,
    pub routes: BTreeMap<String, Route>,
}

/// This process's copy of the splits.
#[derive(Default)]
pub struct Routing {
    known: Mutex<Routes>,
}

impl Routing {
    fn lock(&self) -> std::sync::MutexGuard<'_, Routes> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bucket of a user, or of whatever else stays the same from request to request: 0 to 99.
    #[must_use]
    pub fn bucket(&self, key: &str) -> u8 {
        let known = self.lock();
        // One deployment at a time: whoever has a canary decides who belongs to it.
        let salt = known
            .routes
            .values()
            .find(|route| route.canary_percent > 0)
            .map_or(SALT, |route| route.salt.as_str());
        (fnv1a(format!("{salt}:{key}").as_bytes()) % 100) as u8
    }

    /// Those of the listed instances that a call with this bucket may go to; all of them where nothing is split.
    #[must_use]
    pub fn subset<'a>(
        &self,
        name: &str,
        listed: &'a [Listed],
        bucket: Option<u8>,
    ) -> Vec<&'a Listed> {
        let known = self.lock();
        let Some(route) = known.routes.get(name) else {
            return listed.iter().collect();
        };
        let of = |track: &str| -> Vec<&'a Listed> {
            let fits =
                |listed: &&Listed| listed.metadata.get("track").is_some_and(|own| own == track);
            listed.iter().filter(fits).collect()
        };
        // Calls that belong to no request, such as background work, stay where most of the traffic is.
        let chosen = bucket.is_some_and(|bucket| bucket < route.canary_percent)
            || route.canary_percent >= 100;
        if chosen {
            let canaries = of(CANARY);
            if !canaries.is_empty() {
                return canaries;
            }
        }
        of(&route.active_track)
    }

    fn version(&self) -> u64 {
        self.lock().version
    }

    /// Takes the splits over; answers the services whose split is another one than before.
    fn replace(&self, routes: Routes) -> Vec<String> {
        let mut known = self.lock();
        let changed = routes
            .routes
            .iter()
            .filter(|(name, route)| known.routes.get(*name) != Some(*route))
            .map(|(name, _)| name.clone())
            .collect();
        *known = routes;
        changed
    }
}

/// Hears of every change of the splits until the process stops. Without an answer the last ones stay.
pub async fn keep_routes(rt: Rt) {
    if rt.spec.name == REGISTRY {
        return;
    }
    let mut stopping = rt.stopping();
    loop {
        let heard = tokio::select! {
            heard = hear(&rt) => heard,
            _ = stopping.changed() => return,
        };
        match heard {
            Some(routes) => {
                // Who is new on a track is in no list that was looked up before.
                for name in rt.discovery.routing.replace(routes) {
                    rt.discovery.forget(&name);
                }
            }
            None => tokio::select! {
                () = tokio::time::sleep(rt.clock.scaled(PAUSE)) => {}
                _ = stopping.changed() => return,
            },
        }
    }
}

async fn hear(rt: &Rt) -> Option<Routes> {
    let version = rt.discovery.routing.version();
    for node in rt.discovery.nodes.for_telling(rt) {
        if nodes::is_cut_off(rt, &node) {
            continue;
        }
        let url = format!("{}/registry/routes?since={version}&wait={WAIT_S}", node.url);
        let asked = rt.connections.http.get(url);
        let answer = asked.timeout(Duration::from_secs(WAIT_S + 5)).send().await;
        if let Ok(answer) = answer
            && answer.status().is_success()
            && let Ok(routes) = answer.json::<Routes>().await
        {
            return Some(routes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn listed(id: &str, track: Option<&str>) -> Listed {
        Listed {
            id: id.to_owned(),
            name: "payment".to_owned(),
            address: "127.0.0.1:1".to_owned(),
            status: "healthy".to_owned(),
            metadata: track
                .map(|track| ("track".to_owned(), track.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    fn chosen(percent: u8, bucket: Option<u8>, listed: &[Listed]) -> Vec<String> {
        let routing = Routing::default();
        let route = Route {
            canary_percent: percent,
            ..Route::default()
        };
        routing.replace(Routes {
            version: 1,
            routes: [("payment".to_owned(), route)].into(),
        });
        let subset = routing.subset("payment", listed, bucket);
        subset.iter().map(|listed| listed.id.clone()).collect()
    }

    #[test]
    fn buckets_below_the_share_go_to_the_canary_and_all_others_do_not() {
        let all = [listed("old", Some(STABLE)), listed("new", Some(CANARY))];
        assert_eq!(chosen(5, Some(4), &all), ["new"]);
        assert_eq!(chosen(5, Some(5), &all), ["old"]);
        assert_eq!(chosen(0, Some(0), &all), ["old"]);
        assert_eq!(chosen(50, None, &all), ["old"]);
        assert_eq!(chosen(100, None, &all), ["new"]);
    }

    #[test]
    fn who_names_no_track_is_in_none_and_a_missing_canary_is_no_outage() {
        let all = [listed("old", Some(STABLE)), listed("nameless", None)];
        assert_eq!(chosen(50, Some(1), &all), ["old"]);
        assert_eq!(chosen(50, Some(1), &[listed("nameless", None)]), [""; 0]);
    }

    #[test]
    fn without_a_split_everybody_is_called_and_a_user_stays_in_a_bucket() {
        let routing = Routing::default();
        let all = [listed("old", Some(STABLE)), listed("nameless", None)];
        assert_eq!(routing.subset("payment", &all, Some(1)).len(), 2);
        let buckets: Vec<u8> = (0..1_000)
            .map(|user| routing.bucket(&format!("user-{user}")))
            .collect();
        assert!(buckets.iter().all(|bucket| *bucket < 100));
        let few = buckets.iter().filter(|bucket| **bucket < 10).count();
        assert!((60..140).contains(&few), "{few}");
        assert_eq!(routing.bucket("user-1"), buckets[1]);
    }
}
