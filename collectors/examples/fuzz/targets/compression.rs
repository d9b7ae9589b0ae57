//! Decompression within limits: output and what is asked for stay within them, whatever the input claims.

use std::io::Write;

use collectors::otlp::compression::{Compression, decompress};

use crate::harness::{Target, files};

const LIMIT: usize = 1 << 20;
/// Output and one byte, and a streamed zstd frame's window; each frame may ask for one anew.
const WINDOW: usize = 32 << 20;

pub(super) fn target() -> Target {
    Target {
        name: "compression",
        about: "gzip and zstd bodies",
        seeds,
        words: &[
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff",
            b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            b"\x28\xb5\x2f\xfd",
            b"\x28\xb5\x2f\xfd\x00\x58",
            b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd",
            b"\xff\xff\xff\xff",
        ],
        run,
    }
}

fn seeds() -> std::io::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for plain in files("src/otlp/json/corpus")? {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(&plain)?;
        seeds.push(gzip.finish()?);
        seeds.push(zstd::bulk::compress(&plain, 3)?);
        seeds.push(zstd::stream::encode_all(&plain[..], 3)?);
    }
    Ok(seeds)
}

fn run(input: &[u8]) -> Result<String, String> {
    let mut answers = String::new();
    for compression in [Compression::Gzip, Compression::Zstd] {
        let (mut asked, mut largest) = (0usize, 0usize);
        let result = decompress(compression, input, LIMIT, &mut |bytes| {
            asked += bytes;
            largest = largest.max(bytes);
            asked <= 2 * WINDOW
        });
        if largest > WINDOW.max(LIMIT + 1) {
            return Err(format!("{largest} bytes asked for at once"));
        }
        match result {
            Ok(output) if output.len() > LIMIT => {
                return Err(format!("{} bytes got past the limit", output.len()));
            }
            Ok(output) if output.len() > asked => {
                return Err("more came out than was asked for".to_owned());
            }
            Ok(_) => answers.push_str("taken;"),
            Err(error) => answers.push_str(&error.to_string()),
        }
    }
    Ok(answers)
}
