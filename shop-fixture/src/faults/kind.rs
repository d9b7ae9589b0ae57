//! Owns what a kind of fault is: its name, its sentence, the parameters it takes, and where it acts. The kinds themselves
//! stand in one file for each area, beside this one.

use serde_json::{Map, Number, Value};

use crate::runtime::Rt;

/// Who carries a fault out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The supervisor, on the process.
    Process,
    /// The instance itself, while it runs.
    Instance,
    /// The instance itself, from its very start: the supervisor starts it again with the fault on.
    Start,
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    /// Any number that is not negative.
    Number,
    /// A whole number, which may be negative.
    Integer,
    /// From 0 to 1.
    Share,
    OneOf(&'static [&'static str]),
}

/// What holds when a request does not give a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    Required,
    /// The kind then means all, or finds a value by itself.
    Absent,
    Is(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    pub name: &'static str,
    pub form: Form,
    pub unsaid: Unsaid,
}

/// A parameter that may be left out and then means everything.
#[must_use]
pub(super) const fn any(name: &'static str, form: Form) -> Param {
    Param {
        name,
        form,
        unsaid: Unsaid::Absent,
    }
}

#[must_use]
pub(super) const fn required(name: &'static str, form: Form) -> Param {
    Param {
        name,
        form,
        unsaid: Unsaid::Required,
    }
}

/// A parameter with a default, written as one would write it on a command line.
#[must_use]
pub(super) const fn param(name: &'static str, form: Form, default: &'static str) -> Param {
    Param {
        name,
        form,
        unsaid: Unsaid::Is(default),
    }
}

/// What a kind does by itself once it is on, beside every request; it ends when the fault does.
pub(super) type Begins = fn(&Rt, &Value);

#[derive(Debug, Clone, Copy)]
pub struct KindInfo {
    pub name: &'static str,
    pub sentence: &'static str,
    pub params: &'static [Param],
    pub reach: Reach,
    /// The services that it can strike; empty means every one.
    pub services: &'static [&'static str],
    pub(super) begins: Option<Begins>,
}

/// A kind that any running instance can have. Whatever is special about it follows: `kind(…).takes(…).only_on(…)`.
#[must_use]
pub(super) const fn kind(name: &'static str, sentence: &'static str) -> KindInfo {
    KindInfo {
        name,
        sentence,
        params: &[],
        reach: Reach::Instance,
        services: &[],
        begins: None,
    }
}

impl KindInfo {
    #[must_use]
    pub const fn takes(mut self, params: &'static [Param]) -> Self {
        self.params = params;
        self
    }

    #[must_use]
    pub const fn only_on(mut self, services: &'static [&'static str]) -> Self {
        self.services = services;
        self
    }

    #[must_use]
    pub const fn reach(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    #[must_use]
    pub(super) const fn begins(mut self, begins: Begins) -> Self {
        self.begins = Some(begins);
        self
    }

    /// The parameters as one line for people: `step, point (before_step, …), share = 1`.
    #[must_use]
    pub fn params_text(&self) -> String {
        let shown = self.params.iter().map(|param| {
            let mut text = param.name.to_owned();
            if let Form::OneOf(values) = param.form {
                text.push_str(&format!(" ({})", values.join(", ")));
            }
            match param.unsaid {
                Unsaid::Required => text.push_str(", required"),
                Unsaid::Absent => {}
                Unsaid::Is(default) => text.push_str(&format!(" = {default}")),
            }
            text
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    /// Whether it can strike a service.
    #[must_use]
    pub fn strikes(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.contains(&service)
    }

    /// The parameters of a request with the defaults filled in, or what is wrong with them.
    pub fn complete(&self, given: &Value) -> Result<Value, String> {
        let none = Map::new();
        let given = match given {
            Value::Null => &none,
            Value::Object(given) => given,
            _ => return Err("params must be an object".to_owned()),
        };
        if let Some(unknown) = given
            .keys()
            .find(|name| !self.params.iter().any(|param| param.name == *name))
        {
            let known: Vec<&str> = self.params.iter().map(|param| param.name).collect();
            let known = if known.is_empty() {
                "no parameters".to_owned()
            } else {
                known.join(", ")
            };
            return Err(format!("{} takes {known}, not '{unknown}'", self.name));
        }
        let mut complete = Map::new();
        for param in self.params {
            let value = match (given.get(param.name), param.unsaid) {
                (Some(value), _) => param.read(value)?,
                (None, Unsaid::Is(default)) => param.read(&Value::from(default))?,
                (None, Unsaid::Absent) => continue,
                (None, Unsaid::Required) => {
                    return Err(format!(
                        "{} needs the parameter '{}'",
                        self.name, param.name
                    ));
                }
            };
            complete.insert(param.name.to_owned(), value);
        }
        Ok(Value::Object(complete))
    }
}

impl Param {
    /// The value in the form of the parameter; numbers may be written as text.
    fn read(&self, value: &Value) -> Result<Value, String> {
        let number = value
            .as_f64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .filter(|number: &f64| number.is_finite());
        let refuse = |wanted: &str| Err(format!("parameter '{}' must be {wanted}", self.name));
        match self.form {
            Form::Text => match value {
                Value::String(_) => Ok(value.clone()),
                Value::Number(number) => Ok(Value::from(number.to_string())),
                Value::Bool(truth) => Ok(Value::from(truth.to_string())),
                _ => refuse("a text"),
            },
            Form::OneOf(known) => match value.as_str() {
                Some(text) if known.contains(&text) => Ok(value.clone()),
                _ => refuse(&format!("one of {}", known.join(", "))),
            },
            Form::Number => match number.filter(|number| *number >= 0.0) {
                Some(number) => Ok(exact(number)),
                None => refuse("a number that is not negative"),
            },
            Form::Integer => match number.filter(|number| number.fract() == 0.0) {
                Some(number) => Ok(exact(number)),
                None => refuse("a whole number"),
            },
            Form::Share => match number.filter(|number| (0.0..=1.0).contains(number)) {
                Some(number) => Ok(Value::from(number)),
                None => refuse("a share from 0 to 1"),
            },
        }
    }
}

/// Whole numbers as integers, so that both readers of `as_u64` and of `as_f64` find them.
fn exact(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::from(number as i64)
    } else {
        Number::from_f64(number).map_or(Value::Null, Value::Number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const SAMPLE: KindInfo = kind("sample", "A sample.").takes(&[
        any("step", Form::Text),
        param("share", Form::Share, "1"),
        param("ms", Form::Number, "500"),
        required("mode", Form::OneOf(&["a", "b"])),
    ]);

    #[test]
    fn defaults_are_filled_in_and_text_is_read_as_numbers() {
        let complete = SAMPLE
            .complete(&json!({ "mode": "a", "ms": "20" }))
            .unwrap();
        assert_eq!(complete, json!({ "share": 1.0, "ms": 20, "mode": "a" }));
        let text = SAMPLE.params_text();
        assert_eq!(text, "step; share = 1; ms = 500; mode (a, b), required");
    }

    #[test]
    fn what_a_kind_does_not_take_is_refused() {
        for (params, why) in [
            (json!({}), "needs the parameter 'mode'"),
            (json!({ "mode": "c" }), "one of a, b"),
            (json!({ "mode": "a", "share": 1.5 }), "a share from 0 to 1"),
            (json!({ "mode": "a", "ms": -1 }), "not negative"),
            (json!({ "mode": "a", "shape": 1 }), "not 'shape'"),
            (json!([]), "an object"),
        ] {
            let error = SAMPLE.complete(&params).unwrap_err();
            assert!(error.contains(why), "{params}: {error}");
        }
    }
}
