//! Owns the routes of the supervisor's port.

use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::deploy::migration::{self, MigrateRequest};
use super::deploy::{self, DeployRequest, Wish};
use super::{Supervisor, debug, faults};
use crate::config::InstancePorts;
use crate::error::ApiError;
use crate::faults::FaultRequest;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::parse;

pub(super) fn router(supervisor: &Arc<Supervisor>) -> Router {
    let mut router = Router::new();
    // One line per route; each handler gets the supervisor.
    macro_rules! route {
        ($method:ident $path:literal $handler:expr) => {
            let shared = Arc::clone(supervisor);
            router = router.route(
                Method::$method,
                $path,
                Class::Silent,
                move |request: HttpRequest| {
                    let supervisor = Arc::clone(&shared);
                    async move { $handler(supervisor, request).await }
                },
            );
        };
    }
    route!(GET "/health/live" live);
    route!(POST "/internal/ready" ready);
    route!(POST "/admin/shutdown" shutdown);
    route!(POST "/admin/faults" start_fault);
    route!(GET "/admin/faults" list_faults);
    route!(DELETE "/admin/faults" stop_faults);
    route!(DELETE "/admin/faults/{id}" stop_fault);
    route!(POST "/admin/deployments" start_deployment);
    route!(GET "/admin/deployments" list_deployments);
    route!(GET "/admin/deployments/{id}" show_deployment);
    route!(POST "/admin/deployments/{id}/rollback" roll_back);
    route!(POST "/admin/deployments/{id}/finish" finish);
    route!(POST "/admin/migrations" migrate);
    route!(GET "/debug/registry/services" debug::registry_services);
    route!(GET "/debug/registry/health" debug::registry_health);
    route!(GET "/debug/sagas/{which}" debug::sagas);
    route!(GET "/debug/ledgers" debug::ledger_names);
    route!(GET "/debug/ledgers/check" debug::check_ledgers);
    route!(GET "/debug/ledgers/{name}" debug::ledger);
    route!(GET "/debug/breakers" debug::breakers);
    route!(GET "/debug/outbox" debug::outbox);
    route!(GET "/debug/dlq" debug::dead_letters);
    route!(GET "/debug/traces/recent" debug::recent_traces);
    route!(GET "/debug/metrics/services" debug::service_metrics);
    route!(GET "/debug/config" debug::config);
    route!(GET "/debug/processes" debug::processes);
    route!(GET "/debug/faults" debug_faults);
    router
}

type Answer = Result<HttpReply, ApiError>;

async fn live(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    let all = supervisor
        .instances()
        .iter()
        .all(|managed| managed.is_ready());
    Ok(HttpReply::json(
        200,
        json!({ "status": "pass", "ready": all }),
    ))
}

async fn ready(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let ports: InstancePorts = parse(&request.body)?;
    if supervisor.on_ready(ports) {
        Ok(HttpReply::json(200, json!({})))
    } else {
        Err(ApiError::not_found(
            "INSTANCE_UNKNOWN",
            "this supervisor started no such instance",
        ))
    }
}

async fn shutdown(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    supervisor.asked_to_stop.send_replace(true);
    Ok(HttpReply::json(202, json!({ "stopping": true })))
}

async fn start_fault(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let fault: FaultRequest = parse(&request.body)?;
    Ok(HttpReply::json(
        201,
        faults::start(&supervisor, fault).await?,
    ))
}

async fn list_faults(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    Ok(HttpReply::json(200, faults::list(&supervisor)))
}

async fn stop_faults(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    Ok(HttpReply::json(200, faults::stop(&supervisor, None).await?))
}

async fn stop_fault(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    Ok(HttpReply::json(
        200,
        faults::stop(&supervisor, Some(request.param("id"))).await?,
    ))
}

async fn start_deployment(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let asked: DeployRequest = parse(&request.body)?;
    Ok(HttpReply::json(201, deploy::start(&supervisor, asked)?))
}

async fn list_deployments(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    Ok(HttpReply::json(200, deploy::list(&supervisor)))
}

async fn show_deployment(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let shown = deploy::show(&supervisor, request.param("id"))?;
    Ok(HttpReply::json(200, shown))
}

async fn roll_back(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let told = deploy::wish(&supervisor, request.param("id"), Wish::RollBack)?;
    Ok(HttpReply::json(202, told))
}

async fn finish(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let told = deploy::wish(&supervisor, request.param("id"), Wish::Finish)?;
    Ok(HttpReply::json(202, told))
}

async fn migrate(supervisor: Arc<Supervisor>, request: HttpRequest) -> Answer {
    let asked: MigrateRequest = parse(&request.body)?;
    let done = migration::run(&supervisor, &asked, false).await?;
    Ok(HttpReply::json(200, done))
}

/// The same list, for whoever debugs; nobody may look there in blind mode.
async fn debug_faults(supervisor: Arc<Supervisor>, _request: HttpRequest) -> Answer {
    if supervisor.config.blind {
        return Err(ApiError::not_found(
            "NOT_FOUND",
            "there is nothing at this path",
        ));
    }
    Ok(HttpReply::json(200, faults::list(&supervisor)))
}
