//! Owns questions to the registry: who serves a name. Each span says which node was asked and, if it failed, how.

use super::Listed;
use super::nodes::{self, Node};
use crate::catalog::REGISTRY;
use crate::propagation::{self, Baggage};
use crate::resilience::timeouts;
use crate::rng::Rng;
use crate::runtime::Rt;
use crate::telemetry::{Kind, Span};

const TEMPLATE: &str = "/services/{name}";

/// Asks for the instances of a name, one registry node after the other until one answers. Without a parent each question
/// is a trace of its own.
pub(super) async fn fetch(
    rt: &Rt,
    name: &str,
    parent: Option<&Span>,
) -> Result<Vec<Listed>, String> {
    rt.resilience
        .admit(rt, REGISTRY)
        .map_err(|error| error.message)?;
    let mut outcome = Err("no registry node is known".to_owned());
    for node in rt.discovery.nodes.for_asking(rt) {
        outcome = ask(rt, &node, name, parent).await;
        if outcome.is_ok() {
            break;
        }
    }
    rt.resilience.record(rt, REGISTRY, outcome.is_err());
    outcome
}

async fn ask(
    rt: &Rt,
    node: &Node,
    name: &str,
    parent: Option<&Span>,
) -> Result<Vec<Listed>, String> {
    let registry = node_url(rt, node);
    let url = format!("{registry}/services/{name}{}", query(rt, name));
    let spanned = format!("GET {TEMPLATE}");
    let span = match parent {
        Some(parent) => rt
            .telemetry
            .child_of(parent.context(), spanned, Kind::Client),
        None => rt.telemetry.root(spanned, Kind::Client),
    };
    describe(&span, &registry, &url);
    let mut headers = http::HeaderMap::new();
    propagation::inject(&mut headers, span.context(), &Baggage::default());
    let request = rt
        .connections
        .http
        .get(&url)
        .headers(headers)
        .timeout(timeouts::REGISTRY);
    exchange(rt, node, request, &span).await
}

async fn exchange(
    rt: &Rt,
    node: &Node,
    request: reqwest::RequestBuilder,
    span: &Span,
) -> Result<Vec<Listed>, String> {
    if nodes::is_cut_off(rt, node) {
        tokio::time::sleep(timeouts::REGISTRY).await;
        span.fail("timeout", "timed out");
        return Err("timed out".to_owned());
    }
    let response = request.send().await.map_err(|error| {
        span.fail(crate::call::transport_kind(&error), &error.to_string());
        error.to_string()
    })?;
    let status = response.status().as_u16();
    span.set("http.response.status_code", status);
    if status != 200 {
        span.fail(&status.to_string(), "");
        return Err(format!("the registry answered {status}"));
    }
    let listed: Vec<Listed> = response.json().await.map_err(|error| {
        span.fail("REGISTRY_UNAVAILABLE", &error.to_string());
        error.to_string()
    })?;
    span.set("shop.registry.instances", listed.len());
    Ok(listed)
}

fn describe(span: &Span, registry: &str, url: &str) {
    span.set("http.request.method", "GET");
    span.set("url.template", TEMPLATE);
    span.set("url.full", url);
    let authority = registry.rsplit("//").next().unwrap_or_default();
    if let Some((host, port)) = authority.rsplit_once(':') {
        span.set("server.address", host);
        if let Ok(port) = port.parse::<u16>() {
            span.set("server.port", port);
        }
    }
}

/// Where a node is; a share of the questions may go to a name that no resolver knows.
fn node_url(rt: &Rt, node: &Node) -> String {
    let url = &node.url;
    let share = rt
        .faults
        .find("registry_dns")
        .map_or(0.0, |params| params["share"].as_f64().unwrap_or(0.2));
    if share > 0.0 && Rng::new(crate::ids::random_u64()).chance(share) {
        let port = url.rsplit(':').next().unwrap_or("80");
        return format!("http://registry.shop.invalid:{port}");
    }
    url.clone()
}

/// What narrows or widens the answer: nothing, unless this caller is set up otherwise.
fn query(rt: &Rt, name: &str) -> String {
    let mut pairs = Vec::new();
    if let Some(params) = rt.faults.about("lookup_filter", name) {
        let key = params["key"].as_str().unwrap_or("version");
        let value = params["value"].as_str().unwrap_or("1.0.0");
        let encode = crate::propagation::baggage::percent_encode;
        pairs.push(format!("{}={}", encode(key), encode(value)));
    }
    if rt.faults.about("ignore_health", name).is_some() {
        pairs.push("status=all".to_owned());
    }
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}
