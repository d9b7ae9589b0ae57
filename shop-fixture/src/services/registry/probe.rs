//! Owns the registry's own look at its instances under `--registry-probe`: `active` asks every instance's health endpoint
//! at intervals, `confirm` asks once before an instance expires. What the answers change is the table's business.

use std::sync::Arc;
use std::time::Duration;

use super::Registry;
use super::table::{Instance, ProbeTiming};
use crate::config::RegistryProbe;
use crate::propagation::{self, Baggage};
use crate::telemetry::{Attributes, Kind, Span};

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);
const FAILURES: u32 = 3;

/// How it is to probe now, faults included.
pub(super) fn timing(registry: &Registry) -> Option<ProbeTiming> {
    let rt = &registry.rt;
    if rt.config.registry_probe != RegistryProbe::Active {
        return None;
    }
    let slow = rt.faults.find("probe_slow").unwrap_or_default();
    let interval = slow["every_s"]
        .as_f64()
        .filter(|seconds| (0.01..=3_600.0).contains(seconds))
        .map_or(INTERVAL, Duration::from_secs_f64);
    let failures = slow["failures"]
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .map_or(FAILURES, |number| number.max(1));
    let timeout = rt
        .faults
        .find("probe_timeout")
        .and_then(|params| params["ms"].as_u64())
        .map_or(TIMEOUT, Duration::from_millis);
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Some(ProbeTiming {
        interval: nanos(rt.clock.scaled(interval)),
        timeout: nanos(timeout),
        failures,
    })
}

/// Probes until the registry stops.
pub(super) async fn watch(registry: Arc<Registry>) {
    let rt = Arc::clone(&registry.rt);
    let mut stopping = rt.stopping();
    if rt.config.registry_probe == RegistryProbe::Off {
        return;
    }
    loop {
        let probe = timing(&registry);
        let pause = match probe {
            Some(probe) => Duration::from_nanos(probe.interval),
            None => rt.clock.scaled(Duration::from_secs(5)) / 2,
        };
        let timeout = probe.map_or(TIMEOUT, |probe| Duration::from_nanos(probe.timeout));
        let due: Vec<Instance> = registry.change(|table, now| {
            table.set_probe(probe);
            let expire = table.timing().expire;
            let margin = table.timing().sweep * 2;
            table
                .all()
                .filter(|instance| instance.name != rt.spec.name)
                .filter(|instance| {
                    // Only those about to expire have to confirm that they live.
                    probe.is_some() || now.saturating_sub(instance.last_seen) + margin >= expire
                })
                .cloned()
                .collect()
        });
        for instance in due {
            let registry = Arc::clone(&registry);
            tokio::spawn(async move {
                let found = ask(&registry, &instance, timeout).await;
                registry.change(|table, now| {
                    if probe.is_none() && found.is_ok() {
                        table.confirm(now, &instance.id);
                    }
                    table.probed(now, &instance.id, found);
                });
            });
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.changed() => return,
        }
    }
}

/// Where an instance's record says that its health is told: scheme and host added, nothing mended.
fn url_of(instance: &Instance) -> (String, u16, String) {
    let host = instance
        .address
        .rsplit_once(':')
        .map_or(instance.address.as_str(), |(host, _)| host);
    let port = ["health_port", "http_port", "metrics_port"]
        .iter()
        .find_map(|key| instance.metadata.get(*key)?.parse::<u16>().ok())
        .filter(|port| *port != 0)
        .unwrap_or(80);
    let url = format!("http://{host}:{port}{}", instance.health_path);
    (host.to_owned(), port, url)
}

async fn ask(registry: &Registry, instance: &Instance, timeout: Duration) -> Result<(), String> {
    let rt = &registry.rt;
    let (host, port, url) = url_of(instance);
    let span = rt.telemetry.root("GET {health_path}", Kind::Client);
    span.set("http.request.method", "GET");
    span.set("url.full", &url);
    span.set("server.address", &host);
    span.set("server.port", port);
    span.set("shop.instance.target", &instance.id);
    if !instance.health_path.starts_with('/') {
        return Err(malformed(registry, instance, &span, &url));
    }
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &Baggage::default());
    let lost = rt.faults.find("probe_loss").is_some_and(|params| {
        params["to"].as_str().is_none_or(|to| to == instance.name)
            && crate::rng::Rng::new(crate::ids::random_u64())
                .chance(params["share"].as_f64().unwrap_or(0.3))
    });
    let exchange = async {
        if lost {
            std::future::pending::<()>().await;
        }
        rt.connections.http.get(&url).headers(headers).send().await
    };
    match tokio::time::timeout(timeout, exchange).await {
        Err(_) => {
            span.fail("timeout", "no answer in time");
            Err(format!("gave no answer within {} ms", timeout.as_millis()))
        }
        Ok(Err(error)) => {
            let kind = crate::call::transport_kind(&error);
            span.fail(kind, "the probe found nobody");
            Err(format!("did not connect: {kind}"))
        }
        Ok(Ok(answer)) => {
            let status = answer.status().as_u16();
            span.set("http.response.status_code", status);
            if status == 200 {
                Ok(())
            } else {
                span.fail(&status.to_string(), "");
                Err(format!("answered {status}"))
            }
        }
    }
}

fn malformed(registry: &Registry, instance: &Instance, span: &Span, url: &str) -> String {
    span.fail("invalid_url", "the health path does not begin with /");
    registry.rt.telemetry.warn(
        "registry.probe_failed",
        "probe URL malformed",
        Attributes::new()
            .with("instance_id", &instance.id)
            .with("error.details", url),
    );
    "had no usable URL".to_owned()
}
