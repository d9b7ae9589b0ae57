//! A writer that is killed, again and again: what it acknowledged is there, once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use case::{Case, CaseError, CaseWriter, SealMode, Signal};
use common::kit::{Dice, options, orders, orders_at, wait_for};

const CASE: &str = "CASE_TESTS_KILLED_CASE";
const SPANS: u64 = 16;

/// Not a test by itself: the process that writes, and is killed. Takes numbers of requests, says which are durable.
#[test]
fn the_writing_process() {
    let Some(path) = std::env::var_os(CASE) else {
        // Run with all the others: shows at least that a request it would answer to can be made.
        assert!(!common::request(0, SPANS).is_empty());
        return;
    };
    let writer = CaseWriter::open(Path::new(&path), options(SealMode::Auto, 100_000)).unwrap();
    say("ready");
    for line in std::io::stdin().lock().lines() {
        let n: u64 = line.unwrap().parse().unwrap();
        writer.submit(Signal::Traces, common::request(n, SPANS), move |outcome| {
            outcome.unwrap();
            say(&format!("durable {n}"));
        });
    }
    writer.close().unwrap();
    say("closed");
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that is gone no longer listens.
    let _ = out.write_all(format!("\n{text}\n").as_bytes());
    let _ = out.flush();
}

struct Writing {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Writing {
    fn start(path: &Path) -> Writing {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_writing_process", "--nocapture"])
            .env(CASE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let writing = Writing {
            child,
            stdin,
            lines,
        };
        while writing.line() != "ready" {}
        writing
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .expect("the writing process says something")
    }

    fn kill(mut self) -> Receiver<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines
    }
}

/// Sends its own numbers in order, some at a time, and again what it got no answer to.
struct Client {
    next: u64,
    waiting: BTreeSet<u64>,
    durable: BTreeSet<u64>,
}

const CLIENTS: u64 = 2;
const IN_FLIGHT: usize = 8;

impl Client {
    fn send(&self, n: u64, to: &mut ChildStdin) {
        // Into a process that may just be dying.
        let _ = writeln!(to, "{n}");
    }

    fn fill(&mut self, to: &mut ChildStdin) {
        while self.waiting.len() < IN_FLIGHT {
            self.send(self.next, to);
            self.waiting.insert(self.next);
            self.next += CLIENTS;
        }
    }

    fn hear(&mut self, n: u64) {
        if self.waiting.remove(&n) {
            self.durable.insert(n);
        }
    }
}

fn answer(line: &str) -> Option<u64> {
    line.strip_prefix("durable ").map(|n| n.parse().unwrap())
}

#[test]
fn killed_at_thirty_moments_it_loses_nothing_acknowledged_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|first| Client {
            next: first,
            waiting: BTreeSet::new(),
            durable: BTreeSet::new(),
        })
        .collect();
    let mut dice = Dice(20_261_120);
    let mut segments_seen = 0;
    for round in 0..30 {
        let mut writing = Writing::start(&path);
        for client in &mut clients {
            for n in client.waiting.clone() {
                client.send(n, &mut writing.stdin);
            }
        }
        let mut answers = 5 + dice.roll(120);
        while answers > 0 {
            for client in &mut clients {
                client.fill(&mut writing.stdin);
            }
            if let Some(n) = answer(&writing.line()) {
                clients[(n % CLIENTS) as usize].hear(n);
                answers -= 1;
            }
        }
        // Somewhere within the next commit, rotation or seal.
        std::thread::sleep(Duration::from_micros(dice.roll(3_000)));
        let last_words = writing.kill();
        for n in last_words.iter().filter_map(|line| answer(&line)) {
            clients[(n % CLIENTS) as usize].hear(n);
        }
        // Readers need no writer: all that was acknowledged is there, and nothing twice.
        let case = Case::open(&path).unwrap();
        let (found, damage) = orders(&case);
        assert_eq!(damage, Vec::<String>::new(), "round {round}");
        check(&found, &clients, round);
        segments_seen = segments_seen.max(case.info().unwrap().segments);
    }
    assert!(segments_seen > 3, "sealing was never under way");

    let mut writing = Writing::start(&path);
    for client in &clients {
        for n in &client.waiting {
            client.send(*n, &mut writing.stdin);
        }
    }
    while clients.iter().any(|client| !client.waiting.is_empty()) {
        if let Some(n) = answer(&writing.line()) {
            clients[(n % CLIENTS) as usize].hear(n);
        }
    }
    drop(writing.stdin);
    assert!(writing.child.wait().unwrap().success());
    let case = Case::open(&path).unwrap();
    let (found, damage) = orders(&case);
    assert_eq!(damage, Vec::<String>::new());
    check(&found, &clients, 30);
    let sent: u64 = clients
        .iter()
        .map(|client| client.durable.len() as u64)
        .sum();
    assert_eq!(found.len() as u64, sent * SPANS);
    assert_eq!(case.verify(|_, _| {}).unwrap().damage, []);
}

fn check(found: &[u64], clients: &[Client], round: u32) {
    assert!(
        found.windows(2).all(|pair| pair[0] != pair[1]),
        "round {round}: something is there twice"
    );
    for n in clients.iter().flat_map(|client| &client.durable) {
        for order in n * SPANS..(n + 1) * SPANS {
            assert!(
                found.binary_search(&order).is_ok(),
                "round {round}: request {n} was acknowledged, and is gone"
            );
        }
    }
}

#[test]
fn a_second_process_is_told_who_writes_and_a_killed_one_frees_the_case() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.case");
    let mut writing = Writing::start(&path);
    let pid = writing.child.id();
    let refused = CaseWriter::open(&path, options(SealMode::Manual, 1 << 20));
    let error = refused.err().unwrap();
    assert!(matches!(error, CaseError::Held { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("process {pid} since 20")), "{text}");
    writeln!(writing.stdin, "1").unwrap();
    wait_for("the answer", || answer(&writing.line()) == Some(1));
    assert_eq!(
        orders_at(&path).0.len() as u64,
        SPANS,
        "reading needs no leave"
    );
    writing.kill();
    let writer = CaseWriter::open(&path, options(SealMode::Manual, 1 << 20)).unwrap();
    assert!(
        writer
            .append(Signal::Traces, common::request(1, SPANS))
            .unwrap()
            .duplicate
    );
    writer.close().unwrap();
}
