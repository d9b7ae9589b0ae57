//! Owns feature-flags: the values of all flags, and telling those who watch. Which flags there are stands in `flags`.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::Served;
use crate::error::{ApiError, ShopError};
use crate::flags::{self, FlagInfo};
use crate::proto::flags as proto;
use crate::proto::flags::flags_service_server::{FlagsService, FlagsServiceServer};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE flags (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    version INTEGER NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE VIEW ledger_flags AS SELECT *, updated_at AS changed_at FROM flags;
";

/// How soon a watcher learns of what another instance has set.
const WATCH: Duration = Duration::from_millis(500);

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &[SCHEMA],
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let keeper = Keeper {
        rt: Arc::clone(rt),
        moved: Arc::new(watch::Sender::new(0)),
    };
    let http = router(&keeper).merge(admin::health(rt));
    Ok(Served {
        grpc: Some(super::with_health(rt, FlagsServiceServer::new(keeper))),
        http: Some(http),
        background: Vec::new(),
    })
}

#[derive(Clone)]
struct Keeper {
    rt: Rt,
    moved: Arc<watch::Sender<u64>>,
}

fn router(keeper: &Keeper) -> Router {
    let (list, read, write) = (keeper.clone(), keeper.clone(), keeper.clone());
    Router::new()
        // Every process asks for the list all the time: as spans these calls would only be noise.
        .route(Method::GET, "/flags", Class::Silent, move |_| {
            let keeper = list.clone();
            async move {
                let rows: Vec<Value> = keeper.all().await?.iter().map(flag_json).collect();
                Ok(HttpReply::json(200, json!({ "flags": rows })))
            }
        })
        .route(
            Method::GET,
            "/flags/{key}",
            Class::Business,
            move |request: HttpRequest| {
                let keeper = read.clone();
                async move {
                    let flag = keeper.one(request.param("key")).await?;
                    Ok(HttpReply::json(200, flag_json(&flag)))
                }
            },
        )
        .route(
            Method::PUT,
            "/flags/{key}",
            Class::Business,
            move |request: HttpRequest| {
                let keeper = write.clone();
                async move {
                    let body: SetBody = parse(&request.body)?;
                    let flag = keeper.set(request.param("key"), body.value).await?;
                    Ok(HttpReply::json(200, flag_json(&flag)))
                }
            },
        )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody {
    value: Value,
}

fn flag_json(flag: &proto::Flag) -> Value {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    json!({
        "key": flag.key,
        "value": value(&flag.value_json),
        "default": value(&flag.default_json),
        "kind": flag.kind,
        "description": flag.description,
        "version": flag.version,
        "updated_at": flag.updated_at,
    })
}

fn known(key: &str) -> Result<&'static FlagInfo, ApiError> {
    FlagInfo::find(key).ok_or_else(|| {
        let keys: Vec<&str> = flags::ALL.iter().map(|flag| flag.key).collect();
        ApiError::not_found(
            "FLAG_NOT_FOUND",
            format!("there is no such flag; there are {}", keys.join(", ")),
        )
    })
}

/// A flag as it stands; one that nobody has set is at its default, version 0.
fn read(tx: &Tx<'_>, info: &FlagInfo) -> Result<proto::Flag, StoreError> {
    let stored = tx.one(
        "SELECT flags",
        "SELECT value, version, updated_at FROM flags WHERE key = ?1",
        [info.key],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, String>(2)?,
            ))
        },
    )?;
    let default_json = info.default_value().to_string();
    let (value_json, version, updated_at) =
        stored.unwrap_or_else(|| (default_json.clone(), 0, String::new()));
    Ok(proto::Flag {
        key: info.key.to_owned(),
        value_json,
        default_json,
        kind: info.kind_text().to_owned(),
        description: info.sentence.to_owned(),
        version,
        updated_at,
    })
}

impl Keeper {
    /// A `flag_flip` fault shows another value; going back, when it ends, is a change as well.
    fn flipped(&self, mut flag: proto::Flag) -> proto::Flag {
        let params = self.rt.faults.find("flag_flip");
        let Some(params) = params.filter(|params| params["key"] == flag.key.as_str()) else {
            return flag;
        };
        let value = match params["value"].as_str() {
            Some("on") => json!(true),
            Some("off") => json!(false),
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => params["value"].clone(),
        };
        if FlagInfo::find(&flag.key).is_some_and(|info| info.check(&value).is_ok()) {
            flag.value_json = value.to_string();
            flag.version += 1;
        }
        flag
    }

    async fn all(&self) -> Result<Vec<proto::Flag>, ApiError> {
        let flags = self
            .rt
            .store()?
            .read::<_, StoreError, _>(|tx| {
                let flags = flags::ALL.iter().map(|info| read(tx, info));
                flags.collect::<Result<Vec<_>, _>>()
            })
            .await?;
        Ok(flags.into_iter().map(|flag| self.flipped(flag)).collect())
    }

