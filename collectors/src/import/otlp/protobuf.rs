//! OTLP protobuf: one message, or messages behind a 4-byte big-endian length each. A message does not say which
//! signal it holds; that is told from the fields of its items.

use std::io::{self, BufReader, Read};

use ::case::Signal;

use super::{count::count, json};
use crate::import::batch::Batch;
use crate::import::report::Place;
use crate::import::source::Compression;
use crate::import::{ImportError, Stop};

/// The longest resource, or message behind a length, that is taken.
const LONGEST: usize = 256 << 20;

/// One message, read resource by resource: a part of a request is a request too.
pub(in crate::import) fn import_one(
    reader: Box<dyn Read>,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let mut reader = BufReader::with_capacity(256 << 10, reader);
    let mut known = None;
    for n in 1.. {
        let place = Place::Message(n);
        let at = |source| Stop::Read { place, source };
        let Some(tag) = byte(&mut reader).map_err(at)? else {
            return Ok(());
        };
        batch.report.records += 1;
        if tag != 0x0a {
            batch.bad(
                place,
                format!("no resource begins here: its first byte is {tag:#04x}, not 0x0a"),
            )?;
            return Ok(());
        }
        let length = varint(&mut reader).map_err(at)?;
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= LONGEST)
        else {
            batch.bad(
                place,
                format!(
                    "a resource of {length} bytes is longer than {} MiB",
                    LONGEST >> 20
                ),
            )?;
            return Ok(());
        };
        let mut payload = Vec::new();
        payload.push(0x0a);
        push_varint(&mut payload, length as u64);
        let head = payload.len();
        let read = (&mut reader)
            .take(length as u64)
            .read_to_end(&mut payload)
            .map_err(at)?;
        if read < length {
            batch.bad(
                place,
                format!("the file ends {} bytes into a resource of {length}", read),
            )?;
            return Ok(());
        }
        part(payload, head, place, &mut known, batch)?;
    }
    Ok(())
}

/// Messages behind their lengths: protobuf or JSON, each perhaps packed by itself.
pub(in crate::import) fn import_stream(
    reader: Box<dyn Read>,
    batch: &mut Batch<'_>,
) -> Result<(), Stop> {
    let mut reader = BufReader::with_capacity(256 << 10, reader);
    let mut known = None;
    for n in 1.. {
        let place = Place::Message(n);
        let at = |source| Stop::Read { place, source };
        let mut length = Vec::with_capacity(4);
        (&mut reader).take(4).read_to_end(&mut length).map_err(at)?;
        if length.is_empty() {
            return Ok(());
        }
        batch.report.records += 1;
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            batch.bad(place, "the file ends in the middle of a length")?;
            return Ok(());
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            batch.bad(place, format!("a message of {length} bytes is longer than {} MiB: the lengths are no longer in step", LONGEST >> 20))?;
            return Ok(());
        }
        let mut message = Vec::new();
        let read = (&mut reader)
            .take(length as u64)
            .read_to_end(&mut message)
            .map_err(at)?;
        if read < length {
            batch.bad(
                place,
                format!("the file ends {read} bytes into a message of {length}"),
            )?;
            return Ok(());
        }
        match Compression::of(&message) {
            Compression::None => {}
            packed => match packed.unpack(&message, LONGEST) {
                Ok(unpacked) => message = unpacked,
                Err(error) => {
                    batch.bad(place, format!("can't unpack it: {error}"))?;
                    continue;
                }
            },
        }
        if message.first() == Some(&b'{') {
            // The object counts itself as a record.
            batch.report.records -= 1;
            json::object(&message, n, batch)?;
        } else if let Some(resource) = first_field(&message) {
            let payload = message;
            part_at(payload, resource, place, &mut known, batch)?;
        } else if !message.is_empty() {
            batch.bad(place, "it is no export request: no resource begins it")?;
        }
    }
    Ok(())
}

fn part(
    payload: Vec<u8>,
    head: usize,
    place: Place,
    known: &mut Option<Signal>,
    batch: &mut Batch<'_>,
) -> Result<(), ImportError> {
    let range = head..payload.len();
    part_at(payload, range, place, known, batch)
}

