//! Protobuf's wire format: fields of a message, in the order they were sent.

/// Where and why a message can't be read. The place is an address; [`WireError::offset_in`] makes it an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireError {
    pub reason: &'static str,
    at: usize,
}

impl WireError {
    pub fn new(reason: &'static str, at: &[u8]) -> WireError {
        WireError {
            reason,
            at: at.as_ptr() as usize,
        }
    }

    /// Bytes between the start of `message` and the fault.
    pub fn offset_in(&self, message: &[u8]) -> usize {
        self.at
            .saturating_sub(message.as_ptr() as usize)
            .min(message.len())
    }
}

/// Errors are built out of line, so that the way without them stays short.
#[cold]
#[inline(never)]
fn fault(reason: &'static str, at: &[u8]) -> WireError {
    WireError::new(reason, at)
}

/// Text that is valid UTF-8. Nearly all of it is ASCII, and most of it is shorter than what the standard library's
/// check needs to get going.
#[inline(always)]
pub(super) fn utf8(bytes: &[u8]) -> Option<&str> {
    let word = |at: usize| {
        bytes[at..]
            .first_chunk()
            .map_or(0, |chunk| u64::from_ne_bytes(*chunk))
    };
    let mut seen = 0u64;
    if bytes.len() >= 8 {
        let mut at = 0;
        while at + 8 <= bytes.len() {
            seen |= word(at);
            at += 8;
        }
        // The last word overlaps the one before it.
        seen |= word(bytes.len() - 8);
    } else {
        for byte in bytes {
            seen |= u64::from(*byte);
        }
    }
    if seen & 0x8080_8080_8080_8080 == 0 {
        // SAFETY: no byte has its highest bit set, so this is ASCII, and ASCII is UTF-8.
        #[allow(unsafe_code)]
        let text = unsafe { std::str::from_utf8_unchecked(bytes) };
        return Some(text);
    }
    std::str::from_utf8(bytes).ok()
}

/// A field's value as the wire has it.
#[derive(Debug, Clone, Copy)]
pub enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Walks the fields of one message.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field's number and value. Inlined wherever it is used: this is where the time of a walk goes, and
    /// callers want its answer in registers.
    #[inline(always)]
    pub fn step(&mut self) -> Result<Option<(u32, Raw<'a>)>, WireError> {
        let start = self.rest;
        let tag = match start {
            [] => return Ok(None),
            [tag @ 8..=127, rest @ ..] => {
                self.rest = rest;
                u32::from(*tag)
            }
            _ => self.long_tag()?,
        };
        let raw = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let len = self.varint()?;
                if len > self.rest.len() as u64 {
                    return Err(fault("length runs past the end", start));
                }
                let (value, rest) = self.rest.split_at(len as usize);
                self.rest = rest;
                Raw::Bytes(value)
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.fixed()?)),
            // Groups have been deprecated since before OTLP was born; nobody sends them in good faith.
            _ => return Err(fault("unsupported wire type", start)),
        };
        Ok(Some((tag >> 3, raw)))
    }

    #[cold]
    fn long_tag(&mut self) -> Result<u32, WireError> {
        let start = self.rest;
        let tag = self.varint()?;
        match u32::try_from(tag) {
            Ok(tag) if tag >> 3 != 0 => Ok(tag),
            _ => Err(fault("field number out of range", start)),
        }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte @ 0..=127, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low @ 128..=255, high @ 0..=127, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*low & 127) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && *byte > 1 {
                return Err(WireError::new("number longer than 64 bits", self.rest));
            }
            value |= u64::from(byte & 127) << (7 * i);
            if *byte < 128 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        let reason = if self.rest.len() < 10 {
            "number runs past the end"
        } else {
            "number longer than 64 bits"
        };
        Err(WireError::new(reason, self.rest))
    }

    #[inline(always)]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (value, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::new(
            "fixed-width number runs past the end",
            self.rest,
        ))?;
        self.rest = rest;
        Ok(*value)
    }
}

/// Packed varints, as repeated integers are sent.
pub fn packed_varints(bytes: &[u8], mut each: impl FnMut(u64)) -> Result<(), WireError> {
    let mut fields = Fields::new(bytes);
    while !fields.rest.is_empty() {
        each(fields.varint()?);
    }
    Ok(())
}

/// Packed 8-byte numbers, as repeated doubles and fixed64 are sent.
pub fn packed_fixed64(bytes: &[u8], mut each: impl FnMut(u64)) -> Result<(), WireError> {
    let chunks = bytes.chunks_exact(8);
    if !chunks.remainder().is_empty() {
        return Err(WireError::new("packed numbers are cut short", bytes));
    }
    for chunk in chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        each(u64::from_le_bytes(word));
    }
    Ok(())
}

impl<'a> Raw<'a> {
    const MISTYPED: &'static str = "field has another type than OTLP gives it";

    #[inline(always)]
    pub fn bytes(self, near: &Fields<'a>) -> Result<&'a [u8], WireError> {
        match self {
            Raw::Bytes(bytes) => Ok(bytes),
            _ => Err(fault(Self::MISTYPED, near.rest)),
        }
    }

    #[inline(always)]
    pub fn text(self, near: &Fields<'a>) -> Result<&'a str, WireError> {
        let bytes = self.bytes(near)?;
        utf8(bytes).ok_or_else(|| fault("text is not UTF-8", bytes))
    }

    #[inline(always)]
    pub fn varint(self, near: &Fields<'a>) -> Result<u64, WireError> {
        match self {
            Raw::Varint(value) => Ok(value),
            _ => Err(fault(Self::MISTYPED, near.rest)),
        }
    }

    /// A 32-bit unsigned number sent as a varint; the upper half is cut off, as protobuf asks for.
    #[inline(always)]
    pub fn uint32(self, near: &Fields<'a>) -> Result<u32, WireError> {
        Ok((self.varint(near)? & 0xffff_ffff) as u32)
    }

    #[inline(always)]
    pub fn fixed64(self, near: &Fields<'a>) -> Result<u64, WireError> {
        match self {
            Raw::Fixed64(value) => Ok(value),
            _ => Err(fault(Self::MISTYPED, near.rest)),
        }
    }

    #[inline(always)]
    pub fn double(self, near: &Fields<'a>) -> Result<f64, WireError> {
        self.fixed64(near).map(f64::from_bits)
    }

    #[inline(always)]
    pub fn fixed32(self, near: &Fields<'a>) -> Result<u32, WireError> {
        match self {
            Raw::Fixed32(value) => Ok(value),
            _ => Err(fault(Self::MISTYPED, near.rest)),
        }
    }
}

/// Zigzag, as sint32 is sent.
pub fn zigzag(value: u64) -> i32 {
    let value = (value & 0xffff_ffff) as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}
