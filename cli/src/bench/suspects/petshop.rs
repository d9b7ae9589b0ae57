//! Folders of labelled issues as `petshop` has them: a graph of calls, metrics of every node without an issue, and of each
//! issue with what is to be explained.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use analyzers::suspects::{Cost, Sight, Symptom};
use case::model::{Attributes, MetricPoint, Origin, Resource, Value};
use case::{Nanos, Window};
use serde::Deserialize;

use super::ReadError;
use super::nezha::gauge;
use super::table::{Table, entries, text};

#[derive(Debug, Clone)]
pub struct Issue {
    /// `test/issue_3`
    pub name: String,
    pub symptom: Symptom,
    pub culprit: String,
    metrics: PathBuf,
}

#[derive(Deserialize)]
struct Labelled {
    target: Target,
    root_cause: Cause,
}

#[derive(Deserialize)]
struct Target {
    node: String,
    metric: String,
}

#[derive(Deserialize)]
struct Cause {
    node: String,
}

/// The set under a folder such as `low_traffic`.
pub struct Set {
    pub issues: Vec<Issue>,
    calls: Vec<(String, String)>,
    /// In the order of time.
    normal: Vec<MetricPoint>,
}

impl Set {
    pub fn open(folder: &Path) -> Result<Set, ReadError> {
        let mut issues = Vec::new();
        for part in ["train", "test"] {
            let part_folder = folder.join(part);
            if !part_folder.is_dir() {
                continue;
            }
            for issue in entries(&part_folder)? {
                let path = issue.join("target.json");
                if !path.is_file() {
                    continue;
                }
                let labelled: Labelled = serde_json::from_str(&text(&path)?)
                    .map_err(|error| ReadError::bad(&path, error))?;
                let cost = match labelled.target.metric.as_str() {
                    "latency" => Cost::Latency,
                    "availability" => Cost::Errors,
                    other => {
                        return Err(ReadError::bad(
                            &path,
                            format!("its target's metric is {other}"),
                        ));
                    }
                };
                let name = issue.file_name().unwrap_or_default().to_string_lossy();
                issues.push(Issue {
                    name: format!("{part}/{name}"),
                    symptom: Symptom {
                        service: labelled.target.node,
                        cost,
                    },
                    culprit: labelled.root_cause.node,
                    metrics: issue.join("metrics.csv"),
                });
            }
        }
        issues.sort_by_key(|issue| {
            let number = issue
                .name
                .rsplit('_')
                .next()
                .and_then(|n| n.parse::<u64>().ok());
            (issue.name.split('/').next().map(str::to_owned), number)
        });
        let mut normal = points(&folder.join("noissue/metrics.csv"))?;
        normal.sort_by_key(|point| point.at);
        Ok(Set {
            issues,
            calls: calls(&folder.join("graph.csv"))?,
            normal,
        })
    }

    fn sight<'a>(&self, points: impl Iterator<Item = &'a MetricPoint>) -> Sight {
        let mut sight = Sight::new(Window::ALL);
        for (caller, callee) in &self.calls {
            sight.take_call(caller, callee);
        }
        for point in points {
            sight.take_metric(point);
        }
        sight
    }

    pub fn baseline(&self) -> Sight {
        self.sight(self.normal.iter())
    }

    pub fn incident(&self, issue: &Issue) -> Result<Sight, ReadError> {
        Ok(self.sight(points(&issue.metrics)?.iter()))
    }

    /// The first half of the normal data, and each stretch of so many rows of the second.
    pub fn normal_windows(&self, rows: usize) -> (Sight, Vec<Sight>) {
        let mut moments: Vec<Nanos> = self.normal.iter().map(|point| point.at).collect();
        moments.dedup();
        let half = moments.len() / 2;
        let Some(middle) = moments.get(half).copied() else {
            return (self.baseline(), Vec::new());
        };
        let within = |from: Nanos, until: Option<Nanos>| {
            self.sight(
                self.normal
                    .iter()
                    .filter(|point| point.at >= from && until.is_none_or(|until| point.at < until)),
            )
        };
        let windows = moments[half..]
            .chunks(rows)
            .filter(|chunk| chunk.len() == rows)
            .map(|chunk| within(chunk[0], chunk.last().map(|last| last.saturating_add(1))))
            .collect();
        (within(Nanos(0), Some(middle)), windows)
    }
}

fn calls(path: &Path) -> Result<Vec<(String, String)>, ReadError> {
    let table = Table::read(path)?;
    let callees: Vec<&str> = table.header().skip(1).collect();
    let mut out = Vec::new();
    for row in table.all() {
        let caller = row.get(0).unwrap_or_default();
        for (callee, cell) in callees.iter().zip(row.iter().skip(1)) {
            if cell.parse::<f64>().is_ok_and(|calls| calls > 0.0) {
                out.push((caller.to_owned(), (*callee).to_owned()));
            }
        }
    }
    Ok(out)
}

/// Three header rows (node, metric, statistic), then a row a moment.
fn points(path: &Path) -> Result<Vec<MetricPoint>, ReadError> {
    let table = Table::read(path)?;
    let nodes: Vec<&str> = table.header().collect();
    let [metrics, statistics, rows @ ..] = table.all() else {
        return Err(ReadError::bad(path, "it has no three header rows"));
    };
    let origins: Vec<Origin> = nodes
        .iter()
        .map(|node| {
            let mut attributes = Attributes::default();
            attributes.push("service.name", Value::Text((*node).to_owned()));
            Origin {
                resource: Arc::new(Resource {
                    attributes,
                    ..Resource::default()
                }),
                ..Origin::default()
            }
        })
        .collect();
    let mut out = Vec::new();
    for row in rows {
        let Some(at) = row.get(0).and_then(|cell| cell.parse::<f64>().ok()) else {
            continue;
        };
        for column in 1..nodes.len() {
            let Some(value) = row.get(column).and_then(|cell| cell.parse::<f64>().ok()) else {
                continue;
            };
            let mut attributes = Attributes::default();
            let statistic = statistics.get(column).unwrap_or_default();
            attributes.push("statistic", Value::Text(statistic.to_owned()));
            let metric = metrics.get(column).unwrap_or_default();
            out.push(gauge(
                origins[column].clone(),
                metric,
                attributes,
                Nanos((at * 1e9) as u64),
                value,
            ));
        }
    }
    Ok(out)
}
