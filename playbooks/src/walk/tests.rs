#![allow(clippy::unwrap_used)]

use std::path::Path;

use analyzers::engine::{Answer, Finding, Judgement, Report, Verdict};
use analyzers::rules;
use case::writer::{CaseWriter, WriterOptions};
use case::{Case, Signal, Window};
use serde_json::json;

use super::*;
use crate::book::Shelf;

const RULE: &str = "registry/heartbeat-lost";
const STOPPED: &str = "registration/traffic-stops-later#heartbeat-task-stopped";
const CUT: &str = "registration/traffic-stops-later#heartbeat-path-cut";

fn case_in(folder: &Path) -> Case {
    let path = folder.join("a.case");
    let writer = CaseWriter::open(&path, WriterOptions::default()).unwrap();
    let rows: String = (0..3)
        .map(|n| {
            json!({ "at": 1000 + n, "registry": "r", "seq": n, "kind": "suspect", "id": "p-1", "name": "it's" }).to_string()
                + "\n"
        })
        .collect();
    writer.append(Signal::RegistryEvents, rows.into()).unwrap();
    writer.close().unwrap();
    Case::open(&path).unwrap()
}

fn finding(cause: &'static str) -> Finding {
    let about = rules::find(RULE).unwrap().about();
    Finding::of(about, cause, "p-1 faded")
        .about("it's", "p-1", "silent")
        .sure()
}

fn report(findings: Vec<Finding>) -> Report {
    let about = rules::find(RULE).unwrap().about();
    let answer = Answer {
        rule: about.id,
        verdict: if findings.is_empty() {
            Verdict::Pass
        } else {
            Verdict::Fail
        },
        missing: Vec::new(),
        judgement: Judgement {
            findings,
            ..Judgement::default()
        },
    };
    Report::of(Window::default(), vec![answer])
}

struct Speaks(Said);

impl Outside for Speaks {
    fn probe(
        &mut self,
        _: &Asked<'_>,
        _: crate::book::Check,
    ) -> Result<Vec<case::signal::ProbeResult>, String> {
        Err("no".to_owned())
    }

    fn person(&mut self, _: &Asked<'_>) -> Option<Spoken> {
        Some(Spoken {
            said: self.0,
            words: "so it is".to_owned(),
        })
    }
}

fn walked(text: &str, report: &Report, outside: &mut dyn Outside) -> (Vec<Taken>, Closing) {
    let folder = tempfile::tempdir().unwrap();
    let case = case_in(folder.path());
    let mut shelf = Shelf::built_in().unwrap();
    let book = Book::parse("own", "own.toml", text).unwrap();
    assert_eq!(crate::book::lint(&book, &shelf), []);
    shelf.add(book.clone());
    let given = Given::default();
    let scene = Scene {
        case: &case,
        window: case.window().unwrap().unwrap(),
        report,
        shelf: &shelf,
        given: &given,
        concerns: &|_| true,
    };
    let taken = walk(&scene, &book, outside);
    let closing = close(&book, &taken);
    (taken, closing)
}

fn book(after: &str) -> String {
    format!(
        "title = \"t\"\nabout = \"a\"\nsymptoms = []\n[[step]]\nid = \"lost\"\nask = \"lost?\"\nrule = \"{RULE}\"\nfail = \
         \"stopped?\"\n{after}\n[[step]]\nid = \"stopped?\"\nask = \"stopped?\"\nrule = \"{RULE}\"\nfinds = \
         [\"{STOPPED}\"]\nfail = \"stopped\"\npass = \"other\"\n[[end]]\nid = \"stopped\"\ncause = \
         \"{STOPPED}\"\nconfidence = \"sure\"\nfix = \"start it\"\nverify = \"watch it\"\n[[end]]\nid = \"other\"\ncause \
         = \"found\"\n"
    )
}

#[test]
fn a_walk_asks_on_until_one_cause_is_left() {
    let (taken, closing) = walked(&book(""), &report(vec![finding(STOPPED)]), &mut Nobody);
    let asked: Vec<(&str, Said)> = taken
        .iter()
        .map(|taken| (taken.step.as_str(), taken.said))
        .collect();
    assert_eq!(asked, [("lost", Said::Fail), ("stopped?", Said::Fail)]);
    let ending = closing.ending.unwrap();
    assert_eq!(
        (closing.kind, ending.cause.as_deref()),
        (Kind::Cause, Some(STOPPED))
    );
    assert!(ending.sure);
    assert_eq!(
        (ending.instance.as_str(), ending.fix.as_str()),
        ("p-1", "start it")
    );
    let (_, closing) = walked(&book(""), &report(vec![finding(CUT)]), &mut Nobody);
    assert_eq!(closing.ending.unwrap().cause.as_deref(), Some(CUT));
}