/// A request whose first resource lies at `resource`.
fn part_at(
    payload: Vec<u8>,
    resource: std::ops::Range<usize>,
    place: Place,
    known: &mut Option<Signal>,
    batch: &mut Batch<'_>,
) -> Result<(), ImportError> {
    let Some(signal) = signal_of(&payload[resource]).or(*known) else {
        // Without an item nothing is lost; with one, its kind is not told.
        return match count(Signal::Traces, &payload, batch) {
            Ok(0) => Ok(()),
            _ => batch.bad(place, "can't tell whether it holds spans, logs or metrics"),
        };
    };
    *known = Some(signal);
    match count(signal, &payload, batch) {
        Ok(items) => batch.request(signal, payload, items, place),
        Err(reason) => batch.bad(place, reason),
    }
}

/// Where the content of a leading field 1 lies.
fn first_field(message: &[u8]) -> Option<std::ops::Range<usize>> {
    let (1, Field::Bytes(bytes), _) = field(message)? else {
        return None;
    };
    let start = bytes.as_ptr() as usize - message.as_ptr() as usize;
    Some(start..start + bytes.len())
}

enum Field<'a> {
    Varint,
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32,
}

/// The first field of a message: number, content, and what follows it.
fn field(message: &[u8]) -> Option<(u64, Field<'_>, &[u8])> {
    let (tag, rest) = slice_varint(message)?;
    let number = tag >> 3;
    match tag & 7 {
        0 => slice_varint(rest).map(|(_, rest)| (number, Field::Varint, rest)),
        1 => rest.get(8..).map(|rest| (number, Field::Fixed64, rest)),
        2 => {
            let (length, rest) = slice_varint(rest)?;
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= rest.len())?;
            let (bytes, rest) = rest.split_at(length);
            Some((number, Field::Bytes(bytes), rest))
        }
        5 => rest.get(4..).map(|rest| (number, Field::Fixed32, rest)),
        _ => None,
    }
}

fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let (number, content, rest) = field(message)?;
        message = rest;
        Some((number, content))
    })
}

/// Which signal a resource holds, by the first of its items that gives itself away.
fn signal_of(resource: &[u8]) -> Option<Signal> {
    fields(resource)
        .filter_map(|(number, content)| match (number, content) {
            (2, Field::Bytes(scope)) => Some(scope),
            _ => None,
        })
        .flat_map(fields)
        .filter_map(|(number, content)| match (number, content) {
            (2, Field::Bytes(item)) => Some(item),
            _ => None,
        })
        .find_map(item_signal)
}

/// Spans alone have times in fields 7 and 8 or ids of 16 and 8 bytes; logs alone a time in 1 or 11, or numbers in 2, 7
/// and 8; metrics have nothing but lengths.
fn item_signal(item: &[u8]) -> Option<Signal> {
    let mut trace_id = false;
    let mut span_id = false;
    let mut data = false;
    for (number, content) in fields(item) {
        match (number, content) {
            (7 | 8, Field::Fixed64) | (6, Field::Varint) | (16, Field::Fixed32) => {
                return Some(Signal::Traces);
            }
            (1 | 11, Field::Fixed64) | (2 | 7, Field::Varint) | (8, Field::Fixed32) => {
                return Some(Signal::Logs);
            }
            (1, Field::Bytes(bytes)) => {
                trace_id = bytes.len() == 16 && std::str::from_utf8(bytes).is_err()
            }
            (2, Field::Bytes(bytes)) => {
                span_id = bytes.len() == 8 && std::str::from_utf8(bytes).is_err()
            }
            (7 | 9 | 10 | 11 | 5, Field::Bytes(_)) => data = true,
            _ => {}
        }
    }
    if trace_id || span_id {
        Some(Signal::Traces)
    } else if data {
        Some(Signal::Metrics)
    } else {
        None
    }
}

fn slice_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

fn byte(reader: &mut impl Read) -> io::Result<Option<u8>> {
    let mut one = Vec::with_capacity(1);
    reader.take(1).read_to_end(&mut one)?;
    Ok(one.first().copied())
}

fn varint(reader: &mut impl Read) -> io::Result<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let byte = byte(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        value |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(io::Error::other("a length of more than 10 bytes"))
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
