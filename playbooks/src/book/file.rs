//! The TOML of a book, and the checks that need nothing but the file.

use serde::Deserialize;
use toml::Spanned;

use super::{Book, Check, Compared, End, How, Input, Name, PassIf, Step, Than};
use crate::place::{Misplaced, Source};

/// Pieces of evidence that a step keeps unless it says so.
const KEEP: usize = 6;
/// More would make a run nobody reads.
const MOST_KEPT: u64 = 50;

type Word = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BookFile {
    title: Word,
    about: Word,
    symptoms: Vec<Word>,
    #[serde(default)]
    inputs: Vec<Word>,
    #[serde(default)]
    needs: Vec<Word>,
    #[serde(default)]
    line: Vec<Word>,
    step: Vec<StepTable>,
    #[serde(default)]
    end: Vec<EndTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    id: Word,
    ask: Word,
    #[serde(default)]
    expect: String,
    rule: Option<Word>,
    finds: Option<Spanned<Vec<Word>>>,
    query: Option<Word>,
    pass_if: Option<Word>,
    compare: Option<Word>,
    probe: Option<Word>,
    person: Option<Spanned<bool>>,
    book: Option<Word>,
    show: Option<Word>,
    keep: Option<Spanned<u64>>,
    pass: Option<Word>,
    fail: Option<Word>,
    cannot_tell: Option<Word>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndTable {
    id: Word,
    cause: Option<Word>,
    #[serde(default)]
    says: String,
    confidence: Option<Word>,
    #[serde(default)]
    fix: String,
    #[serde(default)]
    verify: String,
}

pub(super) fn read(id: &str, source: Source<'_>) -> Result<Book, Misplaced> {
    let file: BookFile = toml::from_str(source.text).map_err(|error| source.toml_error(&error))?;
    for (what, word) in [("title", &file.title), ("about", &file.about)] {
        if word.get_ref().trim().is_empty() {
            return Err(source.error(word.span(), format!("a book needs words for its {what}")));
        }
    }
    let steps = file
        .step
        .into_iter()
        .map(|table| step(source, table))
        .collect::<Result<Vec<Step>, Misplaced>>()?;
    let Some(first) = steps.first() else {
        return Err(source
            .error(file.title.span(), "a book without a step asks nothing")
            .hint("begin one with [[step]]"));
    };
    let mut line: Vec<Name> = file.line.into_iter().map(name).collect();
    if line.is_empty() {
        line.push(first.id.clone());
    }
    Ok(Book {
        id: id.to_owned(),
        title: file.title.into_inner(),
        about: file.about.into_inner(),
        symptoms: file.symptoms.into_iter().map(name).collect(),
        inputs: inputs(source, &file.inputs)?,
        needs: inputs(source, &file.needs)?,
        line,
        steps,
        ends: file
            .end
            .into_iter()
            .map(|table| end(source, table))
            .collect::<Result<Vec<End>, Misplaced>>()?,
        file: source.file.to_owned(),
        text: source.text.to_owned(),
    })
}

fn name(word: Word) -> Name {
    Name {
        at: word.span(),
        word: word.into_inner(),
    }
}

/// One of a few words, with the mend where it is none of them.
fn one_of<T: Copy>(source: Source<'_>, word: &Word, known: &[(&str, T)]) -> Result<T, Misplaced> {
    let given = word.get_ref();
    known
        .iter()
        .find(|(name, _)| name == given)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            source
                .error(
                    word.span(),
                    format!("'{given}' is none of the words known here"),
                )
                .hint(format!("it can be {}", names.join(", ")))
        })
}

fn inputs(source: Source<'_>, words: &[Word]) -> Result<Vec<Input>, Misplaced> {
    let known = Input::ALL.map(|input| (input.name(), input));
    words
        .iter()
        .map(|word| one_of(source, word, &known))
        .collect()
}

fn step(source: Source<'_>, table: StepTable) -> Result<Step, Misplaced> {
    let how = how(source, &table)?;
    if table.ask.get_ref().trim().is_empty() {
        return Err(source.error(table.ask.span(), "a step needs a question in words"));
    }
    let keep = match &table.keep {
        None => KEEP,
        Some(keep) if *keep.get_ref() > MOST_KEPT => {
            return Err(source.error(
                keep.span(),
                format!("a step keeps {MOST_KEPT} pieces of evidence at most"),
            ));
        }
        Some(keep) => usize::try_from(*keep.get_ref()).unwrap_or(KEEP),
    };
    Ok(Step {
        id: name(table.id),
        ask: table.ask.into_inner(),
        expect: table.expect,
        how,
        show: table.show.map(name),
        keep,
        pass: table.pass.map(name),
        fail: table.fail.map(name),
        cannot_tell: table.cannot_tell.map(name),
    })
}

