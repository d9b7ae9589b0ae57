//! Runs that `--keep` left in a folder, found again: what was planned stands beside each case. Judging them again takes
//! seconds where playing them took minutes, so a rule can be changed and asked the same questions.

use std::path::Path;

use playbooks::incident::Incident;

use super::plan::{Plan, read_json};
use crate::error::CliError;

const PLAN: &str = ".plan.json";

/// The plans in a folder in the order they were run, wherever the folder stood then.
pub(super) fn plans(folder: &Path) -> Result<Vec<Plan>, CliError> {
    let read = |error: std::io::Error| {
        CliError::io(format!("read the folder {}", folder.display()), &error)
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(PLAN)) {
            names.push(name.to_owned());
        }
    }
    if names.is_empty() {
        return Err(
            CliError::new(format!("no kept runs in {}", folder.display()))
                .hint("`casefile drill verify --keep DIR` keeps them"),
        );
    }
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let plan: Plan = read_json(&folder.join(format!("{name}{PLAN}")))?;
            Ok(Plan {
                case: folder.join(format!("{name}.case")),
                run_dir: folder.join(name),
                ..plan
            })
        })
        .collect()
}

/// The incident that was played: what its built-in file expects today, where it has one.
pub(super) fn incident(plan: &Plan, known: &[(usize, Incident)]) -> Result<Incident, CliError> {
    match known.iter().find(|(_, incident)| incident.id == plan.id) {
        Some((_, incident)) => Ok(incident.clone()),
        None => Ok(Incident::parse(&plan.id, &plan.id, &plan.incident)?),
    }
}
