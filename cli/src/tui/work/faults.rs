//! Breaking the bundled shop from the workbench: the faults it knows, which are on, and switching them.

use serde_json::Value;
use shop_fixture::config::ShopConfig;
use shop_fixture::fault;
use shop_fixture::faults::{FaultRequest, kinds};

use super::{Found, Shop};
use crate::error::CliError;
use crate::tui::state::FaultLine;

/// Whom a kind strikes that can strike any service.
const ANY: &str = "payment";

impl Shop {
    /// The shop whose files lie beside a case, if it runs and may be looked at: a drill's may not.
    pub fn beside(case: &std::path::Path) -> Shop {
        Shop::in_folder(&case.with_extension("shop"))
    }

    /// The shop whose files lie in a folder, under the same conditions.
    pub fn in_folder(folder: &std::path::Path) -> Shop {
        let open = ShopConfig::load(folder).is_ok_and(|config| !config.blind);
        let shop = Shop(open.then(|| folder.to_owned()));
        match active(&shop) {
            Ok(_) => shop,
            Err(_) => Shop(None),
        }
    }
}

fn block_on<T>(
    work: impl Future<Output = Result<T, shop_fixture::ShopError>>,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("start the runtime", &error))?;
    Ok(runtime.block_on(work)?)
}

fn folder(shop: &Shop) -> Result<&std::path::Path, CliError> {
    shop.0
        .as_deref()
        .ok_or_else(|| CliError::new("the bundled shop does not run beside this"))
}

/// The faults that are on: id, kind and service of each.
fn active(shop: &Shop) -> Result<Vec<(String, String, String)>, CliError> {
    let found = block_on(fault::active(folder(shop)?))?;
    let list = match &found {
        Value::Array(list) => list.as_slice(),
        other => other["faults"].as_array().map_or(&[][..], Vec::as_slice),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(list
        .iter()
        .map(|fault| {
            (
                text(&fault["fault_id"]),
                text(&fault["kind"]),
                text(&fault["target"]["service"]),
            )
        })
        .collect())
}

pub(super) fn list(shop: &Shop, said: Option<String>) -> Result<Found, CliError> {
    let mut active = active(shop)?;
    let mut lines: Vec<FaultLine> = kinds()
        // What needs to be told more is for the command line.
        .filter(|kind| {
            FaultRequest::new(kind.name, kind.services.first().unwrap_or(&ANY))
                .resolve()
                .is_ok()
        })
        .map(|kind| {
            let on = active.iter().position(|(_, name, _)| name == kind.name);
            let on = on.map(|at| active.remove(at));
            let target = on
                .as_ref()
                .map(|(_, _, service)| service.clone())
                .filter(|service| !service.is_empty())
                .unwrap_or_else(|| (*kind.services.first().unwrap_or(&ANY)).to_owned());
            FaultLine {
                kind: kind.name.to_owned(),
                target,
                what: kind.sentence.to_owned(),
                active: on.map(|(id, _, _)| id),
            }
        })
        .collect();
    lines.extend(active.into_iter().map(|(id, kind, target)| FaultLine {
        kind,
        target,
        what: "switched on from elsewhere".to_owned(),
        active: Some(id),
    }));
    lines.sort_by_key(|line| line.active.is_none());
    Ok(Found::Faults { lines, said })
}

pub(super) fn start(shop: &Shop, kind: &str, target: &str) -> Result<Found, CliError> {
    let request = FaultRequest::new(kind, target);
    request.resolve().map_err(CliError::new)?;
    block_on(fault::start(folder(shop)?, &request))?;
    list(
        shop,
        Some(format!(
            "{kind} is on at {target}; 1 and 7 show what comes of it"
        )),
    )
}

pub(super) fn stop(shop: &Shop, id: &str) -> Result<Found, CliError> {
    block_on(fault::stop(folder(shop)?, Some(id)))?;
    list(shop, Some("ended".to_owned()))
}
