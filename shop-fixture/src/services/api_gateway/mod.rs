//! Owns the gateway: the only way into the shop. Its routes translate JSON to calls of the services behind it.

pub mod edge;
mod passed_on;
mod people;
pub mod ratelimit;
mod rides;
pub mod routes;
mod sagas;

use std::sync::Arc;

use super::{Served, trace_probe};
use crate::error::ShopError;
use crate::runtime::Rt;
use crate::server::admin;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let edge = edge::GatewayEdge::open(rt)?;
    let quotas = Arc::clone(&edge).keep_quotas(Arc::clone(rt));
    let router = routes::router(rt)
        .merge(people::router(rt))
        .merge(sagas::router(rt))
        .merge(passed_on::router(rt))
        .merge(rides::router(rt))
        .merge(trace_probe::entrance(rt))
        .merge(admin::health(rt))
        .with_edge(edge);
    Ok(Served {
        grpc: None,
        http: Some(router),
        background: vec![super::background(quotas)],
    })
}
