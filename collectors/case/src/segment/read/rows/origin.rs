//! Resource and scope columns. Neighbouring rows mostly share an origin, so the last one is kept.

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
}

/// Distinct resources and scopes looked through before a new one is simply made; a case has some dozens.
const CACHED: usize = 64;

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
