//! A mapping laid over one file's header: which column fills what, and its text made ready.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use ::case::Nanos;
use ::case::model::{Attributes, Origin, Resource, Scope, Value};

use super::mapping::{FieldName, FieldSpec, Mapping, MappingError};
use super::split::Record;
use crate::import::any::Any;
use crate::import::cut::object_entries;
use crate::import::json_reason;
use crate::import::logs::{fields, stamp};
use crate::import::report::{Mapped, clip};

/// Resources and scopes remembered, so that rows of one sender share one.
const REMEMBERED: usize = 4_096;

pub(super) struct Column {
    place: usize,
    spec: FieldSpec,
}

pub(super) struct Plan {
    columns: Vec<Option<Column>>,
    resource: Vec<(String, Column)>,
    attributes: Vec<(String, Column)>,
    resources: HashMap<Vec<u8>, Arc<Resource>>,
    scopes: HashMap<(String, String), Arc<Scope>>,
    pub(super) width: usize,
    key: Vec<u8>,
}

impl Plan {
    pub(super) fn new(mapping: &Mapping, header: &[String]) -> Result<Plan, MappingError> {
        let column = |spec: &FieldSpec| {
            Ok::<_, MappingError>(Column {
                place: mapping.place(spec, header)?,
                spec: spec.clone(),
            })
        };
        let named = |(name, spec): (&String, &FieldSpec)| {
            Ok::<_, MappingError>((name.clone(), column(spec)?))
        };
        let mut columns: Vec<Option<Column>> = Vec::new();
        for (name, spec) in &mapping.fields {
            let slot = *name as usize;
            if columns.len() <= slot {
                columns.resize_with(slot + 1, || None);
            }
            columns[slot] = Some(column(spec)?);
        }
        Ok(Plan {
            columns,
            resource: mapping
                .resource
                .iter()
                .map(named)
                .collect::<Result<_, _>>()?,
            attributes: mapping
                .attributes
                .iter()
                .map(named)
                .collect::<Result<_, _>>()?,
            resources: HashMap::new(),
            scopes: HashMap::new(),
            width: header.len(),
            key: Vec::new(),
        })
    }

    /// What is taken from where, for the report.
    pub(super) fn mapped(mapping: &Mapping) -> Vec<Mapped> {
        let one = |role: String, spec: &FieldSpec| Mapped {
            role,
            from: spec.column.clone(),
            records: 0,
        };
        let fields = mapping
            .fields
            .iter()
            .map(|(name, spec)| one(words(&format!("{name:?}")), spec));
        let resource = mapping
            .resource
            .iter()
            .map(|(name, spec)| one(format!("resource {name}"), spec));
        let attributes = mapping
            .attributes
            .iter()
            .map(|(name, spec)| one(format!("attribute {name}"), spec));
        fields.chain(resource).chain(attributes).collect()
    }

    /// The columns that fields and resource attributes use up.
    pub(super) fn used(&self) -> impl Iterator<Item = usize> {
        let fields = self.columns.iter().flatten();
        fields
            .chain(self.resource.iter().map(|(_, column)| column))
            .chain(self.attributes.iter().map(|(_, column)| column))
            .map(|column| column.place)
    }

