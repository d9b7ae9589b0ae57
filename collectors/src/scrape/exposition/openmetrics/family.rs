//! What an OpenMetrics family may hold: which names, labels, values, times and exemplars, in which order.

use std::collections::HashSet;

use super::super::cursor::shown;
use super::super::{Family, Kind, PageTime, Remarks, Sample, label_key, number};
use super::{Line, buckets};

/// Names that families have claimed, suffixes included.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

pub(super) struct Draft {
    pub name: String,
    pub kind: Option<Kind>,
    pub help: Option<String>,
    pub unit: Option<String>,
    pub samples: Vec<Sample>,
    /// The metric (samples that differ by suffix, bound or state alone) being read.
    group: Option<Group>,
    /// Metrics already left behind: none may be taken up again.
    groups: HashSet<String>,
}

struct Group {
    key: String,
    at: Option<PageTime>,
    /// Series seen at `at`.
    series: HashSet<String>,
}

fn suffixes(kind: Option<Kind>) -> &'static [&'static str] {
    match kind {
        Some(Kind::Counter) => &["_total", "_created"],
        Some(Kind::Summary) => &["", "_count", "_sum", "_created"],
        Some(Kind::Histogram) => &["_count", "_sum", "_bucket", "_created"],
        Some(Kind::GaugeHistogram) => &["_gcount", "_gsum", "_bucket"],
        Some(Kind::Info) => &["_info"],
        Some(Kind::Gauge | Kind::StateSet | Kind::Unknown) | None => &[""],
    }
}

impl Draft {
    pub(super) fn new(name: String) -> Draft {
        Draft {
            name,
            kind: None,
            help: None,
            unit: None,
            samples: Vec::new(),
            group: None,
            groups: HashSet::new(),
        }
    }

