//! Logs as JSON lines or logfmt: fields are taken for what their names usually mean, the rest become attributes, and
//! the report says which field was taken for what.

pub(super) mod fields;
pub(super) mod logfmt;
pub(super) mod stamp;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::case::model::{Attributes, LogRecord, Origin, Resource, Value};
use ::case::{SpanId, TraceId};

use super::batch::Batch;
use super::cut::{array_elements, lines_before, object_entries, skip_space};
use super::report::{Mapped, Place, clip};
use super::stream::{Piece, Text};
use super::{AtLine, ImportError, Options, Stop, ids};
use fields::Role;

/// Resources remembered, so that records of one service share one.
const REMEMBERED: usize = 4_096;

/// One field of a record.
struct Field {
    name: String,
    value: Value,
    /// The value as text, numbers with every digit; empty for what is no scalar.
    text: String,
}

pub(super) fn import_json(
    text: &mut Text<'_>,
    options: &Options,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let mut reader = Reader::new(options);
    let done = each_line(text, batch, &mut |piece, batch| {
        let start = skip_space(piece.bytes, 0);
        let bytes = &piece.bytes[start..];
        // An array of records on one line, as some shippers write it.
        if bytes.first() == Some(&b'[') {
            return match array_elements(bytes) {
                Ok(elements) => elements.into_iter().try_for_each(|element| {
                    let line = piece.line + lines_before(bytes, element);
                    reader.take(Place::Line(line), json_fields(element), batch)
                }),
                Err(reason) => reader.take(Place::Line(piece.line), Err(reason), batch),
            };
        }
        reader.take(Place::Line(piece.line), json_fields(bytes), batch)
    });
    reader.enter(batch);
    done
}

pub(super) fn import_logfmt(
    text: &mut Text<'_>,
    options: &Options,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let mut reader = Reader::new(options);
    let done = each_line(text, batch, &mut |piece, batch| {
        reader.take(Place::Line(piece.line), logfmt_fields(piece.bytes), batch)
    });
    reader.enter(batch);
    done
}

type Each<'e> = &'e mut dyn FnMut(&Piece<'_>, &mut Batch<'_>) -> Result<(), ImportError>;

fn each_line(text: &mut Text<'_>, batch: &mut Batch<'_>, each: Each<'_>) -> Result<(), Stop> {
    text.skip_mark().at_line(1)?;
    loop {
        let line = text.line_number();
        let Some(piece) = text.line().at_line(line)? else {
            return Ok(());
        };
        if piece.too_long {
            batch.report.records += 1;
            batch.bad(Place::Line(piece.line), "the line is longer than 256 MiB")?;
        } else if skip_space(piece.bytes, 0) < piece.bytes.len() {
            each(&piece, batch)?;
        }
    }
}

fn json_fields(bytes: &[u8]) -> Result<Vec<Field>, String> {
    // Read whole first: cutting alone would let broken text through.
    let mut record: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(bytes).map_err(|error| super::json_reason(&error))?;
    let mut fields = Vec::with_capacity(record.len());
    for (key, raw) in object_entries(bytes)? {
        let name: String = match key.contains(&b'\\') {
            false => String::from_utf8_lossy(key).into_owned(),
            true => serde_json::from_str(&format!("\"{}\"", String::from_utf8_lossy(key)))
                .map_err(|error| super::json_reason(&error))?,
        };
        // A key that was there twice is taken once, with the value that counts in JSON.
        let Some(value) = record.remove(&name) else {
            continue;
        };
        push_json(&mut fields, name, value, raw);
    }
    Ok(fields)
}

