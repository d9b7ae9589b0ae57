//! Owns asking a running shop for a fault, from another process.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::config::PortsFile;
use crate::error::ShopError;
use crate::faults::FaultRequest;

/// Switches a fault on; answers what the supervisor says, with its `fault_id`.
pub async fn start(run_dir: &Path, request: &FaultRequest) -> Result<Value, ShopError> {
    let url = admin_url(run_dir, "")?;
    ask(crate::call::http_client().post(&url).json(request), url).await
}

/// Switches one fault off, or all of them.
pub async fn stop(run_dir: &Path, fault_id: Option<&str>) -> Result<Value, ShopError> {
    let url = admin_url(
        run_dir,
        &fault_id.map(|id| format!("/{id}")).unwrap_or_default(),
    )?;
    ask(crate::call::http_client().delete(&url), url).await
}

/// The faults that are on.
pub async fn active(run_dir: &Path) -> Result<Value, ShopError> {
    let url = admin_url(run_dir, "")?;
    ask(crate::call::http_client().get(&url), url).await
}

fn admin_url(run_dir: &Path, rest: &str) -> Result<String, ShopError> {
    let ports = PortsFile::load(run_dir).map_err(|error| ShopError::NotRunning {
        run_dir: run_dir.to_owned(),
        why: error.to_string(),
    })?;
    Ok(format!("{}/admin/faults{rest}", ports.supervisor))
}

async fn ask(request: reqwest::RequestBuilder, url: String) -> Result<Value, ShopError> {
    let answer = request.timeout(Duration::from_secs(30)).send().await;
    let answer = answer.map_err(|source| ShopError::Call {
        url: url.clone(),
        source,
    })?;
    let status = answer.status().as_u16();
    let body = answer.text().await.map_err(|source| ShopError::Call {
        url: url.clone(),
        source,
    })?;
    if status >= 300 {
        let parsed: Value = serde_json::from_str(&body).unwrap_or_default();
        let body = parsed["error"]["message"]
            .as_str()
            .map_or(body, str::to_owned);
        return Err(ShopError::Refused { url, status, body });
    }
    serde_json::from_str(&body)
        .map_err(|error| ShopError::Internal(format!("{url} answered no JSON: {error}")))
}
