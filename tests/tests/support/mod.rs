//! The real binary, built if it has to be, started and stopped.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Waits for something to come true.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The binary of the profile that this test was built in.
pub fn casefile() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build
            .args(["build", "--quiet", "-p", "casefile"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        let output = build.output().unwrap();
        assert!(
            output.status.success(),
            "casefile does not build: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        profile.join(format!("casefile{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    Command::new(casefile()).args(args).output().unwrap()
}

/// `casefile collect` into a case, ready. Killed when dropped.
pub struct Collector {
    child: Child,
    pub http: String,
    /// Where gRPC is listened for, if anywhere.
    pub grpc: Option<String>,
}

impl Collector {
    pub fn start(case: &Path, more: &[&str]) -> Collector {
        Collector::listen(case, "off", more)
    }

    /// One that takes OTLP over gRPC as well.
    pub fn start_with_grpc(case: &Path) -> Collector {
        Collector::listen(case, "127.0.0.1:0", &[])
    }

    fn listen(case: &Path, grpc: &str, more: &[&str]) -> Collector {
        let ready = case.with_extension("ready");
        let _ = std::fs::remove_file(&ready);
        let mut child = Command::new(casefile())
            .arg("collect")
            .arg(case)
            .args(["--otlp-grpc", grpc, "--otlp-http", "127.0.0.1:0"])
            .arg("--ready-file")
            .arg(&ready)
            .args(more)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = wait_for("the ready file", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("collect ended with {status} before it was ready");
            }
            std::fs::read(&ready).ok()
        });
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        let http = said["otlp_http"].as_str().unwrap().to_owned();
        let grpc = said["otlp_grpc"].as_str().map(str::to_owned);
        Collector { child, http, grpc }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits.
    pub fn stop(mut self) {
        let asked = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(asked.unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "collect ended with {status}");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
