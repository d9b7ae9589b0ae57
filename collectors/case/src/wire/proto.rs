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

    /// The next field's number and value.
    #[inline]
    pub fn next(&mut self) -> Result<Option<(u32, Raw<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = self.rest;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        if number == 0 || number > 0x1fff_ffff {
            return Err(WireError::new("field number out of range", start));
        }
        let raw = match tag & 7 {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len)
                    .ok()
                    .filter(|len| *len <= self.rest.len())
                    .ok_or(WireError::new("length runs past the end", start))?;
                let (value, rest) = self.rest.split_at(len);
                self.rest = rest;
                Raw::Bytes(value)
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.fixed()?)),
            // Groups have been deprecated since before OTLP was born; nobody sends them in good faith.
            _ => return Err(WireError::new("unsupported wire type", start)),
        };
        Ok(Some((number, raw)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte @ 0..=127, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
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

    #[inline]
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

    #[inline]
    pub fn bytes(self, near: &Fields<'a>) -> Result<&'a [u8], WireError> {
        match self {
            Raw::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::new(Self::MISTYPED, near.rest)),
        }
    }

    #[inline]
    pub fn text(self, near: &Fields<'a>) -> Result<&'a str, WireError> {
        let bytes = self.bytes(near)?;
        std::str::from_utf8(bytes).map_err(|_| WireError::new("text is not UTF-8", bytes))
    }

    #[inline]
    pub fn varint(self, near: &Fields<'a>) -> Result<u64, WireError> {
        match self {
            Raw::Varint(value) => Ok(value),
            _ => Err(WireError::new(Self::MISTYPED, near.rest)),
        }
    }

    /// A 32-bit unsigned number sent as a varint; the upper half is cut off, as protobuf asks for.
    #[inline]
    pub fn uint32(self, near: &Fields<'a>) -> Result<u32, WireError> {
        Ok((self.varint(near)? & 0xffff_ffff) as u32)
    }

    #[inline]
    pub fn fixed64(self, near: &Fields<'a>) -> Result<u64, WireError> {
        match self {
            Raw::Fixed64(value) => Ok(value),
            _ => Err(WireError::new(Self::MISTYPED, near.rest)),
        }
    }

    #[inline]
    pub fn double(self, near: &Fields<'a>) -> Result<f64, WireError> {
        self.fixed64(near).map(f64::from_bits)
    }

    #[inline]
    pub fn fixed32(self, near: &Fields<'a>) -> Result<u32, WireError> {
        match self {
            Raw::Fixed32(value) => Ok(value),
            _ => Err(WireError::new(Self::MISTYPED, near.rest)),
        }
    }
}

/// Zigzag, as sint32 is sent.
pub fn zigzag(value: u64) -> i32 {
    let value = (value & 0xffff_ffff) as u32;
    (value >> 1) as i32 ^ -((value & 1) as i32)
}
