//! Books with the real binary: mistakes are told with their places, a walk says the same everywhere, and a person on a
//! terminal can go back, note, pin, be interrupted and take the walk up again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use case::Signal;
use case::writer::{CaseWriter, WriterOptions};
use serde_json::{Value, json};

const BOOK: &str = r#"
title = "Somebody's own"
about = "Whether anybody was suspected"
symptoms = []
line = ["suspected", "known", "listed"]

[[step]]
id = "suspected"
ask = "Was nobody suspected?"
query = "SELECT json_extract(Row, '$.name') AS service, count(*) AS times FROM registry_events WHERE Kind = 'suspect' GROUP BY 1"
pass_if = "no rows"
pass = "next"
fail = "why"

[[step]]
id = "why"
ask = "Is there a reason that only you know?"
person = true
pass = "unknown"
fail = "told"

[[step]]
id = "known"
ask = "Is the registry known?"
query = "SELECT 1 FROM registry_events"
pass_if = "rows"
pass = "next"
fail = "unknown"

[[step]]
id = "listed"
ask = "Does anything else stand out?"
person = true
pass = "next"
fail = "next"

[[end]]
id = "told"
says = "{suspected.service} was suspected {suspected.times} times, and you know why"

[[end]]
id = "unknown"
says = "nobody knows why"
"#;

