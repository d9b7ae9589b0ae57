//! Which rules are asked.

use std::collections::BTreeSet;

use analyzers::engine::Rule;
use analyzers::rules;
use clap::Args;

use crate::error::CliError;

#[derive(Debug, Clone, Args)]
pub(super) struct RuleArgs {
    /// Ask only these rules: a name, or an area as registry/*.
    #[arg(long, value_name = "RULE")]
    only: Vec<String>,
    /// Leave these rules out.
    #[arg(long, value_name = "RULE")]
    except: Vec<String>,
}

impl RuleArgs {
    pub(super) fn chosen(&self) -> Result<Vec<&'static dyn Rule>, CliError> {
        let wanted = ids(&self.only)?;
        let unwanted = ids(&self.except)?;
        let chosen: Vec<&'static dyn Rule> = rules::ALL
            .iter()
            .copied()
            .filter(|rule| {
                let id = rule.about().id;
                (self.only.is_empty() || wanted.contains(id)) && !unwanted.contains(id)
            })
            .collect();
        if chosen.is_empty() {
            return Err(CliError::new("no rule is left to ask")
                .hint("--except leaves out what --only names"));
        }
        Ok(chosen)
    }
}

/// The rule of this name, or an error that suggests one.
pub fn rule(id: &str) -> Result<&'static dyn Rule, CliError> {
    rules::find(id).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> CliError {
    let error = CliError::new(format!("no rule {id:?}"));
    match case::nearest::nearest(id, rules::ALL.iter().map(|rule| rule.about().id)) {
        Some(near) => error.hint(format!("did you mean {near}?")),
        None => error.hint("`casefile explain` lists the rules"),
    }
}

/// Names, with areas spelt out.
fn ids(names: &[String]) -> Result<BTreeSet<&'static str>, CliError> {
    let mut out = BTreeSet::new();
    for name in names {
        match name.strip_suffix('*') {
            Some(area) if area.ends_with('/') => {
                let before = out.len();
                let all = rules::ALL.iter().map(|rule| rule.about().id);
                out.extend(all.filter(|id| id.starts_with(area)));
                if out.len() == before {
                    return Err(unknown(name));
                }
            }
            _ => {
                out.insert(rule(name)?.about().id);
            }
        }
    }
    Ok(out)
}
