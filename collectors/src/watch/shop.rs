//! The registry API of the bundled shop: `/registry/snapshot` and `/registry/events`.

use std::collections::BTreeMap;
use std::time::Duration;

use case::Nanos;
use case::signal::{RegistryEvent, RegistryInstance, RegistrySnapshot};
use serde_json::{Map, Value};

use super::fields::{get_json, moment, number, required, rows, text};
use super::source::{Answering, EventBatch, RegistrySource, SourceError};
use crate::fetch::{Bounds, Endpoint, EndpointError};
use crate::status::now;

/// Rows of one answer that are looked at, whatever the answer holds.
const MAX_ROWS: usize = 100_000;

/// The shop's registry.
pub struct ShopRegistry {
    base: Endpoint,
    snapshot: Endpoint,
    bounds: Bounds,
}

impl ShopRegistry {
    pub fn new(url: &Endpoint, bounds: Bounds) -> Result<ShopRegistry, EndpointError> {
        Ok(ShopRegistry {
            base: url.clone(),
            snapshot: url.join("/registry/snapshot")?,
            bounds,
        })
    }
}

impl RegistrySource for ShopRegistry {
    fn url(&self) -> String {
        self.base.to_string().trim_end_matches('/').to_owned()
    }

    fn snapshot(&self) -> Answering<'_, RegistrySnapshot> {
        Box::pin(async move {
            let at = now();
            let document = get_json(&self.snapshot, &self.bounds).await?;
            read_snapshot(document, at, self.url()).map_err(|reason| SourceError::Unreadable {
                url: self.snapshot.to_string(),
                reason,
            })
        })
    }

    fn has_events(&self) -> bool {
        true
    }

    fn numbers_every_event(&self) -> bool {
        true
    }

    fn events(&self, since: u64, wait: Duration) -> Answering<'_, EventBatch> {
        Box::pin(async move {
            let endpoint = self
                .base
                .join(&format!("/registry/events?since={since}"))
                .map_err(|error| SourceError::Unreadable {
                    url: self.url(),
                    reason: error.to_string(),
                })?;
            let bounds = Bounds {
                total: self.bounds.total + wait,
                ..self.bounds
            };
            let document = get_json(&endpoint, &bounds).await?;
            read_events(document, &self.url()).map_err(|reason| SourceError::Unreadable {
                url: endpoint.to_string(),
                reason,
            })
        })
    }
}

/// What `/registry/snapshot` answered. One instance that can't be read refuses it: a snapshot without some of its
/// instances would be read as their absence.
pub fn read_snapshot(
    document: Value,
    at: Nanos,
    registry: String,
) -> Result<RegistrySnapshot, String> {
    let Value::Object(mut object) = document else {
        return Err("not an object".to_owned());
    };
    let listed = match object.remove("instances") {
        Some(Value::Array(listed)) => listed,
        _ => return Err("no array of instances".to_owned()),
    };
    if listed.len() > MAX_ROWS {
        return Err(format!("more than {MAX_ROWS} instances"));
    }
    let mut instances = Vec::with_capacity(listed.len());
    for (index, row) in listed.iter().enumerate() {
        let instance =
            instance(row).map_err(|reason| format!("instance {}: {reason}", index + 1))?;
        instances.push(instance);
    }
    instances.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(RegistrySnapshot {
        at,
        as_of: moment(&object, "as_of"),
        registry,
        seq: number(&object, "seq"),
        config: object.remove("config").unwrap_or(Value::Null),
        instances,
    })
}

/// What `/registry/events` answered, in the order of its numbers.
pub fn read_events(document: Value, registry: &str) -> Result<EventBatch, String> {
    let listed = rows(document, &["events"])?;
    let mut batch = EventBatch::default();
    for (index, row) in listed.iter().enumerate().take(MAX_ROWS) {
        match event(row, registry.to_owned()) {
            Ok(event) => batch.events.push(event),
            Err(reason) => batch
                .unreadable
                .push(format!("event {}: {reason}", index + 1)),
        }
    }
    if listed.len() > MAX_ROWS {
        batch.unreadable.push(format!(
            "{} events beyond the first {MAX_ROWS}",
            listed.len() - MAX_ROWS
        ));
    }
    batch.events.sort_by_key(|event| event.seq);
    Ok(batch)
}

fn object(row: &Value) -> Result<&Map<String, Value>, String> {
    row.as_object().ok_or_else(|| "not an object".to_owned())
}

/// A registration. What is wrong in it is what a diagnosis is about, so only its id is insisted on.
fn instance(row: &Value) -> Result<RegistryInstance, String> {
    let row = object(row)?;
    let mut metadata = BTreeMap::new();
    if let Some(Value::Object(given)) = row.get("metadata") {
        for (name, value) in given {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            metadata.insert(name.clone(), value);
        }
    }
    Ok(RegistryInstance {
        id: required(row, "id")?,
        name: text(row, "name").unwrap_or_default(),
        address: text(row, "address").unwrap_or_default(),
        // Capstone-compatible answers call it health.
        status: text(row, "status")
            .or_else(|| text(row, "health"))
            .unwrap_or_default(),
        last_seen: moment(row, "last_seen"),
        registered_at: moment(row, "registered_at"),
        seq: number(row, "seq"),
        health_path: text(row, "health_path"),
        metadata,
    })
}

fn event(row: &Value, registry: String) -> Result<RegistryEvent, String> {
    let row = object(row)?;
    Ok(RegistryEvent {
        at: moment(row, "at").ok_or("no time at")?,
        registry,
        seq: number(row, "seq").ok_or("no seq")?,
        kind: required(row, "kind")?,
        id: text(row, "id").unwrap_or_default(),
        name: text(row, "name").unwrap_or_default(),
        address: text(row, "address").unwrap_or_default(),
        reason: text(row, "reason").filter(|reason| !reason.is_empty()),
    })
}
