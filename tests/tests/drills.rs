//! Drills, solved by a script that follows the books, and answered wrongly; the answer is nowhere to be found before the
//! score, and nothing is left running after it.
//!
//! One drill by default; CASEFILE_DRILLS=30 makes it thirty, which takes half an hour on a quiet machine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use support::{casefile, wait_for};

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(casefile());
    command
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("TMPDIR", home.join("tmp"))
        .current_dir(home);
    command
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("tmp")).unwrap();
    home
}

/// A drill, line in and line out.
struct Drill {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    started: Value,
}

impl Drill {
    fn start(home: &Path, which: &[&str]) -> Drill {
        let mut args = vec!["drill", "start", "--json"];
        args.extend(which);
        let mut child = command(home, &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut drill = Drill {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            started: Value::Null,
        };
        drill.started = drill.read();
        let sealed = drill.ask(json!({ "do": "wait" }));
        assert_eq!(sealed["state"], "sealed", "{sealed}");
        drill
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the drill answers in JSON")
    }

    fn ask(&mut self, request: Value) -> Value {
        writeln!(self.stdin, "{request}").unwrap();
        self.read()
    }

    fn look(&mut self, words: &[&str]) -> String {
        let seen = self.ask(json!({ "do": "look", "command": words }));
        assert_eq!(seen["event"], "seen", "{seen}");
        seen["output"].as_str().unwrap().to_owned()
    }

    fn walk(&mut self, book: &str) -> Value {
        serde_json::from_str(&self.look(&["playbook", "run", book, "--format", "json"])).unwrap()
    }

    /// Follows the books that are suggested, then the others, and answers what each ends at.
    fn solve(&mut self) {
        let mut books: Vec<String> = self
            .look(&["playbook", "suggest", "--format", "json"])
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|suggested| suggested["command"].as_str().unwrap().to_owned())
            .map(|command| command.split(' ').nth(3).unwrap().to_owned())
            .collect();
        books.extend(
            [
                "registration",
                "resolution",
                "health",
                "saga-step",
                "compensation",
                "saga-recovery",
                "propagation",
                "span-relations",
                "log-correlation",
            ]
            .map(str::to_owned),
        );
        let faults = self.started["faults"].as_u64().unwrap();
        let (mut walked, mut right) = (Vec::new(), 0);
        for book in books {
            if walked.contains(&book) || right == faults {
                continue;
            }
            let run = self.walk(&book);
            walked.push(book);
            let closing = &run["came_to"];
            let mut endings = vec![closing["ending"].clone()];
            endings.extend(closing["also"].as_array().into_iter().flatten().cloned());
            for ending in endings.iter().filter(|ending| ending["cause"].is_string()) {
                // What is left open is tried after what is named.
                let open = ending["open"].as_array().into_iter().flatten();
                let causes =
                    std::iter::once(&ending["cause"]).chain(open.map(|other| &other["cause"]));
                for cause in causes {
                    let answer =
                        json!({ "do": "answer", "service": ending["service"], "cause": cause });
                    if self.ask(answer)["right"] == true {
                        right += 1;
                        self.cite(&run);
                        break;
                    }
                }
            }
        }
    }

    /// Cites the first trace that a walk rests on, if it rests on one.
    fn cite(&mut self, run: &Value) {
        let mut steps = run["steps"].as_array().unwrap().iter();
        if let Some(id) = steps.find_map(|step| step["found"]["trace"].as_str()) {
            let cited = self.ask(json!({ "do": "evidence", "kind": "trace", "id": id }));
            let known = cited["event"] == "cited" || cited["error"] == "it is cited already";
            assert!(known, "{cited}");
        }
    }

    /// The score; nothing of the drill is left then.
    fn score(mut self) -> Value {
        let scored = self.ask(json!({ "do": "score" }));
        assert_eq!(scored["event"], "scored", "{scored}");
        let child = &mut self.child;
        wait_for("the drill to end", || child.try_wait().unwrap());
        scored
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Processes that were started for this home.
fn left(home: &Path) -> Vec<String> {
    let home = home.display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&home))
        .collect()
}

/// Everything a person can read: the files of the home, and every row of the case.
fn readable(home: &Path, case: &Path) -> String {
    let mut all = String::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match std::fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) if meta.is_file() => {
                    all.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()))
                }
                _ => {}
            }
        }
    }
    let case = case.display().to_string();
    for table in [
        "spans",
        "logs",
        "registry_events",
        "registry_snapshots",
        "probes",
        "saga_journal",
        "ledger",
        "otel_metrics_gauge",
        "otel_metrics_sum",
    ] {
        let asked = format!("SELECT * FROM {table}");
        let rows = command(
            home,
            &["query", &asked, "--case", &case, "--format", "json"],
        )
        .output()
        .unwrap();
        assert!(
            rows.status.success(),
            "{}",
            String::from_utf8_lossy(&rows.stderr)
        );
        all.push_str(&String::from_utf8_lossy(&rows.stdout));
    }
    all
}