/// Objects that hold a role under a key of their own (`"trace": {"id": …}`) are opened; others stay whole.
fn push_json(fields: &mut Vec<Field>, name: String, value: serde_json::Value, raw: &[u8]) {
    use serde_json::Value as Json;
    if let Json::Object(inner) = value {
        let opened = inner.iter().any(|(key, value)| {
            !value.is_object() && !value.is_array() && Role::of(&format!("{name}.{key}")).is_some()
        });
        if !opened {
            let value = super::json_value(Json::Object(inner));
            fields.push(Field {
                name,
                value,
                text: String::new(),
            });
            return;
        }
        for (key, value) in inner {
            let text = scalar_text(&value, b"");
            fields.push(Field {
                name: format!("{name}.{key}"),
                value: super::json_value(value),
                text,
            });
        }
        return;
    }
    let text = scalar_text(&value, raw);
    fields.push(Field {
        name,
        value: super::json_value(value),
        text,
    });
}

/// A number keeps the digits it was sent with: a fraction of nanoseconds doesn't survive a double.
fn scalar_text(value: &serde_json::Value, raw: &[u8]) -> String {
    use serde_json::Value as Json;
    match value {
        Json::String(text) => text.clone(),
        Json::Number(_) if !raw.is_empty() => String::from_utf8_lossy(raw).into_owned(),
        Json::Number(number) => number.to_string(),
        Json::Bool(value) => value.to_string(),
        _ => String::new(),
    }
}

fn logfmt_fields(bytes: &[u8]) -> Result<Vec<Field>, String> {
    let line = std::str::from_utf8(bytes)
        .map_err(|error| format!("it is no UTF-8 from byte {}", error.valid_up_to() + 1))?;
    let pairs = logfmt::pairs(line)?;
    if pairs.iter().all(|(_, value)| value.is_none()) {
        return Err(format!("no key=value pair in {}", clip(line)));
    }
    Ok(pairs
        .into_iter()
        .map(|(name, value)| Field {
            name: name.to_owned(),
            text: value.clone().unwrap_or_default(),
            value: value.map_or(Value::Bool(true), Value::Text),
        })
        .collect())
}

/// Turns fields into records and remembers what was taken for what.
struct Reader<'o> {
    options: &'o Options,
    resources: HashMap<String, Arc<Resource>>,
    /// By role, then by the name of the field.
    used: [BTreeMap<String, u64>; Role::ALL.len()],
}

