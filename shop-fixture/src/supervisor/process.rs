//! Owns one instance's process: spawning it, holding the pipe whose end tells it that the supervisor is gone, noticing
//! its end, and starting it again.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::Supervisor;
use crate::catalog::ServiceSpec;
use crate::config::{InstancePorts, Ports, Restart};
use crate::error::ShopError;

const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// An instance that ends more often than this within a minute of the shop's time stays down.
const RESTARTS_PER_MINUTE: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);

pub(crate) struct Managed {
    spec: &'static ServiceSpec,
    instance: u16,
    state: Mutex<State>,
    orders: mpsc::UnboundedSender<Order>,
    gone: watch::Sender<bool>,
    /// How many faults keep the process down.
    held: watch::Sender<u32>,
}

#[derive(Default)]
struct State {
    pid: Option<u32>,
    ports: Option<InstancePorts>,
    ready: bool,
    ending: bool,
    /// Asked to end only to be started again at once.
    again: bool,
    restarts: u32,
    last_exit: Option<String>,
    gave_up: bool,
}

enum Order {
    Stop,
    Kill,
}

/// Spawns the process and the task that watches it.
pub(super) fn start(
    supervisor: &Arc<Supervisor>,
    spec: &'static ServiceSpec,
    instance: u16,
) -> Result<Arc<Managed>, ShopError> {
    let (orders, inbox) = mpsc::unbounded_channel();
    let managed = Arc::new(Managed {
        spec,
        instance,
        state: Mutex::new(State::default()),
        orders,
        gone: watch::Sender::new(false),
        held: watch::Sender::new(0),
    });
    let child = spawn(supervisor, &managed)?;
    tokio::spawn(watch_over(
        Arc::clone(supervisor),
        Arc::clone(&managed),
        child,
        inbox,
    ));
    Ok(managed)
}

fn spawn(supervisor: &Supervisor, managed: &Managed) -> Result<Child, ShopError> {
    let config = &supervisor.config;
    let spec = managed.spec;
    // An instance that starts again takes the ports it had, so that addresses stay true where they can.
    let known = managed.lock().ports.clone();
    let (http, grpc, admin) = match (&known, config.ports) {
        (Some(ports), _) => (
            ports.http.unwrap_or(0),
            ports.grpc.unwrap_or(0),
            ports.admin,
        ),
        (None, Ports::Fixed) => (
            spec.fixed_http_port(managed.instance),
            spec.fixed_grpc_port(managed.instance),
            spec.fixed_admin_port(managed.instance),
        ),
        (None, Ports::Auto) => (0, 0, 0),
    };
    let errors = config
        .run_dir
        .join("logs")
        .join(format!("{}.stderr", managed.label()));
    super::faults::write_start_file(supervisor, &managed.label())?;
    let stderr = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&errors)
        .map_err(|source| ShopError::file("open", &errors, source))?;
    let mut command = Command::new(&supervisor.command.program);
    command
        .args(&supervisor.command.prefix)
        .arg(spec.name)
        .args(["--instance", &managed.instance.to_string()])
        .arg("--run-dir")
        .arg(&config.run_dir)
        .args(["--http-port", &http.to_string()])
        .args(["--grpc-port", &grpc.to_string()])
        .args(["--admin-port", &admin.to_string()])
        .arg("--watch-parent")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|source| ShopError::Spawn {
        instance: managed.label(),
        executable: supervisor.command.program.clone(),
        source,
    })?;
    managed.lock().pid = child.id();
    Ok(child)
}

async fn watch_over(
    supervisor: Arc<Supervisor>,
    managed: Arc<Managed>,
    mut child: Child,
    mut inbox: mpsc::UnboundedReceiver<Order>,
) {
    let mut recent: VecDeque<Instant> = VecDeque::new();
    loop {
        let exit = live(&mut child, &mut inbox).await;
        let (ending, again) = {
            let mut state = managed.lock();
            state.pid = None;
            state.ready = false;
            state.last_exit = Some(
                exit.as_ref()
                    .map_or_else(|error| error.to_string(), ExitStatus::to_string),
            );
            (state.ending, std::mem::take(&mut state.again))
        };
        let wanted = again || *managed.held.borrow() > 0;
        let clean = exit.is_ok_and(|status| status.success());
        recent.retain(|at| at.elapsed() < supervisor.config.scaled(RESTART_WINDOW));
        let allowed =
            supervisor.config.restart == Restart::OnFailure && recent.len() < RESTARTS_PER_MINUTE;
        // An instance that could not even start once is a mistake in the set-up, not an accident.
        let started_once = managed.lock().ports.is_some();
        if ending || !wanted && (clean || !allowed || !started_once) {
            managed.lock().gave_up = !ending;
            break;
        }
        supervisor.touch();
        if wanted {
            managed.until_released(&mut inbox).await;
        } else {
            tokio::time::sleep(supervisor.config.scaled(RESTART_PAUSE)).await;
            recent.push_back(Instant::now());
        }
        if managed.lock().ending {
            break;
        }
        match spawn(&supervisor, &managed) {
            Ok(again) => {
                child = again;
                managed.lock().restarts += 1;
                supervisor.touch();
            }
            Err(error) => {
                let mut state = managed.lock();
                state.last_exit = Some(error.to_string());
                state.gave_up = true;
                break;
            }
        }
    }
    managed.gone.send_replace(true);
    supervisor.touch();
}

