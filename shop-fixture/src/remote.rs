//! Owns asking the processes of a running shop something from outside: where they listen, and one request.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::config::PortsFile;
use crate::error::ShopError;

/// Where the shop of a run directory listens.
pub(crate) fn ports(run_dir: &Path) -> Result<PortsFile, ShopError> {
    PortsFile::load(run_dir).map_err(|error| ShopError::NotRunning {
        run_dir: run_dir.to_owned(),
        why: error.to_string(),
    })
}

/// The HTTP address of a service's first instance.
pub(crate) fn http_url(run_dir: &Path, service: &str) -> Result<String, ShopError> {
    let ports = ports(run_dir)?;
    ports
        .instances
        .iter()
        .filter(|instance| instance.service == service)
        .find_map(|instance| instance.http)
        .map(|port| format!("http://127.0.0.1:{port}"))
        .ok_or_else(|| ShopError::NotRunning {
            run_dir: run_dir.to_owned(),
            why: format!("{service} is not up"),
        })
}

pub(crate) async fn ask(request: reqwest::RequestBuilder, url: String) -> Result<Value, ShopError> {
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
