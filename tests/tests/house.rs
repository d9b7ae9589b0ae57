//! The house rules that no compiler keeps: which crate may use which, what lies at the top of the repository, and how
//! long a file may grow. Each rule is a function over data, and each is shown to fail on a planted violation.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Our crates and what each may use of the others.
const OURS: [(&str, &[&str]); 7] = [
    ("case", &[]),
    ("collectors", &["case"]),
    ("analyzers", &["case"]),
    ("playbooks", &["analyzers", "case"]),
    ("shop-fixture", &[]),
    (
        "casefile",
        &[
            "analyzers",
            "case",
            "collectors",
            "playbooks",
            "shop-fixture",
        ],
    ),
    ("tests", &[]),
];

/// Belong to the command line alone.
const TERMINAL: [&str; 8] = [
    "clap",
    "clap_complete",
    "clap_mangen",
    "crossterm",
    "indicatif",
    "ratatui",
    "termion",
    "tui",
];

/// Speak to a network or wait for one: never in a crate that only computes or stores.
const NETWORK: [&str; 18] = [
    "async-std",
    "axum",
    "h2",
    "http",
    "http-body-util",
    "hyper",
    "hyper-util",
    "mio",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tonic",
    "tower",
    "ureq",
];
const OFFLINE: [&str; 3] = ["analyzers", "case", "playbooks"];

/// Too dear for anybody: it made the first build longer than the whole rest.
const NOWHERE: [&str; 1] = ["polars"];

const MAX_LINES: usize = 600;

const TOP_LEVEL: [&str; 14] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "analyzers",
    "cli",
    "collectors",
    "playbooks",
    "shop-fixture",
    // What cargo builds; never committed.
    "target",
    "tests",
    "rust-toolchain.toml",
];

struct Package {
    name: String,
    needs: Vec<Need>,
}

struct Need {
    name: String,
    /// Normal, build or dev.
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Shipped,
    Dev,
}

fn wrong_dependencies(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    let ours: BTreeMap<&str, &[&str]> = OURS.into_iter().collect();
    for package in packages {
        let name = package.name.as_str();
        let Some(may) = ours.get(name) else {
            wrong.push(format!("{name} has no place in the house"));
            continue;
        };
        for need in &package.needs {
            let on = need.name.as_str();
            // The shop may not even be tested with our code: it speaks over the network alone.
            let counts = need.kind == Kind::Shipped || name == "shop-fixture";
            if ours.contains_key(on) && counts && !may.contains(&on) {
                wrong.push(format!("{name} may not use {on}"));
            }
            if TERMINAL.contains(&on) && name != "casefile" {
                wrong.push(format!("{on} belongs to casefile alone, {name} uses it"));
            }
            if NETWORK.contains(&on) && OFFLINE.contains(&name) && need.kind == Kind::Shipped {
                wrong.push(format!("{name} knows nothing of networks, but uses {on}"));
            }
            if NOWHERE.contains(&on) {
                wrong.push(format!("{name} uses {on}, which is used nowhere"));
            }
        }
    }
    for (name, _) in OURS {
        if !packages.iter().any(|package| package.name == name) {
            wrong.push(format!("{name} is missing from the workspace"));
        }
    }
    wrong
}

/// Versions stand once, in the root manifest.
fn wrong_manifest(name: &str, text: &str) -> Vec<String> {
    let manifest_of_deps = text.split("\n[").filter_map(|section| {
        let (head, body) = section.split_once(']')?;
        let head = head.trim_start_matches('[');
        head.ends_with("dependencies").then_some(body)
    });
    manifest_of_deps
        .flat_map(str::lines)
        .filter(|line| line.contains('=') && !line.trim_start().starts_with('#'))
        .filter(|line| !line.contains("workspace = true"))
        .map(|line| format!("{name}: `{}` should say `workspace = true`", line.trim()))
        .collect()
}

fn wrong_top_level<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    names
        .into_iter()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name))
        .map(|name| format!("{name} does not belong at the top of the repository"))
        .collect()
}

/// Modules of tests are explained by what they test.
fn is_test_module(path: &str) -> bool {
    let inner = path.split_once("/src/").is_some_and(|(_, inner)| {
        inner.ends_with("/tests.rs") || inner == "tests.rs" || inner.contains("/tests/")
    });
    let beside_main = path.split_once("/tests/").is_some_and(|(_, inner)| {
        inner.contains('/') && !inner.ends_with("/main.rs") && !inner.ends_with("/mod.rs")
    });
    inner || beside_main
}

