//! Resources and scopes of a file's rows: read once each, then one number a row.

use std::collections::HashMap;
use std::sync::Arc;

use super::attributes::{AttributeLists, AttributeTables};
use super::intern::Interner;
use super::parquet::{TableFile, Texts, Values};
use crate::CaseError;
use crate::model::{Origin, Resource, Scope};
use crate::wire::{OriginView, ResourceView, ScopeView};

/// All origins of a file.
#[derive(Default)]
pub(super) struct Origins {
    known: HashMap<Vec<u8>, u32>,
    last: Option<(usize, usize, u32)>,
    shared: HashMap<(usize, usize), u32>,
    resource: Vec<u32>,
    scope: Vec<u32>,
    resources: ResourceTable,
    scopes: ScopeTable,
}

#[derive(Default)]
struct ResourceTable {
    known: HashMap<Vec<u8>, u32>,
    attributes: AttributeLists,
    tables: AttributeTables,
    service: Vec<u32>,
    dropped: Vec<i32>,
    schema_url: Vec<u32>,
    texts: Interner,
}

#[derive(Default)]
struct ScopeTable {
    known: HashMap<Vec<u8>, u32>,
    attributes: AttributeLists,
    tables: AttributeTables,
    name: Vec<u32>,
    version: Vec<u32>,
    dropped: Vec<i32>,
    schema_url: Vec<u32>,
    texts: Interner,
}

