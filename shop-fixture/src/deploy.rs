//! Owns asking a running shop for deployments and migrations, from another process.

use std::path::Path;

use serde_json::Value;

use crate::error::ShopError;
use crate::remote::{ask, ports};
pub use crate::services::migrations::MigrationPhase;
pub use crate::supervisor::deploy::migration::MigrateRequest;
pub use crate::supervisor::deploy::{DeployRequest, Strategy};

/// Begins a deployment; answers what the supervisor says, with its `deployment_id`.
pub async fn start(run_dir: &Path, request: &DeployRequest) -> Result<Value, ShopError> {
    let url = url(run_dir, "/deployments")?;
    ask(crate::call::http_client().post(&url).json(request), url).await
}

/// All deployments of the run, or one of them.
pub async fn show(run_dir: &Path, id: Option<&str>) -> Result<Value, ShopError> {
    let url = url(
        run_dir,
        &id.map_or("/deployments".to_owned(), |id| format!("/deployments/{id}")),
    )?;
    ask(crate::call::http_client().get(&url), url).await
}

/// Sends a deployment back.
pub async fn roll_back(run_dir: &Path, id: &str) -> Result<Value, ShopError> {
    let url = url(run_dir, &format!("/deployments/{id}/rollback"))?;
    ask(crate::call::http_client().post(&url), url).await
}

/// Makes a deployment that has all the traffic permanent.
pub async fn finish(run_dir: &Path, id: &str) -> Result<Value, ShopError> {
    let url = url(run_dir, &format!("/deployments/{id}/finish"))?;
    ask(crate::call::http_client().post(&url), url).await
}

/// Takes a step of a service's schema migration.
pub async fn migrate(run_dir: &Path, request: &MigrateRequest) -> Result<Value, ShopError> {
    let url = url(run_dir, "/migrations")?;
    ask(crate::call::http_client().post(&url).json(request), url).await
}

fn url(run_dir: &Path, rest: &str) -> Result<String, ShopError> {
    Ok(format!("{}/admin{rest}", ports(run_dir)?.supervisor))
}