fn casefile(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_casefile"));
    command
        .args(args)
        .env_clear()
        .env("HOME", home)
        .current_dir(home);
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    casefile(home, args).output().expect("casefile starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// A home with a sealed case in it and a book beside that.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let case = home.path().join("it.case");
    let writer = CaseWriter::open(&case, WriterOptions::default()).unwrap();
    let rows: String = (0..4_u64)
        .map(|n| {
            let kind = if n == 0 { "registered" } else { "suspect" };
            let at = 1_700_000_000_000_000_000 + n;
            json!({ "at": at, "registry": "r", "seq": n, "kind": kind, "id": "p-1", "name": "payment" }).to_string() + "\n"
        })
        .collect();
    writer.append(Signal::RegistryEvents, rows.into()).unwrap();
    writer.close().unwrap();
    let sealed = run(home.path(), &["seal", "it.case"]);
    assert!(sealed.status.success(), "{}", text(&sealed.stderr));
    std::fs::create_dir(home.path().join("books")).unwrap();
    std::fs::write(home.path().join("books/own.toml"), BOOK).unwrap();
    home
}

#[test]
fn every_mistake_of_a_book_is_told_with_its_place_and_such_a_book_is_not_run() {
    let home = home();
    let broken = BOOK
        .replace("pass = \"unknown\"", "pass = \"unknwon\"")
        .replace("query = \"SELECT 1", "query = \"DELETE");
    std::fs::write(home.path().join("broken.toml"), broken).unwrap();
    let lint = run(home.path(), &["playbook", "lint", "broken.toml"]);
    assert_eq!(lint.status.code(), Some(1));
    let told = text(&lint.stderr);
    assert!(
        told.contains("broken.toml:19:8: no step 'unknwon'"),
        "{told}"
    );
    assert!(told.contains("did you mean unknown?"), "{told}");
    assert!(
        told.contains("broken.toml:25:9: a query asks with SELECT"),
        "{told}"
    );
    let refused = run(home.path(), &["playbook", "run", "broken.toml", "it.case"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stdout.is_empty());
    assert!(text(&refused.stderr).contains("unknwon"));
    let clean = run(home.path(), &["playbook", "lint", "books"]);
    assert!(clean.status.success(), "{}", text(&clean.stderr));
    let unknown = run(home.path(), &["playbook", "run", "registraton", "it.case"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("did you mean registration?"));
}

#[test]
fn a_walk_over_a_sealed_case_says_the_same_in_any_home_and_changes_nothing() {
    let (one, other) = (home(), tempfile::tempdir().unwrap());
    let copied = Command::new("cp")
        .args(["-r", "it.case", "books"])
        .arg(other.path())
        .current_dir(one.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let walks = [
        ("own", "text"),
        ("own", "json"),
        ("own", "markdown"),
        ("orders-stuck", "text"),
        ("registration", "json"),
    ];
    {
        for (book, format) in walks {
            let args = ["playbook", "run", book, "it.case", "--format", format];
            let here = run(one.path(), &args);
            let there = casefile(other.path(), &args)
                .env("TZ", "Asia/Tokyo")
                .env("LC_ALL", "de_DE.UTF-8")
                .output()
                .unwrap();
            assert!(!here.stdout.is_empty(), "{}", text(&here.stderr));
            assert_eq!(
                text(&here.stdout),
                text(&there.stdout),
                "{book} as {format}"
            );
        }
    }
    assert!(run(one.path(), &["verify", "it.case"]).status.success());
    let own = run(
        one.path(),
        &["playbook", "run", "own", "it.case", "--format", "json"],
    );
    let own: Value = serde_json::from_slice(&own.stdout).unwrap();
    assert_eq!(own["came_to"]["kind"], "cannot_tell");
    assert_eq!(own["steps"][0]["row"]["times"], "3");
}

/// A person at a pseudo-terminal.
struct Person {
    child: Child,
    keys: Option<ChildStdin>,
    heard: Receiver<Vec<u8>>,
    screen: String,
}

impl Person {
    fn at(home: &Path, command: &str) -> Person {
        let line = format!("'{}' {command}", env!("CARGO_BIN_EXE_casefile"));
        let mut child = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env_clear()
            .env("HOME", home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TERM", "xterm")
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, which makes the pseudo-terminal, starts");
        let mut out = child.stdout.take().unwrap();
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read) = out.read(&mut chunk) {
                if read == 0 || tell.send(chunk[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Person {
            keys: child.stdin.take(),
            child,
            heard,
            screen: String::new(),
        }
    }

    /// Waits until this is on the screen, and forgets what stood before its end.
    fn sees(&mut self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = self.screen.find(what) {
                self.screen.drain(..at + what.len());
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(bytes) => self.screen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("no {what:?} on the screen: {}", self.screen),
            }
        }
    }

    fn types(&mut self, keys: &str) {
        let stdin = self.keys.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    fn leaves(mut self) {
        self.keys = None;
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_person_goes_back_notes_pins_is_interrupted_and_takes_the_walk_up_again() {
    let home = home();
    let mut person = Person::at(home.path(), "playbook run own it.case --guided");
    person.sees("kept as ");
    person.sees("Was nobody suspected?");
    person.sees("[fail] > ");
    person.types("n three times is too often\n");
    person.sees("noted");
    person.types("k\n");
    person.sees("pinned");
    person.types("\n");
    person.sees("Is there a reason that only you know?");
    person.types("f the host was moved\n");
    person.sees("Is the registry known?");
    person.types("b\n");
    person.sees("Is there a reason that only you know?");
    person.types("f it was switched off\n");
    person.sees("Is the registry known?");
    // Ctrl-C, as a terminal sends it.
    person.types("\u{3}");
    person.leaves();

    let runs = run(
        home.path(),
        &["playbook", "runs", "it.case", "--format", "json"],
    );
    let kept: Value = serde_json::from_slice(&runs.stdout).expect("one walk is kept");
    assert_eq!(
        (kept["answers"].as_u64(), kept["came_to"].as_str()),
        (Some(2), None)
    );
    let name = kept["name"].as_str().unwrap().to_owned();
    // The case is sealed, so the walk stands beside it.
    assert!(
        home.path()
            .join("it.case.runs")
            .join(format!("{name}.json"))
            .is_file()
    );

    let mut person = Person::at(
        home.path(),
        &format!("playbook run own it.case --guided --resume {name}"),
    );
    person.sees("Is the registry known?");
    person.types("\n");
    person.sees("Does anything else stand out?");
    person.types("p\n");
    person.sees("payment was suspected 3 times, and you know why");
    person.types("q\n");
    person.leaves();

    let shown = run(
        home.path(),
        &[
            "playbook", "runs", "it.case", "--show", &name, "--format", "json",
        ],
    );
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["steps"][0]["note"], "three times is too often");
    assert_eq!(shown["steps"][0]["pinned"], true);
    assert_eq!(shown["steps"][1]["words"], "it was switched off");
    assert_eq!(shown["steps"][1]["from"], "person");
    assert_eq!(shown["came_to"]["ending"]["end"], "told");
    assert!(run(home.path(), &["verify", "it.case"]).status.success());
}
