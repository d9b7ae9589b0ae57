//! Spans in place.

use super::any::KeyValueView;
use super::origin::{OriginView, each_item, each_item_alone};
use super::proto::{Fields, WireError};
use crate::ids::{SpanId, TraceId};

/// A span that borrows from the request; lists stand in [`Scratch`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanView<'a> {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent_span_id: SpanId,
    pub trace_state: &'a str,
    pub flags: u32,
    pub name: &'a str,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub dropped_attributes: u32,
    pub dropped_events: u32,
    pub dropped_links: u32,
    pub status_code: u64,
    pub status_message: &'a str,
}

/// The lists of the span being read, reused from one to the next.
#[derive(Debug, Default)]
pub struct Scratch<'a> {
    pub attributes: Vec<KeyValueView<'a>>,
    pub events: Vec<EventView<'a>>,
    pub links: Vec<LinkView<'a>>,
    /// Attributes of events and links; each names its range.
    pub nested: Vec<KeyValueView<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    pub at: u64,
    pub name: &'a str,
    pub dropped_attributes: u32,
    pub attributes: (usize, usize),
}

#[derive(Debug, Clone, Copy)]
pub struct LinkView<'a> {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub trace_state: &'a str,
    pub flags: u32,
    pub dropped_attributes: u32,
    pub attributes: (usize, usize),
}

impl<'a> Scratch<'a> {
    /// The attributes of an event or a link.
    pub fn attributes_of(&self, range: (usize, usize)) -> &[KeyValueView<'a>] {
        &self.nested[range.0..range.1]
    }
}

/// Why a span that reads well can't be kept.
pub const NO_TRACE_ID: &str = "span without a valid 16-byte trace id";
pub const NO_SPAN_ID: &str = "span without a valid 8-byte span id";

/// Who looks at spans as they are walked past.
pub trait SpanVisitor<'a> {
    /// An attribute of the span being read, as its `KeyValue` stands in the request. An error refuses the request.
    fn attribute(&mut self, body: &'a [u8], scratch: &mut Scratch<'a>) -> Result<(), WireError>;
    fn span(&mut self, origin: &OriginView<'a>, span: &SpanView<'a>, lists: &Scratch<'a>);
    /// The span being read can't be kept.
    fn refused(&mut self, reason: &'static str);
}

/// Shows every span of an `ExportTraceServiceRequest` to `visitor`.
pub fn visit<'a>(request: &'a [u8], visitor: &mut impl SpanVisitor<'a>) -> Result<(), WireError> {
    let mut scratch = Scratch::default();
    each_item(request, |origin, message| {
        match read(message, &mut scratch, visitor)? {
            Ok(span) => visitor.span(origin, &span, &scratch),
            Err(reason) => visitor.refused(reason),
        }
        Ok(())
    })
}

/// Shows every span to `visitor` without saying where it came from.
pub fn visit_alone<'a>(
    request: &'a [u8],
    visitor: &mut impl SpanVisitor<'a>,
) -> Result<(), WireError> {
    let mut scratch = Scratch::default();
    each_item_alone(request, |message| {
        match read(message, &mut scratch, visitor)? {
            Ok(span) => visitor.span(&OriginView::NOBODY, &span, &scratch),
            Err(reason) => visitor.refused(reason),
        }
        Ok(())
    })
}

