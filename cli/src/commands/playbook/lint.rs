//! `casefile playbook lint`: every mistake of a book, with its place and the mend.

use std::path::{Path, PathBuf};

use clap::Args;
use playbooks::book::{Book, Shelf, lint};

use super::books;
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, count};

#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files or folders to check [default: the books built in and those of your own].
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &LintArgs, console: &mut Console) -> Result<u8, CliError> {
    let mut shelf = Shelf::built_in()?;
    let mut wrong: Vec<CliError> = Vec::new();
    let mut ids: Vec<String> = if args.files.is_empty() {
        shelf.ids().map(str::to_owned).collect()
    } else {
        Vec::new()
    };
    let mut checked = ids.len();
    let files = if args.files.is_empty() {
        let mut files = Vec::new();
        for folder in books::folders(None) {
            files.extend(books::files(&folder)?);
        }
        files
    } else {
        named(&args.files)?
    };
    // All are put on the shelf before any is checked: they may include each other.
    for file in &files {
        checked += 1;
        match books::read(file) {
            Ok(book) => {
                ids.retain(|id| *id != book.id);
                ids.push(book.id.clone());
                shelf.add(book);
            }
            Err(error) => wrong.push(error),
        }
    }
    for book in ids.iter().filter_map(|id| shelf.find(id)) {
        wrong.extend(of(book, &shelf));
    }
    for error in &wrong {
        console.report(error);
    }
    if !wrong.is_empty() {
        console.remark(&count(wrong.len() as u64, "mistake", "mistakes"));
        return Ok(exit::FINDING);
    }
    console.remark(&format!(
        "{} checked, nothing wrong",
        count(checked as u64, "book", "books")
    ));
    Ok(exit::CLEAN)
}

fn of(book: &Book, shelf: &Shelf) -> Vec<CliError> {
    lint(book, shelf).into_iter().map(CliError::from).collect()
}

fn named(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut out = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = books::files(path)?;
            if files.is_empty() {
                return Err(CliError::new(format!("no book in {}", path.display()))
                    .hint("books are files whose names end with .toml"));
            }
            out.extend(files);
        } else {
            out.push(Path::new(path).to_owned());
        }
    }
    Ok(out)
}
