//! A case whose log was cut or damaged: what was acknowledged before stays, what comes after is kept, and the damage is
//! named.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::{Path, PathBuf};

use case::{Case, CaseWriter, SealMode, Signal};
use common::kit::{copy, manual, options, order, orders, orders_at, quick_folder};

const FIRST_LINE: usize = 32;

/// A case with `count` orders in one log, and the bytes of the log after each.
fn logged(path: &Path, count: u64) -> Vec<usize> {
    let writer = manual(path);
    let ends = (0..count)
        .map(|n| {
            writer.append(Signal::Traces, order(n)).unwrap();
            std::fs::metadata(log(path)).unwrap().len() as usize
        })
        .collect();
    writer.close().unwrap();
    ends
}

fn log(path: &Path) -> PathBuf {
    path.join("log").join("0000000001.log")
}

#[test]
fn a_log_cut_at_any_byte_reads_up_to_there_and_goes_on() {
    let folder = quick_folder();
    let whole = folder.path().join("whole.case");
    let ends = logged(&whole, 3);
    let bytes = std::fs::read(log(&whole)).unwrap();
    for len in 0..=bytes.len() {
        let path = copy(&whole, &folder.path().join("cut.case"));
        std::fs::write(log(&path), &bytes[..len]).unwrap();
        let kept: Vec<u64> = (0..3).filter(|n| ends[*n as usize] <= len).collect();
        assert_eq!(orders_at(&path), (kept.clone(), vec![]), "cut at {len}");

        let writer = manual(&path);
        // The client of a request that was cut off sends it again; so does one whose answer got lost.
        for n in [0, 1, 2, 9] {
            let receipt = writer.append(Signal::Traces, order(n)).unwrap();
            assert_eq!(receipt.duplicate, kept.contains(&n), "cut at {len}");
        }
        writer.close().unwrap();
        let case = Case::open(&path).unwrap();
        assert_eq!(orders(&case), (vec![0, 1, 2, 9], vec![]), "cut at {len}");
        let verified = case.verify(|_, _| {}).unwrap();
        assert_eq!(
            verified.damage,
            [],
            "cut at {len}: nothing acknowledged is lost"
        );
        assert_eq!(verified.live_frames, 4);
    }
}

#[test]
fn a_byte_flipped_anywhere_in_a_log_costs_one_request_at_most() {
    let folder = quick_folder();
    let whole = folder.path().join("whole.case");
    let ends = logged(&whole, 3);
    let bytes = std::fs::read(log(&whole)).unwrap();
    for at in 0..bytes.len() {
        let path = copy(&whole, &folder.path().join("flipped.case"));
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(log(&path), &damaged).unwrap();
        let hit = ends.iter().position(|end| at < *end).unwrap() as u64;
        let kept: Vec<u64> = (0..3).filter(|n| at < FIRST_LINE || *n != hit).collect();
        let case = Case::open(&path).unwrap();
        let (found, named) = orders(&case);
        assert_eq!(found, kept, "byte {at}");
        assert_eq!(named.len(), 1, "byte {at}: {named:?}");
        assert!(named[0].contains("0000000001.log"), "{named:?}");
        let verified = case.verify(|_, _| {}).unwrap();
        assert_eq!(verified.damage.len(), 1, "byte {at}: {:?}", verified.damage);
        assert_eq!(verified.damage[0].path, "log/0000000001.log");
        case.info().unwrap();

        // Making segments takes its time: every byte is written behind, every seventh sealed.
        let sealing = at % 7 == 0;
        let mode = if sealing {
            SealMode::Auto
        } else {
            SealMode::Manual
        };
        let writer = CaseWriter::open(&path, options(mode, 64 << 20)).unwrap();
        for n in &kept {
            let again = writer.append(Signal::Traces, order(*n)).unwrap();
            assert!(again.duplicate, "byte {at}: order {n} is still known");
        }
        assert!(!writer.append(Signal::Traces, order(7)).unwrap().duplicate);
        writer.close().unwrap();
        let case = Case::open(&path).unwrap();
        let with_new: Vec<u64> = kept.iter().copied().chain([7]).collect();
        let (found, named) = orders(&case);
        assert_eq!(found, with_new, "byte {at}");
        assert_eq!(named.is_empty(), sealing, "byte {at}: {named:?}");
        let verified = case.verify(|_, _| {}).unwrap();
        assert_eq!(
            verified.damage.len(),
            1,
            "the loss stays on record, byte {at}"
        );
        let what = &verified.damage[0].what;
        assert_eq!(what.starts_with("log 1: "), sealing, "{what}");
    }
}

#[test]
fn a_flipped_byte_in_the_manifest_is_named_and_its_copy_serves() {
    let folder = quick_folder();
    let whole = folder.path().join("whole.case");
    let writer = CaseWriter::open(&whole, options(SealMode::Auto, 300)).unwrap();
    for n in 0..3 {
        writer.append(Signal::Traces, order(n)).unwrap();
    }
    writer.close().unwrap();
    let bytes = std::fs::read(whole.join("manifest.json")).unwrap();
    for at in (0..bytes.len()).step_by(3) {
        let path = copy(&whole, &folder.path().join("flipped.case"));
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 7);
        std::fs::write(path.join("manifest.json"), &damaged).unwrap();
        let (found, named) = orders_at(&path);
        assert_eq!(found, [0, 1, 2], "byte {at}");
        assert_eq!(named.len(), 1, "byte {at}");
        assert!(named[0].contains("manifest.json"), "byte {at}: {named:?}");
        let verified = Case::open(&path).unwrap().verify(|_, _| {}).unwrap();
        assert_eq!(verified.damage.len(), 1);
        assert_eq!(verified.damage[0].path, "manifest.json");
        // Writing mends it.
        manual(&path).close().unwrap();
        assert_eq!(orders_at(&path), (vec![0, 1, 2], vec![]));
    }
    let path = copy(&whole, &folder.path().join("both.case"));
    for name in ["manifest.json", "manifest.copy.json"] {
        std::fs::write(path.join(name), &bytes[..bytes.len() / 2]).unwrap();
    }
    let error = Case::open(&path).unwrap_err();
    assert!(
        error.to_string().contains("manifest.json is damaged"),
        "{error}"
    );
    let error = CaseWriter::open(&path, options(SealMode::Manual, 1))
        .err()
        .unwrap();
    assert!(error.to_string().contains("is damaged"), "{error}");
}
