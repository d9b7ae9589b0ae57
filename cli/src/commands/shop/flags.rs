//! `casefile shop flags`: the feature flags of a running shop.

use clap::Args;
use serde_json::{Value, json};
use shop_fixture::flags::{self, FlagInfo};

use super::{RunDirArgs, block_on};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};

#[derive(Debug, Args)]
pub struct FlagsArgs {
    /// The flag to show or set; without it, all are listed.
    key: Option<String>,
    /// What to set it to: on, off or a number.
    value: Option<String>,
    #[command(flatten)]
    run_dir: RunDirArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &FlagsArgs, console: &mut Console) -> Result<u8, CliError> {
    let run_dir = args.run_dir.resolve()?;
    if let (Some(key), Some(text)) = (&args.key, &args.value) {
        let flag = block_on(flags::set(&run_dir, key, &value(text)))?;
        show(&[flag], args.format, console)?;
        return Ok(exit::CLEAN);
    }
    let mut rows = block_on(flags::list(&run_dir))?;
    if let Some(key) = &args.key {
        rows.retain(|row| row["key"] == *key);
        if rows.is_empty() {
            let known: Vec<&str> = flags::ALL.iter().map(|flag| flag.key).collect();
            return Err(CliError::new(format!("no flag is called '{key}'"))
                .hint(format!("there are {}", known.join(", "))));
        }
    }
    show(&rows, args.format, console)?;
    Ok(exit::CLEAN)
}

fn value(text: &str) -> Value {
    match text {
        "on" | "true" => json!(true),
        "off" | "false" => json!(false),
        other => other
            .parse::<i64>()
            .map_or_else(|_| json!(other), |number| json!(number)),
    }
}

fn show(rows: &[Value], format: Format, console: &mut Console) -> Result<(), CliError> {
    for row in rows {
        match format {
            Format::Json => console.json(row)?,
            Format::Text => console.text(&line(row))?,
        }
    }
    Ok(())
}

fn line(row: &Value) -> String {
    let key = row["key"].as_str().unwrap_or_default();
    let word = |value: &Value| match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        other => other.to_string(),
    };
    let what = FlagInfo::find(key).map_or("", |flag| flag.sentence);
    let changed = if row["value"] == row["default"] {
        String::new()
    } else {
        format!(" (default {})", word(&row["default"]))
    };
    format!("{key:<24} {:<5} {what}{changed}", word(&row["value"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(
            (value("on"), value("off"), value("20")),
            (json!(true), json!(false), json!(20))
        );
        assert_eq!(value("much"), json!("much"));
        let row = json!({ "key": "fraud-sync", "value": true, "default": false });
        assert!(line(&row).starts_with("fraud-sync") && line(&row).ends_with("(default off)"));
    }
}