/// The schema of the resource columns, first in every file.
pub(super) const RESOURCE_SCHEMA: &str = "
    required binary ServiceName (STRING);
    required group ResourceAttributes (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    required binary ResourceAttributeTypes (STRING);
    required int32 ResourceDroppedAttributesCount (INTEGER(32,false));
    required binary ResourceSchemaUrl (STRING);
    required binary ScopeName (STRING);
    required binary ScopeVersion (STRING);
    required group ScopeAttributes (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }
    required binary ScopeAttributeTypes (STRING);
    required int32 ScopeDroppedAttributesCount (INTEGER(32,false));
    required binary ScopeSchemaUrl (STRING);
";

impl Origins {
    /// The number of an origin as it stands in a request. Requests bring the same one many times in a row.
    pub(super) fn of(&mut self, view: &OriginView<'_>) -> u32 {
        let here = (
            view.resource.message.as_ptr() as usize,
            view.scope.message.as_ptr() as usize,
        );
        if let Some((resource, scope, number)) = self.last
            && (resource, scope) == here
            && !view.resource.message.is_empty()
            && !view.scope.message.is_empty()
        {
            return number;
        }
        let mut key = Vec::new();
        for part in [
            view.resource.message,
            view.resource.schema_url.as_bytes(),
            view.scope.message,
            view.scope.schema_url.as_bytes(),
        ] {
            key.extend_from_slice(&(part.len() as u64).to_le_bytes());
            key.extend_from_slice(part);
        }
        let number = match self.known.get(&key) {
            Some(number) => *number,
            None => {
                let resource = self.resources.of(&view.resource);
                let scope = self.scopes.of(&view.scope);
                self.add(key, resource, scope)
            }
        };
        self.last = Some((here.0, here.1, number));
        number
    }

    /// A new request: addresses of the last one say nothing any more.
    pub(super) fn next_request(&mut self) {
        self.last = None;
    }

    /// The number of an owned origin. Rows of one request share theirs, and the table's rows keep them alive, so an
    /// address seen before is the same origin; only a new one is compared by what it holds.
    pub(super) fn of_owned(&mut self, origin: &Origin) -> u32 {
        let address = (
            Arc::as_ptr(&origin.resource) as usize,
            Arc::as_ptr(&origin.scope) as usize,
        );
        if let Some(number) = self.shared.get(&address) {
            return *number;
        }
        let key = format!("{:?}", (&origin.resource, &origin.scope)).into_bytes();
        let number = match self.known.get(&key) {
            Some(number) => *number,
            None => {
                let resource = self.resources.add(&origin.resource);
                let scope = self.scopes.add(&origin.scope);
                self.add(key, resource, scope)
            }
        };
        self.shared.insert(address, number);
        number
    }

    fn add(&mut self, key: Vec<u8>, resource: u32, scope: u32) -> u32 {
        let number = self.resource.len() as u32;
        self.resource.push(resource);
        self.scope.push(scope);
        self.known.insert(key, number);
        number
    }

    /// Writes the columns of [`RESOURCE_SCHEMA`], one origin a row.
    pub(super) fn write(
        &self,
        rows: impl Iterator<Item = u32> + Clone,
        file: &mut TableFile,
    ) -> Result<(), CaseError> {
        let resources = rows.clone().map(|row| self.resource[row as usize] as usize);
        let scopes = rows.map(|row| self.scope[row as usize] as usize);
        let table = &self.resources;
        let texts = |numbers: Vec<u32>| {
            Values::Texts(Texts {
                table: &table.texts,
                numbers,
            })
        };
        file.plain(&texts(
            resources.clone().map(|r| table.service[r]).collect(),
        ))?;
        table
            .attributes
            .write(resources.clone(), &table.tables, file)?;
        file.plain(&Values::I32(
            resources.clone().map(|r| table.dropped[r]).collect(),
        ))?;
        file.plain(&texts(resources.map(|r| table.schema_url[r]).collect()))?;
        let table = &self.scopes;
        let texts = |numbers: Vec<u32>| {
            Values::Texts(Texts {
                table: &table.texts,
                numbers,
            })
        };
        file.plain(&texts(scopes.clone().map(|s| table.name[s]).collect()))?;
        file.plain(&texts(scopes.clone().map(|s| table.version[s]).collect()))?;
        table
            .attributes
            .write(scopes.clone(), &table.tables, file)?;
        file.plain(&Values::I32(
            scopes.clone().map(|s| table.dropped[s]).collect(),
        ))?;
        file.plain(&texts(scopes.map(|s| table.schema_url[s]).collect()))
    }
}

fn keyed(message: &[u8], schema_url: &str) -> Vec<u8> {
    let mut key = (message.len() as u64).to_le_bytes().to_vec();
    key.extend_from_slice(message);
    key.extend_from_slice(schema_url.as_bytes());
    key
}

impl ResourceTable {
    fn of(&mut self, view: &ResourceView<'_>) -> u32 {
        let key = keyed(view.message, view.schema_url);
        if let Some(number) = self.known.get(&key) {
            return *number;
        }
        // Requests were checked when they were taken; what can't be read now could not have been logged.
        let number = self.add(&view.read().unwrap_or_default());
        self.known.insert(key, number);
        number
    }

    fn add(&mut self, resource: &Resource) -> u32 {
        let number = self.attributes.len() as u32;
        self.service
            .push(self.texts.intern(resource.service().as_bytes()));
        self.attributes
            .push_owned(&resource.attributes, &mut self.tables);
        self.dropped.push(resource.dropped_attributes.cast_signed());
        self.schema_url
            .push(self.texts.intern(resource.schema_url.as_bytes()));
        number
    }
}

impl ScopeTable {
    fn of(&mut self, view: &ScopeView<'_>) -> u32 {
        let key = keyed(view.message, view.schema_url);
        if let Some(number) = self.known.get(&key) {
            return *number;
        }
        let number = self.add(&view.read().unwrap_or_default());
        self.known.insert(key, number);
        number
    }

    fn add(&mut self, scope: &Scope) -> u32 {
        let number = self.attributes.len() as u32;
        self.name.push(self.texts.intern(scope.name.as_bytes()));
        self.version
            .push(self.texts.intern(scope.version.as_bytes()));
        self.attributes
            .push_owned(&scope.attributes, &mut self.tables);
        self.dropped.push(scope.dropped_attributes.cast_signed());
        self.schema_url
            .push(self.texts.intern(scope.schema_url.as_bytes()));
        number
    }
}
