//! Protobuf's encoding: keys, varints and fixed-width numbers, written and read.
//!
//! Knows no message; every read is checked against the end of its input.

/// The four ways protobuf frames a field (groups are only ever skipped).
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const LENGTH: u8 = 2;
const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;
pub(super) const FIXED32: u8 = 5;

/// Groups inside groups that are skipped before the input is called hostile.
const DEEPEST_GROUP: u32 = 64;

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Puts the length of what follows `body` in front of it. One byte was left free at `body - 1`; longer lengths move the
/// rest, which messages of more than 127 bytes pay once per level.
pub(super) fn close_length(out: &mut Vec<u8>, body: usize) {
    let length = out.len() - body;
    if length < 0x80 {
        out[body - 1] = length as u8;
        return;
    }
    let mut encoded = [0u8; 10];
    let mut width = 0;
    let mut rest = length as u64;
    while rest >= 0x80 {
        encoded[width] = rest as u8 | 0x80;
        rest >>= 7;
        width += 1;
    }
    encoded[width] = rest as u8;
    width += 1;
    out.splice(body - 1..body, encoded[..width].iter().copied());
}

pub(super) fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

pub(super) fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// Where reading stopped and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WireError {
    pub(super) offset: usize,
    pub(super) reason: &'static str,
}

/// The bytes of one field: for [`LENGTH`] the contents, else the number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload {
    Number(u64),
    /// Start and end in the input.
    Range(usize, usize),
}

/// Reads fields from `at` up to `end` of `input`.
pub(super) struct Reader<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    pub(super) end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8], at: usize, end: usize) -> Reader<'a> {
        Reader { input, at, end }
    }

    pub(super) fn fail<T>(&self, reason: &'static str) -> Result<T, WireError> {
        Err(WireError {
            offset: self.at,
            reason,
        })
    }

    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            if self.at >= self.end {
                return self.fail("the input ends inside a number");
            }
            let byte = self.input[self.at];
            self.at += 1;
            if shift == 63 && byte > 1 {
                return self.fail("a number of more than 64 bits");
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.fail("a number of more than ten bytes")
    }

    pub(super) fn fixed(&mut self, width: usize) -> Result<u64, WireError> {
        if self.end - self.at < width {
            return self.fail("the input ends inside a number");
        }
        let mut bytes = [0u8; 8];
        bytes[..width].copy_from_slice(&self.input[self.at..self.at + width]);
        self.at += width;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The next field: number, wire type and payload. Groups are skipped. `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, u8, Payload)>, WireError> {
        loop {
            if self.at >= self.end {
                return Ok(None);
            }
            let key = self.varint()?;
            let wire_type = (key & 7) as u8;
            let Ok(number) = u32::try_from(key >> 3) else {
                return self.fail("a field number out of range");
            };
            if number == 0 || number > 0x1fff_ffff {
                return self.fail("a field number out of range");
            }
            if wire_type == START_GROUP {
                self.skip_group()?;
                continue;
            }
            let payload = self.payload(wire_type)?;
            return Ok(Some((number, wire_type, payload)));
        }
    }

    fn payload(&mut self, wire_type: u8) -> Result<Payload, WireError> {
        match wire_type {
            VARINT => self.varint().map(Payload::Number),
            FIXED64 => self.fixed(8).map(Payload::Number),
            FIXED32 => self.fixed(4).map(Payload::Number),
            LENGTH => {
                let length = self.varint()?;
                if length > (self.end - self.at) as u64 {
                    return self.fail("a length beyond the end of its message");
                }
                let start = self.at;
                self.at += length as usize;
                Ok(Payload::Range(start, self.at))
            }
            _ => self.fail("an unknown wire type"),
        }
    }

    fn skip_group(&mut self) -> Result<(), WireError> {
        let mut depth = 1u32;
        while depth > 0 {
            if self.at >= self.end {
                return self.fail("the input ends inside a group");
            }
            match (self.varint()? & 7) as u8 {
                START_GROUP if depth >= DEEPEST_GROUP => {
                    return self.fail("groups nested too deep");
                }
                START_GROUP => depth += 1,
                END_GROUP => depth -= 1,
                wire_type => {
                    self.payload(wire_type)?;
                }
            }
        }
        Ok(())
    }
}