    async fn one(&self, key: &str) -> Result<proto::Flag, ApiError> {
        let info = known(key)?;
        let flag = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| read(tx, info))
            .await?;
        Ok(self.flipped(flag))
    }

    async fn set(&self, key: &str, value: Value) -> Result<proto::Flag, ApiError> {
        let info = known(key)?;
        info.check(&value).map_err(|allowed| {
            ApiError::invalid(format!(
                "{} is {}: allowed is {allowed}",
                info.key,
                info.kind_text()
            ))
        })?;
        let text = value.to_string();
        let flag = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| {
                tx.execute(
                    "INSERT flags",
                    "INSERT INTO flags VALUES (?1, ?2, 1, ?3) ON CONFLICT (key) DO UPDATE
                     SET value = excluded.value, version = version + 1, updated_at = excluded.updated_at",
                    (info.key, text, tx.now_text()),
                )?;
                read(tx, info)
            })
            .await?;
        self.rt.telemetry.info(
            "feature_flag.evaluation",
            "feature flag was set",
            flags::told(info.key, &value, "static"),
        );
        self.moved.send_modify(|count| *count += 1);
        Ok(flag)
    }

    async fn evaluate(&self, ask: proto::EvaluateRequest) -> Result<proto::Evaluation, ApiError> {
        let info = known(&ask.key)?;
        let flag = self.one(&ask.key).await?;
        let stored: Value = serde_json::from_str(&flag.value_json).unwrap_or_default();
        let value = info.value_for(&stored, &ask.targeting_key);
        let reason = if flag.version == 0 {
            "default"
        } else {
            "static"
        };
        let variant = match &value {
            Value::Bool(true) => "on".to_owned(),
            Value::Bool(false) => "off".to_owned(),
            other => other.to_string(),
        };
        Ok(proto::Evaluation {
            key: ask.key,
            value_json: value.to_string(),
            variant,
            reason: reason.to_owned(),
        })
    }
}

/// A watcher's place: what it was told last of each flag.
struct Watcher {
    keeper: Keeper,
    moved: watch::Receiver<u64>,
    told: std::collections::HashMap<String, i64>,
    waiting: std::collections::VecDeque<proto::Flag>,
}

impl Watcher {
    async fn next(&mut self) -> Option<proto::Flag> {
        let mut stopping = self.keeper.rt.stopping();
        loop {
            if let Some(flag) = self.waiting.pop_front() {
                return Some(flag);
            }
            let stalled = self.keeper.rt.faults.is_on("stream_stall");
            if !stalled && let Ok(flags) = self.keeper.all().await {
                for flag in flags {
                    if self.told.insert(flag.key.clone(), flag.version) != Some(flag.version) {
                        self.waiting.push_back(flag);
                    }
                }
            }
            if self.waiting.is_empty() {
                tokio::select! {
                    _ = self.moved.changed() => {}
                    () = tokio::time::sleep(WATCH) => {}
                    _ = stopping.changed() => return None,
                }
            }
        }
    }
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl FlagsService for Keeper {
    async fn evaluate(
        &self,
        request: Request<proto::EvaluateRequest>,
    ) -> Result<Response<proto::Evaluation>, Status> {
        answer(Keeper::evaluate(self, request.into_inner()).await)
    }

    async fn list_flags(
        &self,
        _request: Request<proto::ListFlagsRequest>,
    ) -> Result<Response<proto::FlagList>, Status> {
        answer(self.all().await.map(|flags| proto::FlagList { flags }))
    }

    async fn set_flag(
        &self,
        request: Request<proto::SetFlagRequest>,
    ) -> Result<Response<proto::Flag>, Status> {
        let ask = request.into_inner();
        let set = async {
            let value = serde_json::from_str(&ask.value_json)
                .map_err(|error| ApiError::invalid(format!("value_json is no JSON: {error}")))?;
            self.set(&ask.key, value).await
        };
        answer(set.await)
    }

    async fn watch_flags(
        &self,
        _request: Request<proto::ListFlagsRequest>,
    ) -> Result<Response<tonic::codegen::BoxStream<proto::Flag>>, Status> {
        let watcher = Watcher {
            keeper: self.clone(),
            moved: self.moved.subscribe(),
            told: std::collections::HashMap::new(),
            waiting: std::collections::VecDeque::new(),
        };
        let flags = futures_util::stream::unfold(watcher, |mut watcher| async move {
            let flag = watcher.next().await?;
            Some((Ok(flag), watcher))
        });
        Ok(Response::new(Box::pin(flags)))
    }
}
