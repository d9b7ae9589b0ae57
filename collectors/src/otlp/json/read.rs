//! JSON read straight into protobuf bytes.
//!
//! One pass with serde's visitors: each value is appended as it is parsed; a message's length is put in front when its
//! closing brace arrives. Unknown fields are skipped, nothing is kept of them.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{ANY_VALUE, Field, Kind, Message, Presence};
use super::wire::{FIXED32, FIXED64, LENGTH, VARINT, close_length, put_key};
use super::{DEEPEST, JsonError, scalar};

/// Reasons quote the input, and the input may be hostile.
const LONGEST_REASON: usize = 200;

/// Where the bytes go, and what a reader of an error needs to find its place.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
    depth: usize,
    /// Filled from the innermost field outwards once something has failed.
    path: Vec<Step>,
}

enum Step {
    Field(&'static str),
    Item(usize),
}

impl Output {
    fn check<E: de::Error>(&self) -> Result<(), E> {
        if self.bytes.len() > self.limit {
            return Err(E::custom(format_args!(
                "more than {} bytes as protobuf",
                self.limit
            )));
        }
        Ok(())
    }

    fn path(&self) -> String {
        let mut text = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Step::Item(index) => text.push_str(&format!("[{index}]")),
            }
        }
        text
    }
}

pub(super) fn transcode(
    message: &'static Message,
    json: &[u8],
    limit: usize,
) -> Result<Vec<u8>, JsonError> {
    let mut output = Output {
        // Protobuf is about half the size of the JSON it came from.
        bytes: Vec::with_capacity(json.len() / 2),
        limit,
        depth: 0,
        path: Vec::new(),
    };
    let mut input = serde_json::Deserializer::from_slice(json);
    let body = MessageBody {
        message,
        output: &mut output,
    };
    let read = input.deserialize_map(body).and_then(|()| input.end());
    match read {
        Ok(()) => Ok(output.bytes),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            let place = format!(" at line {line} column {column}");
            let reason = text.strip_suffix(&place).unwrap_or(&text);
            Err(JsonError {
                line,
                column,
                path: output.path(),
                reason: scalar::shortened(reason, LONGEST_REASON),
            })
        }
    }
}

/// The fields of one message, appended without a length.
struct MessageBody<'o> {
    message: &'static Message,
    output: &'o mut Output,
}

impl<'de> Visitor<'de> for MessageBody<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "an object ({})", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if self.output.depth >= DEEPEST {
            return Err(de::Error::custom(format_args!(
                "more than {DEEPEST} messages inside each other"
            )));
        }
        self.output.depth += 1;
        let mut alternatives = 0usize;
        let mut null_double = None;
        while let Some(key) = map.next_key_seed(Key(self.message))? {
            let Some(field) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let before = self.output.bytes.len();
            let value = FieldValue {
                field,
                output: &mut *self.output,
            };
            let found = match map.next_value_seed(value) {
                Ok(found) => found,
                Err(error) => {
                    self.output.path.push(Step::Field(field.camel));
                    return Err(error);
                }
            };
            self.output.check()?;
            if field.presence == Presence::OneOf {
                alternatives += 1;
                if found == Found::Null && matches!(field.kind, Kind::Double) {
                    null_double = Some(field);
                }
            }
            debug_assert!(found == Found::Value || self.output.bytes.len() == before);
        }
        if let (1, Some(field)) = (alternatives, null_double) {
            put_key(&mut self.output.bytes, field.number, FIXED64);
            self.output.bytes.extend_from_slice(&f64::NAN.to_le_bytes());
        }
        self.output.depth -= 1;
        Ok(())
    }
}

/// A key of an object, as the field it names.
struct Key(&'static Message);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.by_name(name))
    }
}

/// What a field turned out to hold.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Found {
    Null,
    /// The default of a field that does not tell it from none.
    Default,
    Value,
}