impl<'o> Reader<'o> {
    fn new(options: &'o Options) -> Reader<'o> {
        Reader {
            options,
            resources: HashMap::new(),
            used: Default::default(),
        }
    }

    fn take(
        &mut self,
        place: Place,
        fields: Result<Vec<Field>, String>,
        batch: &mut Batch<'_>,
    ) -> Result<(), ImportError> {
        batch.report.records += 1;
        match fields.and_then(|fields| self.record(fields, batch)) {
            Ok(record) => batch.log(record),
            Err(reason) => batch.bad(place, reason),
        }
    }

    fn record(&mut self, fields: Vec<Field>, batch: &mut Batch<'_>) -> Result<LogRecord, String> {
        let mut chosen: [Option<(usize, usize)>; Role::ALL.len()] = Default::default();
        for (at, field) in fields.iter().enumerate() {
            let Some((role, rank)) = Role::ranked(&field.name) else {
                continue;
            };
            // Only a message may be more than a scalar.
            if field.text.is_empty() && role != Role::Message {
                continue;
            }
            let best = &mut chosen[role as usize];
            if best.is_none_or(|(known, _)| rank < known) {
                *best = Some((rank, at));
            }
        }
        let of = |role: Role| chosen[role as usize].map(|(_, at)| &fields[at]);
        let mut taken: Vec<Role> = Vec::new();
        let time = match (of(Role::Time), self.options.at) {
            (Some(field), _) => {
                let stamp = stamp::parse(&field.text)
                    .map_err(|reason| format!("{}: {reason}", field.name))?;
                if stamp.zone_assumed {
                    batch.report.note("times without a zone were read as UTC");
                }
                taken.push(Role::Time);
                stamp.at
            }
            (None, Some(at)) => at,
            (None, None) => {
                return Err(
                    "no field holds a time; --at TIME gives one to records without".to_owned(),
                );
            }
        };
        let mut record = LogRecord {
            time,
            ..LogRecord::default()
        };
        if let Some(field) = of(Role::Level) {
            record.severity_text.clone_from(&field.text);
            record.severity_number = fields::severity(&field.text).unwrap_or(0);
            taken.push(Role::Level);
        }
        if let Some(number) = of(Role::SeverityNumber).and_then(|field| field.text.parse().ok()) {
            record.severity_number = number;
            taken.push(Role::SeverityNumber);
        }
        if let Some(field) = of(Role::TraceId) {
            // A UUID is a trace id with dashes.
            match ids::trace_id(&field.text.replace('-', "")) {
                Ok(id) => {
                    record.trace_id = id;
                    taken.push(Role::TraceId);
                }
                Err(_) if id_is_none(&field.text) => taken.push(Role::TraceId),
                Err(_) => batch
                    .report
                    .note("trace ids that are not hexadecimal were kept as attributes"),
            }
        }
        if let Some(field) = of(Role::SpanId) {
            match ids::span_id(&field.text) {
                Ok(id) => {
                    record.span_id = id;
                    taken.push(Role::SpanId);
                }
                Err(_) if id_is_none(&field.text) => taken.push(Role::SpanId),
                Err(_) => batch
                    .report
                    .note("span ids that are not hexadecimal were kept as attributes"),
            }
        }
        // A span id without its trace can't be followed; it stays readable.
        if record.trace_id == TraceId::NONE && record.span_id != SpanId::NONE {
            record.span_id = SpanId::NONE;
            taken.retain(|role| *role != Role::SpanId);
        }
        let service = match of(Role::Service) {
            Some(field) => {
                taken.push(Role::Service);
                field.text.clone()
            }
            None => self.options.service.clone().unwrap_or_default(),
        };
        if of(Role::Message).is_some() {
            taken.push(Role::Message);
        }
        for role in &taken {
            if let Some(field) = of(*role) {
                let used = &mut self.used[*role as usize];
                if let Some(count) = used.get_mut(&field.name) {
                    *count += 1;
                } else if used.len() < REMEMBERED {
                    used.insert(field.name.clone(), 1);
                }
            }
        }
        let places: Vec<usize> = taken
            .iter()
            .filter_map(|role| chosen[*role as usize].map(|(_, at)| at))
            .collect();
        let message = chosen[Role::Message as usize].map(|(_, at)| at);
        let mut attributes = Attributes::default();
        for (at, field) in fields.into_iter().enumerate() {
            if Some(at) == message {
                record.body = field.value;
            } else if !places.contains(&at) {
                attributes.push(field.name, field.value);
            }
        }
        record.attributes = attributes;
        record.origin = Origin {
            resource: self.resource(service),
            ..Origin::default()
        };
        Ok(record)
    }

    fn resource(&mut self, service: String) -> Arc<Resource> {
        if self.resources.len() >= REMEMBERED {
            self.resources.clear();
        }
        self.resources
            .entry(service)
            .or_insert_with_key(|service| {
                let mut attributes = Attributes::default();
                if !service.is_empty() {
                    attributes.push("service.name", Value::Text(service.clone()));
                }
                Arc::new(Resource {
                    attributes,
                    ..Resource::default()
                })
            })
            .clone()
    }

    /// Enters what was taken for what into the report.
    fn enter(self, batch: &mut Batch<'_>) {
        for (role, used) in Role::ALL.into_iter().zip(self.used) {
            batch
                .report
                .mapping
                .extend(used.into_iter().map(|(from, records)| Mapped {
                    role: role.name().to_owned(),
                    from,
                    records,
                }));
        }
    }
}

/// Zeros mean that there was no trace, as several loggers write it.
fn id_is_none(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b == b'0' || b == b'-')
}
