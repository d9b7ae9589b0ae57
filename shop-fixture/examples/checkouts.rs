//! Owns measuring what a checkout costs: starts a shop, sends it checkouts from many clients at once, waits until the last
//! event is delivered, and tells rate, processor time per checkout by service, and whether the invariants hold. With
//! `--checkouts 0` it measures an idle shop instead.
//!
//! `cargo run --release -p shop-fixture --example checkouts -- --checkouts 5000 --clients 50`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shop_fixture::config::{Latency, Ports, Profile, ShopConfig};
use shop_fixture::supervisor::{ServeCommand, Shop, UpOptions, up};

#[path = "../tests/support/collector.rs"]
mod collector;

/// Kernel ticks in a second, as `/proc` counts processor time.
const TICKS: f64 = 100.0;
const SETTLED: Duration = Duration::from_secs(120);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).cloned()
    };
    let number = |name: &str, usual: usize| {
        option(name).map_or(usual, |text| text.parse().expect("a whole number"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ShopConfig {
            profile: option("--profile").map_or(Profile::Default, |text| text.parse().unwrap()),
            ports: Ports::Auto,
            latency: Latency::None,
            otlp_endpoint: None,
            ..ShopConfig::new(dir.path().to_owned())
        };
        if !words.iter().any(|word| word == "--no-collector") {
            let (_, url) = collector::Collector::sink().await;
            config.otlp_endpoint = Some(url);
        }
        if let Some(model) = option("--model") {
            config.saga_model = model;
        }
        let program = option("--shop").map_or_else(beside, PathBuf::from);
        let command = ServeCommand {
            program,
            prefix: vec!["serve".to_owned()],
        };
        let shop = up(UpOptions {
            config,
            command,
            keep_data: false,
        })
        .await
        .unwrap();
        let checkouts = number("--checkouts", 5_000);
        if checkouts == 0 {
            idle(&shop, Duration::from_secs(number("--seconds", 30) as u64)).await;
        } else {
            busy(&shop, checkouts, number("--clients", 50)).await;
        }
        shop.stop().await;
    });
}

/// The `shop` binary that the same build made.
fn beside() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("shop")
}

async fn idle(shop: &Shop, time: Duration) {
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = processor_time(shop).await;
    tokio::time::sleep(time).await;
    let used = difference(&before, &processor_time(shop).await);
    let total: f64 = used.values().sum();
    println!(
        "idle for {} s: {:.1} % of one core, {:.0} MB resident in all",
        time.as_secs(),
        100.0 * total / time.as_secs_f64(),
        resident(shop).await / 1e6
    );
    for (service, seconds) in used {
        let share = 100.0 * seconds / time.as_secs_f64();
        println!("  {service:<20} {share:6.2} %");
    }
}

async fn busy(shop: &Shop, checkouts: usize, clients: usize) {
    let gateway = shop.ports().gateway.unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let before = processor_time(shop).await;
    let started = Instant::now();
    let left = Arc::new(AtomicUsize::new(checkouts));
    let workers: Vec<_> = (0..clients)
        .map(|_| {
            let (client, left) = (client.clone(), Arc::clone(&left));
            let url = format!("{gateway}/api/v1/checkout");
            tokio::spawn(async move {
                let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                    .is_ok()
                {
                    let sent = client.post(&url).json(&json!({})).send().await;
                    let status = match sent {
                        Ok(answer) => {
                            let status = answer.status().as_u16();
                            let _ = answer.bytes().await;
                            status
                        }
                        Err(_) => 0,
                    };
                    *answers.entry(status).or_default() += 1;
                }
                answers
            })
        })
        .collect();
    let mut answers: BTreeMap<u16, usize> = BTreeMap::new();
    for worker in workers {
        for (status, count) in worker.await.unwrap() {
            *answers.entry(status).or_default() += count;
        }
    }
    let took = started.elapsed();
    settle(shop, &client).await;
    let used = difference(&before, &processor_time(shop).await);
    let total: f64 = used.values().sum();
    println!(
        "{checkouts} checkouts by {clients} clients in {:.1} s: {:.0} a second, {:.2} ms of processor time each until \
         the last event was delivered, {:.0} MB resident in all; answers {answers:?}",
        took.as_secs_f64(),
        checkouts as f64 / took.as_secs_f64(),
        1e3 * total / checkouts as f64,
        resident(shop).await / 1e6,
    );
    for (service, seconds) in used {
        println!(
            "  {service:<20} {:6.2} ms",
            1e3 * seconds / checkouts as f64
        );
    }
    let checked = debug(shop, &client, "/ledgers/check").await;
    println!("invariants: {}", checked);
}

async fn debug(shop: &Shop, client: &reqwest::Client, path: &str) -> Value {
    let url = format!("{}/debug{path}", shop.ports().supervisor);
    client.get(url).send().await.unwrap().json().await.unwrap()
}

/// Waits until nothing is left to publish or to deliver.
async fn settle(shop: &Shop, client: &reqwest::Client) {
    let deadline = Instant::now() + SETTLED;
    let bus = shop
        .ports()
        .instances
        .iter()
        .find(|instance| instance.service == "message-bus")
        .and_then(|instance| instance.http)
        .unwrap();
    let mut quiet = 0;
    while quiet < 2 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let url = format!("http://127.0.0.1:{bus}/admin/queues");
        let queues: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        quiet = if queues.as_array().is_some_and(Vec::is_empty) {
            quiet + 1
        } else {
            0
        };
    }
}

fn pids(shop: &Shop) -> Vec<(String, u32)> {
    let instances = shop.ports().instances;
    instances
        .into_iter()
        .map(|instance| (instance.service, instance.pid))
        .collect()
}

/// Seconds of processor time that each service has used.
async fn processor_time(shop: &Shop) -> BTreeMap<String, f64> {
    let mut used: BTreeMap<String, f64> = BTreeMap::new();
    for (service, pid) in pids(shop) {
        let stat =
            std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        *used.entry(service).or_default() += ticks / TICKS;
    }
    used
}

fn difference(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    after
        .iter()
        .map(|(service, seconds)| {
            (
                service.clone(),
                seconds - before.get(service).unwrap_or(&0.0),
            )
        })
        .collect()
}

/// Bytes resident in all processes, as each counts them.
async fn resident(shop: &Shop) -> f64 {
    let pages = |pid: u32| -> f64 {
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        statm
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .unwrap_or(0.0)
    };
    pids(shop)
        .into_iter()
        .map(|(_, pid)| pages(pid) * 4_096.0)
        .sum()
}
