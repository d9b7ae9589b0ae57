//! Folders of traces as `traceweaver` has them: one Jaeger file a trace. The parents of one service's calls are taken
//! away and looked for again, from times and endpoints alone.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use analyzers::repair::{Child, Parent, Problem};
use serde::Deserialize;

use super::ReadError;
use super::table::{files, text};

#[derive(Deserialize)]
struct File {
    data: Vec<Trace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    spans: Vec<Span>,
    processes: BTreeMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: String,
    #[serde(default)]
    references: Vec<Reference>,
    /// Microseconds.
    start_time: u64,
    duration: u64,
    #[serde(rename = "processID")]
    process_id: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: serde_json::Value,
}

/// A span with its true parent.
struct Row {
    trace: u32,
    service: String,
    operation: String,
    client: bool,
    start: u64,
    end: u64,
    parent: Option<usize>,
}

/// All traces of a folder.
pub struct Set {
    rows: Vec<Row>,
    pub traces: usize,
}

/// The calls out of one service, or the hops to one.
pub struct Place {
    pub service: String,
    /// From a client span to the server span of another process: two clocks.
    pub hop: bool,
    pub problem: Problem,
    /// The true parent of each child, and its trace.
    pub truth: Vec<(u32, u32)>,
}

impl Place {
    /// Kinds of calls one parent makes.
    pub fn kinds(&self) -> usize {
        self.problem
            .children
            .iter()
            .map(|child| child.kind as usize + 1)
            .max()
            .unwrap_or(0)
    }
}

impl Set {
    pub fn open(folder: &Path) -> Result<Set, ReadError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut traces = 0;
        for path in files(folder, "json")? {
            let file: File = serde_json::from_str(&text(&path)?)
                .map_err(|error| ReadError::bad(&path, error))?;
            for trace in file.data {
                let first = rows.len();
                let places: HashMap<&str, usize> = trace
                    .spans
                    .iter()
                    .enumerate()
                    .map(|(at, span)| (span.span_id.as_str(), first + at))
                    .collect();
                for span in &trace.spans {
                    let service = trace
                        .processes
                        .get(&span.process_id)
                        .map_or("", |process| &process.service_name);
                    let client = span
                        .tags
                        .iter()
                        .any(|tag| tag.key == "span.kind" && tag.value == "client");
                    let start = span.start_time.saturating_mul(1000);
                    rows.push(Row {
                        trace: traces,
                        service: service.to_owned(),
                        operation: span.operation_name.clone(),
                        client,
                        start,
                        end: start.saturating_add(span.duration.saturating_mul(1000)),
                        parent: span
                            .references
                            .first()
                            .and_then(|parent| places.get(parent.span_id.as_str()).copied()),
                    });
                }
                traces += 1;
            }
        }
        Ok(Set {
            rows,
            traces: traces as usize,
        })
    }

    /// Every place in the system where a caller and what it calls meet.
    pub fn places(&self) -> Vec<Place> {
        // A call out of a service: its client span, else the other side's span that stands for it.
        let mut calls: BTreeMap<(String, bool), Vec<(usize, usize)>> = BTreeMap::new();
        for (row, span) in self.rows.iter().enumerate() {
            let Some(parent) = span.parent else { continue };
            let above = &self.rows[parent];
            if span.client || above.service != span.service {
                calls
                    .entry((above.service.clone(), above.client))
                    .or_default()
                    .push((parent, row));
            }
        }
        // Hops are told apart by whom they reach.
        let mut places: BTreeMap<(String, bool), Vec<(usize, usize)>> = BTreeMap::new();
        for ((service, hop), links) in calls {
            for link in links {
                let name = if hop {
                    self.rows[link.1].service.clone()
                } else {
                    service.clone()
                };
                places.entry((name, hop)).or_default().push(link);
            }
        }
        places
            .into_iter()
            .map(|((service, hop), links)| self.place(service, hop, &links))
            .collect()
    }

    fn place(&self, service: String, hop: bool, links: &[(usize, usize)]) -> Place {
        let mut parent_of: BTreeMap<usize, u32> = BTreeMap::new();
        let mut kinds: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut families: BTreeMap<&str, u32> = BTreeMap::new();
        for (parent, child) in links {
            let next = families.len() as u32;
            families
                .entry(&self.rows[*parent].operation)
                .or_insert(next);
            parent_of.entry(*parent).or_insert(0);
            let row = &self.rows[*child];
            let next = kinds.len() as u32;
            kinds.entry((&row.service, &row.operation)).or_insert(next);
        }
        let mut problem = Problem {
            seed: 1,
            ..Problem::default()
        };
        for (row, number) in &mut parent_of {
            *number = problem.parents.len() as u32;
            let span = &self.rows[*row];
            problem.parents.push(Parent {
                start: span.start,
                end: span.end,
                kind: families[span.operation.as_str()],
                trace: 0,
            });
        }
        let mut truth = Vec::new();
        for (parent, child) in links {
            let row = &self.rows[*child];
            problem.children.push(Child {
                start: row.start,
                end: row.end,
                kind: kinds[&(row.service.as_str(), row.operation.as_str())],
                known: None,
                trace: None,
            });
            truth.push((parent_of[parent], row.trace));
        }
        Place {
            service,
            hop,
            problem,
            truth,
        }
    }
}
