//! What the process tests share: starting a real shop of real processes and talking to it.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use shop_fixture::config::{Latency, Ports, PortsFile, Profile, ShopConfig};
use shop_fixture::supervisor::{ServeCommand, Shop, UpOptions, up};

pub const LIMIT: Duration = Duration::from_secs(30);

pub struct Running {
    pub shop: Shop,
    pub ports: PortsFile,
    pub client: reqwest::Client,
    pub dir: tempfile::TempDir,
}

pub fn command() -> ServeCommand {
    ServeCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_shop")),
        prefix: vec!["serve".to_owned()],
    }
}

/// A tiny shop on free ports, without base latency, twenty times as fast.
pub async fn start(change: impl FnOnce(&mut ShopConfig)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ShopConfig {
        profile: Profile::Tiny,
        ports: Ports::Auto,
        latency: Latency::None,
        otlp_endpoint: None,
        time_scale: 20.0,
        ..ShopConfig::new(dir.path().to_owned())
    };
    change(&mut config);
    let shop = up(UpOptions {
        config,
        command: command(),
        keep_data: false,
    })
    .await
    .unwrap();
    let ports = shop.ports();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Running {
        shop,
        ports,
        client,
        dir,
    }
}

impl Running {
    pub fn gateway(&self) -> &str {
        self.ports.gateway.as_deref().unwrap()
    }

    pub async fn checkout(&self, body: Value, query: &str) -> (u16, Value) {
        let url = format!("{}/api/v1/checkout{query}", self.gateway());
        let answer = self
            .client
            .post(url)
            .json(&body)
            .timeout(LIMIT)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub async fn get(&self, url: &str) -> (u16, Value) {
        let answer = self.client.get(url).timeout(LIMIT).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap())
    }

    pub async fn debug(&self, path: &str) -> Value {
        let (status, body) = self
            .get(&format!("{}/debug{path}", self.ports.supervisor))
            .await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn registry(&self, path: &str) -> Value {
        let (status, body) = self
            .get(&format!(
                "{}{path}",
                self.ports.registry.as_deref().unwrap()
            ))
            .await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn fault(&self, body: Value) -> Value {
        let url = format!("{}/admin/faults", self.ports.supervisor);
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text: Value = answer.json().await.unwrap();
        assert_eq!(status, 201, "{body}: {text}");
        text
    }

    pub async fn end_fault(&self, fault: &Value) {
        let url = format!(
            "{}/admin/faults/{}",
            self.ports.supervisor,
            fault["fault_id"].as_str().unwrap()
        );
        assert_eq!(
            self.client
                .delete(url)
                .send()
                .await
                .unwrap()
                .status()
                .as_u16(),
            200
        );
    }
}

/// Asks again until the answer is there, and fails with `what` when it does not come in time.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
    })
}
