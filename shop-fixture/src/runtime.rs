//! Owns what every service process has: its settings, identity, clock, telemetry, faults, lookup, connections and store.
//! One `Runtime` per process, shared by all its code as `Rt`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::call::Connections;
use crate::catalog::ServiceSpec;
use crate::clock::Clock;
use crate::config::{InstancePorts, ShopConfig};
use crate::discovery::{Discovery, Nodes};
use crate::error::ApiError;
use crate::faults::Faults;
use crate::flags::Flags;
use crate::release::Release;
use crate::resilience::Resilience;
use crate::rng::Rng;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::telemetry::Telemetry;

pub type Rt = Arc<Runtime>;

/// Business requests that a process works on at once; others wait for their turn.
const REQUESTS_AT_ONCE: usize = 100;

/// Traces whose handled requests are counted; older ones are forgotten.
const REMEMBERED_TRACES: usize = 4_096;

pub struct Runtime {
    pub config: ShopConfig,
    pub release: Release,
    pub spec: &'static ServiceSpec,
    pub ports: InstancePorts,
    pub clock: Arc<Clock>,
    pub telemetry: Telemetry,
    pub faults: Faults,
    pub flags: Flags,
    pub discovery: Discovery,
    pub connections: Connections,
    pub resilience: Resilience,
    pub tasks: Tasks,
    /// Held while what the registry is told about this instance is changed or sent.
    pub metadata_lock: tokio::sync::Mutex<()>,
    store: OnceLock<Store>,
    routes: OnceLock<Vec<(String, &'static str)>>,
    ready: AtomicBool,
    /// Registered as starting until the supervisor lets it take calls.
    held: watch::Sender<bool>,
    draining: watch::Sender<bool>,
    in_flight: AtomicI64,
    turns: Arc<Semaphore>,
    idle: Notify,
    ordinals: Mutex<Ordinals>,
}

#[derive(Default)]
struct Ordinals {
    counts: HashMap<[u8; 16], u64>,
    order: VecDeque<[u8; 16]>,
}

impl Runtime {
    #[must_use]
    pub fn new(
        config: ShopConfig,
        release: Release,
        spec: &'static ServiceSpec,
        ports: InstancePorts,
        clock: Arc<Clock>,
        telemetry: Telemetry,
        registries: Vec<String>,
    ) -> Rt {
        let rt = Arc::new(Self {
            tasks: Tasks::default(),
            metadata_lock: tokio::sync::Mutex::new(()),
            discovery: Discovery::new(Nodes::new(
                registries,
                usize::from(spec.number + ports.instance),
            )),
            connections: Connections::new(),
            resilience: Resilience::new(),
            faults: Faults::new(),
            flags: Flags::new(),
            turns: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            store: OnceLock::new(),
            routes: OnceLock::new(),
            ready: AtomicBool::new(false),
            held: watch::Sender::new(release.held),
            draining: watch::Sender::new(false),
            in_flight: AtomicI64::new(0),
            idle: Notify::new(),
            ordinals: Mutex::new(Ordinals::default()),
            config,
            release,
            spec,
            ports,
            clock,
            telemetry,
        });
        let known = Arc::downgrade(&rt);
        rt.telemetry.gather_from(move |metrics| {
            if let Some(rt) = known.upgrade() {
                rt.resilience.expose(rt.spec.name, metrics);
                rt.resilience.bulkheads.expose(&rt);
                rt.discovery.expose(&rt);
                rt.tasks.expose(metrics);
            }
        });
        rt
    }

    /// Whether it is still to be registered as starting.
    #[must_use]
    pub fn is_held(&self) -> bool {
        *self.held.borrow()
    }

    /// Lets it take calls.
    pub fn admit(&self) {
        self.held.send_replace(false);
    }

    /// Hears when it may take calls.
    #[must_use]
    pub fn admission(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    /// Gives the service its store; a second one is ignored.
    pub fn set_store(&self, store: Store) {
        let _ = self.store.set(store);
    }

    /// Notes what the business port serves; the first note stands.
    pub fn set_routes(&self, routes: Vec<(String, &'static str)>) {
        let _ = self.routes.set(routes);
    }

    #[must_use]
    pub fn routes(&self) -> &[(String, &'static str)] {
        self.routes.get().map_or(&[], Vec::as_slice)
    }

    pub fn store(&self) -> Result<&Store, ApiError> {
        self.store
            .get()
            .ok_or_else(|| ApiError::internal("this service keeps no store"))
    }

    #[must_use]
    pub fn has_store(&self) -> bool {
        self.store.get().is_some()
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Changes to `true` when the process is to stop.
    #[must_use]
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }

    /// Counts a request in, until the guard goes.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> InFlight {
        let now = self.in_flight.fetch_add(1, Ordering::AcqRel) + 1;
        self.telemetry.metrics().set(
            "testservice_active_requests",
            &self.own_labels(),
            now as f64,
        );
        InFlight {
            runtime: Arc::clone(self),
        }
    }

    /// The right to work on one more business request.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }

    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Waits until no request is being handled.
    pub async fn until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    fn own_labels(&self) -> [(&'static str, &'static str); 2] {
        [
            ("service", self.spec.name),
            ("protocol", self.spec.protocols()),
        ]
    }

    /// The stream of random draws of the next request of this trace that this process handles.
    #[must_use]
    pub fn request_rng(&self, trace_id: &[u8; 16]) -> Rng {
        let mut ordinals = self.ordinals.lock().unwrap_or_else(PoisonError::into_inner);
        let ordinal = match ordinals.counts.get_mut(trace_id) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                if ordinals.order.len() == REMEMBERED_TRACES
                    && let Some(oldest) = ordinals.order.pop_front()
                {
                    ordinals.counts.remove(&oldest);
                }
                ordinals.order.push_back(*trace_id);
                ordinals.counts.insert(*trace_id, 0);
                0
            }
        };
        Rng::for_request(self.config.seed, trace_id, self.spec.name, ordinal)
    }

    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.ports.id
    }
}

pub struct InFlight {
    runtime: Rt,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let left = self.runtime.in_flight.fetch_sub(1, Ordering::AcqRel) - 1;
        self.runtime.telemetry.metrics().set(
            "testservice_active_requests",
            &self.runtime.own_labels(),
            left as f64,
        );
        if left == 0 {
            self.runtime.idle.notify_waiters();
        }
    }
}
