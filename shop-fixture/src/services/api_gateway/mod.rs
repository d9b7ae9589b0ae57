//! Owns the gateway: the only way into the shop. Its routes translate JSON to calls of the services behind it.

pub mod edge;
pub mod routes;

use std::sync::Arc;

use super::Served;
use crate::runtime::Rt;
use crate::server::admin;

pub fn start(rt: &Rt) -> Served {
    let router = routes::router(rt)
        .merge(admin::health(rt))
        .with_edge(Arc::new(edge::GatewayEdge));
    Served {
        grpc: None,
        http: Some(router),
        background: Vec::new(),
    }
}
