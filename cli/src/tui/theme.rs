//! Themes: what each tone looks like. Colours stand for meaning; nothing is told by colour alone.

use toml::Value;

use crate::error::CliError;
use crate::output::Tone;

/// A colour, without knowing who draws it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// One of the terminal's own sixteen.
    Ansi(u8),
    Rgb(u8, u8, u8),
}

/// How a tone is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    pub fg: Option<Color>,
    pub bg: Option<Color>,
    pub bold: bool,
    pub dim: bool,
    pub reversed: bool,
    pub underlined: bool,
}

/// How every tone is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theme {
    pub name: String,
    pub plain: Look,
    pub faint: Look,
    pub strong: Look,
    pub bad: Look,
    pub odd: Look,
    pub accent: Look,
    /// The selected row.
    pub selected: Look,
    /// Whether pictures of it are drawn on a light ground.
    pub light: bool,
}

/// The themes that ship.
pub const NAMES: [&str; 4] = ["dark", "light", "safe", "mono"];
pub const DEFAULT: &str = "dark";

const NONE: Look = Look {
    fg: None,
    bg: None,
    bold: false,
    dim: false,
    reversed: false,
    underlined: false,
};

const fn colored(color: Color) -> Look {
    Look {
        fg: Some(color),
        ..NONE
    }
}

impl Theme {
    /// A theme that ships.
    pub fn named(name: &str) -> Result<Theme, CliError> {
        let base = Theme {
            name: name.to_owned(),
            plain: NONE,
            faint: Look { dim: true, ..NONE },
            strong: Look { bold: true, ..NONE },
            bad: colored(Color::Ansi(1)),
            odd: colored(Color::Ansi(3)),
            accent: Look {
                bold: true,
                ..colored(Color::Ansi(6))
            },
            selected: Look {
                bg: Some(Color::Rgb(38, 50, 56)),
                ..NONE
            },
            light: false,
        };
        Ok(match name {
            "dark" => base,
            "light" => Theme {
                faint: colored(Color::Rgb(110, 110, 110)),
                bad: Look {
                    bold: true,
                    ..colored(Color::Rgb(176, 0, 32))
                },
                odd: colored(Color::Rgb(150, 90, 0)),
                accent: Look {
                    bold: true,
                    ..colored(Color::Rgb(0, 90, 158))
                },
                selected: Look {
                    bg: Some(Color::Rgb(222, 232, 240)),
                    ..NONE
                },
                light: true,
                ..base
            },
            // Orange and blue are told apart by everybody; what is broken is underlined besides.
            "safe" => Theme {
                bad: Look {
                    bold: true,
                    underlined: true,
                    ..colored(Color::Rgb(230, 110, 0))
                },
                odd: colored(Color::Rgb(240, 228, 66)),
                accent: Look {
                    bold: true,
                    ..colored(Color::Rgb(86, 180, 233))
                },
                ..base
            },
            "mono" => Theme {
                bad: Look {
                    bold: true,
                    underlined: true,
                    ..NONE
                },
                odd: Look {
                    underlined: true,
                    ..NONE
                },
                accent: Look { bold: true, ..NONE },
                selected: Look {
                    reversed: true,
                    ..NONE
                },
                ..base
            },
            _ => {
                let error = CliError::new(format!("no theme {name:?}"));
                return Err(match case::nearest::nearest(name, NAMES) {
                    Some(near) => error.hint(format!("did you mean {near}?")),
                    None => error.hint(format!("there are {}", NAMES.join(", "))),
                });
            }
        })
    }

    pub fn look(&self, tone: Tone) -> Look {
        match tone {
            Tone::Plain => self.plain,
            Tone::Dim => self.faint,
            Tone::Strong => self.strong,
            Tone::Bad => self.bad,
            Tone::Odd => self.odd,
            Tone::Accent => self.accent,
        }
    }

    /// The theme with what a file's `[look]` table says: a tone, and a colour or a table of colour and manner.
    pub fn with_file(mut self, looks: &toml::Table) -> Result<Theme, CliError> {
        for (tone, value) in looks {
            let look = match tone.as_str() {
                "plain" => &mut self.plain,
                "dim" => &mut self.faint,
                "strong" => &mut self.strong,
                "bad" => &mut self.bad,
                "odd" => &mut self.odd,
                "accent" => &mut self.accent,
                "selected" => &mut self.selected,
                _ => {
                    return Err(CliError::new(format!("look: no tone {tone:?}"))
                        .hint("tones are plain, dim, strong, bad, odd, accent, selected"));
                }
            };
            *look = parse_look(tone, value)?;
        }
        Ok(self)
    }
}

