//! Protobuf bytes read straight into canonical JSON.
//!
//! Each message is indexed once (which field lies where) and written in the table's order, so the same message gives
//! the same JSON whatever order its fields came in. Repeated parts of a single message are merged and of alternatives
//! the last one wins, as protobuf says.

use std::fmt::Write as _;

use case::wire::text;

use super::read::wire_type;
use super::schema::{Field, Kind, Message, Presence};
use super::wire::{LENGTH, Payload, Reader, WireError, unzigzag};
use super::{DEEPEST, ProtobufError};

pub(super) fn transcode(
    message: &'static Message,
    protobuf: &[u8],
) -> Result<String, ProtobufError> {
    let mut writer = Writer {
        // JSON is about twice the size of its protobuf.
        out: String::with_capacity(protobuf.len() * 2),
        entries: Vec::new(),
    };
    writer
        .message(message, protobuf, 0, protobuf.len(), 0)
        .map_err(|WireError { offset, reason }| ProtobufError { offset, reason })?;
    Ok(writer.out)
}

/// One field found on the wire.
#[derive(Clone, Copy)]
struct Entry {
    /// Its place in the message's table.
    field: usize,
    wire_type: u8,
    payload: Payload,
    offset: usize,
}

struct Writer {
    out: String,
    /// A stack: each message's entries lie above those of the message around it.
    entries: Vec<Entry>,
}

impl Writer {
    fn message(
        &mut self,
        message: &'static Message,
        input: &[u8],
        start: usize,
        end: usize,
        depth: usize,
    ) -> Result<(), WireError> {
        if depth >= DEEPEST {
            return Err(WireError {
                offset: start,
                reason: "messages nested too deep",
            });
        }
        let base = self.entries.len();
        self.index(message, input, start, end)?;
        self.drop_overruled(message, base);
        self.entries[base..].sort_by_key(|entry| entry.field);

        self.out.push('{');
        let opened = self.out.len();
        let mut at = base;
        while at < self.entries.len() {
            let field = &message.fields[self.entries[at].field];
            let mut next = at + 1;
            while next < self.entries.len() && self.entries[next].field == self.entries[at].field {
                next += 1;
            }
            let before = self.out.len();
            if before > opened {
                self.out.push(',');
            }
            self.out.push('"');
            self.out.push_str(field.camel);
            self.out.push_str("\":");
            let said = match field.presence {
                Presence::Repeated => self.list(field, input, at, next, depth)?,
                _ => self.single(field, input, at, next, depth)?,
            };
            if !said {
                self.out.truncate(before);
            }
            at = next;
        }
        self.out.push('}');
        self.entries.truncate(base);
        Ok(())
    }

    fn index(
        &mut self,
        message: &Message,
        input: &[u8],
        start: usize,
        end: usize,
    ) -> Result<(), WireError> {
        let mut reader = Reader::new(input, start, end);
        loop {
            let offset = reader.at;
            let Some((number, wire_type, payload)) = reader.next()? else {
                return Ok(());
            };
            if let Some(field) = message.index_of(number) {
                self.entries.push(Entry {
                    field,
                    wire_type,
                    payload,
                    offset,
                });
            }
        }
    }

    /// Of alternatives, only the last on the wire counts, together with parts of the same that directly precede it.
    fn drop_overruled(&mut self, message: &Message, base: usize) {
        let is_alternative =
            |entry: &Entry| message.fields[entry.field].presence == Presence::OneOf;
        let Some(winner) = self.entries[base..]
            .iter()
            .rfind(|entry| is_alternative(entry))
            .map(|entry| entry.field)
        else {
            return;
        };
        let overruled = self.entries[base..]
            .iter()
            .rposition(|entry| is_alternative(entry) && entry.field != winner);
        if let Some(last_other) = overruled {
            let mut kept = base;
            for (index, at) in (base..self.entries.len()).enumerate() {
                let entry = self.entries[at];
                if index > last_other || !is_alternative(&entry) {
                    self.entries[kept] = entry;
                    kept += 1;
                }
            }
            self.entries.truncate(kept);
        }
    }

    fn single(
        &mut self,
        field: &Field,
        input: &[u8],
        first: usize,
        next: usize,
        depth: usize,
    ) -> Result<bool, WireError> {
        let last = self.entries[next - 1];
        if let Kind::Message(message) = field.kind {
            if next - first == 1 {
                let (start, end) = range(last)?;
                self.message(message, input, start, end, depth + 1)?;
            } else {
                // Merging messages is what concatenating their bytes means.
                let mut merged = Vec::new();
                for at in first..next {
                    let (start, end) = range(self.entries[at])?;
                    merged.extend_from_slice(&input[start..end]);
                }
                let length = merged.len();
                self.message(message, &merged, 0, length, depth + 1)?;
            }
            return Ok(true);
        }
        let said = self.scalar(field.kind, input, last)?;
        Ok(said || field.presence != Presence::Implicit)
    }

