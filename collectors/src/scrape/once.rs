//! One scrape: fetching a page, reading it, and bringing what it says to the case.

use std::time::Duration;

use bytes::Bytes;
use case::signal::ProbeResult;
use case::{Nanos, Signal};
use prost::Message;
use serde_json::json;
use tokio::time::Instant;

use super::Target;
use super::convert::{self, Context, Measured};
use super::exposition::{self, Format, Limits, Page, Remarks};
use super::scraper::Shared;
use crate::fetch::{self, Answer, Bounds, FetchError};
use crate::status::now;

/// Pages larger than this are read on a thread that may take its time.
const READ_ASIDE: usize = 256 << 10;

pub(super) struct Fetched {
    at: Nanos,
    took: Duration,
    answer: Result<Answer, FetchError>,
}

pub(super) async fn fetch_page(shared: &Shared, target: &Target) -> Fetched {
    // The semaphore is never closed; without a permit the scrape would merely be less polite.
    let _slot = shared.slots.acquire().await;
    let bounds = Bounds {
        connect: shared.options.timeout,
        total: shared.options.timeout,
        body: shared.options.body_bytes,
        reach: target.reach(shared.options.registry_reach),
    };
    let at = now();
    let started = Instant::now();
    let answer = fetch::get(&target.endpoint, Format::ACCEPT, &bounds).await;
    Fetched {
        at,
        took: started.elapsed(),
        answer,
    }
}

/// Why a scrape gave no page: in a word for the probe result, and in full.
struct Failure {
    status: Option<u16>,
    error: String,
    detail: Option<String>,
}

async fn read(answer: Result<Answer, FetchError>, limits: Limits) -> Result<Page, Failure> {
    let answer = answer.map_err(|error| Failure {
        status: None,
        error: error.kind().to_owned(),
        detail: Some(error.to_string()),
    })?;
    let status = Some(answer.status);
    let failure = |error: String| Failure {
        status,
        error,
        detail: None,
    };
    if answer.status != 200 {
        return Err(failure(format!("answered {}", answer.status)));
    }
    let format = Format::of(&answer.content_type).map_err(failure)?;
    let page = if answer.body.len() > READ_ASIDE {
        tokio::task::spawn_blocking(move || exposition::parse(format, &answer.body, &limits))
            .await
            .map_err(|error| failure(format!("reading the page ended early: {error}")))?
    } else {
        exposition::parse(format, &answer.body, &limits)
    };
    page.map_err(|error| failure(error.to_string()))
}

/// Brings one scrape to the case: its metrics, and a probe result when it failed, recovered or left something out.
pub(super) async fn keep(
    shared: &Shared,
    target: &Target,
    task: &str,
    fetched: Fetched,
    before: &mut Option<bool>,
) {
    let page = read(fetched.answer, shared.options.limits).await;
    let (page, failure) = match page {
        Ok(page) => (page, None),
        Err(failure) => (Page::default(), Some(failure)),
    };
    let mut remarks: Remarks = page.remarks.clone();
    let measured = Measured {
        up: failure.is_none(),
        seconds: fetched.took.as_secs_f64(),
        samples: page.samples(),
    };
    let context = Context {
        at: fetched.at.0,
        resource: &target.resource(),
    };
    let request = convert::request(&page, &measured, &context, &mut remarks);
    drop(page);
    let payload = Bytes::from(request.encode_to_vec());
    drop(request);
    match &failure {
        None => shared.board.worked(task),
        Some(failure) => shared.board.failed(
            task,
            failure
                .detail
                .clone()
                .unwrap_or_else(|| failure.error.clone()),
        ),
    }
    if remarks.count > 0 {
        shared.board.complain(
            task,
            format!(
                "{} samples left out; {}",
                remarks.count,
                remarks.first.join("; ")
            ),
        );
    }
    // A failed delivery is counted and said where it happens.
    let _ = shared
        .delivery
        .bring(task, Signal::Metrics, payload, measured.samples as u64 + 3)
        .await;

    let ok = failure.is_none();
    let recovered = ok && *before == Some(false);
    *before = Some(ok);
    if ok && !recovered && remarks.count == 0 {
        return;
    }
    let (status, error, detail) = match failure {
        Some(failure) => (failure.status, Some(failure.error), failure.detail),
        None => (Some(200), None, None),
    };
    let mut raw =
        serde_json::Map::from_iter([("url".to_owned(), json!(target.endpoint.to_string()))]);
    if let Some(detail) = detail {
        raw.insert("detail".into(), json!(detail));
    }
    if remarks.count > 0 {
        raw.insert("left_out".into(), json!(remarks.count));
        raw.insert("remarks".into(), json!(remarks.first));
    }
    let row = ProbeResult {
        at: fetched.at,
        instance: target.registered.then(|| target.instance.clone()),
        service: Some(target.service.clone()),
        address: target.endpoint.at.to_string(),
        check: "metrics".into(),
        ok,
        status,
        duration_nano: u64::try_from(fetched.took.as_nanos()).unwrap_or(u64::MAX),
        error,
        raw: raw.into(),
    };
    let _ = shared
        .delivery
        .bring_rows(task, Signal::Probes, &[row])
        .await;
}