/// Waits for the end of a process, passing orders on meanwhile.
async fn live(
    child: &mut Child,
    inbox: &mut mpsc::UnboundedReceiver<Order>,
) -> std::io::Result<ExitStatus> {
    // Taken, because `wait` would close it.
    let mut pipe = child.stdin.take();
    loop {
        tokio::select! {
            exit = child.wait() => return exit,
            order = inbox.recv() => match order {
                Some(Order::Stop) => {
                    if let Some(pipe) = pipe.as_mut() {
                        // A process that is already gone is noticed by `wait`. The pipe stays open: its end would mean
                        // that the supervisor is gone.
                        let _ = pipe.write_all(b"stop\n").await;
                    }
                }
                Some(Order::Kill) => {
                    let _ = child.start_kill();
                }
                None => {}
            },
        }
    }
}

impl Managed {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn label(&self) -> String {
        format!("{}-{}", self.spec.name, self.instance)
    }

    pub(crate) fn service(&self) -> &'static str {
        self.spec.name
    }

    pub(crate) fn instance(&self) -> u16 {
        self.instance
    }

    pub(super) fn wave(&self) -> u8 {
        self.spec.start_wave
    }

    pub(crate) fn ports(&self) -> Option<InstancePorts> {
        self.lock().ports.clone()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.lock().pid
    }

    pub(super) fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// How it ended, if it will not be started again although nobody asked it to stop.
    pub(super) fn gave_up(&self) -> Option<String> {
        let state = self.lock();
        if state.gave_up {
            Some(state.last_exit.clone().unwrap_or_default())
        } else {
            None
        }
    }

    pub(super) fn set_ready(&self, ports: InstancePorts) {
        let mut state = self.lock();
        state.ready = true;
        state.ports = Some(ports);
    }

    pub(super) fn expect_end(&self) {
        self.lock().ending = true;
    }

    pub(super) fn ask_to_stop(&self) {
        // Nobody receives once the process is gone for good.
        let _ = self.orders.send(Order::Stop);
    }

    pub(super) fn kill(&self) {
        let _ = self.orders.send(Order::Kill);
    }

    /// Has the process end in order and start again at once.
    pub(super) fn start_again(&self) {
        let mut state = self.lock();
        // One that is down anyway is started by whoever ends that.
        state.again = state.pid.is_some();
        state.ready = false;
        drop(state);
        self.ask_to_stop();
    }

    /// Keeps the process down, from its coming end on, until as many faults have been lifted as have been laid on it.
    pub(super) fn hold(&self) {
        // Whoever lets go before the process has ended wants it back all the same.
        let mut state = self.lock();
        state.again = state.pid.is_some();
        drop(state);
        self.held.send_modify(|count| *count += 1);
    }

    pub(super) fn release(&self) {
        self.held
            .send_modify(|count| *count = count.saturating_sub(1));
    }

    /// Waits while something keeps the process down; orders that come meanwhile find nothing to end.
    async fn until_released(&self, inbox: &mut mpsc::UnboundedReceiver<Order>) {
        let mut held = self.held.subscribe();
        while *held.borrow_and_update() > 0 && !self.lock().ending {
            tokio::select! {
                changed = held.changed() => if changed.is_err() { return },
                _ = inbox.recv() => {}
            }
        }
    }

    pub(super) async fn until_gone(&self, deadline: tokio::time::Instant) {
        let mut gone = self.gone.subscribe();
        if tokio::time::timeout_at(deadline, gone.wait_for(|gone| *gone))
            .await
            .is_err()
        {
            self.kill();
            // SIGKILL cannot be refused.
            let _ = gone.wait_for(|gone| *gone).await;
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let state = self.lock();
        json!({
            "service": self.spec.name,
            "instance": self.instance,
            "pid": state.pid,
            "alive": state.pid.is_some(),
            "ready": state.ready,
            "restarts": state.restarts,
            "last_exit": state.last_exit,
            "ports": state.ports,
        })
    }
}
