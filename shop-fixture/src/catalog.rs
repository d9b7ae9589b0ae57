//! Owns the table of services: names, numbers, namespaces, protocols, base latencies, instance counts and what is needed
//! before a service may call itself ready. Leaves everything that happens at run time to the services themselves.

use crate::config::{Profile, ShopConfig};

/// One row of the service table.
#[derive(Debug)]
pub struct ServiceSpec {
    pub number: u16,
    pub name: &'static str,
    pub namespace: &'static str,
    pub criticality: &'static str,
    pub http: bool,
    pub grpc: bool,
    /// Slept once per handled business request, in milliseconds, uniformly drawn.
    pub base_latency_ms: (f64, f64),
    /// The background error share under `--noise ta`.
    pub noise: f64,
    pub instances: Instances,
    /// What the registry's metadata tells of the data kept here.
    pub labels: &'static [(&'static str, &'static str)],
    /// Services that must be resolvable before this one is ready.
    pub essential: &'static [&'static str],
    /// Services start in rising order of this number; equal ones start together.
    pub start_wave: u8,
}

#[derive(Debug)]
pub struct Instances {
    pub default: u16,
    pub full: u16,
}

const fn counts(default: u16, full: u16) -> Instances {
    Instances { default, full }
}

pub const REGISTRY: &str = "registry";
pub const GATEWAY: &str = "api-gateway";
pub const CHECKOUT: &str = "checkout";
pub const ORDERS: &str = "order-management";
pub const PAYMENT: &str = "payment";
pub const INVENTORY: &str = "inventory";
pub const SHIPPING: &str = "shipping";
pub const BUS: &str = "message-bus";
pub const NOTIFICATION: &str = "notification";
pub const CATALOG: &str = "product-catalog";
pub const USERS: &str = "user-management";
pub const CART: &str = "shopping-cart";
pub const FLAGS: &str = "feature-flags";
pub const FRAUD: &str = "fraud-detection";
pub const ACCOUNTING: &str = "accounting";
pub const ETL: &str = "etl";
pub const SEARCH: &str = "search";
pub const REVIEWS: &str = "reviews";

