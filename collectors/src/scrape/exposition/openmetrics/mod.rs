//! OpenMetrics 1.0, held to the standard: exact spacing, families in one piece, metadata first, `# EOF` last.
//!
//! This file reads lines; what a family may hold is judged in `family`, histograms as a whole in `buckets`.

mod buckets;
mod family;

use super::classic::unescape_help;
use super::cursor::{Cursor, Dialect, is_metric_name, shown};
use super::{
    Exemplar, Family, Kind, Labels, Limits, Lines, Page, PageTime, ParseError, Remarks, number,
};

use family::Draft;

const DIALECT: Dialect = Dialect {
    blanks: false,
    trailing_comma: false,
    loose_escapes: true,
};

/// The standard's bound on an exemplar's label names and values together, in characters.
const EXEMPLAR_CHARS: usize = 128;

/// A sample line before it is known whose it is.
struct Line {
    name: String,
    labels: Labels,
    value: f64,
    at: Option<PageTime>,
    exemplar: Option<Exemplar>,
}

pub(super) fn parse(page: &[u8], limits: &Limits) -> Result<Page, ParseError> {
    let mut reader = Reader {
        limits,
        current: None,
        done: Vec::new(),
        taken: family::Names::default(),
        samples: 0,
        remarks: Remarks::default(),
        ended: false,
    };
    let mut last = 0;
    for line in Lines::new(page, limits) {
        let (number, line) = line?;
        last = number;
        reader.line(line, number).map_err(|reason| ParseError {
            line: number,
            reason,
        })?;
    }
    let end = |reason: String| ParseError {
        line: last.max(1),
        reason,
    };
    if !reader.ended {
        return Err(end(
            "the page doesn't end in # EOF; it may be cut off".into()
        ));
    }
    Ok(Page {
        families: reader.done,
        remarks: reader.remarks,
    })
}

