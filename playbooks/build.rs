//! Lists the incidents, books and lessons, so that they are built into the binary: one more file is one more of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=incidents");
    println!("cargo:rerun-if-changed=books");
    println!("cargo:rerun-if-changed=lessons");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut incidents = Vec::new();
    for workflow in sorted(&root.join("incidents"))?
        .into_iter()
        .filter(|path| path.is_dir())
    {
        println!("cargo:rerun-if-changed={}", workflow.display());
        for file in toml_files(&workflow)? {
            incidents.push((format!("{}/{}", stem(&workflow), stem(&file)), file));
        }
    }
    fs::write(out.join("incidents.rs"), list(&incidents))?;
    for folder in ["books", "lessons"] {
        let files: Vec<(String, PathBuf)> = toml_files(&root.join(folder))?
            .into_iter()
            .map(|file| (stem(&file), file))
            .collect();
        fs::write(out.join(format!("{folder}.rs")), list(&files))?;
    }
    Ok(())
}

fn list(files: &[(String, PathBuf)]) -> String {
    let mut list = String::from("&[\n");
    for (id, file) in files {
        // Writing to a string does not fail.
        let _ = writeln!(
            list,
            "    ({id:?}, include_str!({:?})),",
            file.display().to_string()
        );
    }
    list.push_str("]\n");
    list
}

fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(sorted(folder)?
        .into_iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}
