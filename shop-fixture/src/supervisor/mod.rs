//! Owns `shop up`: one process per instance, started in waves, watched, restarted, and stopped without a trace; and the
//! supervisor's own HTTP interface. The services know it only by the address where they report ready.

mod api;
mod check;
mod debug;
pub mod deploy;
mod faults;
mod process;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::catalog::{FIXED_SUPERVISOR_PORT, GATEWAY, REGISTRY, SERVICES};
use crate::config::{InstancePorts, Ports, PortsFile, ShopConfig, write_json};
use crate::error::ShopError;
use crate::server::http;
use process::Managed;

/// How long the shop may take to become ready.
const READY: Duration = Duration::from_secs(60);
/// How long instances may take to end in order before they are killed.
const STOP: Duration = Duration::from_secs(35);

/// How an instance is spawned: a program and what stands before `--instance` and the rest.
#[derive(Debug, Clone)]
pub struct ServeCommand {
    pub program: PathBuf,
    /// Arguments that lead to `serve`, such as `["shop", "serve"]`.
    pub prefix: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct UpOptions {
    pub config: ShopConfig,
    pub command: ServeCommand,
    /// Go on with the stores of an earlier run instead of starting afresh.
    pub keep_data: bool,
}

/// A running shop. Dropping it kills every process; `stop` ends them in order.
pub struct Shop {
    inner: Arc<Supervisor>,
}

pub(crate) struct Supervisor {
    config: ShopConfig,
    command: ServeCommand,
    client: reqwest::Client,
    url: String,
    managed: Mutex<Vec<Arc<Managed>>>,
    /// Changes whenever an instance reports ready or ends.
    moved: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    asked_to_stop: watch::Sender<bool>,
    faults: Mutex<Vec<faults::Record>>,
    deployments: Mutex<Vec<Arc<deploy::Deployment>>>,
    /// Held while a file that says what runs is composed and written, so that an older view never replaces a newer.
    describing: Mutex<()>,
}

/// Starts the shop and returns when every instance is ready.
pub async fn up(options: UpOptions) -> Result<Shop, ShopError> {
    let UpOptions {
        config,
        command,
        keep_data,
    } = options;
    config.check()?;
    prepare(&config.run_dir, keep_data).await?;
    let port = if config.ports == Ports::Fixed {
        FIXED_SUPERVISOR_PORT
    } else {
        0
    };
    let address = format!("127.0.0.1:{port}");
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|source| ShopError::Listen {
            address: address.clone(),
            source,
        })?;
    let local = listener
        .local_addr()
        .map_err(|source| ShopError::Listen { address, source })?;
    let inner = Arc::new(Supervisor {
        url: format!("http://{local}"),
        config,
        command,
        client: crate::call::http_client(),
        managed: Mutex::new(Vec::new()),
        moved: watch::Sender::new(0),
        stopping: watch::Sender::new(false),
        asked_to_stop: watch::Sender::new(false),
        faults: Mutex::new(Vec::new()),
        deployments: Mutex::new(Vec::new()),
        describing: Mutex::new(()),
    });
    inner.config.save()?;
    inner.write_ports()?;
    tokio::spawn(http::serve(
        None,
        listener,
        api::router(&inner),
        inner.stopping.subscribe(),
    ));
    let shop = Shop { inner };
    match shop.inner.start_all().await {
        Ok(()) => Ok(shop),
        Err(error) => {
            shop.stop().await;
            Err(error)
        }
    }
}

