//! Resources and scopes in place, and the two levels of grouping that all three requests share.

use super::any::KeyValueView;
use super::proto::{Fields, WireError};
use crate::model::{Resource, Scope};

/// Who sent what follows: the raw messages, so that equal ones can be told by their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginView<'a> {
    pub resource: ResourceView<'a>,
    pub scope: ScopeView<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceView<'a> {
    pub message: &'a [u8],
    pub schema_url: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeView<'a> {
    pub message: &'a [u8],
    pub schema_url: &'a str,
}

impl OriginView<'static> {
    /// Of items whose origin is not asked for.
    pub const NOBODY: OriginView<'static> = OriginView {
        resource: ResourceView {
            message: &[],
            schema_url: "",
        },
        scope: ScopeView {
            message: &[],
            schema_url: "",
        },
    };
}

impl ResourceView<'_> {
    /// The resource with everything it holds.
    pub fn read(&self) -> Result<Resource, WireError> {
        let mut resource = Resource {
            schema_url: self.schema_url.to_owned(),
            ..Resource::default()
        };
        let mut fields = Fields::new(self.message);
        while let Some((number, raw)) = fields.step()? {
            match number {
                1 => {
                    let pair = KeyValueView::read(raw.bytes(&fields)?)?;
                    resource.attributes.push(pair.key, pair.value.to_value());
                }
                2 => resource.dropped_attributes = raw.uint32(&fields)?,
                _ => {}
            }
        }
        Ok(resource)
    }
}

impl ScopeView<'_> {
    /// The scope with everything it holds.
    pub fn read(&self) -> Result<Scope, WireError> {
        let mut scope = Scope {
            schema_url: self.schema_url.to_owned(),
            ..Scope::default()
        };
        let mut fields = Fields::new(self.message);
        while let Some((number, raw)) = fields.step()? {
            match number {
                1 => scope.name = raw.text(&fields)?.to_owned(),
                2 => scope.version = raw.text(&fields)?.to_owned(),
                3 => {
                    let pair = KeyValueView::read(raw.bytes(&fields)?)?;
                    scope.attributes.push(pair.key, pair.value.to_value());
                }
                4 => scope.dropped_attributes = raw.uint32(&fields)?,
                _ => {}
            }
        }
        Ok(scope)
    }
}

/// Calls `each` with every item of an export request and where it came from.
///
/// `ResourceSpans`, `ResourceLogs` and `ResourceMetrics` have the same shape down to the item: group 1, resource 1,
/// scoped groups 2, scope 1, items 2, schema URLs 3. The schema URL stands behind the items on the wire, so each level
/// is looked over for its head first.
pub fn each_item<'a>(
    request: &'a [u8],
    mut each: impl FnMut(&OriginView<'a>, &'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let mut groups = Fields::new(request);
    while let Some((number, raw)) = groups.step()? {
        if number != 1 {
            continue;
        }
        let group = raw.bytes(&groups)?;
        let (message, schema_url) = head(group)?;
        let resource = ResourceView {
            message,
            schema_url,
        };
        // Checked once a group: reading it finds what is malformed.
        resource.read()?;
        let mut scoped = Fields::new(group);
        while let Some((number, raw)) = scoped.step()? {
            if number != 2 {
                continue;
            }
            let items = raw.bytes(&scoped)?;
            let (message, schema_url) = head(items)?;
            let scope = ScopeView {
                message,
                schema_url,
            };
            scope.read()?;
            let origin = OriginView { resource, scope };
            let mut fields = Fields::new(items);
            while let Some((number, raw)) = fields.step()? {
                if number == 2 {
                    each(&origin, raw.bytes(&fields)?)?;
                }
            }
        }
    }
    Ok(())
}

/// Calls `each` with every item of an export request, checking resources and scopes on the way. Who need not know where
/// an item came from is spared the look ahead.
pub fn each_item_alone<'a>(
    request: &'a [u8],
    mut each: impl FnMut(&'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let schema_url = "";
    let mut groups = Fields::new(request);
    while let Some((number, raw)) = groups.step()? {
        if number != 1 {
            continue;
        }
        let mut group = Fields::new(raw.bytes(&groups)?);
        while let Some((number, raw)) = group.step()? {
            match number {
                1 => {
                    let message = raw.bytes(&group)?;
                    ResourceView {
                        message,
                        schema_url,
                    }
                    .read()?;
                }
                2 => {
                    let mut items = Fields::new(raw.bytes(&group)?);
                    while let Some((number, raw)) = items.step()? {
                        match number {
                            1 => {
                                let message = raw.bytes(&items)?;
                                ScopeView {
                                    message,
                                    schema_url,
                                }
                                .read()?;
                            }
                            2 => each(raw.bytes(&items)?)?,
                            3 => drop(raw.text(&items)?),
                            _ => {}
                        }
                    }
                }
                3 => drop(raw.text(&group)?),
                _ => {}
            }
        }
    }
    Ok(())
}

fn head(group: &[u8]) -> Result<(&[u8], &str), WireError> {
    let (mut message, mut schema_url) = (&group[..0], "");
    let mut fields = Fields::new(group);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => message = raw.bytes(&fields)?,
            3 => schema_url = raw.text(&fields)?,
            _ => {}
        }
    }
    Ok((message, schema_url))
}