fn parse_look(tone: &str, value: &Value) -> Result<Look, CliError> {
    let mut look = NONE;
    let table = match value {
        Value::String(color) => {
            look.fg = Some(parse_color(tone, color)?);
            return Ok(look);
        }
        Value::Table(table) => table,
        _ => {
            return Err(CliError::new(format!(
                "look.{tone} is no colour and no table"
            )));
        }
    };
    for (key, value) in table {
        match (key.as_str(), value) {
            ("fg", Value::String(color)) => look.fg = Some(parse_color(tone, color)?),
            ("bg", Value::String(color)) => look.bg = Some(parse_color(tone, color)?),
            ("bold", Value::Boolean(on)) => look.bold = *on,
            ("dim", Value::Boolean(on)) => look.dim = *on,
            ("reversed", Value::Boolean(on)) => look.reversed = *on,
            ("underlined", Value::Boolean(on)) => look.underlined = *on,
            _ => {
                return Err(CliError::new(format!("look.{tone}: {key} makes no sense"))
                    .hint("fg and bg are colours; bold, dim, reversed and underlined are true or false"));
            }
        }
    }
    Ok(look)
}

const ANSI: [&str; 16] = [
    "black",
    "red",
    "green",
    "yellow",
    "blue",
    "magenta",
    "cyan",
    "white",
    "bright-black",
    "bright-red",
    "bright-green",
    "bright-yellow",
    "bright-blue",
    "bright-magenta",
    "bright-cyan",
    "bright-white",
];

fn parse_color(tone: &str, text: &str) -> Result<Color, CliError> {
    if let Some(number) = ANSI.iter().position(|name| *name == text) {
        return Ok(Color::Ansi(number as u8));
    }
    let hex = text
        .strip_prefix('#')
        .filter(|hex| hex.len() == 6 && hex.is_ascii());
    let part = |at: usize| hex.and_then(|hex| u8::from_str_radix(&hex[at..at + 2], 16).ok());
    match (part(0), part(2), part(4)) {
        (Some(r), Some(g), Some(b)) => Ok(Color::Rgb(r, g, b)),
        _ => Err(CliError::new(format!("look.{tone}: {text:?} is no colour"))
            .hint("a colour is #rrggbb, or a name such as red or bright-blue")),
    }
}

/// The theme after this one.
pub fn after(name: &str) -> String {
    let at = NAMES
        .iter()
        .position(|known| *known == name)
        .map_or(0, |at| at + 1);
    NAMES[at % NAMES.len()].to_owned()
}

/// Keys and looks from the person's file: `theme`, `[look]` and `[keys]`.
#[derive(Debug, Clone)]
pub struct Settings {
    pub theme: Theme,
    /// Whether the file or a flag chose the theme.
    pub chosen: bool,
    pub keymap: super::keymap::Keymap,
}

impl Settings {
    /// The settings that ship, with those of a file on top.
    pub fn of_text(text: &str) -> Result<Settings, CliError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            CliError::new(error.to_string().trim_end().replace('\n', " "))
        })?;
        let mut settings = Settings {
            theme: Theme::named(DEFAULT)?,
            chosen: false,
            keymap: super::keymap::Keymap::default(),
        };
        for (key, value) in &table {
            match (key.as_str(), value) {
                ("theme", Value::String(name)) => {
                    settings.theme = Theme::named(name)?;
                    settings.chosen = true;
                }
                ("look" | "keys", Value::Table(_)) => {}
                _ => {
                    return Err(CliError::new(format!("{key} makes no sense here"))
                        .hint("there are theme = \"NAME\", [look] and [keys]"));
                }
            }
        }
        if let Some(Value::Table(looks)) = table.get("look") {
            settings.theme = settings.theme.with_file(looks)?;
            settings.chosen = true;
        }
        if let Some(Value::Table(keys)) = table.get("keys") {
            settings.keymap = settings.keymap.with_file(keys)?;
        }
        Ok(settings)
    }
}
