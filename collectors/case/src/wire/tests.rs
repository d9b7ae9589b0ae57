//! The quick ways of the walk against the plain ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::any::{read_pair, read_short_pair};
use super::proto::{Fields, Raw, utf8};

/// A fixed sequence that looks random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

#[test]
fn ascii_and_other_texts_are_told_like_the_standard_library_does() {
    let mut random = Random(1);
    let mut valid = 0;
    for round in 0..20_000 {
        let len = random.below(40);
        let mut bytes: Vec<u8> = (0..len).map(|_| b' ' + random.below(90) as u8).collect();
        match round % 4 {
            0 if len > 0 => {
                let at = random.below(len);
                bytes[at] |= 0x80;
            }
            1 => bytes.extend("grüße 😀".bytes()),
            _ => {}
        }
        assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes).ok(), "{bytes:?}");
        valid += usize::from(utf8(&bytes).is_some());
    }
    assert!(valid > 10_000 && valid < 20_000);
}

#[test]
fn short_attributes_read_like_any_other() {
    let pair = |key: &[u8], value: &[u8]| {
        let mut body = vec![0x0a, key.len() as u8];
        body.extend_from_slice(key);
        body.extend_from_slice(&[0x12, value.len() as u8]);
        body.extend_from_slice(value);
        body
    };
    let seeds = [
        pair(b"http.route", b"\x0a\x05/cart"),
        pair(b"", b"\x0a\x00"),
        pair(b"port", b"\x18\x7f"),
        pair(b"port", b"\x18\x80\x40"),
        pair(b"bool", b"\x10\x01"),
        pair("grüße".as_bytes(), "\x0a\x06äöü".as_bytes()),
        pair(b"none", b""),
    ];
    let mut random = Random(7);
    let mut quick = 0;
    for round in 0..50_000 {
        let mut body = seeds[round % seeds.len()].clone();
        for _ in 0..random.below(3) {
            let at = random.below(body.len());
            match random.below(3) {
                0 => body[at] = random.next() as u8,
                1 => drop(body.remove(at)),
                _ => body.insert(at, random.next() as u8),
            }
        }
        if let Some(short) = read_short_pair(&body) {
            quick += 1;
            assert_eq!(read_pair(&body, 0), Ok(short), "{body:?}");
        }
    }
    assert!(quick > 10_000, "{quick}");
}

#[test]
fn every_truncation_of_a_message_is_an_error_or_a_shorter_message() {
    // Field 1 varint 300, field 2 fixed64, field 3 bytes, field 5 fixed32, field 300 varint.
    let message: &[u8] = &[
        0x08, 0xac, 0x02, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1a, 2, b'a', b'b', 0x2d, 1, 0, 0, 0,
        0xe0, 0x12, 9,
    ];
    let read = |bytes: &[u8]| {
        let mut fields = Fields::new(bytes);
        let mut numbers = Vec::new();
        loop {
            match fields.step() {
                Ok(Some((number, raw))) => {
                    if let (300, Raw::Varint(value)) = (number, raw) {
                        assert_eq!(value, 9);
                    }
                    numbers.push(number);
                }
                Ok(None) => return Ok(numbers),
                Err(error) => return Err(error.offset_in(bytes)),
            }
        }
    };
    assert_eq!(read(message), Ok(vec![1, 2, 3, 5, 300]));
    let edges = [0, 3, 12, 16, 21];
    for len in 0..message.len() {
        let outcome = read(&message[..len]);
        if edges.contains(&len) {
            assert!(outcome.is_ok(), "{len}");
        } else {
            assert!(outcome.is_err_and(|offset| offset <= len), "{len}");
        }
    }
    assert!(read(&[0x0b]).is_err(), "groups");
    assert!(read(&[0x00, 0x01]).is_err(), "field number 0");
    assert!(
        read(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]).is_err(),
        "over 64 bits"
    );
}