/// Every service that can be started, by number.
pub const SERVICES: &[ServiceSpec] = &[
    ServiceSpec {
        number: 0,
        name: GATEWAY,
        namespace: "sf-gateway",
        criticality: "critical",
        http: true,
        grpc: false,
        base_latency_ms: (5.0, 15.0),
        noise: 0.0,
        instances: counts(1, 3),
        labels: &[],
        essential: &[CHECKOUT, ORDERS],
        start_wave: 5,
    },
    ServiceSpec {
        number: 1,
        name: CATALOG,
        namespace: "sf-products",
        criticality: "high",
        http: true,
        grpc: true,
        base_latency_ms: (15.0, 50.0),
        noise: 0.01,
        instances: counts(2, 3),
        labels: &[],
        essential: &[INVENTORY],
        start_wave: 3,
    },
    ServiceSpec {
        number: 2,
        name: SEARCH,
        namespace: "sf-products",
        criticality: "high",
        http: true,
        grpc: false,
        base_latency_ms: (20.0, 80.0),
        noise: 0.015,
        instances: counts(1, 3),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 3,
        name: INVENTORY,
        namespace: "sf-products",
        criticality: "high",
        http: true,
        grpc: true,
        base_latency_ms: (10.0, 40.0),
        noise: 0.008,
        instances: counts(2, 2),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 4,
        name: REVIEWS,
        namespace: "sf-products",
        criticality: "medium",
        http: true,
        grpc: false,
        base_latency_ms: (15.0, 60.0),
        noise: 0.02,
        instances: counts(1, 2),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 5,
        name: USERS,
        namespace: "sf-users",
        criticality: "high",
        http: true,
        grpc: true,
        base_latency_ms: (10.0, 35.0),
        noise: 0.005,
        instances: counts(1, 3),
        labels: &[("pii", "enabled")],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 6,
        name: CART,
        namespace: "sf-shopping",
        criticality: "high",
        http: true,
        grpc: false,
        base_latency_ms: (12.0, 45.0),
        noise: 0.01,
        instances: counts(1, 3),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 7,
        name: CHECKOUT,
        namespace: "sf-shopping",
        criticality: "critical",
        http: true,
        grpc: true,
        base_latency_ms: (25.0, 100.0),
        noise: 0.008,
        instances: counts(1, 3),
        labels: &[],
        essential: &[ORDERS],
        start_wave: 4,
    },
    ServiceSpec {
        number: 8,
        name: ORDERS,
        namespace: "sf-orders",
        criticality: "critical",
        http: false,
        grpc: true,
        base_latency_ms: (20.0, 70.0),
        noise: 0.01,
        instances: counts(2, 3),
        labels: &[],
        essential: &[PAYMENT, INVENTORY, SHIPPING],
        start_wave: 3,
    },
    ServiceSpec {
        number: 9,
        name: SHIPPING,
        namespace: "sf-orders",
        criticality: "high",
        http: true,
        grpc: false,
        base_latency_ms: (30.0, 120.0),
        noise: 0.015,
        instances: counts(1, 2),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 10,
        name: PAYMENT,
        namespace: "sf-payments",
        criticality: "critical",
        http: true,
        grpc: true,
        base_latency_ms: (50.0, 200.0),
        noise: 0.005,
        instances: counts(2, 3),
        labels: &[("security", "high"), ("pci-compliant", "true")],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 11,
        name: BUS,
        namespace: "sf-infra",
        criticality: "critical",
        http: true,
        grpc: false,
        base_latency_ms: (2.0, 10.0),
        noise: 0.002,
        instances: counts(1, 3),
        labels: &[],
        essential: &[],
        start_wave: 1,
    },
    ServiceSpec {
        number: 12,
        name: NOTIFICATION,
        namespace: "sf-infra",
        criticality: "medium",
        http: true,
        grpc: false,
        base_latency_ms: (80.0, 250.0),
        noise: 0.02,
        instances: counts(1, 2),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 13,
        name: REGISTRY,
        namespace: "sf-infra",
        criticality: "critical",
        http: true,
        grpc: false,
        base_latency_ms: (0.0, 0.0),
        noise: 0.0,
        instances: counts(1, 1),
        labels: &[],
        essential: &[],
        start_wave: 0,
    },
    ServiceSpec {
        number: 14,
        name: FLAGS,
        namespace: "sf-infra",
        criticality: "high",
        http: true,
        grpc: true,
        base_latency_ms: (2.0, 8.0),
        noise: 0.0,
        instances: counts(1, 1),
        labels: &[],
        essential: &[],
        start_wave: 1,
    },
    ServiceSpec {
        number: 15,
        name: FRAUD,
        namespace: "sf-payments",
        criticality: "medium",
        http: true,
        grpc: true,
        base_latency_ms: (20.0, 90.0),
        noise: 0.0,
        instances: counts(1, 1),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 16,
        name: ACCOUNTING,
        namespace: "sf-payments",
        criticality: "medium",
        http: true,
        grpc: true,
        base_latency_ms: (10.0, 40.0),
        noise: 0.0,
        instances: counts(1, 1),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
    ServiceSpec {
        number: 17,
        name: ETL,
        namespace: "sf-infra",
        criticality: "low",
        http: true,
        grpc: false,
        // A run of its job takes 200 to 800 ms; what it serves beside takes none.
        base_latency_ms: (0.0, 0.0),
        noise: 0.0,
        instances: counts(1, 1),
        labels: &[],
        essential: &[],
        start_wave: 2,
    },
];

/// Ports beside the numbered ones when `--ports fixed`.
pub const FIXED_GATEWAY_PORT: u16 = 8080;
pub const FIXED_REGISTRY_PORT: u16 = 8081;
pub const FIXED_SUPERVISOR_PORT: u16 = 8082;

impl ServiceSpec {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static ServiceSpec> {
        SERVICES.iter().find(|spec| spec.name == name)
    }

    #[must_use]
    pub fn instance_count(&self, config: &ShopConfig) -> u16 {
        match config.profile {
            _ if self.name == REGISTRY => config.registry_nodes,
            Profile::Tiny => 1,
            Profile::Default => self.instances.default,
            Profile::Full => self.instances.full,
        }
    }

    #[must_use]
    pub fn fixed_http_port(&self, instance: u16) -> u16 {
        match (self.name, instance) {
            (GATEWAY, 0) => FIXED_GATEWAY_PORT,
            (REGISTRY, 0) => FIXED_REGISTRY_PORT,
            _ => 8100 + 10 * self.number + instance,
        }
    }

    #[must_use]
    pub fn fixed_grpc_port(&self, instance: u16) -> u16 {
        9100 + 10 * self.number + instance
    }

    #[must_use]
    pub fn fixed_admin_port(&self, instance: u16) -> u16 {
        9300 + 10 * self.number + instance
    }

    #[must_use]
    pub fn protocols(&self) -> &'static str {
        match (self.http, self.grpc) {
            (true, true) => "http,grpc",
            (false, true) => "grpc",
            _ => "http",
        }
    }
}