#[test]
fn books_solve_drills_and_wrong_answers_do_not() {
    let drills: Vec<Vec<String>> = match std::env::var("CASEFILE_DRILLS") {
        // One that stays the same when incidents are added.
        Err(_) => vec![vec![
            "registration/traffic-stops-later--heartbeat-task-stopped".to_owned(),
        ]],
        Ok(number) => (0..number.parse().expect("a number"))
            .map(|place: usize| {
                let level = [1, 2, 1, 3, 2, 1, 5, 2, 3, 4][place % 10];
                format!("--random --seed {} --level {level}", 100 + place)
                    .split(' ')
                    .map(str::to_owned)
                    .collect()
            })
            .collect(),
    };
    let mut unsolved = Vec::new();
    for which in drills {
        let home = home();
        let which: Vec<&str> = which.iter().map(String::as_str).collect();
        let mut drill = Drill::start(home.path(), &which);
        let case = drill.started["case"].as_str().unwrap().to_owned();
        // Before anything is answered nothing tells the answer.
        let all = readable(home.path(), Path::new(&case));
        assert!(all.len() > 100_000, "there is hardly anything to read");
        drill.solve();
        let scored = drill.score();
        for truth in scored["truth"].as_array().unwrap() {
            for secret in ["incident", "title", "cause"] {
                let secret = truth[secret].as_str().unwrap();
                assert!(!all.contains(secret), "{secret} can be read");
            }
        }
        if scored["grade"]["right"] != true {
            unsolved.push(format!("{}: {}", which.join(" "), scored["truth"]));
        }
        assert!(scored["grade"]["points"].as_i64().unwrap() >= 0);
        wait_for("all processes to end", || {
            left(home.path()).is_empty().then_some(())
        });
        assert_eq!(
            std::fs::read_dir(home.path().join("tmp")).unwrap().count(),
            0
        );
    }
    assert!(unsolved.is_empty(), "{unsolved:#?}");
}

#[test]
fn a_person_answers_wrongly_gets_hints_and_sees_what_it_was() {
    let home = home();
    let run = |args: &[&str]| {
        let output = command(home.path(), args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let id = "registration/field-address--port-missing";
    let (code, told, said) = run(&["drill", "start", id]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !told.contains("port-missing") && !told.contains("shipping"),
        "{told}"
    );
    // Only one at a time.
    assert_eq!(run(&["drill", "start", "--random"]).0, Some(2));
    run(&["registry"]);
    let mut hints = String::new();
    for strength in 1..=3 {
        let (code, hint, _) = run(&["drill", "hint"]);
        assert_eq!(code, Some(0));
        assert!(hint.starts_with(&format!("{strength} of 3")), "{hint}");
        hints.push_str(&hint);
    }
    assert_eq!(run(&["drill", "hint"]).0, Some(2));
    assert!(!hints.contains("registration/field-address#port-missing"));
    let (code, _, said) = run(&[
        "drill",
        "answer",
        "--service",
        "shipping",
        "--cause",
        "registration/field-address#no-such",
    ]);
    assert_eq!(code, Some(2), "{said}");
    let wrong = [
        "drill",
        "answer",
        "--service",
        "shipping",
        "--cause",
        "registration/field-address#localhost-registered",
    ];
    assert_eq!(run(&wrong).0, Some(1));
    let (code, scored, _) = run(&["drill", "score", "--format", "json"]);
    assert_eq!(code, Some(0));
    let scored: Value = serde_json::from_str(&scored).unwrap();
    assert_eq!(scored["grade"]["right"], false);
    assert_eq!(
        (
            scored["grade"]["wrong_answers"].as_u64(),
            scored["grade"]["hints"].as_u64()
        ),
        (Some(1), Some(3))
    );
    assert_eq!(scored["truth"][0]["incident"], id);
    let looks: Vec<&str> = scored["looks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|look| look["command"].as_str().unwrap())
        .collect();
    assert_eq!(looks, ["registry"]);
    let (_, review, _) = run(&["drill", "review"]);
    assert!(
        review.contains("not solved") && review.contains("The shortest path"),
        "{review}"
    );
    let (_, page, _) = run(&["drill", "review", "--all"]);
    assert!(page.contains("0 of 1 solved"), "{page}");
    wait_for("all processes to end", || {
        left(home.path()).is_empty().then_some(())
    });
    assert_eq!(run(&["drill", "hint"]).0, Some(2));
    // Sealed, so that it can be discussed.
    assert_eq!(run(&["verify"]).0, Some(0));
}