/// Makes the run directory ready, and refuses one in which a shop still runs.
async fn prepare(run_dir: &Path, keep_data: bool) -> Result<(), ShopError> {
    if let Ok(ports) = PortsFile::load(run_dir)
        && is_alive(&ports.supervisor).await
    {
        return Err(ShopError::AlreadyRunning {
            run_dir: run_dir.to_owned(),
            supervisor: ports.supervisor,
        });
    }
    if !keep_data {
        // Only what a run writes is removed, never the folder itself: it may not be ours alone.
        for folder in ["db", "logs", "otlp", "releases"] {
            remove(&run_dir.join(folder), |path| std::fs::remove_dir_all(path))?;
        }
        for file in ["truth.jsonl", "ports.json", "processes.json", "config.json"] {
            remove(&run_dir.join(file), |path| std::fs::remove_file(path))?;
        }
    }
    // Faults do not outlive the supervisor that switched them on.
    remove(&run_dir.join("faults"), |path| {
        std::fs::remove_dir_all(path)
    })?;
    for folder in ["db", "logs", "faults"] {
        let path = run_dir.join(folder);
        std::fs::create_dir_all(&path)
            .map_err(|source| ShopError::file("create", &path, source))?;
    }
    Ok(())
}

fn remove(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), ShopError> {
    match remove(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ShopError::file("remove", path, source))
        }
        _ => Ok(()),
    }
}

