//! Text to tokens, each with the column it begins at.

use super::FilterError;
use super::pattern::Glob;

/// Longer filters are refused: nobody types them.
const LONGEST: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// `:` or `=`
    Is,
    /// `!=`
    IsNot,
    /// `~`
    Like,
    /// `!~`
    Unlike,
    Less,
    AtMost,
    More,
    AtLeast,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    /// A key with its operator; the value is the next token.
    Key(String, Op),
    /// A word or a quoted text, with `\` and `*` still telling literal characters from wildcards.
    Text(Text),
}

/// A word as it was typed: its characters, and which of them are wildcards.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) glob: Glob,
    pub(super) quoted: bool,
}

impl Text {
    /// The characters, wildcards as `*`.
    pub(super) fn plain(&self) -> String {
        self.glob.plain()
    }
}

pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) column: usize,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, FilterError> {
    if text.len() > LONGEST {
        return Err(FilterError::at(1, format!("longer than {LONGEST} bytes")));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer {
        chars: &chars,
        at: 0,
    };
    let mut out = Vec::new();
    while let Some(c) = lexer.peek() {
        let column = lexer.at + 1;
        let mut push = |token| out.push(Placed { token, column });
        match c {
            c if c.is_whitespace() => lexer.at += 1,
            '(' => {
                lexer.at += 1;
                push(Token::Open);
            }
            ')' => {
                lexer.at += 1;
                push(Token::Close);
            }
            '-' => {
                lexer.at += 1;
                match lexer.peek() {
                    Some(c) if !c.is_whitespace() => push(Token::Not),
                    _ => return Err(FilterError::at(column, "`-` stands before nothing")),
                }
            }
            '"' => {
                let glob = lexer.quoted()?;
                push(Token::Text(Text { glob, quoted: true }));
            }
            _ => {
                for token in lexer.word()? {
                    out.push(token);
                }
            }
        }
    }
    Ok(out)
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// An operator at the current place, and how long it is.
    fn operator(&self) -> Option<(Op, usize)> {
        let next = self.chars.get(self.at + 1).copied();
        Some(match (self.peek()?, next) {
            ('!', Some('=')) => (Op::IsNot, 2),
            ('!', Some('~')) => (Op::Unlike, 2),
            ('<', Some('=')) => (Op::AtMost, 2),
            ('>', Some('=')) => (Op::AtLeast, 2),
            ('<', _) => (Op::Less, 1),
            ('>', _) => (Op::More, 1),
            ('=' | ':', _) => (Op::Is, 1),
            ('~', _) => (Op::Like, 1),
            _ => return None,
        })
    }

    /// A bare word, or a key with its operator and value.
    fn word(&mut self) -> Result<Vec<Placed>, FilterError> {
        let column = self.at + 1;
        let begin = self.at;
        while let Some(c) = self.peek() {
            if c.is_whitespace() || matches!(c, '(' | ')' | '"') {
                break;
            }
            if let Some((op, length)) = self.operator() {
                let key: String = self.chars[begin..self.at].iter().collect();
                if key.is_empty() {
                    return Err(
                        FilterError::at(column, "an operator without a key before it")
                            .hint("a term reads key:value, such as service:payment"),
                    );
                }
                self.at += length;
                let value_column = self.at + 1;
                let value = self.value(&key)?;
                return Ok(vec![
                    Placed {
                        token: Token::Key(key, op),
                        column,
                    },
                    Placed {
                        token: Token::Text(value),
                        column: value_column,
                    },
                ]);
            }
            self.at += 1;
        }
        let word: String = self.chars[begin..self.at].iter().collect();
        let token = match word.as_str() {
            "AND" => Token::And,
            "OR" => Token::Or,
            "NOT" => Token::Not,
            _ => Token::Text(Text {
                glob: Glob::read(&word),
                quoted: false,
            }),
        };
        Ok(vec![Placed { token, column }])
    }

    fn value(&mut self, key: &str) -> Result<Text, FilterError> {
        if self.peek() == Some('"') {
            return Ok(Text {
                glob: self.quoted()?,
                quoted: true,
            });
        }
        let begin = self.at;
        // A parenthesis that the value itself opened belongs to it: name~(a|b).
        let mut open = 0usize;
        while let Some(c) = self.peek() {
            match c {
                c if c.is_whitespace() => break,
                '(' => open += 1,
                ')' if open == 0 => break,
                ')' => open -= 1,
                '\\' if self.at + 1 < self.chars.len() => self.at += 1,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == begin {
            return Err(
                FilterError::at(begin + 1, format!("{key} is compared with nothing"))
                    .hint("write \"\" for an empty text"),
            );
        }
        let word: String = self.chars[begin..self.at].iter().collect();
        Ok(Text {
            glob: Glob::read(&word),
            quoted: false,
        })
    }

    fn quoted(&mut self) -> Result<Glob, FilterError> {
        let column = self.at + 1;
        self.at += 1;
        let mut inside = String::new();
        loop {
            match self.peek() {
                None => {
                    return Err(FilterError::at(
                        column,
                        "a quotation mark without its partner",
                    ));
                }
                Some('"') => break,
                Some('\\') => {
                    inside.push('\\');
                    self.at += 1;
                    if let Some(c) = self.peek() {
                        inside.push(c);
                        self.at += 1;
                    }
                }
                Some(c) => {
                    inside.push(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(Glob::read(&inside))
    }
}