    /// What a sample's name has beyond the family's, if it may belong to it.
    pub(super) fn suffix(&self, sample: &str) -> Option<&'static str> {
        let beyond = sample.strip_prefix(self.name.as_str())?;
        suffixes(self.kind)
            .iter()
            .copied()
            .find(|suffix| *suffix == beyond)
    }

    pub(super) fn add(
        &mut self,
        read: Line,
        suffix: &'static str,
        line: usize,
        remarks: &mut Remarks,
    ) -> Result<(), String> {
        let kind = self.kind.unwrap_or(Kind::Unknown);
        let apart = self.check_labels(kind, suffix, &read)?;
        check_value(kind, suffix, read.value)?;
        if read.exemplar.is_some() {
            let allowed = match kind {
                Kind::Histogram | Kind::GaugeHistogram => suffix == "_bucket",
                Kind::Counter => suffix == "_total",
                _ => false,
            };
            if !allowed {
                return Err(
                    "an exemplar where none may be: only buckets and counters' totals have them"
                        .into(),
                );
            }
        }

        // The labels of an info are its value: all of them make one metric.
        let key = if kind == Kind::Info {
            String::new()
        } else {
            label_key(pairs(&read).filter(|(name, _)| Some(*name) != apart.as_deref()))
        };
        let series = format!("{suffix}|{}", label_key(pairs(&read)));
        let repeated = match &mut self.group {
            Some(group) if group.key == key => {
                match (group.at, read.at) {
                    (None, None) => {}
                    (Some(before), Some(now)) => {
                        if now < before && kind != Kind::Info {
                            return Err(
                                "the timestamp is before the one of the sample above it".into()
                            );
                        }
                        if now != before {
                            group.series.clear();
                        }
                    }
                    _ => return Err("samples of one metric with and without timestamps".into()),
                }
                group.at = read.at;
                !group.series.insert(series)
            }
            other => {
                if self.groups.contains(&key) {
                    return Err("samples of one metric are not together".into());
                }
                let group = Group {
                    key,
                    at: read.at,
                    series: HashSet::from([series]),
                };
                if let Some(before) = other.replace(group) {
                    self.groups.insert(before.key);
                }
                false
            }
        };
        if repeated {
            remarks.add(line, "left out: repeats a series at the same time");
            return Ok(());
        }
        self.samples.push(Sample {
            suffix,
            labels: read.labels,
            value: read.value,
            at: read.at,
            exemplar: read.exemplar,
            line,
        });
        Ok(())
    }

    /// Checks the labels a kind needs; answers the one that tells samples of one metric apart.
    fn check_labels(
        &self,
        kind: Kind,
        suffix: &str,
        read: &Line,
    ) -> Result<Option<String>, String> {
        let get = |wanted: &str| {
            read.labels
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        match (kind, suffix) {
            (Kind::StateSet, _) => match get(&self.name) {
                Some(_) => Ok(Some(self.name.clone())),
                None => Err(format!(
                    "a stateset's sample needs a label named {:?}",
                    shown(&self.name)
                )),
            },
            (Kind::Histogram | Kind::GaugeHistogram, "_bucket") => {
                let le = get("le").ok_or("a bucket needs label le")?;
                match number::value(le) {
                    Ok(bound) if bound.is_nan() => Err("label le is NaN".into()),
                    Ok(bound) if bound == f64::INFINITY && le != "+Inf" => Err(format!(
                        "label le is {:?}; infinity is written +Inf",
                        shown(le)
                    )),
                    Ok(_) => Ok(Some("le".into())),
                    Err(_) => Err(format!("label le is {:?}, no number", shown(le))),
                }
            }
            (Kind::Summary, "") => {
                let quantile = get("quantile").ok_or("a summary's sample needs label quantile")?;
                match number::value(quantile) {
                    Ok(share) if (0.0..=1.0).contains(&share) => Ok(Some("quantile".into())),
                    _ => Err(format!(
                        "label quantile is {:?}, not between 0 and 1",
                        shown(quantile)
                    )),
                }
            }
            _ => Ok(None),
        }
    }

    pub(super) fn finish(self, taken: &mut Names) -> Result<Family, String> {
        let name = shown(&self.name);
        let kind = self.kind.unwrap_or(Kind::Unknown);
        let mut claimed: Vec<&str> = suffixes(self.kind).to_vec();
        if !claimed.contains(&"") {
            claimed.push("");
        }
        for suffix in claimed {
            let full = format!("{}{suffix}", self.name);
            if !taken.0.insert(full) {
                return Err(format!("the name {name}{suffix} belongs to two families"));
            }
        }
        let unit = self.unit.unwrap_or_default();
        if !unit.is_empty() {
            let carried = self
                .name
                .strip_suffix(unit.as_str())
                .is_some_and(|rest| rest.ends_with('_'));
            if !carried {
                return Err(format!(
                    "the name {name} doesn't end in its unit, _{}",
                    shown(&unit)
                ));
            }
            if matches!(kind, Kind::Info | Kind::StateSet) {
                return Err(format!("{name} is {}, which has no unit", kind.name()));
            }
        }
        if matches!(kind, Kind::Histogram | Kind::GaugeHistogram) {
            buckets::check(&self.samples)
                .map_err(|reason| format!("histogram {name}: {reason}"))?;
        }
        Ok(Family {
            name: self.name,
            kind,
            help: self.help.unwrap_or_default(),
            unit,
            samples: self.samples,
        })
    }
}

fn pairs(read: &Line) -> impl Iterator<Item = (&str, &str)> {
    read.labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

fn check_value(kind: Kind, suffix: &str, value: f64) -> Result<(), String> {
    let counting = matches!(
        suffix,
        "_total" | "_sum" | "_count" | "_bucket" | "_gcount" | "_gsum"
    );
    if counting && value.is_nan() {
        return Err(format!("a {suffix} is NaN"));
    }
    if counting && suffix != "_gsum" && value < 0.0 {
        return Err(format!("a {suffix} is below 0"));
    }
    if matches!(suffix, "_bucket" | "_count" | "_gcount") && value.fract() != 0.0 {
        return Err(format!("a {suffix} is no whole number"));
    }
    match (kind, suffix) {
        (Kind::StateSet, _) if value != 0.0 && value != 1.0 => {
            Err("a stateset's sample is neither 0 nor 1".into())
        }
        (Kind::Info, _) if value != 1.0 => Err("an info's sample is not 1".into()),
        (Kind::Summary, "") if value < 0.0 => Err("a quantile's value is below 0".into()),
        _ => Ok(()),
    }
}
