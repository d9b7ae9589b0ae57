//! The process that stages a drill and keeps its secret: nobody's child, reached over a socket, gone once the drill is
//! scored or stopped, or nobody has asked anything for long.
//!
//! What it is to stage comes over standard input, so that neither a file nor a command line gives it away.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use playbooks::drill::{Drill, Level, Missing};
use playbooks::incident::Incident;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Request, Session};
use crate::collecting;
use crate::commands::drill::stage::{self, Scene};
use crate::error::CliError;
use crate::exit;

/// A drill that nobody has asked anything of for so long is given up.
const IDLE: Duration = Duration::from_secs(2 * 3600);
/// How often the host looks whether it is asked or stopped.
const TURN: Duration = Duration::from_millis(50);
/// Nobody's request is longer.
const LONGEST: u64 = 64 << 10;

#[derive(Debug, Args)]
pub struct HostArgs {
    /// Where it is asked.
    #[arg(long, value_name = "FILE")]
    socket: PathBuf,
}

/// What is to be staged.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret {
    pub level: Level,
    /// Ids and texts.
    pub incidents: Vec<(String, String)>,
    pub decoy: bool,
    pub missing: Option<Missing>,
    pub seed: u64,
    pub case: PathBuf,
    pub budget: Option<usize>,
}

/// A drill being staged in this process.
pub struct Holder {
    session: Arc<Mutex<Session>>,
    stop: Arc<AtomicBool>,
    staging: Option<std::thread::JoinHandle<()>>,
    begun: Receiver<Result<(), String>>,
}

impl Secret {
    pub fn of(drill: &Drill, seed: u64, case: PathBuf, budget: Option<usize>) -> Secret {
        Secret {
            level: drill.level,
            incidents: drill
                .incidents
                .iter()
                .map(|incident| (incident.id.clone(), incident.text().to_owned()))
                .collect(),
            decoy: drill.decoy,
            missing: drill.missing,
            seed,
            case,
            budget,
        }
    }

    fn drill(&self) -> Result<Drill, CliError> {
        let incidents = self
            .incidents
            .iter()
            .map(|(id, text)| Incident::parse(id, id, text))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Drill {
            level: self.level,
            incidents,
            decoy: self.decoy,
            missing: self.missing,
        })
    }
}

impl Holder {
    /// Begins to stage; returns at once.
    pub fn begin(secret: &Secret) -> Result<Holder, CliError> {
        let drill = secret.drill()?;
        let mut scene = Scene {
            case: secret.case.clone(),
            run_dir: private_folder()?,
            seed: secret.seed,
            incidents: drill.incidents.clone(),
            decoy: drill.decoy,
            missing: drill.missing,
        };
        let session = Arc::new(Mutex::new(Session::new(
            drill,
            secret.seed,
            secret.case.clone(),
            secret.budget,
        )));
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, begun) = channel();
        let (ours, stopping) = (session.clone(), stop.clone());
        let staging = std::thread::spawn(move || {
            let ready = stage_until_it_runs(&mut scene, &stopping, &tell).and_then(|told| {
                case::writer::seal_case(&scene.case, |_| {})?;
                locked(&ours).ready(told)
            });
            if let Err(error) = ready {
                // Nobody listens any more once the shop ran; the session tells then.
                drop(tell.send(Err(error.to_string())));
                locked(&ours).failed(error.to_string());
            }
        });
        Ok(Holder {
            session,
            stop,
            staging: Some(staging),
            begun,
        })
    }

    /// Waits until load is on; the story then.
    pub fn begun(&self) -> Result<Value, CliError> {
        match self.begun.recv() {
            Ok(Ok(())) => Ok(locked(&self.session).story()),
            Ok(Err(why)) => Err(CliError::new(why)),
            Err(_) => Err(CliError::new("staging ended before it began")),
        }
    }

    /// The reply to a line of JSON, and whether that was the last one.
    pub fn reply(&self, line: &str) -> (Value, bool) {
        let request: Request = match serde_json::from_str(line) {
            Ok(request) => request,
            Err(error) => {
                return (
                    json!({ "event": "error", "error": format!("can't read the request: {error}") }),
                    false,
                );
            }
        };
        if request == Request::Wait {
            while locked(&self.session).is_running() && !self.stop.load(Ordering::SeqCst) {
                std::thread::sleep(TURN);
            }
        }
        let mut session = locked(&self.session);
        let reply = session.handle(&request);
        (reply, session.is_over())
    }

    /// Stops the shop, if it still runs, and waits until nothing is left of it.
    pub fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(staging) = self.staging.take() {
            // A panic in it was told of by itself.
            drop(staging.join());
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
    }
}

