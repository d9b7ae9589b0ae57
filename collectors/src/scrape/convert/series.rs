//! Samples that make one point together: those of one family with the same labels (but the one that tells them apart)
//! and the same time.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Exemplar as OtlpExemplar;
use opentelemetry_proto::tonic::metrics::v1::exemplar::Value as ExemplarValue;

use super::super::exposition::{Exemplar, PageTime, Remarks, Sample, label_key};
use super::{is_scope_label, text};

/// The samples of one point, in page order.
pub(super) struct Series<'a> {
    pub samples: Vec<&'a Sample>,
    /// Its `_created`, nanoseconds since 1970; 0 if it says none.
    pub start: u64,
    /// Its time, nanoseconds since 1970.
    pub at: u64,
    pub line: usize,
}

impl<'a> Series<'a> {
    /// Groups samples; `apart` is the label that differs within a point. Points whose time OTLP can't hold are left out.
    pub(super) fn group(
        samples: &[&'a Sample],
        apart: Option<&str>,
        now: u64,
        remarks: &mut Remarks,
    ) -> Vec<Series<'a>> {
        let mut groups: Vec<Series<'a>> = Vec::new();
        let mut places: HashMap<(String, Option<PageTime>), usize> = HashMap::new();
        let mut created: HashMap<String, f64> = HashMap::new();
        for sample in samples {
            let labels = sample
                .labels
                .iter()
                .filter(|(name, _)| Some(name.as_str()) != apart);
            let key = label_key(labels.map(|(name, value)| (name.as_str(), value.as_str())));
            if sample.suffix == "_created" {
                created.insert(key, sample.value);
                continue;
            }
            let Some(at) = time(sample.at, now) else {
                remarks.add(sample.line, "left out: its time is outside 1970 to 2554");
                continue;
            };
            let place = *places.entry((key, sample.at)).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(series) => series.samples.push(sample),
                None => groups.push(Series {
                    samples: vec![sample],
                    start: 0,
                    at,
                    line: sample.line,
                }),
            }
        }
        for ((key, _), place) in places {
            if let (Some(seconds), Some(series)) = (created.get(&key), groups.get_mut(place)) {
                // A start after the point itself would turn every rate upside down.
                series.start = nanos(*seconds)
                    .filter(|start| *start <= series.at)
                    .unwrap_or(0);
            }
        }
        groups
    }

    /// The labels all its samples share, as attributes.
    pub(super) fn attributes(&self, apart: Option<&str>) -> Vec<KeyValue> {
        let labels = self
            .samples
            .first()
            .map_or(&[][..], |sample| &sample.labels);
        labels
            .iter()
            .filter(|(name, _)| Some(name.as_str()) != apart && !is_scope_label(name))
            .map(|(name, value)| text(name, value))
            .collect()
    }

    pub(super) fn exemplars(&self) -> Vec<OtlpExemplar> {
        self.samples
            .iter()
            .filter_map(|sample| sample.exemplar.as_ref())
            .map(|found| exemplar(found, self.at))
            .collect()
    }
}

fn time(at: Option<PageTime>, now: u64) -> Option<u64> {
    match at {
        None => Some(now),
        Some(at) => u64::try_from(at).ok(),
    }
}

/// Seconds since 1970 as nanoseconds; whole seconds apart, for a double has no room for both.
fn nanos(seconds: f64) -> Option<u64> {
    if !(seconds > 0.0 && seconds < 1e10) {
        return None;
    }
    (seconds.trunc() as u64)
        .checked_mul(1_000_000_000)?
        .checked_add((seconds.fract() * 1e9).round() as u64)
}

fn exemplar(found: &Exemplar, at: u64) -> OtlpExemplar {
    let mut carried = OtlpExemplar {
        time_unix_nano: time(found.at, at).unwrap_or(at),
        value: Some(ExemplarValue::AsDouble(found.value)),
        ..OtlpExemplar::default()
    };
    for (name, value) in &found.labels {
        match (name.as_str(), id(value)) {
            ("trace_id", Some(id)) if id.len() == 16 => carried.trace_id = id,
            ("span_id", Some(id)) if id.len() == 8 => carried.span_id = id,
            _ => carried.filtered_attributes.push(text(name, value)),
        }
    }
    carried
}

/// The bytes of a hexadecimal id, unless it is all zeros, which means none.
fn id(hex: &str) -> Option<Vec<u8>> {
    if hex.len() > 32 || !hex.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?))
        .collect();
    bytes.filter(|bytes| bytes.iter().any(|byte| *byte != 0))
}