struct Reader<'a> {
    limits: &'a Limits,
    current: Option<Draft>,
    done: Vec<Family>,
    taken: family::Names,
    samples: usize,
    remarks: Remarks,
    ended: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if self.ended {
            return Err("there is something after # EOF".into());
        }
        if line.is_empty() {
            return Err("an empty line".into());
        }
        if line == "# EOF" {
            self.ended = true;
            return self.close();
        }
        if line.starts_with('#') {
            return self.metadata(line);
        }
        let read = self.read_sample(line)?;
        self.samples += 1;
        if self.samples > self.limits.samples {
            return Err(format!("more than {} samples", self.limits.samples));
        }
        let suffix = self
            .current
            .as_ref()
            .and_then(|draft| draft.suffix(&read.name));
        let suffix = match suffix {
            Some(suffix) => suffix,
            None => {
                self.close()?;
                let mut draft = Draft::new(read.name.clone());
                draft.kind = Some(Kind::Unknown);
                self.current = Some(draft);
                ""
            }
        };
        match &mut self.current {
            Some(draft) => draft.add(read, suffix, number, &mut self.remarks),
            None => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        if let Some(draft) = self.current.take() {
            self.done.push(draft.finish(&mut self.taken)?);
        }
        Ok(())
    }

    fn metadata(&mut self, line: &str) -> Result<(), String> {
        let mut cursor = Cursor::new(line);
        let keyword = ["HELP", "TYPE", "UNIT"].into_iter().find(|keyword| {
            line.strip_prefix("# ")
                .and_then(|rest| rest.strip_prefix(*keyword))
                .is_some_and(|rest| rest.starts_with(' '))
        });
        let Some(keyword) = keyword else {
            return Err("a line beginning with # is not # HELP, # TYPE, # UNIT or # EOF".into());
        };
        cursor.eat_text("# ");
        cursor.eat_text(keyword);
        cursor.eat(b' ');
        let name = if cursor.peek() == Some(b'"') {
            let name = cursor.quoted(DIALECT.loose_escapes, "a quoted name")?;
            if name.is_empty() {
                return Err("the metric name is empty".into());
            }
            name
        } else {
            let name = cursor.take(|b| b != b' ');
            if !is_metric_name(name) {
                return Err(format!("{:?} is no metric name", shown(name)));
            }
            name.to_owned()
        };
        if !cursor.eat(b' ') {
            return Err(format!("# {keyword} says nothing about {:?}", shown(&name)));
        }
        let text = cursor.rest();

        if self.current.as_ref().is_none_or(|draft| draft.name != name) {
            self.close()?;
            self.current = Some(Draft::new(name));
        }
        let Some(draft) = &mut self.current else {
            return Ok(());
        };
        if !draft.samples.is_empty() {
            return Err(format!(
                "# {keyword} of {:?} after its samples",
                shown(&draft.name)
            ));
        }
        let name = shown(&draft.name);
        let repeated = match keyword {
            "HELP" => draft.help.replace(unescape_help(text)).is_some(),
            "UNIT" => draft.unit.replace(text.to_owned()).is_some(),
            _ => draft.kind.replace(kind(text)?).is_some(),
        };
        if repeated {
            return Err(format!("a second # {keyword} for {name:?}"));
        }
        Ok(())
    }

    fn read_sample(&self, line: &str) -> Result<Line, String> {
        let mut cursor = Cursor::new(line);
        let bare = cursor.metric_name();
        let mut name = (!bare.is_empty()).then(|| bare.to_owned());
        let labels = if cursor.eat(b'{') {
            cursor.labels(DIALECT, self.limits, &mut name)?
        } else {
            Labels::new()
        };
        let Some(name) = name else {
            return Err(format!("a metric name is expected at {:?}", shown(line)));
        };
        let value = number::value(field(&mut cursor, "a value")?)?;
        let mut at = None;
        if !cursor.rest().is_empty() && !cursor.rest().starts_with(" # ") {
            at = Some(number::seconds(field(&mut cursor, "a timestamp")?)?);
        }
        let exemplar = if cursor.rest().is_empty() {
            None
        } else {
            Some(self.exemplar(&mut cursor)?)
        };
        Ok(Line {
            name,
            labels,
            value,
            at,
            exemplar,
        })
    }

    fn exemplar(&self, cursor: &mut Cursor<'_>) -> Result<Exemplar, String> {
        if !cursor.eat_text(" # {") {
            return Err(format!(
                "an exemplar (\" # {{…}} value\") or the end is expected at {:?}",
                shown(cursor.rest())
            ));
        }
        let mut name = None;
        let labels = cursor.labels(DIALECT, self.limits, &mut name)?;
        if name.is_some() {
            return Err("an exemplar holds a metric name".into());
        }
        let chars: usize = labels
            .iter()
            .map(|(name, value)| name.chars().count() + value.chars().count())
            .sum();
        if chars > EXEMPLAR_CHARS {
            return Err(format!(
                "an exemplar's labels have {chars} characters; {EXEMPLAR_CHARS} are allowed"
            ));
        }
        let value = number::value(field(cursor, "an exemplar's value")?)?;
        let at = match cursor.rest() {
            "" => None,
            _ => Some(number::seconds(field(cursor, "an exemplar's timestamp")?)?),
        };
        if !cursor.rest().is_empty() {
            return Err(format!("{:?} after an exemplar", shown(cursor.rest())));
        }
        Ok(Exemplar { labels, value, at })
    }
}

/// One blank and what follows it up to the next.
fn field<'a>(cursor: &mut Cursor<'a>, what: &str) -> Result<&'a str, String> {
    if !cursor.eat(b' ') {
        return Err(match cursor.rest() {
            "" => format!("{what} is missing"),
            rest => format!("one blank and {what} are expected at {:?}", shown(rest)),
        });
    }
    let text = cursor.take(|b| b != b' ');
    if text.is_empty() {
        return Err(format!("{what} is missing after a blank"));
    }
    Ok(text)
}

fn kind(text: &str) -> Result<Kind, String> {
    [
        Kind::Unknown,
        Kind::Counter,
        Kind::Gauge,
        Kind::Histogram,
        Kind::GaugeHistogram,
        Kind::Summary,
        Kind::Info,
        Kind::StateSet,
    ]
    .into_iter()
    .find(|kind| kind.name() == text)
    .ok_or_else(|| format!("{:?} is no OpenMetrics type", shown(text)))
}