fn how(source: Source<'_>, table: &StepTable) -> Result<How, Misplaced> {
    let ways: Vec<&str> = [
        ("rule", table.rule.is_some()),
        ("query", table.query.is_some()),
        ("compare", table.compare.is_some()),
        ("probe", table.probe.is_some()),
        ("person", table.person.is_some()),
        ("book", table.book.is_some()),
    ]
    .into_iter()
    .filter_map(|(way, given)| given.then_some(way))
    .collect();
    if ways.len() > 1 {
        return Err(source
            .error(
                table.id.span(),
                format!(
                    "a question is answered one way, not by {}",
                    ways.join(" and ")
                ),
            )
            .hint("make two steps of it"));
    }
    if let (Some(finds), None) = (&table.finds, &table.rule) {
        return Err(source
            .error(
                finds.span(),
                "finds says which causes of a rule are meant, and no rule is named",
            )
            .hint("add rule = \"area/name\""));
    }
    if let (Some(pass_if), None) = (&table.pass_if, &table.query) {
        return Err(source.error(
            pass_if.span(),
            "pass_if belongs to a query, and there is none",
        ));
    }
    let word = |word: &Word| Name {
        word: word.get_ref().clone(),
        at: word.span(),
    };
    if let Some(rule) = &table.rule {
        let finds = table
            .finds
            .as_ref()
            .map_or(&[][..], |finds| finds.get_ref());
        return Ok(How::Rule {
            rule: word(rule),
            finds: finds.iter().map(word).collect(),
        });
    }
    if let Some(sql) = &table.query {
        return Ok(How::Query {
            sql: word(sql),
            pass_if: pass_if(source, sql, table.pass_if.as_ref())?,
        });
    }
    if let Some(what) = &table.compare {
        let known = [
            ("errors", Compared::Errors),
            ("latency", Compared::Latency),
            ("traffic", Compared::Traffic),
        ];
        return Ok(How::Compare {
            what: one_of(source, what, &known)?,
        });
    }
    if let Some(check) = &table.probe {
        let known = [
            ("connect", Check::Connect),
            ("live", Check::Live),
            ("ready", Check::Ready),
        ];
        return Ok(How::Probe {
            check: one_of(source, check, &known)?,
        });
    }
    if let Some(id) = &table.book {
        return Ok(How::Book { id: word(id) });
    }
    match &table.person {
        Some(person) if !person.get_ref() => {
            Err(source.error(person.span(), "person = false answers nothing"))
        }
        Some(_) => Ok(How::Person),
        None => Err(source
            .error(table.id.span(), "nothing says how the question is answered")
            .hint("add rule, query, compare, probe, book, or person = true")),
    }
}

fn pass_if(source: Source<'_>, sql: &Word, given: Option<&Word>) -> Result<PassIf, Misplaced> {
    const HINT: &str = "write \"rows\", \"no rows\", or \"value <= 5\"";
    let Some(word) = given else {
        return Err(source
            .error(
                sql.span(),
                "a query needs pass_if, which says when all is well",
            )
            .hint(HINT));
    };
    let text = word.get_ref().trim();
    match text {
        "rows" => return Ok(PassIf::Rows),
        "no rows" => return Ok(PassIf::NoRows),
        _ => {}
    }
    let parts: Vec<&str> = text.split_whitespace().collect();
    if let ["value", than, number] = parts.as_slice() {
        let than = match *than {
            "<" => Some(Than::Less),
            "<=" => Some(Than::AtMost),
            "=" => Some(Than::Equal),
            ">=" => Some(Than::AtLeast),
            ">" => Some(Than::More),
            _ => None,
        };
        if let (Some(than), Ok(number)) = (than, number.parse()) {
            return Ok(PassIf::Value { than, number });
        }
    }
    Err(source
        .error(word.span(), format!("'{text}' is no condition"))
        .hint(HINT))
}

fn end(source: Source<'_>, table: EndTable) -> Result<End, Misplaced> {
    let sure = match &table.confidence {
        None => false,
        Some(word) => one_of(source, word, &[("sure", true), ("likely", false)])?,
    };
    if table.cause.is_none() && table.says.trim().is_empty() {
        return Err(source
            .error(
                table.id.span(),
                "an end names a cause, or says what is known",
            )
            .hint("add cause = \"symptom#cause\", or says = \"…\""));
    }
    let of_book = table
        .cause
        .as_ref()
        .is_some_and(|cause| cause.get_ref() != super::FOUND);
    if of_book && (table.fix.trim().is_empty() || table.verify.trim().is_empty()) {
        return Err(source.error(
            table.id.span(),
            "an end with a cause says how to fix it, and how to verify that",
        ));
    }
    Ok(End {
        id: name(table.id),
        cause: table.cause.map(name),
        says: table.says,
        sure,
        fix: table.fix,
        verify: table.verify,
    })
}
