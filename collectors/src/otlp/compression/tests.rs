#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;

use super::{Compression, DecompressError, decompress};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_whole(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn zstd_streamed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn undo(
    compression: Compression,
    input: &[u8],
    limit: usize,
) -> (Result<Vec<u8>, DecompressError>, usize) {
    let mut charged = 0;
    let result = decompress(compression, input, limit, &mut |bytes| {
        charged += bytes;
        true
    });
    (result, charged)
}

fn sample() -> Vec<u8> {
    (0..200_000u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .collect()
}

#[test]
fn every_compression_is_undone_up_to_exactly_the_limit() {
    let sample = sample();
    let cases = [
        (Compression::None, sample.clone()),
        (Compression::Gzip, gzip(&sample)),
        (Compression::Zstd, zstd_whole(&sample)),
        (Compression::Zstd, zstd_streamed(&sample)),
        (
            Compression::Gzip,
            [gzip(&sample[..1000]), gzip(&sample[1000..])].concat(),
        ),
        (
            Compression::Zstd,
            [zstd_whole(&sample[..1000]), zstd_streamed(&sample[1000..])].concat(),
        ),
        (
            Compression::Zstd,
            [zstd_streamed(&sample[..1000]), zstd_whole(&sample[1000..])].concat(),
        ),
    ];
    for (compression, input) in cases {
        let (exact, charged) = undo(compression, &input, sample.len());
        assert!(exact.unwrap() == sample, "{compression:?}");
        assert!(charged >= sample.len(), "{compression:?} charged {charged}");
        let (over, _) = undo(compression, &input, sample.len() - 1);
        assert_eq!(
            over.unwrap_err(),
            DecompressError::TooLarge {
                limit: sample.len() - 1
            },
            "{compression:?}"
        );
        let refused = decompress(compression, &input, sample.len(), &mut |_| false);
        assert_eq!(refused.unwrap_err(), DecompressError::OverBudget);
    }
}

#[test]
fn nothing_compressed_is_nothing() {
    for (compression, input) in [
        (Compression::Gzip, gzip(b"")),
        (Compression::Zstd, zstd_whole(b"")),
        (Compression::Zstd, zstd_streamed(b"")),
    ] {
        assert_eq!(undo(compression, &input, 10).0.unwrap(), b"");
        assert_eq!(undo(compression, &input, 0).0.unwrap(), b"");
    }
    assert!(undo(Compression::Gzip, b"", 10).0.is_err());
    assert!(undo(Compression::Zstd, b"", 10).0.is_err());
}

#[test]
fn a_bomb_is_stopped_at_the_limit_however_it_is_packed() {
    let limit = 4 << 20;
    let zeros = vec![0u8; 64 << 20];
    for (compression, bomb) in [
        (Compression::Gzip, gzip(&zeros)),
        (Compression::Zstd, zstd_whole(&zeros)),
        (Compression::Zstd, zstd_streamed(&zeros)),
        (Compression::Gzip, gzip(&zeros[..1 << 20]).repeat(64)),
        (Compression::Zstd, zstd_whole(&zeros[..1 << 20]).repeat(64)),
    ] {
        let (result, charged) = undo(compression, &bomb, limit);
        assert_eq!(result.unwrap_err(), DecompressError::TooLarge { limit });
        // The output, and for a streamed frame its window.
        assert!(
            charged <= 2 * limit + 1,
            "{compression:?} asked for {charged}"
        );
    }
}

#[test]
fn a_size_that_is_only_claimed_costs_nothing() {
    // A gzip trailer that claims 4 GiB less one, and a zstd header that claims 2^62 bytes.
    let mut lying = gzip(b"small");
    let end = lying.len();
    lying[end - 4..].copy_from_slice(&[0xff; 4]);
    let (result, charged) = undo(Compression::Gzip, &lying, 64 << 20);
    assert!(
        matches!(result, Err(DecompressError::Malformed { .. })),
        "{result:?}"
    );
    assert!(charged <= 64 << 10, "{charged}");
    let mut header = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    header.extend((1u64 << 62).to_le_bytes());
    header.extend([1, 0, 0]);
    let (result, charged) = undo(Compression::Zstd, &header, 64 << 20);
    assert_eq!(
        result.unwrap_err(),
        DecompressError::TooLarge { limit: 64 << 20 }
    );
    assert_eq!(charged, 0);
}

#[test]
fn windows_larger_than_any_usual_encoder_needs_are_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&sample()).unwrap();
    let frame = encoder.finish().unwrap();
    let (result, _) = undo(Compression::Zstd, &frame, 64 << 20);
    assert_eq!(
        result.unwrap_err().to_string(),
        "invalid zstd: a window of more than 32 MiB"
    );
}

#[test]
fn endless_empty_parts_are_refused() {
    for (compression, part) in [
        (Compression::Gzip, gzip(b"")),
        (Compression::Zstd, zstd_whole(b"")),
    ] {
        let (result, _) = undo(compression, &part.repeat(100_000), 1000);
        assert!(result.unwrap_err().to_string().contains("too many"));
    }
}

#[test]
fn damage_and_truncation_are_named() {
    let sample = sample();
    for (compression, good) in [
        (Compression::Gzip, gzip(&sample)),
        (Compression::Zstd, zstd_whole(&sample)),
        (Compression::Zstd, zstd_streamed(&sample)),
    ] {
        for cut in [1, 4, 9, 12, good.len() / 2, good.len() - 1] {
            let (result, _) = undo(compression, &good[..cut], 64 << 20);
            assert!(
                matches!(result, Err(DecompressError::Malformed { .. })),
                "{compression:?} {cut} {result:?}"
            );
        }
        let trailing = [&good[..], b"trailing"].concat();
        assert!(undo(compression, &trailing, 64 << 20).0.is_err());
        assert!(
            undo(compression, b"not compressed at all", 64 << 20)
                .0
                .is_err()
        );
    }
    let mut flipped = gzip(&sample);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    assert!(
        undo(Compression::Gzip, &flipped, 64 << 20).0.is_err(),
        "the checksum tells"
    );
}
