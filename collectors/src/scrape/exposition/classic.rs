//! The Prometheus text format: lenient in blanks and order, families may interleave, comments are free.

use std::collections::{HashMap, HashSet};

use super::cursor::{Cursor, Dialect, is_metric_name, shown};
use super::{Family, Kind, Limits, Lines, Page, ParseError, Remarks, Sample, label_key, number};

const DIALECT: Dialect = Dialect {
    blanks: true,
    trailing_comma: true,
    loose_escapes: false,
};

pub(super) fn parse(page: &[u8], limits: &Limits) -> Result<Page, ParseError> {
    let mut reader = Reader {
        limits,
        families: Vec::new(),
        by_name: HashMap::new(),
        seen: HashSet::new(),
        samples: 0,
        remarks: Remarks::default(),
    };
    for line in Lines::new(page, limits) {
        let (number, line) = line?;
        // Pages written on Windows end their lines in two characters.
        let line = line.strip_suffix('\r').unwrap_or(line);
        reader.line(line, number).map_err(|reason| ParseError {
            line: number,
            reason,
        })?;
    }
    let families = reader
        .families
        .into_iter()
        .filter(|draft| !draft.family.samples.is_empty());
    Ok(Page {
        families: families.map(|draft| draft.family).collect(),
        remarks: reader.remarks,
    })
}

struct Draft {
    family: Family,
    typed: bool,
    helped: bool,
}

