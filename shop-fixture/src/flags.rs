//! Owns what the shop's code sees of feature flags: which there are, and this process's copy of their values. The copy is
//! refreshed in the background, never while a request waits; the service that keeps the flags stands with the services.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::call::http_client;
use crate::catalog::{BUS, FLAGS, REGISTRY};
use crate::discovery;
use crate::error::ShopError;
use crate::remote::{ask, http_url};
use crate::rng::fnv1a;
use crate::runtime::Rt;
use crate::telemetry::Attributes;

pub const FRAUD_SYNC: &str = "fraud-sync";
pub const REVIEWS_ENABLED: &str = "reviews-enabled";
pub const SEARCH_RECOMMENDATIONS: &str = "search-recommendations";
pub const DEGRADED_CATALOG: &str = "degraded-catalog";
pub const HTTP_POOL_SIZE: &str = "http-pool-size";
pub const EVENTS_SCHEMA_V2: &str = "events-schema-v2";
pub const NEW_PRICING: &str = "new-pricing";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Switch,
    /// A number from 1 to 1000.
    Count,
    /// On for a share of the users, in per cent.
    Rollout,
}

#[derive(Debug)]
pub struct FlagInfo {
    pub key: &'static str,
    pub kind: Kind,
    default: i64,
    pub sentence: &'static str,
}

/// Every flag there is.
pub const ALL: &[FlagInfo] = &[
    FlagInfo {
        key: FRAUD_SYNC,
        kind: Kind::Switch,
        default: 0,
        sentence: "payment asks fraud-detection before it charges",
    },
    FlagInfo {
        key: REVIEWS_ENABLED,
        kind: Kind::Switch,
        default: 1,
        sentence: "reviews are shown and taken",
    },
    FlagInfo {
        key: SEARCH_RECOMMENDATIONS,
        kind: Kind::Switch,
        default: 1,
        sentence: "search recommends what was bought together, not only what sells best",
    },
    FlagInfo {
        key: DEGRADED_CATALOG,
        kind: Kind::Switch,
        default: 0,
        sentence: "the catalogue shows the last known stock and asks nobody",
    },
    FlagInfo {
        key: HTTP_POOL_SIZE,
        kind: Kind::Count,
        default: 20,
        sentence: "calls that a process makes to one service at the same time",
    },
    FlagInfo {
        key: EVENTS_SCHEMA_V2,
        kind: Kind::Switch,
        default: 0,
        sentence: "events name the second version of their schema",
    },
    FlagInfo {
        key: NEW_PRICING,
        kind: Kind::Rollout,
        default: 0,
        sentence: "carts of this share of the users, in per cent, cost a twentieth less",
    },
];

impl FlagInfo {
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        ALL.iter().find(|flag| flag.key == key)
    }

    #[must_use]
    pub fn default_value(&self) -> Value {
        match self.kind {
            Kind::Switch => json!(self.default != 0),
            Kind::Count | Kind::Rollout => json!(self.default),
        }
    }

    #[must_use]
    pub fn kind_text(&self) -> &'static str {
        match self.kind {
            Kind::Switch => "switch",
            Kind::Count => "count",
            Kind::Rollout => "rollout",
        }
    }

    /// What the flag can be set to, if `value` is none of it.
    pub fn check(&self, value: &Value) -> Result<(), &'static str> {
        let within = |low: i64, high: i64| {
            value
                .as_i64()
                .is_some_and(|number| (low..=high).contains(&number))
        };
        match self.kind {
            Kind::Switch if !value.is_boolean() => Err("true or false"),
            Kind::Count if !within(1, 1_000) => Err("a number from 1 to 1000"),
            Kind::Rollout if !within(0, 100) => Err("a share from 0 to 100"),
            _ => Ok(()),
        }
    }

    /// The value for one user: a rollout is a truth for each of them, always the same one.
    #[must_use]
    pub fn value_for(&self, value: &Value, targeting_key: &str) -> Value {
        match self.kind {
            Kind::Switch | Kind::Count => value.clone(),
            Kind::Rollout => {
                let bucket = fnv1a(format!("{}:{targeting_key}", self.key).as_bytes()) % 100;
                json!((bucket as i64) < value.as_i64().unwrap_or(0))
            }
        }
    }
}

/// This process's copy of the flags; the defaults until it was fetched once.
pub struct Flags {
    values: Mutex<BTreeMap<&'static str, Value>>,
}

impl Flags {
    #[must_use]
    pub fn new() -> Self {
        let values = ALL.iter().map(|flag| (flag.key, flag.default_value()));
        Self {
            values: Mutex::new(values.collect()),
        }
    }

    fn value(&self, key: &'static str) -> Value {
        self.values
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
            .unwrap_or_default()
    }

    /// Whether a switch is on; for what is looked at so often that telling of it would drown everything else.
    #[must_use]
    pub fn is_set(&self, key: &'static str) -> bool {
        self.value(key) == true
    }

    /// How many of something; for settings that are read all the time, so the reading itself is not told.
    #[must_use]
    pub fn count(&self, key: &'static str) -> usize {
        self.value(key)
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(1)
            .max(1)
    }

    /// Takes the values over and says which have changed.
    fn replace(&self, fetched: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::new();
        for (key, value) in fetched {
            if values.get(key) != Some(value) {
                values.insert(key, value.clone());
                changed.push((*key, value.clone()));
            }
        }
        changed
    }
}

