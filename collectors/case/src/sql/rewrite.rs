//! What people write about attributes, turned into what SQLite understands.
//!
//! `SpanAttributes['http.route']` becomes a column of that name, so that only this attribute is read; where no table
//! has it (in a subquery that passes the map on) it becomes a call of `attr`. `Events.Name` becomes `"Events.Name"`,
//! which SQLite would otherwise take for a table and its column. Texts, quoted names and comments are left alone.

use std::ops::Range;

use super::schema;

/// How attributes are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Columns,
    Calls,
}

/// SQL for SQLite, and where its parts stood in what was typed.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    pub(super) sql: String,
    /// Map and key of every attribute that became a column.
    pub(super) attributes: Vec<(&'static str, String)>,
    /// Beginnings of copied and of replaced parts: here, there, and whether the part is a copy.
    parts: Vec<(usize, usize, bool)>,
}

/// Attributes that become columns; further ones are reached by calls.
const MOST_COLUMNS: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A bare or quoted name, as SQLite understands it.
    Name(String),
    Text(String),
    /// `['key']` behind a name.
    Subscript(String),
    Mark(char),
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    range: Range<usize>,
    bare: bool,
}

/// Every bare word of a statement.
pub(super) fn words(sql: &str) -> Vec<String> {
    tokens(sql)
        .into_iter()
        .filter_map(|token| match token.kind {
            Kind::Name(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Comparisons of an attribute with a number in quotes. They are legal, and hardly ever what is meant: most numbers are
/// sent as numbers, and those equal no text.
pub(super) fn quoted_numbers(sql: &str) -> Vec<String> {
    let tokens = tokens(sql);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().skip(1) {
        let (Kind::Subscript(key), Kind::Name(map)) = (&token.kind, &tokens[at - 1].kind) else {
            continue;
        };
        let signs = tokens[at + 1..]
            .iter()
            .take_while(|token| matches!(token.kind, Kind::Mark('=' | '<' | '>' | '!')))
            .count();
        if let Some(Token {
            kind: Kind::Text(text),
            ..
        }) = tokens.get(at + 1 + signs)
            && signs > 0
            && text.parse::<f64>().is_ok()
        {
            found.push(format!(
                "{map}['{key}'] is compared with the text '{text}'; where it was sent as a number, write {text} without quotes"
            ));
        }
    }
    found
}

/// Where a name first stands in a statement.
pub(super) fn place_of(sql: &str, name: &str) -> Option<usize> {
    tokens(sql)
        .into_iter()
        .find(|token| matches!(&token.kind, Kind::Name(known) if known == name))
        .map(|token| token.range.start)
}

pub(super) fn rewrite(sql: &str, reach: Reach) -> Rewritten {
    let tokens = tokens(sql);
    let dotted = schema::dotted();
    let aliases: Vec<&str> = tokens
        .windows(2)
        .filter_map(|pair| match (&pair[0].kind, &pair[1].kind) {
            (Kind::Name(word), Kind::Name(alias)) if word.eq_ignore_ascii_case("as") => {
                Some(alias.as_str())
            }
            _ => None,
        })
        .collect();
    let mut out = Rewritten::default();
    let mut copied = 0;
    let mut at = 0;
    while at < tokens.len() {
        let replaced = subscript(&tokens, at, reach, &mut out, sql)
            .or_else(|| call(&tokens, at, reach, &mut out, sql))
            .or_else(|| dotted_name(&tokens, at, &dotted, &aliases));
        match replaced {
            Some((count, text)) => {
                let from = tokens[at].range.start;
                out.copy(sql, copied..from);
                out.replace(&text, from);
                at += count;
                copied = tokens[at - 1].range.end;
            }
            None => at += 1,
        }
    }
    out.copy(sql, copied..sql.len());
    out
}

impl Rewritten {
    fn copy(&mut self, sql: &str, range: Range<usize>) {
        self.parts.push((self.sql.len(), range.start, true));
        self.sql.push_str(&sql[range]);
    }

    fn replace(&mut self, text: &str, from: usize) {
        self.parts.push((self.sql.len(), from, false));
        self.sql.push_str(text);
    }

    /// Where in what was typed a place of the SQL stood.
    pub(super) fn typed_at(&self, place: usize) -> usize {
        let part = self.parts.partition_point(|(here, _, _)| *here <= place);
        match part.checked_sub(1).and_then(|part| self.parts.get(part)) {
            Some((here, there, true)) => there + (place - here),
            Some((_, there, false)) => *there,
            None => place,
        }
    }

    fn column(&mut self, map: &'static str, key: &str) -> Option<String> {
        let known = self
            .attributes
            .iter()
            .any(|(known, other)| *known == map && other == key);
        if !known {
            if self.attributes.len() >= MOST_COLUMNS {
                return None;
            }
            self.attributes.push((map, key.to_owned()));
        }
        let name = schema::attribute_name(map, key);
        Some(format!("\"{}\"", name.replace('"', "\"\"")))
    }
}

fn map_named(name: &str) -> Option<&'static str> {
    schema::MAPS
        .into_iter()
        .find(|map| map.eq_ignore_ascii_case(name))
}

fn is_mark(token: Option<&Token>, mark: char) -> bool {
    token.is_some_and(|token| token.kind == Kind::Mark(mark))
}

/// Names joined by dots from `at` on: how many tokens, and the last name.
fn path(tokens: &[Token], at: usize) -> Option<(usize, &str)> {
    let mut count = 0;
    loop {
        let Some(Token {
            kind: Kind::Name(name),
            ..
        }) = tokens.get(at + count)
        else {
            return None;
        };
        count += 1;
        if !is_mark(tokens.get(at + count), '.')
            || !matches!(
                tokens.get(at + count + 1).map(|token| &token.kind),
                Some(Kind::Name(_))
            )
        {
            return Some((count, name));
        }
        count += 1;
    }
}

fn follows_dot(tokens: &[Token], at: usize) -> bool {
    at > 0 && is_mark(tokens.get(at - 1), '.')
}

fn typed<'a>(tokens: &[Token], range: Range<usize>, sql: &'a str) -> &'a str {
    match (
        tokens.get(range.start),
        tokens.get(range.end.wrapping_sub(1)),
    ) {
        (Some(first), Some(last)) if range.start < range.end => {
            &sql[first.range.start..last.range.end]
        }
        _ => "",
    }
}

/// `[alias.]Map['key']`.
fn subscript(
    tokens: &[Token],
    at: usize,
    reach: Reach,
    out: &mut Rewritten,
    sql: &str,
) -> Option<(usize, String)> {
    if follows_dot(tokens, at) {
        return None;
    }
    let (count, name) = path(tokens, at)?;
    let Some(Token {
        kind: Kind::Subscript(key),
        ..
    }) = tokens.get(at + count)
    else {
        return None;
    };
    if reach == Reach::Columns
        && let Some(map) = map_named(name)
        && let Some(column) = out.column(map, key)
    {
        let qualifier = typed(tokens, at..at + count - 1, sql);
        return Some((count + 1, format!("{qualifier}{column}")));
    }
    let map = typed(tokens, at..at + count, sql);
    let key = key.replace('\'', "''");
    Some((count + 1, format!("attr({map}, '{key}')")))
}

/// `attr([alias.]Map, 'key')`.
fn call(
    tokens: &[Token],
    at: usize,
    reach: Reach,
    out: &mut Rewritten,
    sql: &str,
) -> Option<(usize, String)> {
    let is_attr =
        matches!(&tokens.get(at)?.kind, Kind::Name(name) if name.eq_ignore_ascii_case("attr"));
    if reach != Reach::Columns || !is_attr || !is_mark(tokens.get(at + 1), '(') {
        return None;
    }
    let (count, name) = path(tokens, at + 2)?;
    let behind = at + 2 + count;
    let Some(Token {
        kind: Kind::Text(key),
        ..
    }) = tokens.get(behind + 1)
    else {
        return None;
    };
    if !is_mark(tokens.get(behind), ',') || !is_mark(tokens.get(behind + 2), ')') {
        return None;
    }
    let column = out.column(map_named(name)?, key)?;
    let qualifier = typed(tokens, at + 2..behind - 1, sql);
    Some((count + 5, format!("{qualifier}{column}")))
}

/// `Events.Name` and its like.
fn dotted_name(
    tokens: &[Token],
    at: usize,
    dotted: &[String],
    aliases: &[&str],
) -> Option<(usize, String)> {
    let (first, last) = (tokens.get(at)?, tokens.get(at + 2)?);
    let (Kind::Name(left), Kind::Name(right)) = (&first.kind, &last.kind) else {
        return None;
    };
    if !first.bare || !last.bare || !is_mark(tokens.get(at + 1), '.') {
        return None;
    }
    if aliases.iter().any(|alias| alias.eq_ignore_ascii_case(left)) {
        return None;
    }
    let whole = format!("{left}.{right}");
    let name = dotted
        .iter()
        .find(|name| name.eq_ignore_ascii_case(&whole))?;
    Some((3, format!("\"{name}\"")))
}

/// Splits a statement the way SQLite does, without spaces and comments. What is never closed ends with the text.
fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (len, kind, bare) = match c {
            c if c.is_ascii_whitespace() || c == '\u{feff}' => (c.len_utf8(), None, false),
            '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None, false),
            '/' if rest.starts_with("/*") => {
                let len = rest[2..].find("*/").map_or(rest.len(), |end| end + 4);
                (len, None, false)
            }
            '\'' => {
                let (len, text) = quoted(rest, '\'');
                (len, Some(Kind::Text(text)), false)
            }
            '"' | '`' => {
                let (len, text) = quoted(rest, c);
                (len, Some(Kind::Name(text)), false)
            }
            '[' => {
                let behind_name = matches!(
                    tokens.last(),
                    Some(Token {
                        kind: Kind::Name(_),
                        ..
                    })
                );
                match subscript_key(rest).filter(|_| behind_name) {
                    Some((len, key)) => (len, Some(Kind::Subscript(key)), false),
                    None => {
                        let end = rest.find(']');
                        let name = &rest[1..end.unwrap_or(rest.len())];
                        let len = end.map_or(rest.len(), |end| end + 1);
                        (len, Some(Kind::Name(name.to_owned())), false)
                    }
                }
            }
            c if c == '_' || c.is_ascii_alphabetic() || !c.is_ascii() => {
                let len = rest
                    .find(|c: char| {
                        !(c == '_' || c == '$' || c.is_ascii_alphanumeric() || !c.is_ascii())
                    })
                    .unwrap_or(rest.len());
                (len, Some(Kind::Name(rest[..len].to_owned())), true)
            }
            c if c.is_ascii_digit() => {
                let len = rest
                    .find(|c: char| !(c == '.' || c == '_' || c.is_ascii_alphanumeric()))
                    .unwrap_or(rest.len());
                (len, Some(Kind::Mark('0')), false)
            }
            c => (c.len_utf8(), Some(Kind::Mark(c)), false),
        };
        if let Some(kind) = kind {
            tokens.push(Token {
                kind,
                range: at..at + len,
                bare,
            });
        }
        at += len;
    }
    tokens
}

