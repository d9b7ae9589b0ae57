//! A process under measurement: started on one core, its processor time and memory read from the kernel.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::error::CliError;

/// The kernel counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// A casefile process started for a benchmark; killed when dropped.
pub struct Measured {
    child: Child,
}

/// Where a receiver listens.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Ready {
    pub otlp_grpc: Option<String>,
}

impl Measured {
    /// Starts this very program with other arguments, on processor 0 alone where the kernel allows it.
    pub fn start(args: &[&str]) -> Result<Measured, CliError> {
        let program =
            std::env::current_exe().map_err(|error| CliError::io("find this program", &error))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Children inherit what their parent's thread may run on.
        let before = rustix::thread::sched_getaffinity(None).ok();
        let mut first = rustix::thread::CpuSet::new();
        first.set(0);
        let pinned = rustix::thread::sched_setaffinity(None, &first).is_ok();
        let child = command.spawn();
        if let (true, Some(before)) = (pinned, before) {
            let _ = rustix::thread::sched_setaffinity(None, &before);
        }
        let child = child.map_err(|error| CliError::io("start the receiver", &error))?;
        Ok(Measured { child })
    }

    /// Waits for the file a receiver writes once it listens.
    pub fn ready(&mut self, file: &Path) -> Result<String, CliError> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(text) = std::fs::read(file)
                && let Ok(ready) = serde_json::from_slice::<Ready>(&text)
                && let Some(address) = ready.otlp_grpc
            {
                return Ok(address);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(CliError::new(format!(
                    "the receiver stopped at once ({status})"
                )));
            }
            if Instant::now() > deadline {
                return Err(CliError::new(
                    "the receiver did not become ready within 20 s",
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Seconds of processor time used so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_of(&format!("/proc/{}/stat", self.child.id()), 11)
    }

    /// The most memory it ever held, in bytes.
    pub fn peak_memory(&self) -> f64 {
        peak_of(&format!("/proc/{}/status", self.child.id()))
    }

    /// Asks it to stop, waits, and answers with the processor time of its whole life.
    pub fn stop(mut self) -> Result<f64, CliError> {
        let before = cpu_of("/proc/self/stat", 13);
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| CliError::io("stop the receiver", &error.into()))?;
        }
        let status = self
            .child
            .wait()
            .map_err(|error| CliError::io("wait for the receiver", &error))?;
        if !status.success() {
            return Err(CliError::new(format!("the receiver ended with {status}")));
        }
        Ok(cpu_of("/proc/self/stat", 13) - before)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time from a stat file; `field` counts from behind the name in brackets.
fn cpu_of(path: &str, field: usize) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let tick = |at: usize| {
        fields
            .get(at)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (tick(field) + tick(field + 1)) / TICKS
}

fn peak_of(status: &str) -> f64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0
}

/// The most memory this process ever held, in bytes.
pub fn own_peak_memory() -> f64 {
    peak_of("/proc/self/status")
}

/// Processor time of this process.
pub fn own_cpu_seconds() -> f64 {
    cpu_of("/proc/self/stat", 11)
}

/// Bytes in the files of a folder, those in folders of it included.
pub fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Asks the kernel to forget what it holds of the files below, so that reading them is cold.
pub fn forget_cached(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            forget_cached(&path);
        } else if let Ok(file) = std::fs::File::open(&path) {
            let _ = file.sync_all();
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}
