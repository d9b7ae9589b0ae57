//! Tokens to a tree.
//!
//! ```text
//! any    = all ("OR" all)*
//! all    = unary (["AND"] unary)*
//! unary  = ("NOT" | "-") unary | "(" any ")" | key op value | word
//! ```

use regex::RegexBuilder;

use super::FilterError;
use super::expr::{Expr, Number, Order, Test};
use super::fields::{self, Field, Kind, Reading};
use super::lexer::{self, Op, Placed, Text, Token};
use crate::time;

/// Deeper nesting is refused, so that reading and testing can recurse.
const DEEPEST: usize = 64;
/// Bytes a compiled regular expression may take.
const REGEX_SIZE: usize = 1 << 20;

pub(super) fn parse(text: &str, kind: Kind) -> Result<Option<Expr>, FilterError> {
    let tokens = lexer::tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser {
        tokens,
        at: 0,
        kind,
        end: text.chars().count() + 1,
    };
    let expr = parser.any(0)?;
    match parser.next() {
        None => Ok(Some(expr)),
        Some(left) => Err(FilterError::at(
            left.column,
            "a closing parenthesis that nothing opened",
        )),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    kind: Kind,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    fn column(&self) -> usize {
        self.tokens
            .get(self.at)
            .map_or(self.end, |placed| placed.column)
    }

    fn next(&mut self) -> Option<Placed> {
        let placed = self.tokens.get(self.at).map(|placed| Placed {
            token: placed.token.clone(),
            column: placed.column,
        });
        self.at += 1;
        placed
    }

    fn any(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while matches!(self.peek(), Some(Token::Or)) {
            self.at += 1;
            parts.push(self.all(depth)?);
        }
        Ok(single(parts, Expr::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let mut parts = vec![self.unary(depth)?];
        loop {
            match self.peek() {
                None | Some(Token::Or | Token::Close) => break,
                Some(Token::And) => {
                    self.at += 1;
                    parts.push(self.unary(depth)?);
                }
                Some(_) => parts.push(self.unary(depth)?),
            }
        }
        Ok(single(parts, Expr::All))
    }

    fn unary(&mut self, depth: usize) -> Result<Expr, FilterError> {
        let column = self.column();
        if depth > DEEPEST {
            return Err(FilterError::at(
                column,
                format!("nested more than {DEEPEST} deep"),
            ));
        }
        let Some(placed) = self.next() else {
            return Err(FilterError::at(
                column,
                "the filter ends where a term should stand",
            ));
        };
        match placed.token {
            Token::Not => Ok(Expr::Not(Box::new(self.unary(depth + 1)?))),
            Token::Open => {
                let inner = self.any(depth + 1)?;
                match self.next() {
                    Some(Placed {
                        token: Token::Close,
                        ..
                    }) => Ok(inner),
                    _ => Err(FilterError::at(
                        placed.column,
                        "a parenthesis that is never closed",
                    )),
                }
            }
            Token::Key(key, op) => self.term(&key, placed.column, op),
            Token::Text(text) => word(text, placed.column),
            Token::Close => Err(FilterError::at(
                placed.column,
                "a closing parenthesis where a term should stand",
            )),
            Token::And | Token::Or => Err(FilterError::at(
                placed.column,
                "AND and OR stand between two terms",
            )
            .hint("put the word into quotes to look for it")),
        }
    }

    fn term(&mut self, key: &str, column: usize, op: Op) -> Result<Expr, FilterError> {
        let value_column = self.column();
        let Some(Placed {
            token: Token::Text(text),
            ..
        }) = self.next()
        else {
            return Err(FilterError::at(
                value_column,
                format!("{key} is compared with nothing"),
            ));
        };
        let Some((field, reading)) = fields::find(self.kind, key) else {
            let of = match self.kind {
                Kind::Span => "spans",
                Kind::Log => "log records",
                Kind::Metric => "metric points",
            };
            return Err(FilterError::at(column, format!("{of} have no key {key:?}"))
                .hint(fields::suggestion(self.kind, key)));
        };
        term(field, reading, key, op, &text).map_err(|reason| FilterError::at(value_column, reason))
    }
}

fn single(mut parts: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn word(text: Text, column: usize) -> Result<Expr, FilterError> {
    if text.plain().is_empty() {
        return Err(FilterError::at(column, "an empty word is in everything"));
    }
    Ok(Expr::Word(text.glob))
}

fn term(field: Field, reading: Reading, key: &str, op: Op, text: &Text) -> Result<Expr, String> {
    let negate = matches!(op, Op::IsNot | Op::Unlike);
    let test = match op {
        Op::Like | Op::Unlike => like(reading, key, text)?,
        Op::Is | Op::IsNot => is(reading, key, text)?,
        Op::Less => compare(Order::Less, reading, key, text)?,
        Op::AtMost => compare(Order::AtMost, reading, key, text)?,
        Op::More => compare(Order::More, reading, key, text)?,
        Op::AtLeast => compare(Order::AtLeast, reading, key, text)?,
    };
    let term = Expr::Term(field, test);
    Ok(if negate {
        Expr::Not(Box::new(term))
    } else {
        term
    })
}

fn like(reading: Reading, key: &str, text: &Text) -> Result<Test, String> {
    if matches!(reading, Reading::Duration | Reading::Time) {
        return Err(format!(
            "{key} is a number; compare it with <, <=, >, >= or :"
        ));
    }
    // Inside quotes `\"` is a quotation mark; every other `\` belongs to the expression.
    let pattern = if text.quoted {
        text.glob.typed().replace("\\\"", "\"")
    } else {
        text.glob.typed().to_owned()
    };
    RegexBuilder::new(&pattern)
        .size_limit(REGEX_SIZE)
        .build()
        .map(Test::Like)
        .map_err(|error| {
            // The library draws the place over several lines; its last line says what is wrong.
            let text = error.to_string();
            let last = text
                .lines()
                .last()
                .unwrap_or("")
                .trim_start_matches("error: ");
            format!("no regular expression: {last}")
        })
}

fn is(reading: Reading, key: &str, text: &Text) -> Result<Test, String> {
    let plain = text.plain();
    match reading {
        Reading::Text | Reading::Any => Ok(Test::Is(text.glob.clone())),
        Reading::OneOf(words) => {
            let lower = plain.to_ascii_lowercase();
            if words.contains(&lower.as_str()) {
                Ok(Test::Is(super::pattern::Glob::read(&lower)))
            } else {
                Err(format!(
                    "{key} is one of {}, not {plain:?}",
                    words.join(", ")
                ))
            }
        }
        Reading::Duration | Reading::Time => number(reading, key, &plain).map(Test::Equals),
        Reading::Severity => Ok(match number(reading, key, &plain) {
            Ok(number) => Test::Equals(number),
            Err(reason) if !plain.contains('*') => return Err(reason),
            Err(_) => Test::Is(text.glob.clone()),
        }),
        Reading::Id(digits) => {
            let lower = plain.to_ascii_lowercase();
            let hex = lower.trim_end_matches('*');
            let complete = lower.len() == digits || lower.ends_with('*') || lower.is_empty();
            if complete && hex.len() <= digits && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                Ok(Test::Is(super::pattern::Glob::read(&lower)))
            } else {
                Err(format!(
                    "{key} is {digits} hexadecimal digits, or the first of them and a *; got {plain:?}"
                ))
            }
        }
    }
}

fn compare(order: Order, reading: Reading, key: &str, text: &Text) -> Result<Test, String> {
    match reading {
        Reading::Text | Reading::OneOf(_) | Reading::Id(_) => {
            Err(format!("{key} is a text; ask with :, != or ~"))
        }
        Reading::Duration | Reading::Time | Reading::Severity | Reading::Any => {
            number(reading, key, &text.plain()).map(|limit| Test::Compare(order, limit))
        }
    }
}

fn number(reading: Reading, key: &str, text: &str) -> Result<Number, String> {
    match reading {
        Reading::Duration => time::parse_duration(text)
            .map(|nanos| Number::Int(i128::from(nanos)))
            .map_err(|error| error.to_string()),
        // Durations count back from a "now" that a filter doesn't have.
        Reading::Time if time::parse_duration(text).is_ok() => Err(format!(
            "{text:?} is no time (RFC 3339, or nanoseconds); durations go into --since"
        )),
        Reading::Time => time::parse_time(text, time::Nanos(0))
            .map(|at| Number::Int(i128::from(at.0)))
            .map_err(|_| format!("{text:?} is no time (RFC 3339, or nanoseconds)")),
        Reading::Severity => fields::severity(text)
            .or_else(|| {
                text.parse::<i128>()
                    .ok()
                    .filter(|number| (1..=24).contains(number))
            })
            .map(Number::Int)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no severity: trace, debug, info, warn, error, fatal, or 1 to 24"
                )
            }),
        _ => {
            // Attributes of durations are often numbers of some unit: only plain numbers can be compared with them.
            Number::read(text)
                .ok_or_else(|| format!("{key} can only be compared with a number, not {text:?}"))
        }
    }
}
