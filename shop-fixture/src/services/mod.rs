//! Owns the services, one module each: what it serves, what it keeps, what runs beside its requests. `start` finds the
//! one that a process is to be.

pub mod accounting;
pub mod api_gateway;
pub mod checkout;
pub mod etl;
pub mod feature_flags;
pub mod fraud_detection;
pub mod inventory;
pub mod keyed;
pub mod message_bus;
pub mod migrations;
pub mod notification;
pub mod order_management;
pub mod payment;
pub mod processor;
pub mod product_catalog;
pub mod registry;
pub mod reviews;
pub mod search;
pub mod shipping;
pub mod shopping_cart;
pub mod trace_probe;
pub mod user_management;

use std::pin::Pin;
use std::sync::Arc;

use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower_service::Service;

use crate::catalog::{
    ACCOUNTING, BUS, CART, CATALOG, CHECKOUT, ETL, FLAGS, FRAUD, GATEWAY, INVENTORY, NOTIFICATION,
    ORDERS, PAYMENT, REGISTRY, REVIEWS, SEARCH, SHIPPING, USERS,
};
use crate::error::ShopError;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::health_server::{Health, HealthServer};
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse};
use crate::runtime::Rt;
use crate::server::http::Router;

pub type Background = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a service wants run.
pub struct Served {
    pub grpc: Option<Routes>,
    pub http: Option<Router>,
    pub background: Vec<Background>,
}

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    match rt.spec.name {
        GATEWAY => api_gateway::start(rt),
        BUS => message_bus::start(rt),
        CATALOG => product_catalog::start(rt),
        CHECKOUT => checkout::start(rt),
        INVENTORY => inventory::start(rt),
        NOTIFICATION => notification::start(rt),
        ORDERS => order_management::start(rt),
        PAYMENT => payment::start(rt),
        REGISTRY => registry::start(rt),
        SHIPPING => shipping::start(rt),
        ACCOUNTING => accounting::start(rt),
        CART => shopping_cart::start(rt),
        ETL => etl::start(rt),
        FRAUD => fraud_detection::start(rt),
        REVIEWS => reviews::start(rt),
        SEARCH => search::start(rt),
        FLAGS => feature_flags::start(rt),
        USERS => user_management::start(rt),
        other => Err(ShopError::Internal(format!(
            "{other} has no implementation"
        ))),
    }
}

pub fn background(work: impl Future<Output = ()> + Send + 'static) -> Background {
    Box::pin(work)
}

/// A gRPC service beside the standard health service.
pub fn with_health<S>(rt: &Rt, service: S) -> Routes
where
    S: Service<http::Request<Body>, Error = std::convert::Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: Into<http::Response<Body>> + Send + 'static,
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    Routes::new(HealthServer::new(Serving { rt: Arc::clone(rt) }))
        .add_service(service)
        .prepare()
}

struct Serving {
    rt: Rt,
}

#[tonic::async_trait]
impl Health for Serving {
    async fn check(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let serving = self.rt.is_ready() && !self.rt.is_draining();
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }
}
