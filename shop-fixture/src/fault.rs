//! Owns asking a running shop for a fault, from another process.

use std::path::Path;

use serde_json::Value;

use crate::error::ShopError;
use crate::faults::FaultRequest;
use crate::remote::{ask, ports};

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
    Ok(format!("{}/admin/faults{rest}", ports(run_dir)?.supervisor))
}