/// Calls `each` with every span of an `ExportTraceServiceRequest`, or `refused` with why one can't be kept.
pub fn walk<'a>(
    request: &'a [u8],
    each: impl FnMut(&OriginView<'a>, &SpanView<'a>, &Scratch<'a>),
    refused: impl FnMut(&'static str),
) -> Result<(), WireError> {
    visit(request, &mut Whole { each, refused })
}

/// Reads every attribute.
struct Whole<E, R> {
    each: E,
    refused: R,
}

impl<'a, E, R> SpanVisitor<'a> for Whole<E, R>
where
    E: FnMut(&OriginView<'a>, &SpanView<'a>, &Scratch<'a>),
    R: FnMut(&'static str),
{
    #[inline(always)]
    fn attribute(&mut self, body: &'a [u8], scratch: &mut Scratch<'a>) -> Result<(), WireError> {
        scratch.attributes.push(KeyValueView::read(body)?);
        Ok(())
    }

    #[inline(always)]
    fn span(&mut self, origin: &OriginView<'a>, span: &SpanView<'a>, lists: &Scratch<'a>) {
        (self.each)(origin, span, lists);
    }

    fn refused(&mut self, reason: &'static str) {
        (self.refused)(reason);
    }
}

fn read<'a>(
    message: &'a [u8],
    scratch: &mut Scratch<'a>,
    visitor: &mut impl SpanVisitor<'a>,
) -> Result<Result<SpanView<'a>, &'static str>, WireError> {
    scratch.attributes.clear();
    scratch.events.clear();
    scratch.links.clear();
    scratch.nested.clear();
    let mut span = SpanView::default();
    let mut refused = None;
    let mut fields = Fields::new(message);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => match TraceId::from_slice(raw.bytes(&fields)?) {
                Some(id) => span.trace_id = id,
                None => refused = Some(NO_TRACE_ID),
            },
            2 => match SpanId::from_slice(raw.bytes(&fields)?) {
                Some(id) => span.span_id = id,
                None => refused = Some(NO_SPAN_ID),
            },
            3 => span.trace_state = raw.text(&fields)?,
            // A parent of a wrong length can't be found anyway: the span is kept, as a root.
            4 => span.parent_span_id = SpanId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            5 => span.name = raw.text(&fields)?,
            6 => span.kind = raw.varint(&fields)?,
            7 => span.start = raw.fixed64(&fields)?,
            8 => span.end = raw.fixed64(&fields)?,
            9 => visitor.attribute(raw.bytes(&fields)?, scratch)?,
            10 => span.dropped_attributes = raw.uint32(&fields)?,
            11 => {
                let event = read_event(raw.bytes(&fields)?, &mut scratch.nested)?;
                scratch.events.push(event);
            }
            12 => span.dropped_events = raw.uint32(&fields)?,
            13 => {
                let link = read_link(raw.bytes(&fields)?, &mut scratch.nested)?;
                scratch.links.push(link);
            }
            14 => span.dropped_links = raw.uint32(&fields)?,
            15 => {
                let mut status = Fields::new(raw.bytes(&fields)?);
                while let Some((number, raw)) = status.step()? {
                    match number {
                        2 => span.status_message = raw.text(&status)?,
                        3 => span.status_code = raw.varint(&status)?,
                        _ => {}
                    }
                }
            }
            16 => span.flags = raw.fixed32(&fields)?,
            _ => {}
        }
    }
    if refused.is_none() {
        if !span.trace_id.is_some() {
            refused = Some(NO_TRACE_ID);
        } else if !span.span_id.is_some() {
            refused = Some(NO_SPAN_ID);
        }
    }
    Ok(refused.map_or(Ok(span), Err))
}

fn read_event<'a>(
    message: &'a [u8],
    nested: &mut Vec<KeyValueView<'a>>,
) -> Result<EventView<'a>, WireError> {
    let from = nested.len();
    let mut event = EventView {
        at: 0,
        name: "",
        dropped_attributes: 0,
        attributes: (from, from),
    };
    let mut fields = Fields::new(message);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => event.at = raw.fixed64(&fields)?,
            2 => event.name = raw.text(&fields)?,
            3 => nested.push(KeyValueView::read(raw.bytes(&fields)?)?),
            4 => event.dropped_attributes = raw.uint32(&fields)?,
            _ => {}
        }
    }
    event.attributes.1 = nested.len();
    Ok(event)
}

fn read_link<'a>(
    message: &'a [u8],
    nested: &mut Vec<KeyValueView<'a>>,
) -> Result<LinkView<'a>, WireError> {
    let from = nested.len();
    let mut link = LinkView {
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        trace_state: "",
        flags: 0,
        dropped_attributes: 0,
        attributes: (from, from),
    };
    let mut fields = Fields::new(message);
    while let Some((number, raw)) = fields.step()? {
        match number {
            1 => link.trace_id = TraceId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            2 => link.span_id = SpanId::from_slice(raw.bytes(&fields)?).unwrap_or_default(),
            3 => link.trace_state = raw.text(&fields)?,
            4 => nested.push(KeyValueView::read(raw.bytes(&fields)?)?),
            5 => link.dropped_attributes = raw.uint32(&fields)?,
            6 => link.flags = raw.fixed32(&fields)?,
            _ => {}
        }
    }
    link.attributes.1 = nested.len();
    Ok(link)
}
