//! Lists the incident files, so that they are built into the binary: one more file is one more incident.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=incidents");
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("incidents");
    let mut list = String::from("&[\n");
    for workflow in sorted(&root)?.into_iter().filter(|path| path.is_dir()) {
        println!("cargo:rerun-if-changed={}", workflow.display());
        for file in sorted(&workflow)? {
            if file
                .extension()
                .is_some_and(|extension| extension == "toml")
            {
                let id = format!("{}/{}", stem(&workflow), stem(&file));
                // Writing to a string does not fail.
                let _ = writeln!(
                    list,
                    "    ({id:?}, include_str!({:?})),",
                    file.display().to_string()
                );
            }
        }
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("incidents.rs");
    fs::write(out, list)
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
