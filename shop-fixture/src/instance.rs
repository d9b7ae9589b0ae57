//! Owns the life of one service process: listening, telling the supervisor, becoming ready, registering, and the orderly
//! end. What it serves comes from `services`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::catalog::{REGISTRY, SERVICES, ServiceSpec};
use crate::clock::Clock;
use crate::config::{InstancePorts, PortsFile, ShopConfig};
use crate::discovery::{self, register};
use crate::error::ShopError;
use crate::faults;
use crate::ids;
use crate::release::Release;
use crate::runtime::{Rt, Runtime};
use crate::server::{admin, grpc, http};
use crate::services;
use crate::telemetry::{Attributes, Identity, Telemetry};

/// How long running requests may take to end once the process is to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the supervisor is not told of an instance that serves but is not in the registry.
const LISTED: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_secs(2);

/// `shop serve`.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub service: String,
    pub instance: u16,
    pub run_dir: PathBuf,
    /// Ports to listen on; 0 picks a free one.
    pub http_port: u16,
    pub grpc_port: u16,
    pub admin_port: u16,
    /// Stop when standard input ends, because the supervisor at its other end has.
    pub watch_parent: bool,
}

/// Runs one instance until it is told to stop.
pub fn serve(options: ServeOptions) -> Result<(), ShopError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(|error| ShopError::Internal(format!("no async runtime: {error}")))?;
    let result = runtime.block_on(run(options));
    // A thread that waits on standard input must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn run(options: ServeOptions) -> Result<(), ShopError> {
    let config = ShopConfig::load(&options.run_dir)?;
    let spec = ServiceSpec::find(&options.service).ok_or_else(|| ShopError::UnknownService {
        name: options.service.clone(),
        known: SERVICES
            .iter()
            .map(|spec| spec.name)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let http_listener = if spec.http {
        Some(listen(options.http_port).await?)
    } else {
        None
    };
    let grpc_listener = if spec.grpc {
        Some(listen(options.grpc_port).await?)
    } else {
        None
    };
    let admin_listener = listen(options.admin_port).await?;
    let port = |listener: &Option<TcpListener>| listener.as_ref().and_then(port_of);
    let mut ports = InstancePorts {
        service: spec.name.to_owned(),
        instance: options.instance,
        pid: std::process::id(),
        id: String::new(),
        http: port(&http_listener),
        grpc: port(&grpc_listener),
        admin: port_of(&admin_listener).unwrap_or_default(),
    };
    let host = hostname();
    let own_port = if spec.grpc { ports.grpc } else { ports.http }.unwrap_or(ports.admin);
    ports.id = format!("{}-{host}-{own_port}-{}", spec.name, ids::uuid());
    let registries = match (spec.name, ports.http) {
        // A node tells itself, and the others by replication.
        (REGISTRY, Some(port)) => vec![format!("http://127.0.0.1:{port}")],
        _ => PortsFile::load(&options.run_dir)?.registries,
    };
    if registries.is_empty() {
        return Err(ShopError::Internal(
            "ports.json names no registry yet".to_owned(),
        ));
    }
    let rt = runtime_of(&options, config, spec, ports, host, registries)?;
    let label = rt.telemetry.identity().label.clone();
    faults::switch_on_at_start(&rt, &label)?;
    let served = services::start(&rt)?;
    faults::effects::begin_all(&rt);
    rt.telemetry.info(
        "service.listening",
        "listening for requests",
        Attributes::new().with("address", discovery::own_address(spec, &rt.ports)),
    );
    let mut tasks = Vec::new();
    tasks.push(tokio::spawn(http::serve(
        Some(Arc::clone(&rt)),
        admin_listener,
        admin::router(&rt),
        rt.stopping(),
    )));
    if let Some(router) = &served.http {
        rt.set_routes(router.listed());
    }
    if let (Some(listener), Some(router)) = (http_listener, served.http) {
        tasks.push(tokio::spawn(http::serve(
            Some(Arc::clone(&rt)),
            listener,
            // Whatever else is served there: health is told on this port, too.
            router.merge(admin::health(&rt)),
            rt.stopping(),
        )));
    }
    if let (Some(listener), Some(routes)) = (grpc_listener, served.grpc) {
        tasks.push(tokio::spawn(grpc::serve(
            Arc::clone(&rt),
            listener,
            routes,
            rt.stopping(),
        )));
    }
    for work in served.background {
        tasks.push(tokio::spawn(work));
    }
    tasks.push(tokio::spawn(discovery::keep_fresh(Arc::clone(&rt))));
    tasks.push(tokio::spawn(discovery::routing::keep_routes(Arc::clone(
        &rt,
    ))));
    tasks.push(tokio::spawn(crate::flags::keep_fresh(Arc::clone(&rt))));
    tasks.push(tokio::spawn(admin::carry_out_faults(Arc::clone(&rt))));
    let watch_parent = options.watch_parent;
    let end = async {
        tokio::select! {
            end = until_stopped(watch_parent) => end,
            end = become_ready(&rt, &options) => end,
        }
    };
    let end = end.await?;
    if end == End::Orphaned {
        // Nobody is left to wait for an orderly end, and the ports must be free at once.
        rt.drain();
        rt.telemetry.flush(Duration::from_millis(300)).await;
        return Ok(());
    }
    register::deregister(&rt).await;
    rt.drain();
    // Whoever is still busy after that is cut off.
    let _ = tokio::time::timeout(DRAIN, rt.until_idle()).await;
    rt.telemetry.flush(FLUSH).await;
    Ok(())
}

fn runtime_of(
    options: &ServeOptions,
    config: ShopConfig,
    spec: &'static ServiceSpec,
    ports: InstancePorts,
    host: String,
    registries: Vec<String>,
) -> Result<Rt, ShopError> {
    let clock = Arc::new(Clock::new(config.time_scale));
    let label = format!("{}-{}", spec.name, options.instance);
    let release = Release::load(&config.run_dir, &label)?;
    let identity = Identity {
        service: spec.name.to_owned(),
        namespace: spec.namespace.to_owned(),
        criticality: spec.criticality.to_owned(),
        version: release.version.clone(),
        track: release.track.clone(),
        instance_id: ports.id.clone(),
        label: label.clone(),
        host,
        run_id: config.run_id.clone(),
        time_scale: config.time_scale,
    };
    let telemetry = Telemetry::start(
        identity,
        Arc::clone(&clock),
        config.otlp_endpoint.as_deref(),
        Some(&config.log_path(&label)),
    )?;
    Ok(Runtime::new(
        config, release, spec, ports, clock, telemetry, registries,
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Asked,
    Orphaned,
}

/// Tells the supervisor where it listens, waits for what it needs, registers, and stays registered.
async fn become_ready(rt: &Rt, options: &ServeOptions) -> Result<End, ShopError> {
    let supervisor = PortsFile::load(&options.run_dir)?.supervisor;
    if rt.spec.name == REGISTRY {
        // The others need its address before it can register anybody, itself included.
        rt.set_ready(true);
        tell(rt, &supervisor).await;
        register::keep_registered(Arc::clone(rt)).await;
        return std::future::pending().await;
    }
    let early = rt.faults.find("early_register").map(|params| {
        let delay = Duration::from_millis(params["delay_ready_ms"].as_u64().unwrap_or_default());
        (
            delay,
            tokio::spawn(register::keep_registered(Arc::clone(rt))),
        )
    });
    if let Some((delay, _)) = &early {
        // Whoever lifts the fault meanwhile has it ready at once.
        let mut changes = rt.faults.changes();
        let lifted =
            async { while rt.faults.is_on("early_register") && changes.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(*delay, lifted).await;
    }
    for upstream in rt.spec.essential {
        while !discovery::is_resolvable(rt, upstream).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // What the release reads has to be there before anybody is sent here.
    while crate::services::migrations::check(rt).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rt.set_ready(true);
    let registered = async {
        if early.is_none() {
            register::keep_registered(Arc::clone(rt)).await;
        }
    };
    let told = async {
        // The record must be in the registry before the supervisor counts the instance as ready; but one that cannot
        // get there is not to be waited for without end.
        let listed = async {
            while !is_listed(rt).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(LISTED, listed).await;
        tell(rt, &supervisor).await;
    };
    tokio::join!(registered, told);
    std::future::pending().await
}

async fn is_listed(rt: &Rt) -> bool {
    for node in rt.discovery.nodes.for_telling(rt) {
        let url = format!("{}/registry/snapshot", node.url);
        let Ok(response) = rt.connections.http.get(url).send().await else {
            continue;
        };
        let Ok(snapshot) = response.json::<serde_json::Value>().await else {
            continue;
        };
        let listed = snapshot["instances"].as_array().is_some_and(|instances| {
            instances
                .iter()
                .any(|instance| instance["id"] == rt.instance_id())
        });
        if listed {
            return true;
        }
    }
    false
}

async fn tell(rt: &Rt, supervisor: &str) {
    if supervisor.is_empty() {
        return;
    }
    let url = format!("{supervisor}/internal/ready");
    while rt
        .connections
        .http
        .post(&url)
        .json(&rt.ports)
        .send()
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn until_stopped(watch_parent: bool) -> Result<End, ShopError> {
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .map_err(|error| ShopError::Internal(format!("cannot listen for signals: {error}")))?;
    let parent = async {
        if !watch_parent {
            return std::future::pending().await;
        }
        // A thread of its own: nothing else in the process reads standard input, and it ends with the process.
        let (told, heard) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let end = match std::io::stdin().read_line(&mut line) {
                Ok(read) if read > 0 => End::Asked,
                Ok(_) | Err(_) => End::Orphaned,
            };
            let _ = told.send(end);
        });
        heard.await.unwrap_or(End::Orphaned)
    };
    tokio::select! {
        end = parent => Ok(end),
        _ = terminate.recv() => Ok(End::Asked),
        _ = tokio::signal::ctrl_c(), if !watch_parent => Ok(End::Asked),
    }
}

async fn listen(port: u16) -> Result<TcpListener, ShopError> {
    let address = format!("127.0.0.1:{port}");
    TcpListener::bind(&address)
        .await
        .map_err(|source| ShopError::Listen { address, source })
}

fn port_of(listener: &TcpListener) -> Option<u16> {
    listener.local_addr().ok().map(|address| address.port())
}

fn hostname() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = text.trim();
    if name.is_empty() {
        "host".to_owned()
    } else {
        name.to_owned()
    }
}