#[test]
fn nothing_found_and_not_told_are_different_ends() {
    let (_, closing) = walked(&book(""), &report(Vec::new()), &mut Nobody);
    assert_eq!((closing.kind, closing.ending), (Kind::Clear, None));
    let mut blind = report(Vec::new());
    blind.answers[0].verdict = Verdict::CannotTell;
    blind.answers[0].missing = vec!["no registry events in the window".to_owned()];
    let (_, closing) = walked(&book(""), &blind, &mut Nobody);
    assert_eq!(closing.kind, Kind::CannotTell);
    assert_eq!(
        closing.unanswered[0].why,
        "no registry events in the window"
    );
}

#[test]
fn what_stays_open_is_told_with_what_would_tell() {
    let open = finding(STOPPED).or(CUT, "spans of the registry");
    let (_, closing) = walked(&book(""), &report(vec![open]), &mut Nobody);
    let ending = closing.ending.unwrap();
    assert_eq!(closing.kind, Kind::Between);
    assert!(!ending.sure);
    assert_eq!(ending.open[0].cause, CUT);
    assert_eq!(ending.open[0].missing, "spans of the registry");
}

#[test]
fn a_finding_that_follows_from_another_counts_less() {
    let mut root = finding(CUT);
    root.consequences.push(finding(STOPPED));
    let (taken, closing) = walked(&book(""), &report(vec![root]), &mut Nobody);
    assert_eq!(taken[0].found.as_ref().unwrap().cause, CUT);
    assert_eq!(closing.ending.unwrap().follows, None);
}

#[test]
fn queries_take_what_rules_found_and_stay_queries() {
    let text = book(
        "[[step]]\nid = \"events\"\nask = \"events?\"\nquery = \"SELECT count(*) AS n, 'x' AS word FROM registry_events \
         WHERE json_extract(Row, '$.name') = :found_service\"\npass_if = \"value >= 3\"\npass = \"many\"\nfail = \
         \"next\"\n[[end]]\nid = \"many\"\nsays = \"{events.n} events of {found.service}, {events.nothing}\"\n",
    )
    .replace("fail = \"stopped?\"", "fail = \"events\"")
    .replace("[[step]]\nid = \"stopped?\"", "[[step]]\nid = \"unused\"");
    // The second half of the book is not reached now.
    let text = text
        .split("[[step]]\nid = \"unused\"")
        .next()
        .unwrap()
        .to_owned();
    let (taken, closing) = walked(&text, &report(vec![finding(STOPPED)]), &mut Nobody);
    assert_eq!(taken[1].said, Said::Pass, "{}", taken[1].words);
    let ending = closing.ending.unwrap();
    assert_eq!(closing.kind, Kind::Known);
    assert_eq!(ending.says, "3 events of it's, ?");
}

#[test]
fn a_persons_word_settles_what_evidence_leaves_open() {
    let text = book("").replace("fail = \"stopped\"\n", "fail = \"person\"\n")
        + "[[step]]\nid = \"person\"\nask = \"is the task gone?\"\nperson = true\nfail = \"stopped\"\npass = \"other\"\n";
    let open = finding(STOPPED).or(CUT, "spans of the registry");
    let (taken, closing) = walked(&text, &report(vec![open.clone()]), &mut Speaks(Said::Fail));
    assert_eq!(taken[2].from, From::Person);
    assert_eq!(
        (closing.kind, closing.ending.unwrap().sure),
        (Kind::Cause, true)
    );
    let (_, closing) = walked(&text, &report(vec![open]), &mut Nobody);
    assert_eq!(closing.kind, Kind::CannotTell);
}

#[test]
fn a_walk_can_be_taken_up_anywhere_and_comes_to_the_same() {
    let found = report(vec![finding(STOPPED)]);
    let (taken, closing) = walked(&book(""), &found, &mut Nobody);
    let read = Book::parse("own", "own.toml", &book("")).unwrap();
    for length in 0..taken.len() {
        let Place::At(step) = place(&read, &taken[..length]) else {
            panic!("over after {length} answers");
        };
        assert_eq!(step.id.word, taken[length].step);
    }
    assert!(matches!(place(&read, &taken), Place::Over));
    let kept = serde_json::to_string(&taken).unwrap();
    let back: Vec<Taken> = serde_json::from_str(&kept).unwrap();
    assert_eq!(back, taken);
    assert_eq!(close(&read, &back), closing);
}

#[test]
fn an_included_book_is_walked_and_its_end_taken_over() {
    let text = "title = \"t\"\nabout = \"a\"\nsymptoms = []\n[[step]]\nid = \"in\"\nask = \"all well there?\"\nbook = \
                \"registration\"\n";
    let mut found = report(vec![finding(STOPPED)]);
    let answers: Vec<Answer> = rules::ALL
        .iter()
        .filter(|rule| rule.about().id != RULE)
        .map(|rule| Answer {
            rule: rule.about().id,
            verdict: Verdict::Pass,
            missing: Vec::new(),
            judgement: Judgement::default(),
        })
        .collect();
    found.answers.extend(answers);
    let (taken, closing) = walked(text, &found, &mut Nobody);
    assert!(taken[0].inner.len() > 3);
    assert_eq!(closing.kind, Kind::Cause);
    assert_eq!(closing.ending.unwrap().book, "registration");
}