    /// A field's text, `None` where the mapping has none or the cell says nothing.
    pub(super) fn text<'r>(
        &self,
        name: FieldName,
        record: &'r Record,
    ) -> Result<Option<Cow<'r, str>>, String> {
        match self.columns.get(name as usize).and_then(Option::as_ref) {
            Some(column) => column.text(record),
            None => Ok(None),
        }
    }

    pub(super) fn owned(&self, name: FieldName, record: &Record) -> Result<String, String> {
        Ok(self
            .text(name, record)?
            .map(Cow::into_owned)
            .unwrap_or_default())
    }

    /// A number, 0 where none is given.
    pub(super) fn number<T: std::str::FromStr + Default>(
        &self,
        name: FieldName,
        record: &Record,
    ) -> Result<T, String> {
        match self.text(name, record)? {
            Some(text) => text
                .parse()
                .map_err(|_| format!("{} is no number ({name:?})", clip(&text))),
            None => Ok(T::default()),
        }
    }

    /// A moment: a number in the unit the mapping says, or a time in any known writing.
    pub(super) fn time(&self, name: FieldName, record: &Record) -> Result<Option<Nanos>, String> {
        let Some(text) = self.text(name, record)? else {
            return Ok(None);
        };
        let unit = self.columns[name as usize]
            .as_ref()
            .and_then(|column| column.spec.unit);
        match unit {
            Some(unit) => match stamp::epoch(&text, Some(unit.unit())) {
                Some(at) => Ok(Some(at)),
                None => Err(format!("{} is no time in numbers ({name:?})", clip(&text))),
            },
            None => stamp::parse(&text).map(|stamp| Some(stamp.at)),
        }
    }

    /// A JSON object as attributes.
    pub(super) fn json_attributes(
        &self,
        name: FieldName,
        record: &Record,
    ) -> Result<Attributes, String> {
        match self.json(name, record)? {
            Value::Map(pairs) => Ok(pairs),
            Value::Empty => Ok(Attributes::default()),
            _ => Err(format!("{name:?} is no JSON object")),
        }
    }

    pub(super) fn json(&self, name: FieldName, record: &Record) -> Result<Value, String> {
        match self.text(name, record)? {
            Some(text) => serde_json::from_str::<Any>(&text)
                .map(|any| any.0)
                .map_err(|error| format!("{name:?}: {}", json_reason(&error))),
            None => Ok(Value::Empty),
        }
    }

    pub(super) fn attributes(&self, record: &Record) -> Result<Attributes, String> {
        let mut attributes = self.json_attributes(FieldName::AttributesJson, record)?;
        for (name, column) in &self.attributes {
            if let Some(text) = column.text(record)? {
                attributes.push(name.clone(), Value::Text(text.into_owned()));
            }
        }
        Ok(attributes)
    }

    /// The resource and scope of a row, shared with the rows before it that say the same.
    pub(super) fn origin(&mut self, record: &Record) -> Result<Origin, String> {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let of_resource = [FieldName::Service, FieldName::ResourceJson]
            .into_iter()
            .filter_map(|name| self.columns.get(name as usize).and_then(Option::as_ref))
            .chain(self.resource.iter().map(|(_, column)| column));
        for column in of_resource {
            let cell = record.bytes(column.place);
            key.extend_from_slice(&(cell.len() as u64).to_le_bytes());
            key.extend_from_slice(cell);
        }
        let resource = match self.resources.get(&key) {
            Some(resource) => resource.clone(),
            None => {
                let resource = Arc::new(self.resource(record)?);
                if self.resources.len() >= REMEMBERED {
                    self.resources.clear();
                }
                self.resources.insert(key.clone(), resource.clone());
                resource
            }
        };
        self.key = key;
        let scope = (
            self.owned(FieldName::ScopeName, record)?,
            self.owned(FieldName::ScopeVersion, record)?,
        );
        if self.scopes.len() >= REMEMBERED {
            self.scopes.clear();
        }
        let scope = self
            .scopes
            .entry(scope)
            .or_insert_with_key(|(name, version)| {
                Arc::new(Scope {
                    name: name.clone(),
                    version: version.clone(),
                    ..Scope::default()
                })
            })
            .clone();
        Ok(Origin { resource, scope })
    }

    fn resource(&self, record: &Record) -> Result<Resource, String> {
        let mut attributes = Attributes::default();
        if let Some(service) = self.text(FieldName::Service, record)? {
            attributes.push("service.name", Value::Text(service.into_owned()));
        }
        attributes
            .0
            .extend(self.json_attributes(FieldName::ResourceJson, record)?.0);
        for (name, column) in &self.resource {
            if let Some(text) = column.text(record)? {
                attributes.push(name.clone(), Value::Text(text.into_owned()));
            }
        }
        Ok(Resource {
            attributes,
            ..Resource::default()
        })
    }
}

impl Column {
    fn text<'r>(&self, record: &'r Record) -> Result<Option<Cow<'r, str>>, String> {
        let spec = &self.spec;
        let cell = record.text(self.place)?;
        if cell.is_empty() || spec.none.iter().any(|none| none == cell) {
            return Ok(None);
        }
        let mut text = Cow::Borrowed(cell);
        if let Some(field) = &spec.json_field {
            text = record
                .field(self.place, field, json_field)
                .map_err(|reason| format!("{}: {reason}", spec.column))?;
        }
        if spec.trim {
            text = match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
            };
        }
        if spec.drop_last > 0 {
            let mut kept = text.as_ref();
            for _ in 0..spec.drop_last {
                // A name with too few parts is left whole rather than emptied.
                match kept.rsplit_once(spec.separator.as_str()) {
                    Some((before, _)) if !before.is_empty() => kept = before,
                    _ => {
                        kept = text.as_ref();
                        break;
                    }
                }
            }
            text = Cow::Owned(kept.to_owned());
        }
        if spec.level_word {
            return Ok(level_word(&text).map(|word| Cow::Owned(word.to_owned())));
        }
        Ok(Some(text))
    }
}

/// One field of a JSON object, texts without their quotes. Only that field is read: rows are mostly made of others.
fn json_field(object: &str, field: &str) -> Result<String, String> {
    let entries = object_entries(object.as_bytes())?;
    let (_, value) = entries
        .iter()
        .find(|(key, _)| *key == field.as_bytes())
        .ok_or_else(|| format!("no field {}", clip(field)))?;
    match serde_json::from_slice::<serde_json::Value>(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(other) => Ok(other.to_string()),
        Err(error) => Err(json_reason(&error)),
    }
}

/// The first of a text's first words that names a level in capitals, as frameworks write it.
fn level_word(text: &str) -> Option<&str> {
    const LOOK: usize = 8;
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(LOOK)
        .find(|word| {
            word.bytes().all(|b| b.is_ascii_uppercase()) && fields::severity(word).is_some()
        })
}

/// `ParentSpanId` as `parent span id`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push(' ');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