fn wrong_source(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        wrong.push(format!("{path} has {lines} lines, more than {MAX_LINES}"));
    }
    let opening = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#![") && !line.starts_with("#!/"));
    if !is_test_module(path) && !opening.is_some_and(|line| line.starts_with("//!")) {
        wrong.push(format!("{path} does not open with what it owns (`//!`)"));
    }
    // Spelt in halves, so that this file does not find itself.
    for mark in [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[", "ignore"),
    ] {
        if text.contains(mark) {
            wrong.push(format!("{path} holds {mark}"));
        }
    }
    wrong
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: package["name"].as_str().unwrap().to_owned(),
            needs: list(&package["dependencies"])
                .iter()
                .map(|need| Need {
                    name: need["name"].as_str().unwrap().to_owned(),
                    kind: match need["kind"].as_str() {
                        Some("dev") => Kind::Dev,
                        _ => Kind::Shipped,
                    },
                })
                .collect(),
        })
        .collect()
}

/// Every Rust file of ours, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "target" && name != "node_modules" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let shown = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((shown, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn data_flows_one_way() {
    let packages = packages();
    assert!(packages.iter().any(|package| package.needs.len() > 5));
    none(&wrong_dependencies(&packages));
}

#[test]
fn versions_stand_once() {
    let mut wrong = Vec::new();
    for folder in [
        "analyzers",
        "cli",
        "collectors",
        "collectors/case",
        "playbooks",
        "shop-fixture",
        "tests",
    ] {
        let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        wrong.extend(wrong_manifest(folder, &text));
    }
    none(&wrong);
}

#[test]
fn the_top_level_reads_as_the_architecture() {
    let names: Vec<String> = std::fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .collect();
    none(&wrong_top_level(names.iter().map(String::as_str)));
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let sources = sources();
    assert!(
        sources.len() > 100,
        "only {} files were found",
        sources.len()
    );
    let wrong: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| wrong_source(path, text))
        .collect();
    none(&wrong);
}

#[test]
fn the_checks_find_what_is_planted() {
    let with = |name: &str, needs: &[(&str, Kind)]| {
        let mut packages: Vec<Package> = OURS
            .iter()
            .map(|(name, _)| Package {
                name: (*name).to_owned(),
                needs: Vec::new(),
            })
            .collect();
        let package = packages.iter_mut().find(|package| package.name == name);
        package.expect("one of ours").needs = needs
            .iter()
            .map(|(name, kind)| Need {
                name: (*name).to_owned(),
                kind: *kind,
            })
            .collect();
        wrong_dependencies(&packages)
    };
    none(&with(
        "casefile",
        &[("clap", Kind::Shipped), ("case", Kind::Shipped)],
    ));
    none(&with(
        "case",
        &[("zstd", Kind::Shipped), ("tokio", Kind::Dev)],
    ));
    for (name, need, kind) in [
        ("case", "collectors", Kind::Shipped),
        ("case", "tokio", Kind::Shipped),
        ("analyzers", "collectors", Kind::Shipped),
        ("analyzers", "reqwest", Kind::Shipped),
        ("collectors", "analyzers", Kind::Shipped),
        ("collectors", "clap", Kind::Shipped),
        ("collectors", "ratatui", Kind::Dev),
        ("playbooks", "collectors", Kind::Shipped),
        ("shop-fixture", "case", Kind::Shipped),
        ("shop-fixture", "case", Kind::Dev),
        ("tests", "casefile", Kind::Shipped),
        ("case", "polars", Kind::Shipped),
    ] {
        let wrong = with(name, &[(need, kind)]);
        assert_eq!(wrong.len(), 1, "{name} using {need}: {wrong:?}");
        assert!(
            wrong[0].contains(name) && wrong[0].contains(need),
            "{wrong:?}"
        );
    }
    let stranger = Package {
        name: "helpers".to_owned(),
        needs: Vec::new(),
    };
    assert_eq!(wrong_dependencies(&[stranger]).len(), 1 + OURS.len());

    let manifest = |line: &str| format!("[package]\nname = \"x\"\n\n[dev-dependencies]\n{line}\n");
    none(&wrong_manifest(
        "x",
        &manifest("serde = { workspace = true }"),
    ));
    assert_eq!(wrong_manifest("x", &manifest("serde = \"1\"")).len(), 1);

    none(&wrong_top_level(["cli", ".ci", "Cargo.toml"]));
    assert_eq!(wrong_top_level(["notes.txt", "scripts"]).len(), 2);

    none(&wrong_source("case/src/a.rs", "//! Owns a.\nfn a() {}\n"));
    none(&wrong_source("case/src/a/tests.rs", "use super::*;\n"));
    none(&wrong_source("case/tests/a/b.rs", "use super::*;\n"));
    for (path, text) in [
        ("case/src/a.rs", "fn a() {}\n".to_owned()),
        ("case/tests/a.rs", "use case::Case;\n".to_owned()),
        (
            "case/src/a.rs",
            format!("//! a\n{}", "\n".repeat(MAX_LINES)),
        ),
        (
            "case/src/a.rs",
            format!("//! a\n// {}\n", concat!("TO", "DO")),
        ),
    ] {
        assert_eq!(wrong_source(path, &text).len(), 1, "{path}: {text:.40}");
    }
}
