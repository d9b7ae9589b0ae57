//! Owns asking a service for a step of its schema's migration. The service itself changes its store: nobody else opens it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fleet;
use crate::clock::{Clock, rfc3339};
use crate::error::ApiError;
use crate::release::Release;
use crate::services::migrations::MigrationPhase;
use crate::supervisor::Supervisor;
use crate::truth;

/// Copying many rows takes its time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// `POST /admin/migrations`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrateRequest {
    pub service: String,
    pub phase: MigrationPhase,
}

/// Has one instance of the service take the step. `early` takes the last one while old releases still run.
pub(crate) async fn run(
    supervisor: &Arc<Supervisor>,
    request: &MigrateRequest,
    early: bool,
) -> Result<Value, ApiError> {
    let instances = fleet::running(supervisor, &request.service);
    if instances.is_empty() {
        return Err(ApiError::invalid(format!(
            "no instance of '{}' runs",
            request.service
        )));
    }
    if request.phase == MigrationPhase::Contract && !early {
        let needed = MigrationPhase::Contract.level();
        for managed in &instances {
            let release = Release::load(&supervisor.config.run_dir, &managed.label())
                .map_err(|error| ApiError::internal(error.to_string()))?;
            if release.schema_level < needed {
                return Err(ApiError::invalid(format!(
                    "{} runs {}, which still needs what would be taken away",
                    managed.label(),
                    release.version
                )));
            }
        }
    }
    let managed = &instances[0];
    let url = fleet::admin_url(managed, "/admin/migrations")?;
    let asked = supervisor
        .client
        .post(url)
        .json(&json!({ "phase": request.phase }));
    let answer = asked
        .timeout(TIMEOUT)
        .send()
        .await
        .map_err(|error| fleet::unreachable(managed, &error))?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    if status >= 300 {
        let said = body["error"]["message"].as_str().unwrap_or("refused");
        return Err(ApiError::invalid(said.to_owned()));
    }
    truth::append(
        &supervisor.config.run_dir,
        &json!({
            "at": rfc3339(Clock::new(1.0).now()), "what": "migration", "service": request.service,
            "phase": request.phase, "early": early,
        }),
    );
    Ok(body)
}