/// The value of a known field, appended with its key.
struct FieldValue<'o> {
    field: &'static Field,
    output: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Found, D::Error> {
        input.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_> {
    type Value = Found;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(scalar::expectation(self.field.kind))
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<Found, D::Error> {
        let FieldValue { field, output } = self;
        match (field.presence, wire_type(field.kind)) {
            (Presence::Repeated, LENGTH) => input.deserialize_seq(Items { field, output }),
            (Presence::Repeated, _) => input.deserialize_seq(Packed { field, output }),
            (presence, _) => single(field, presence, output, input),
        }
    }
}

pub(super) fn wire_type(kind: Kind) -> u8 {
    match kind {
        Kind::Text | Kind::HexId | Kind::Bytes | Kind::Message(_) => LENGTH,
        Kind::Double | Kind::Fixed64 | Kind::SFixed64 => FIXED64,
        Kind::Fixed32 => FIXED32,
        Kind::Bool | Kind::Int64 | Kind::UInt32 | Kind::UInt64 | Kind::SInt32 | Kind::Enum(_) => {
            VARINT
        }
    }
}

fn single<'de, D: Deserializer<'de>>(
    field: &'static Field,
    presence: Presence,
    output: &mut Output,
    input: D,
) -> Result<Found, D::Error> {
    let before = output.bytes.len();
    let wire_type = wire_type(field.kind);
    put_key(&mut output.bytes, field.number, wire_type);
    let said = match field.kind {
        Kind::Message(message) => {
            delimited(output, |output| {
                input.deserialize_map(MessageBody { message, output })
            })?;
            true
        }
        kind if wire_type == LENGTH => {
            let start = output.bytes.len() + 1;
            delimited(output, |output| {
                input.deserialize_bytes(Text { kind, output })
            })?;
            output.bytes.len() > start
        }
        kind => {
            let value = scalar::number(input, scalar::expectation(kind))?;
            scalar::put(&mut output.bytes, kind, &value)?
        }
    };
    if !said && presence == Presence::Implicit {
        output.bytes.truncate(before);
        return Ok(Found::Default);
    }
    Ok(Found::Value)
}

fn delimited<E>(
    output: &mut Output,
    write: impl FnOnce(&mut Output) -> Result<(), E>,
) -> Result<(), E> {
    output.bytes.push(0);
    let body = output.bytes.len();
    write(output)?;
    close_length(&mut output.bytes, body);
    Ok(())
}

/// A string as its field's bytes. Asked for as bytes, because serde_json then lets through what clients get wrong
/// inside strings: control characters and halves of surrogate pairs.
struct Text<'o> {
    kind: Kind,
    output: &'o mut Output,
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(scalar::expectation(self.kind))
    }

    fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<(), E> {
        let out = &mut self.output.bytes;
        match self.kind {
            Kind::HexId => scalar::put_hex(out, text),
            Kind::Bytes => scalar::put_base64(out, text),
            _ => scalar::put_text(out, text),
        }
    }
}

/// A list of messages or strings: one keyed field for each.
struct Items<'o> {
    field: &'static Field,
    output: &'o mut Output,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Found;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "a list, each {}", scalar::expectation(self.field.kind))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let Items { field, output } = self;
        let mut index = 0;
        loop {
            match list.next_element_seed(Item {
                field,
                output: &mut *output,
            }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    output.path.push(Step::Item(index));
                    return Err(error);
                }
            }
            output.check()?;
            index += 1;
        }
        Ok(Found::Value)
    }
}

struct Item<'o> {
    field: &'static Field,
    output: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(scalar::expectation(self.field.kind))
    }

    /// A null holds its place in a list of values; elsewhere it stands for nothing.
    fn visit_none<E>(self) -> Result<(), E> {
        if matches!(self.field.kind, Kind::Message(message) if std::ptr::eq(message, &ANY_VALUE)) {
            put_key(&mut self.output.bytes, self.field.number, LENGTH);
            self.output.bytes.push(0);
        }
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        single(self.field, Presence::Repeated, self.output, input).map(|_| ())
    }
}

/// A list of numbers: one field that holds them all.
struct Packed<'o> {
    field: &'static Field,
    output: &'o mut Output,
}

impl<'de> Visitor<'de> for Packed<'_> {
    type Value = Found;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "a list, each {}", scalar::expectation(self.field.kind))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let Packed { field, output } = self;
        let before = output.bytes.len();
        put_key(&mut output.bytes, field.number, LENGTH);
        output.bytes.push(0);
        let body = output.bytes.len();
        let mut index = 0;
        loop {
            match list.next_element_seed(Number {
                kind: field.kind,
                output: &mut *output,
            }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    output.path.push(Step::Item(index));
                    return Err(error);
                }
            }
            output.check()?;
            index += 1;
        }
        if output.bytes.len() == body {
            output.bytes.truncate(before);
            return Ok(Found::Default);
        }
        close_length(&mut output.bytes, body);
        Ok(Found::Value)
    }
}

struct Number<'o> {
    kind: Kind,
    output: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for Number<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        let value = scalar::number(input, scalar::expectation(self.kind))?;
        scalar::put(&mut self.output.bytes, self.kind, &value).map(|_| ())
    }
}