impl Default for Flags {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a switch is on, as far as this process knows.
#[must_use]
pub fn is_on(rt: &Rt, key: &'static str) -> bool {
    is_on_for(rt, key, "")
}

/// The same for a rollout, which may be on for one user and off for another.
#[must_use]
pub fn is_on_for(rt: &Rt, key: &'static str, targeting_key: &str) -> bool {
    let stored = rt.flags.value(key);
    let value =
        FlagInfo::find(key).map_or(Value::Null, |flag| flag.value_for(&stored, targeting_key));
    let reason = if FlagInfo::find(key).is_some_and(|flag| flag.kind == Kind::Rollout) {
        "split"
    } else {
        "cached"
    };
    rt.telemetry.debug(
        "feature_flag.evaluation",
        "feature flag evaluated",
        told(key, &value, reason),
    );
    value == true
}

pub(crate) fn told(key: &str, value: &Value, reason: &'static str) -> Attributes {
    let variant = match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        other => other.to_string(),
    };
    Attributes::new()
        .with("feature_flag.key", key)
        .with("feature_flag.result.variant", variant)
        .with("feature_flag.result.reason", reason)
        .with("feature_flag.provider.name", "shop-flags")
}

const REFRESH: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a service has any use for flags: those that call nobody have none.
fn is_client(service: &str) -> bool {
    !matches!(service, REGISTRY | BUS | FLAGS)
}

/// Fetches all values now and then. Without an answer the last ones stay.
pub async fn keep_fresh(rt: Rt) {
    if !is_client(rt.spec.name) {
        return;
    }
    let task = rt.tasks.begin("flag_refresh");
    let mut stopping = rt.stopping();
    loop {
        task.tick();
        if let Some(fetched) = fetch(&rt).await {
            for (key, value) in rt.flags.replace(&fetched) {
                rt.telemetry.info(
                    "feature_flag.evaluation",
                    "feature flag has a new value here",
                    told(key, &value, "static"),
                );
            }
        }
        tokio::select! {
            () = tokio::time::sleep(rt.clock.scaled(REFRESH)) => {}
            _ = stopping.changed() => return,
        }
    }
}

async fn fetch(rt: &Rt) -> Option<Vec<(&'static str, Value)>> {
    if crate::faults::is_cut_off(rt, FLAGS) {
        return None;
    }
    let instance = discovery::find_quietly(rt, FLAGS).await?;
    let url = format!("http://{}:{}/flags", instance.host, instance.http_port);
    let answer = rt.connections.http.get(url).timeout(TIMEOUT).send().await;
    let answer = match answer {
        Ok(answer) if answer.status().is_success() => answer,
        _ => {
            rt.discovery.skip(rt, FLAGS, &instance.id);
            return None;
        }
    };
    let body: Value = answer.json().await.ok()?;
    let mut fetched = Vec::new();
    for row in body["flags"].as_array()? {
        // A flag that this version of the shop does not know is none of its business.
        if let Some(flag) = row["key"].as_str().and_then(FlagInfo::find)
            && flag.check(&row["value"]).is_ok()
        {
            fetched.push((flag.key, row["value"].clone()));
        }
    }
    Some(fetched)
}

/// Every flag of a running shop, from another process.
pub async fn list(run_dir: &Path) -> Result<Vec<Value>, ShopError> {
    let url = format!("{}/flags", http_url(run_dir, FLAGS)?);
    let mut answer = ask(http_client().get(&url), url).await?;
    Ok(answer["flags"]
        .take()
        .as_array()
        .cloned()
        .unwrap_or_default())
}

/// Sets a flag of a running shop; every process knows within ten seconds of the shop's time.
pub async fn set(run_dir: &Path, key: &str, value: &Value) -> Result<Value, ShopError> {
    let flag = FlagInfo::find(key).ok_or_else(|| ShopError::Option {
        option: "flag",
        value: key.to_owned(),
        allowed: ALL
            .iter()
            .map(|flag| flag.key)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    flag.check(value).map_err(|allowed| ShopError::Option {
        option: flag.key,
        value: value.to_string(),
        allowed: allowed.to_owned(),
    })?;
    let url = format!("{}/flags/{key}", http_url(run_dir, FLAGS)?);
    ask(
        http_client().put(&url).json(&json!({ "value": value })),
        url,
    )
    .await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn defaults_are_valid_and_values_of_another_kind_are_refused() {
        for flag in ALL {
            assert_eq!(flag.check(&flag.default_value()), Ok(()), "{}", flag.key);
            assert!(flag.check(&json!("on")).is_err() && flag.check(&json!(-1)).is_err());
        }
        assert!(
            FlagInfo::find(HTTP_POOL_SIZE)
                .unwrap()
                .check(&json!(0))
                .is_err()
        );
    }

    #[test]
    fn a_rollout_reaches_its_share_of_the_users_and_always_the_same_ones() {
        let flag = FlagInfo::find(NEW_PRICING).unwrap();
        let on = |share: i64| {
            (0..1_000)
                .filter(|user| flag.value_for(&json!(share), &format!("user-{user}")) == true)
                .collect::<Vec<_>>()
        };
        assert_eq!((on(0).len(), on(100).len()), (0, 1_000));
        let (few, more) = (on(10), on(30));
        assert!((60..140).contains(&few.len()), "{}", few.len());
        assert!(few.iter().all(|user| more.contains(user)));
    }

    #[test]
    fn only_changes_are_told() {
        let flags = Flags::new();
        assert_eq!(flags.replace(&[(FRAUD_SYNC, json!(false))]), []);
        let changed = flags.replace(&[(FRAUD_SYNC, json!(true)), (HTTP_POOL_SIZE, json!(3))]);
        assert_eq!(changed.len(), 2);
        assert_eq!(flags.count(HTTP_POOL_SIZE), 3);
    }
}