fn locked(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shops that are started beside each other may take a port from one another: such a start is made again.
const STARTS: usize = 3;

/// Runs the shop; one that did not even come up is started again, in a folder and a case as new.
fn stage_until_it_runs(
    scene: &mut Scene,
    stop: &AtomicBool,
    tell: &std::sync::mpsc::Sender<Result<(), String>>,
) -> Result<crate::commands::drill::plan::Told, CliError> {
    let mut start = 1;
    loop {
        let ran = AtomicBool::new(false);
        let staged = stage_all(scene, stop, &ran, tell);
        // What the shop wrote for itself names its faults.
        drop(std::fs::remove_dir_all(&scene.run_dir));
        let again = staged.is_err() && !ran.load(Ordering::SeqCst) && !stop.load(Ordering::SeqCst);
        if !again || start == STARTS {
            return staged;
        }
        start += 1;
        drop(std::fs::remove_dir_all(&scene.case));
        scene.run_dir = private_folder()?;
    }
}

/// Runs the shop; a signal to end stops it in order.
fn stage_all(
    scene: &Scene,
    stop: &AtomicBool,
    ran: &AtomicBool,
    tell: &std::sync::mpsc::Sender<Result<(), String>>,
) -> Result<crate::commands::drill::plan::Told, CliError> {
    let stopped = || stop.load(Ordering::SeqCst);
    let begun = || {
        ran.store(true, Ordering::SeqCst);
        drop(tell.send(Ok(())));
    };
    collecting::runtime()?.block_on(async {
        let performed = stage::perform(scene, &stopped, &begun);
        tokio::pin!(performed);
        tokio::select! {
            done = &mut performed => done,
            asked = collecting::asked_to_stop() => {
                asked?;
                stop.store(true, Ordering::SeqCst);
                performed.await
            }
        }
    })
}

/// A folder for the shop's own files that nobody else can look into, under a name nobody knows beforehand.
fn private_folder() -> Result<PathBuf, CliError> {
    let folder = std::env::temp_dir().join(format!(
        "casefile-drill-{}-{}",
        std::process::id(),
        case::writer::wall_clock().0
    ));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|error| CliError::io(format!("create {}", folder.display()), &error))?;
    Ok(folder)
}

pub(in crate::commands::drill) fn run(args: &HostArgs) -> Result<u8, CliError> {
    // Closing the terminal is not to end the drill. Whoever leads a session already may stay where it is.
    let _ = rustix::process::setsid();
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CliError::io("read what to stage", &error))?;
    let secret: Secret = serde_json::from_str(&text)
        .map_err(|error| CliError::new(format!("can't read what to stage: {error}")))?;
    let listener = listen(&args.socket)?;
    let mut holder = Holder::begin(&secret)?;
    let begun = holder.begun();
    // Whoever started this waits for one line and listens no longer.
    let line = match &begun {
        Ok(story) => crate::output::json::line(story)?,
        Err(error) => {
            crate::output::json::line(&json!({ "event": "error", "error": error.message() }))?
        }
    };
    let mut out = std::io::stdout();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    let served = begun.and_then(|_| serve(&listener, &holder));
    holder.end();
    drop(std::fs::remove_file(&args.socket));
    served.map(|()| exit::CLEAN)
}

fn listen(path: &Path) -> Result<UnixListener, CliError> {
    let failed =
        |error: std::io::Error| CliError::io(format!("listen on {}", path.display()), &error);
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Answers one request a connection until the drill is over, stopped or forgotten.
fn serve(listener: &UnixListener, holder: &Holder) -> Result<(), CliError> {
    let mut last = Instant::now();
    while last.elapsed() < IDLE && !holder.stop.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                last = Instant::now();
                // Whoever asked and left gets no answer.
                if serve_one(&stream, holder).unwrap_or(false) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(TURN)
            }
            Err(error) => return Err(CliError::io("take a connection", &error)),
        }
    }
    Ok(())
}

fn serve_one(stream: &UnixStream, holder: &Holder) -> std::io::Result<bool> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    let (reply, over) = holder.reply(&line);
    let text = crate::output::json::line(&reply).unwrap_or_default();
    let mut stream = stream;
    let written = writeln!(stream, "{text}");
    // Over is over, also for whoever did not wait for the reply.
    if over {
        Ok(true)
    } else {
        written.map(|()| false)
    }
}
