//! Which saga models a case is read with: those that come along, those in the case's own folder `models/`, those of
//! `--models`. A later one takes the place of an earlier one of its name.
//!
//! Nothing is taken from a home folder: a case has to say the same on every machine.

use std::path::{Path, PathBuf};

use analyzers::saga::model::{Model, ModelError, Models};
use clap::Args;

use crate::error::CliError;

/// The folder in a case that holds models.
const IN_CASE: &str = "models";

#[derive(Debug, Clone, Default, Args)]
pub struct ModelArgs {
    /// Read saga models from this folder too (*.toml; `casefile models lint` checks them). Those in the case's own folder
    /// models/ are always read.
    #[arg(long, value_name = "DIR")]
    models: Vec<PathBuf>,
}

impl ModelArgs {
    /// The models for a case.
    pub fn of(&self, case: &Path) -> Result<Models, CliError> {
        let mut models = of_case(case)?;
        for folder in &self.models {
            if !folder.is_dir() {
                return Err(CliError::new(format!("no folder {}", folder.display()))
                    .hint("--models takes a folder of *.toml files"));
            }
            for file in files(folder)? {
                models.add(read(&file)?);
            }
        }
        Ok(models)
    }
}

/// The models for a case where none are named.
pub fn of_case(case: &Path) -> Result<Models, CliError> {
    let mut models = Models::bundled();
    let folder = case.join(IN_CASE);
    if folder.is_dir() {
        for file in files(&folder)? {
            models.add(read(&file)?);
        }
    }
    Ok(models)
}

/// The models of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let wrong = |error: std::io::Error| CliError::io(format!("read {}", folder.display()), &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Model, CliError> {
    check(file)?.map_err(|faults| {
        let first = faults.first().map_or_else(String::new, ToString::to_string);
        CliError::new(format!("can't use a saga model: {first}")).hint(format!(
            "`casefile models lint {}` tells all of it",
            file.display()
        ))
    })
}

/// A model, or everything that is wrong with it.
pub fn check(file: &Path) -> Result<Result<Model, Vec<ModelError>>, CliError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::io(format!("read {}", file.display()), &error))?;
    Ok(Model::parse(&file.display().to_string(), &text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MINE: &str = "name = \"shopflow\"\ncoordinator = \"mine\"\n[[step]]\nname = \"one\"\nservice = \"s\"\n\
                        call = \"S/One\"\nstate = \"done\"\n";

    #[test]
    fn a_folder_of_models_adds_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let case = folder.path().join("a.case");
        let own = case.join(IN_CASE);
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("mine.toml"), MINE).unwrap();
        std::fs::write(own.join("notes.txt"), "no model").unwrap();
        let models = of_case(&case).unwrap();
        assert_eq!(models.0.len(), Models::bundled().0.len());
        assert_eq!(models.find("shopflow").unwrap().coordinator, "mine");
        let more = folder.path().join("more");
        std::fs::create_dir_all(&more).unwrap();
        std::fs::write(more.join("other.toml"), MINE.replace("shopflow", "other")).unwrap();
        let args = ModelArgs {
            models: vec![more.clone()],
        };
        assert!(args.of(&case).unwrap().find("other").is_some());
        std::fs::write(more.join("worse.toml"), "name = 3\n").unwrap();
        let error = args.of(&case).unwrap_err().to_string();
        assert!(error.contains("worse.toml:1:8"), "{error}");
        let nowhere = ModelArgs {
            models: vec![folder.path().join("none")],
        };
        assert!(nowhere.of(&case).is_err());
    }
}
