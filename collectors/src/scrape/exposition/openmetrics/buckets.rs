//! Whether the samples of a histogram make one: bounds and counts rise, `+Inf` is there, sum and count fit.

use super::super::{PageTime, Sample, label_key, number};

#[derive(Default)]
struct Seen {
    bound: Option<f64>,
    cumulative: f64,
    count: Option<f64>,
    negative_bound: bool,
    sum: bool,
    gsum: Option<f64>,
}

impl Seen {
    fn check(&self) -> Result<(), &'static str> {
        if self.bound != Some(f64::INFINITY) {
            return Err("there is no +Inf bucket");
        }
        if self.count.is_some_and(|count| count != self.cumulative) {
            return Err("the count is not the +Inf bucket's");
        }
        let has_sum = self.sum || self.gsum.is_some();
        if has_sum && self.count.is_none() {
            return Err("there is a sum without a count");
        }
        if !has_sum && self.count.is_some() {
            return Err("there is a count without a sum");
        }
        if self.negative_bound && self.sum {
            return Err("there is a sum although a bound is below 0");
        }
        if !self.negative_bound && self.gsum.is_some_and(|sum| sum < 0.0) {
            return Err("the sum is below 0 although no bound is");
        }
        Ok(())
    }
}

pub(super) fn check(samples: &[Sample]) -> Result<(), &'static str> {
    let mut current: Option<(String, Option<PageTime>)> = None;
    let mut seen = Seen::default();
    for sample in samples {
        let bucket = sample.suffix == "_bucket";
        let pairs = sample
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let metric = (
            label_key(pairs.filter(|(name, _)| !bucket || *name != "le")),
            sample.at,
        );
        if current.as_ref() != Some(&metric) {
            if current.replace(metric).is_some() {
                seen.check()?;
            }
            seen = Seen::default();
        }
        match sample.suffix {
            "_bucket" => {
                let le = sample
                    .labels
                    .iter()
                    .find(|(name, _)| name == "le")
                    .map_or("", |(_, value)| value.as_str());
                let bound = number::value(le).map_err(|_| "a bound is no number")?;
                if seen.bound.is_some_and(|before| bound <= before) {
                    return Err("bounds don't rise");
                }
                if sample.value < seen.cumulative {
                    return Err("bucket counts fall");
                }
                seen.negative_bound |= bound < 0.0;
                seen.bound = Some(bound);
                seen.cumulative = sample.value;
            }
            "_count" | "_gcount" => seen.count = Some(sample.value),
            "_sum" => seen.sum = true,
            "_gsum" => seen.gsum = Some(sample.value),
            _ => {}
        }
    }
    match current {
        Some(_) => seen.check(),
        None => Ok(()),
    }
}
