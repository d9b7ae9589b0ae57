//! Resource and scope columns. A case has some dozens of origins and millions of rows that share them, so an origin is
//! known by its bytes as they are stored, and made once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::CaseError;
use crate::model::{Origin, Resource, Scope};
use crate::segment::read::TextPage;
use crate::segment::read::columns::{MapCursor, MapPage};
use crate::segment::read::table::{Cursor, TableReader};

pub(super) struct OriginCursor<'a> {
    resource: MapCursor<'a>,
    resource_dropped: Cursor<'a>,
    resource_schema: Cursor<'a>,
    scope_name: Cursor<'a>,
    scope_version: Cursor<'a>,
    scope: MapCursor<'a>,
    scope_dropped: Cursor<'a>,
    scope_schema: Cursor<'a>,
}

pub(super) struct OriginPage {
    resource: MapPage,
    resource_dropped: Vec<i32>,
    resource_schema: TextPage,
    scope_name: TextPage,
    scope_version: TextPage,
    scope: MapPage,
    scope_dropped: Vec<i32>,
    scope_schema: TextPage,
}

/// Hands out shared origins.
#[derive(Default)]
pub(super) struct OriginCache {
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
    /// By their stored bytes.
    known: HashMap<Vec<u8>, Origin>,
    last: Option<(Vec<u8>, Origin)>,
    scratch: Vec<u8>,
}

/// Distinct resources and scopes looked through before a new one is simply made; a case has some dozens.
const CACHED: usize = 64;
/// Origins kept by their bytes; where each row has one of its own, keeping them gains nothing.
const KNOWN: usize = 512;

impl OriginCache {
    pub(super) fn share(&mut self, resource: Resource, scope: Scope) -> Origin {
        fn share<T: PartialEq>(known: &mut Vec<Arc<T>>, new: T) -> Arc<T> {
            if let Some(at) = known.iter().position(|known| **known == new) {
                known.swap(0, at);
                return Arc::clone(&known[0]);
            }
            let new = Arc::new(new);
            known.insert(0, Arc::clone(&new));
            known.truncate(CACHED);
            new
        }
        Origin {
            resource: share(&mut self.resources, resource),
            scope: share(&mut self.scopes, scope),
        }
    }
}

impl<'a> OriginCursor<'a> {
    pub(super) fn open(table: &'a TableReader) -> Result<Self, CaseError> {
        Ok(OriginCursor {
            resource: MapCursor::open(table, "ResourceAttributes", Some("ResourceAttributeTypes"))?,
            resource_dropped: table.cursor("ResourceDroppedAttributesCount", 0)?,
            resource_schema: table.cursor("ResourceSchemaUrl", 0)?,
            scope_name: table.cursor("ScopeName", 0)?,
            scope_version: table.cursor("ScopeVersion", 0)?,
            scope: MapCursor::open(table, "ScopeAttributes", Some("ScopeAttributeTypes"))?,
            scope_dropped: table.cursor("ScopeDroppedAttributesCount", 0)?,
            scope_schema: table.cursor("ScopeSchemaUrl", 0)?,
        })
    }

    pub(super) fn page(&mut self, page: usize) -> Result<OriginPage, CaseError> {
        Ok(OriginPage {
            resource: self.resource.page(page)?,
            resource_dropped: self.resource_dropped.i32s(page)?,
            resource_schema: self.resource_schema.texts(page)?,
            scope_name: self.scope_name.texts(page)?,
            scope_version: self.scope_version.texts(page)?,
            scope: self.scope.page(page)?,
            scope_dropped: self.scope_dropped.i32s(page)?,
            scope_schema: self.scope_schema.texts(page)?,
        })
    }
}

impl OriginPage {
    pub(super) fn origin(&self, row: usize, cache: &mut OriginCache) -> Origin {
        let mut stored = std::mem::take(&mut cache.scratch);
        self.write_stored(row, &mut stored);
        if let Some((bytes, origin)) = &cache.last
            && *bytes == stored
        {
            let origin = origin.clone();
            cache.scratch = stored;
            return origin;
        }
        let origin = match cache.known.get(&stored) {
            Some(origin) => origin.clone(),
            None => {
                let origin = self.make(row, cache);
                if cache.known.len() >= KNOWN {
                    cache.known.clear();
                }
                cache.known.insert(stored.clone(), origin.clone());
                origin
            }
        };
        let before = cache.last.replace((stored, origin.clone()));
        cache.scratch = before.map(|(bytes, _)| bytes).unwrap_or_default();
        origin
    }

    /// Everything that makes up a row's origin, each text behind its length and each map behind its number of pairs.
    fn write_stored(&self, row: usize, out: &mut Vec<u8>) {
        fn text(out: &mut Vec<u8>, bytes: &[u8]) {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        out.clear();
        for map in [&self.resource, &self.scope] {
            out.extend_from_slice(&(map.len(row) as u64).to_le_bytes());
            for (key, value, letter) in map.pairs(row) {
                text(out, key);
                text(out, value);
                out.push(letter);
            }
        }
        for column in [
            &self.resource_schema,
            &self.scope_name,
            &self.scope_version,
            &self.scope_schema,
        ] {
            text(out, column.get(row));
        }
        out.extend_from_slice(&self.resource_dropped[row].to_le_bytes());
        out.extend_from_slice(&self.scope_dropped[row].to_le_bytes());
    }

    fn make(&self, row: usize, cache: &mut OriginCache) -> Origin {
        let resource = Resource {
            attributes: self.resource.attributes(row),
            dropped_attributes: self.resource_dropped[row].cast_unsigned(),
            schema_url: self.resource_schema.text(row).into_owned(),
        };
        let scope = Scope {
            name: self.scope_name.text(row).into_owned(),
            version: self.scope_version.text(row).into_owned(),
            attributes: self.scope.attributes(row),
            dropped_attributes: self.scope_dropped[row].cast_unsigned(),
            schema_url: self.scope_schema.text(row).into_owned(),
        };
        cache.share(resource, scope)
    }
}