    fn list(
        &mut self,
        field: &Field,
        input: &[u8],
        first: usize,
        next: usize,
        depth: usize,
    ) -> Result<bool, WireError> {
        self.out.push('[');
        let opened = self.out.len();
        for at in first..next {
            let entry = self.entries[at];
            if let Kind::Message(message) = field.kind {
                self.comma(opened);
                let (start, end) = range(entry)?;
                self.message(message, input, start, end, depth + 1)?;
            } else if wire_type(field.kind) != LENGTH && entry.wire_type == LENGTH {
                self.packed(field.kind, input, entry, opened)?;
            } else {
                self.comma(opened);
                self.scalar(field.kind, input, entry)?;
            }
        }
        self.out.push(']');
        Ok(self.out.len() > opened + 1)
    }

    fn packed(
        &mut self,
        kind: Kind,
        input: &[u8],
        entry: Entry,
        opened: usize,
    ) -> Result<(), WireError> {
        let (start, end) = range(entry)?;
        let mut reader = Reader::new(input, start, end);
        while reader.at < reader.end {
            let offset = reader.at;
            let number = match wire_type(kind) {
                super::wire::FIXED64 => reader.fixed(8)?,
                super::wire::FIXED32 => reader.fixed(4)?,
                _ => reader.varint()?,
            };
            self.comma(opened);
            self.scalar(
                kind,
                input,
                Entry {
                    field: entry.field,
                    wire_type: wire_type(kind),
                    payload: Payload::Number(number),
                    offset,
                },
            )?;
        }
        Ok(())
    }

    fn comma(&mut self, opened: usize) {
        if self.out.len() > opened {
            self.out.push(',');
        }
    }

    /// Writes a value; `false` when it is its kind's default.
    fn scalar(&mut self, kind: Kind, input: &[u8], entry: Entry) -> Result<bool, WireError> {
        if entry.wire_type != wire_type(kind) {
            return Err(WireError {
                offset: entry.offset,
                reason: "a field of the wrong wire type",
            });
        }
        let number = match entry.payload {
            Payload::Range(start, end) => return self.bytes(kind, &input[start..end], start),
            Payload::Number(number) => number,
        };
        // Writing to a String can't fail, so results of `write!` carry nothing.
        let out = &mut self.out;
        match kind {
            Kind::Bool => out.push_str(if number != 0 { "true" } else { "false" }),
            Kind::Double => {
                let value = f64::from_bits(number);
                if value.is_finite() {
                    out.push_str(&text::double(value));
                } else {
                    let _ = write!(out, "\"{}\"", text::double(value));
                }
            }
            Kind::Fixed64 | Kind::UInt64 => drop(write!(out, "\"{number}\"")),
            Kind::SFixed64 | Kind::Int64 => drop(write!(out, "\"{}\"", number as i64)),
            Kind::Fixed32 | Kind::UInt32 => drop(write!(out, "{}", number as u32)),
            Kind::SInt32 => drop(write!(out, "{}", unzigzag(number as u32))),
            Kind::Enum(_) => drop(write!(out, "{}", number as i32)),
            Kind::Text | Kind::HexId | Kind::Bytes | Kind::Message(_) => {}
        }
        Ok(number != 0)
    }

    fn bytes(&mut self, kind: Kind, bytes: &[u8], offset: usize) -> Result<bool, WireError> {
        match kind {
            Kind::HexId => {
                self.out.push('"');
                for byte in bytes {
                    let _ = write!(self.out, "{byte:02x}");
                }
                self.out.push('"');
            }
            Kind::Bytes => {
                self.out.push('"');
                text::base64(bytes, &mut self.out);
                self.out.push('"');
            }
            _ => {
                let string = std::str::from_utf8(bytes).map_err(|error| WireError {
                    offset: offset + error.valid_up_to(),
                    reason: "a string that isn't UTF-8",
                })?;
                text::quoted(string, &mut self.out);
            }
        }
        Ok(!bytes.is_empty())
    }
}

fn range(entry: Entry) -> Result<(usize, usize), WireError> {
    match entry.payload {
        Payload::Range(start, end) => Ok((start, end)),
        Payload::Number(_) => Err(WireError {
            offset: entry.offset,
            reason: "a field of the wrong wire type",
        }),
    }
}
