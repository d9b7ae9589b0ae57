//! Which books there are: those built in, those under the config folder, those beside a case.

use std::path::{Path, PathBuf};

use playbooks::book::{Book, Shelf};

use crate::error::CliError;
use crate::output::Console;
use crate::paths;

/// A book is questions, not data.
const LONGEST: u64 = 1 << 20;

/// The folders people lay books of their own into; one beside the case comes last and so wins.
pub(super) fn folders(case: Option<&Path>) -> Vec<PathBuf> {
    let mut out = Vec::new();
    out.extend(paths::config().ok().map(|folder| folder.join("books")));
    let beside = case
        .and_then(|case| std::path::absolute(case).ok())
        .and_then(|case| case.parent().map(|parent| parent.join("books")));
    out.extend(beside);
    out
}

/// All books at hand. One of somebody's own that can't be read is told of and left out, so that the others can be used.
pub fn shelf(case: Option<&Path>, console: &Console) -> Result<Shelf, CliError> {
    shelf_telling(case, &mut |what| console.notice(&what))
}

/// The same, for who has no console.
pub fn shelf_telling(case: Option<&Path>, tell: &mut dyn FnMut(String)) -> Result<Shelf, CliError> {
    let mut shelf = Shelf::built_in()?;
    for folder in folders(case) {
        for file in files(&folder)? {
            match read(&file) {
                Ok(book) => shelf.add(book),
                Err(error) => tell(format!("warning: left a book out: {error}")),
            }
        }
    }
    Ok(shelf)
}

/// The TOML files of a folder, sorted; none if there is no such folder.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(CliError::io(
                format!("read the folder {}", folder.display()),
                &error,
            ));
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    Ok(files)
}

/// A book from a file, named after it.
pub(super) fn read(path: &Path) -> Result<Book, CliError> {
    let failed = |error: std::io::Error| CliError::io(format!("read {}", path.display()), &error);
    if std::fs::metadata(path).map_err(failed)?.len() > LONGEST {
        return Err(CliError::new(format!(
            "{} is longer than 1 MiB: no book",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let id = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(Book::parse(&id, &path.display().to_string(), &text)?)
}

/// The book of this name, or in this file, checked; it then stands on the shelf.
pub(super) fn chosen<'s>(
    shelf: &'s mut Shelf,
    name: &str,
    console: &Console,
) -> Result<&'s Book, CliError> {
    let id = if name.ends_with(".toml") {
        let book = read(Path::new(name))?;
        let id = book.id.clone();
        shelf.add(book);
        id
    } else {
        name.to_owned()
    };
    let shelf = &*shelf;
    let Some(book) = shelf.find(&id) else {
        let error = CliError::new(format!("no book {name:?}"));
        return Err(match case::nearest::nearest(name, shelf.ids()) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error.hint("`casefile playbook list` lists them"),
        });
    };
    let wrong = shelf.check(book);
    if let Some((first, others)) = wrong.split_first() {
        for error in others {
            console.report(&error.clone().into());
        }
        return Err(CliError::from(first.clone()));
    }
    Ok(book)
}