struct Reader<'a> {
    limits: &'a Limits,
    families: Vec<Draft>,
    by_name: HashMap<String, usize>,
    seen: HashSet<String>,
    samples: usize,
    remarks: Remarks,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        let mut cursor = Cursor::new(line);
        cursor.blanks();
        match cursor.peek() {
            None => Ok(()),
            Some(b'#') => self.comment(cursor),
            Some(_) => self.sample(cursor, number),
        }
    }

    fn comment(&mut self, mut cursor: Cursor<'_>) -> Result<(), String> {
        cursor.eat(b'#');
        cursor.blanks();
        let keyword = cursor.token();
        if !matches!(keyword, "HELP" | "TYPE") {
            return Ok(());
        }
        cursor.blanks();
        let name = match cursor.peek() {
            None => return Ok(()),
            Some(b'"') => cursor.quoted(DIALECT.loose_escapes, "a quoted name")?,
            Some(_) => {
                let name = cursor.token();
                if !is_metric_name(name) {
                    return Err(format!("{:?} is no metric name", shown(name)));
                }
                name.to_owned()
            }
        };
        cursor.blanks();
        let text = cursor.rest();
        if text.is_empty() {
            return Ok(());
        }
        let at = self.family(&name);
        let Some(draft) = self.families.get_mut(at) else {
            return Ok(());
        };
        if keyword == "HELP" {
            if std::mem::replace(&mut draft.helped, true) {
                return Err(format!("a second HELP for {:?}", shown(&name)));
            }
            draft.family.help = unescape_help(text);
            return Ok(());
        }
        if draft.typed || !draft.family.samples.is_empty() {
            return Err(format!(
                "a second TYPE for {:?}, or one after its samples",
                shown(&name)
            ));
        }
        draft.typed = true;
        draft.family.kind = kind(text.trim_end_matches([' ', '\t']))?;
        Ok(())
    }

    fn family(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        self.by_name.insert(name.to_owned(), self.families.len());
        self.families.push(Draft {
            family: Family {
                name: name.to_owned(),
                kind: Kind::Unknown,
                help: String::new(),
                unit: String::new(),
                samples: Vec::new(),
            },
            typed: false,
            helped: false,
        });
        self.families.len() - 1
    }

    /// The family a sample's name belongs to, and the part of the name beyond it.
    fn owner(&mut self, name: &str) -> (usize, &'static str) {
        if let Some(at) = self.by_name.get(name) {
            return (*at, "");
        }
        for suffix in ["_bucket", "_count", "_sum"] {
            let Some(base) = name.strip_suffix(suffix) else {
                continue;
            };
            let Some(at) = self.by_name.get(base) else {
                continue;
            };
            let owns = self
                .families
                .get(*at)
                .is_some_and(|draft| match draft.family.kind {
                    Kind::Summary => suffix != "_bucket",
                    Kind::Histogram | Kind::GaugeHistogram => true,
                    _ => false,
                });
            if owns {
                return (*at, suffix);
            }
        }
        (self.family(name), "")
    }

    fn sample(&mut self, mut cursor: Cursor<'_>, line: usize) -> Result<(), String> {
        let bare = cursor.metric_name();
        let spaced = cursor.blanks();
        let mut name = (!bare.is_empty()).then(|| bare.to_owned());
        let labels = if cursor.eat(b'{') {
            cursor.labels(DIALECT, self.limits, &mut name)?
        } else if bare.is_empty() {
            return Err(format!(
                "a metric name is expected at {:?}",
                shown(cursor.rest())
            ));
        } else if !spaced {
            return Err(match cursor.rest() {
                "" => format!("no value after {:?}", shown(bare)),
                rest => format!("{:?} is no metric name", shown(&format!("{bare}{rest}"))),
            });
        } else {
            Vec::new()
        };
        let Some(name) = name else {
            return Err("the sample has no metric name".into());
        };
        cursor.blanks();
        let text = cursor.token();
        if text.is_empty() {
            return Err(format!("no value after {:?}", shown(&name)));
        }
        let value = number::value(text)?;
        cursor.blanks();
        let at = match cursor.token() {
            "" => None,
            text => Some(number::milliseconds(text)?),
        };
        cursor.blanks();
        if !cursor.rest().is_empty() {
            return Err(format!("{:?} after the timestamp", shown(cursor.rest())));
        }

        let (owner, suffix) = self.owner(&name);
        let Some(family) = self.families.get_mut(owner).map(|draft| &mut draft.family) else {
            return Ok(());
        };
        let counting = matches!(suffix, "_bucket" | "_count");
        if counting && value < 0.0 {
            return Err(format!("{:?} counts below 0", shown(&name)));
        }
        let special = match (family.kind, suffix) {
            (Kind::Summary, "") => Some("quantile"),
            (Kind::Histogram | Kind::GaugeHistogram, "_bucket") => Some("le"),
            _ => None,
        };
        if let Some(special) = special {
            match labels.iter().find(|(label, _)| label == special) {
                Some((_, text)) if number::value(text).is_err() => {
                    return Err(format!("label {special} is {:?}, no number", shown(text)));
                }
                Some(_) => {}
                None => {
                    self.remarks
                        .add(line, format!("left out: no {special} label"));
                    return Ok(());
                }
            }
        }
        let series = format!(
            "{name}|{}|{}",
            at.map(|at| at.to_string()).unwrap_or_default(),
            label_key(
                labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
            )
        );
        if !self.seen.insert(series) {
            self.remarks
                .add(line, "left out: repeats a series of this page");
            return Ok(());
        }
        if self.samples == self.limits.samples {
            return Err(format!("more than {} samples", self.limits.samples));
        }
        self.samples += 1;
        family.samples.push(Sample {
            suffix,
            labels,
            value,
            at,
            exemplar: None,
            line,
        });
        Ok(())
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "gaugehistogram" | "gauge_histogram" => Kind::GaugeHistogram,
        "summary" => Kind::Summary,
        "untyped" => Kind::Unknown,
        _ => return Err(format!("{:?} is no metric type", shown(text))),
    })
}

/// Help is for people: an escape that means nothing stays as it is.
pub(super) fn unescape_help(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(c @ ('\\' | '"')) => plain.push(c),
            Some(c) => plain.extend(['\\', c]),
            None => plain.push('\\'),
        }
    }
    plain
}
