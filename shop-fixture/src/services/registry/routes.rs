//! Owns how calls are split between the tracks of a service: setting it, telling whoever waits for a change, and keeping
//! it over a restart of the registry.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::replicate::Change;
use super::{Registry, access};
use crate::config::{read_json, write_json};
use crate::discovery::routing::{Route, Routes};
use crate::error::ApiError;
use crate::release::{BLUE, GREEN, STABLE};
use crate::runtime::Rt;
use crate::server::http::{HttpReply, HttpRequest};
use crate::server::parse;
use crate::telemetry::Attributes;

const LONG_POLL: Duration = Duration::from_secs(30);

/// A new split, and what brought it about.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    active_track: String,
    #[serde(default)]
    canary_percent: u8,
    #[serde(default)]
    salt: Option<String>,
    /// The phase of a deployment that this belongs to.
    #[serde(default)]
    phase: Option<String>,
    /// Why a deployment goes back, if it does.
    #[serde(default)]
    rolled_back: Option<String>,
}

pub(super) struct Splits {
    path: PathBuf,
    known: Mutex<Routes>,
    version: watch::Sender<u64>,
}

impl Splits {
    pub(super) fn open(rt: &Rt) -> Self {
        let file = format!("registry-{}-routes.json", rt.ports.instance);
        let path = rt.config.run_dir.join("db").join(file);
        // A file that cannot be read is one that was never written: nothing is split.
        let mut known: Routes = read_json(&path).unwrap_or_default();
        // Nobody who heard another node, or this one before it started again, has heard this.
        known.version = rt.clock.now();
        Self {
            path,
            version: watch::Sender::new(known.version),
            known: Mutex::new(known),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Routes> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, service: &str, route: Route) {
        let mut known = self.lock();
        known.version += 1;
        known.routes.insert(service.to_owned(), route);
        let copy = known.clone();
        drop(known);
        // What counts stands in memory; a full disk costs the split at the next restart.
        let _ = write_json(&self.path, &copy);
        self.version.send_replace(copy.version);
    }
}

/// `GET /registry/routes/{service}`.
pub(super) fn get(registry: &Registry, request: &HttpRequest) -> HttpReply {
    let known = registry.splits.lock();
    let route = known.routes.get(request.param("service"));
    HttpReply::json(200, json!(route.cloned().unwrap_or_default()))
}

/// `GET /registry/routes?since=&wait=`: all of them, as soon as they are others than the caller has seen.
pub(super) async fn all(
    registry: &Arc<Registry>,
    request: &HttpRequest,
) -> Result<HttpReply, ApiError> {
    let number = |name: &str| {
        request
            .query(name)
            .map(|text| text.parse::<u64>())
            .transpose()
            .map_err(|_| ApiError::invalid(format!("{name} must be a whole number")))
    };
    let (since, wait) = (number("since")?, number("wait")?);
    let wait = Duration::from_secs(wait.unwrap_or(0)).min(LONG_POLL);
    let mut version = registry.splits.version.subscribe();
    let mut stopping = registry.rt.stopping();
    if let Some(since) = since {
        tokio::select! {
            _ = version.wait_for(|version| *version != since) => {}
            _ = stopping.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    let known = registry.splits.lock().clone();
    Ok(HttpReply::json(200, json!(known)))
}

/// `PUT /registry/routes/{service}`.
pub(super) fn put(registry: &Registry, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    access::admit(&registry.rt, request)?;
    let setting: Setting = parse(&request.body)?;
    let service = request.param("service");
    if crate::catalog::ServiceSpec::find(service).is_none() {
        return Err(ApiError::not_found(
            "SERVICE_UNKNOWN",
            format!("no service is called '{service}'"),
        ));
    }
    if ![STABLE, BLUE, GREEN].contains(&setting.active_track.as_str()) {
        return Err(ApiError::invalid(
            "active_track must be stable, blue or green",
        ));
    }
    if setting.canary_percent > 100 {
        return Err(ApiError::invalid("canary_percent must be from 0 to 100"));
    }
    let route = apply(registry, service, &setting);
    registry.others.tell(Change::Route {
        service: service.to_owned(),
        setting,
    });
    Ok(HttpReply::json(200, json!(route)))
}

/// Takes a split over, told by a caller or by another node.
pub(super) fn apply(registry: &Registry, service: &str, setting: &Setting) -> Route {
    let route = Route {
        active_track: setting.active_track.clone(),
        canary_percent: setting.canary_percent,
        salt: setting
            .salt
            .clone()
            .unwrap_or_else(|| Route::default().salt),
    };
    registry.splits.put(service, route.clone());
    let reason = format!(
        "calls go to {}, {} per cent of them to the canary",
        route.active_track, route.canary_percent
    );
    registry.change(|table, now| table.route_changed(now, service, reason));
    let telemetry = &registry.rt.telemetry;
    telemetry.metrics().set(
        "canary_traffic_percentage",
        &[("service", service)],
        f64::from(route.canary_percent),
    );
    let about = Attributes::new()
        .with("deploy.service", service)
        .with("deploy.active_track", &route.active_track)
        .with("deploy.canary_percent", i64::from(route.canary_percent))
        .with_some("deploy.phase", setting.phase.as_deref());
    match &setting.rolled_back {
        Some(why) => telemetry.warn(
            "deploy.rolled_back",
            "a deployment went back",
            about.with("error.details", why),
        ),
        None => telemetry.info(
            "deploy.phase_changed",
            "a deployment reached another phase",
            about,
        ),
    }
    route
}