async fn is_alive(supervisor: &str) -> bool {
    let client = crate::call::http_client();
    let answer = client
        .get(format!("{supervisor}/health/live"))
        .timeout(Duration::from_secs(2))
        .send()
        .await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

impl Supervisor {
    async fn start_all(self: &Arc<Self>) -> Result<(), ShopError> {
        let deadline = tokio::time::Instant::now() + READY;
        let waves = SERVICES
            .iter()
            .map(|spec| spec.start_wave)
            .max()
            .unwrap_or(0);
        for wave in 0..=waves {
            for spec in SERVICES.iter().filter(|spec| spec.start_wave == wave) {
                for instance in 0..spec.instance_count(&self.config) {
                    let managed = process::start(self, spec, instance)?;
                    self.lock().push(managed);
                }
            }
            // Only the registry is waited for: the others wait for what they need by themselves.
            if wave == 0 {
                self.until_ready(deadline).await?;
            }
        }
        self.until_ready(deadline).await?;
        self.write_ports()
    }

    async fn until_ready(&self, deadline: tokio::time::Instant) -> Result<(), ShopError> {
        let mut moved = self.moved.subscribe();
        loop {
            let waiting: Vec<String> = self
                .lock()
                .iter()
                .filter(|managed| !managed.is_ready())
                .map(|managed| managed.label())
                .collect();
            if waiting.is_empty() {
                self.write_ports()?;
                return Ok(());
            }
            if let Some((managed, how)) = self
                .lock()
                .iter()
                .find_map(|managed| managed.gave_up().map(|how| (Arc::clone(managed), how)))
            {
                let log = self.config.log_path(&managed.label());
                return Err(ShopError::EndedEarly {
                    instance: managed.label(),
                    how,
                    log,
                });
            }
            let change = tokio::time::timeout_at(deadline, moved.changed()).await;
            if change.is_err() {
                return Err(ShopError::NotReady {
                    seconds: READY.as_secs(),
                    waiting: waiting.join(", "),
                    logs: self.config.run_dir.join("logs"),
                });
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Managed>>> {
        self.managed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self) -> std::sync::MutexGuard<'_, ()> {
        self.describing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn instances(&self) -> Vec<Arc<Managed>> {
        self.lock().clone()
    }

    fn touch(&self) {
        self.moved.send_modify(|count| *count += 1);
        let _describing = self.describe();
        // The table is for people and tools; a disk that refuses it does not stop the shop.
        let _ = write_json(
            &self.config.run_dir.join("processes.json"),
            &self.processes(),
        );
    }

    fn processes(&self) -> Vec<Value> {
        self.lock()
            .iter()
            .map(|managed| managed.to_json())
            .collect()
    }

    fn ports(&self) -> PortsFile {
        let instances: Vec<InstancePorts> = self
            .lock()
            .iter()
            .filter_map(|managed| managed.ports())
            .collect();
        let url = |service: &str| {
            let found = instances
                .iter()
                .find(|ports| ports.service == service && ports.instance == 0)?;
            found.http.map(|port| format!("http://127.0.0.1:{port}"))
        };
        let registries = instances
            .iter()
            .filter(|ports| ports.service == REGISTRY)
            .filter_map(|ports| ports.http)
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect();
        PortsFile {
            registries,
            run_id: self.config.run_id.clone(),
            supervisor: self.url.clone(),
            gateway: url(GATEWAY),
            registry: url(REGISTRY),
            instances,
        }
    }

    fn write_ports(&self) -> Result<(), ShopError> {
        let _describing = self.describe();
        self.ports().save(&self.config.run_dir)
    }

    /// An instance says that it is ready, and where it listens.
    fn on_ready(&self, ports: InstancePorts) -> bool {
        let found = self
            .lock()
            .iter()
            .find(|managed| {
                managed.service() == ports.service && managed.instance() == ports.instance
            })
            .cloned();
        let Some(managed) = found else { return false };
        managed.set_ready(ports);
        self.touch();
        // The same file is written again at the next change.
        let _ = self.write_ports();
        true
    }
}

impl Shop {
    #[must_use]
    pub fn ports(&self) -> PortsFile {
        self.inner.ports()
    }

    #[must_use]
    pub fn config(&self) -> &ShopConfig {
        &self.inner.config
    }

    /// Waits until somebody asks the supervisor to stop, by `shop down`.
    pub async fn until_asked_to_stop(&self) {
        let mut asked = self.inner.asked_to_stop.subscribe();
        // An error would mean that the sender is gone, which lives as long as `self`.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    /// Ends every instance in order, and kills those that take too long. The gateway goes first, the registry last.
    pub async fn stop(self) {
        let mut instances = self.inner.instances();
        for managed in &instances {
            managed.expect_end();
        }
        instances.sort_by_key(|managed| std::cmp::Reverse(managed.wave()));
        let mut waves: Vec<u8> = instances.iter().map(|managed| managed.wave()).collect();
        waves.dedup();
        let deadline = tokio::time::Instant::now() + STOP;
        for wave in waves {
            let ending: Vec<_> = instances
                .iter()
                .filter(|managed| managed.wave() == wave)
                .collect();
            for managed in &ending {
                managed.ask_to_stop();
            }
            for managed in ending {
                managed.until_gone(deadline).await;
            }
        }
        self.inner.stopping.send_replace(true);
        let run_dir = &self.inner.config.run_dir;
        // Without them, tools see at once that nothing runs here.
        let _ = std::fs::remove_file(run_dir.join("ports.json"));
        let _ = std::fs::remove_file(run_dir.join("processes.json"));
    }

    /// What runs and where, for people and scripts.
    #[must_use]
    pub fn summary(&self) -> Value {
        json!({ "ports": self.inner.ports(), "processes": self.inner.processes() })
    }
}

/// `shop down`: asks the supervisor of a run directory to stop, and waits until it has.
pub async fn down(run_dir: &Path) -> Result<(), ShopError> {
    let not_running = |why: String| ShopError::NotRunning {
        run_dir: run_dir.to_owned(),
        why,
    };
    let ports = PortsFile::load(run_dir).map_err(|error| not_running(error.to_string()))?;
    let url = format!("{}/admin/shutdown", ports.supervisor);
    let client = crate::call::http_client();
    let answer = client
        .post(&url)
        .timeout(Duration::from_secs(5))
        .send()
        .await;
    let answer = answer.map_err(|error| not_running(error.to_string()))?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(ShopError::Refused {
            url,
            status,
            body: answer.text().await.unwrap_or_default(),
        });
    }
    let deadline = tokio::time::Instant::now() + STOP + Duration::from_secs(5);
    while is_alive(&ports.supervisor).await {
        if tokio::time::Instant::now() > deadline {
            return Err(ShopError::Internal(
                "the shop did not stop in time".to_owned(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