/// A quoted text from its opening quote on: its length with both quotes, and what it says. A doubled quote is one.
fn quoted(rest: &str, quote: char) -> (usize, String) {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            text.push(quote);
            chars.next();
        } else {
            return (at + c.len_utf8(), text);
        }
    }
    (rest.len(), text)
}

/// `['key']`: its length and the key.
fn subscript_key(rest: &str) -> Option<(usize, String)> {
    let inner = rest[1..].trim_start();
    let from = rest.len() - inner.len();
    if !inner.starts_with('\'') {
        return None;
    }
    let (len, key) = quoted(inner, '\'');
    let behind = inner[len..].trim_start();
    behind
        .starts_with(']')
        .then(|| (from + len + (inner.len() - len - behind.len()) + 1, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(sql: &str) -> String {
        rewrite(sql, Reach::Columns).sql
    }

    #[test]
    fn attributes_become_columns() {
        assert_eq!(
            columns("select SpanAttributes['http.route'] from spans"),
            "select \"SpanAttributes['http.route']\" from spans"
        );
        assert_eq!(
            columns(
                "select s.spanattributes [ 'it''s \"x\"' ], attr( s . SpanAttributes , 'k' ) from spans s"
            ),
            "select s.\"SpanAttributes['it''s \"\"x\"\"']\", s .\"SpanAttributes['k']\" from spans s"
        );
        assert_eq!(
            columns("select payload['a'] from x"),
            "select attr(payload, 'a') from x"
        );
        assert_eq!(
            rewrite("select t.SpanAttributes['a'] from t", Reach::Calls).sql,
            "select attr(t.SpanAttributes, 'a') from t"
        );
        let twice = rewrite("SpanAttributes['a'] = SpanAttributes['a']", Reach::Columns);
        assert_eq!(twice.attributes, [("SpanAttributes", "a".to_owned())]);
    }

    #[test]
    fn dotted_columns_are_quoted_unless_they_are_an_alias() {
        assert_eq!(
            columns("select events.name, s.Links.TraceId from spans s"),
            "select \"Events.Name\", s.\"Links.TraceId\" from spans s"
        );
        assert_eq!(
            columns("select Events.Name from probes as Events"),
            "select Events.Name from probes as Events"
        );
    }

    #[test]
    fn texts_names_and_comments_stay_as_they_are() {
        for sql in [
            "select 'SpanAttributes[''a'']', \"SpanAttributes['a']\" from spans",
            "select 1 -- SpanAttributes['a']",
            "select /* SpanAttributes['a'] events.name */ 1",
            "select [SpanAttributes], [events.name] from spans",
            "select `events.name`, x'00', 1.5e3",
            "select 'unclosed SpanAttributes['a",
            "select [unclosed",
            "",
            "ü 'ö' \u{feff} [ä",
            "[",
            "a[''",
        ] {
            assert_eq!(columns(sql), sql);
        }
    }

    #[test]
    fn numbers_in_quotes_are_noticed() {
        let notes = |sql: &str| quoted_numbers(sql).len();
        assert_eq!(notes("SpanAttributes['a'] = '200'"), 1);
        assert_eq!(notes("s.SpanAttributes['a'] <> '2.5' AND x['b']>='3'"), 2);
        assert_eq!(notes("SpanAttributes['a'] = 200"), 0);
        assert_eq!(notes("SpanAttributes['a'] = 'two'"), 0);
        assert_eq!(notes("SpanAttributes['a'], '200'"), 0);
        assert_eq!(notes("SpanAttributes['a'] '200'"), 0);
        assert_eq!(notes("SpanAttributes['a'] ="), 0);
    }

    #[test]
    fn places_lead_back_to_what_was_typed() {
        let sql = "select SpanAttributes['a'], nope from spans";
        for reach in [Reach::Columns, Reach::Calls] {
            let rewritten = rewrite(sql, reach);
            let here = rewritten.sql.find("nope").unwrap_or(0);
            assert_eq!(sql.find("nope"), Some(rewritten.typed_at(here)));
            assert_eq!(rewritten.typed_at(0), 0);
        }
    }
}
