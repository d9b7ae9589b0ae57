#![allow(clippy::unwrap_used)]

use super::*;

/// The mistakes of a book with these steps and ends: line, what, and the mend.
fn mistakes(rest: &str) -> Vec<(usize, String, String)> {
    let text = format!("title = \"t\"\nabout = \"a\"\nsymptoms = []\n{rest}");
    let wrong = match Book::parse("own", "own.toml", &text) {
        Err(error) => vec![error],
        Ok(book) => {
            let mut shelf = Shelf::built_in().unwrap();
            shelf.add(book.clone());
            lint(&book, &shelf)
        }
    };
    wrong
        .into_iter()
        .map(|error| (error.line, error.what, error.hint.unwrap_or_default()))
        .collect()
}

fn only(rest: &str) -> (usize, String, String) {
    let mut all = mistakes(rest);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

const RULE: &str = "[[step]]\nid = \"a\"\nask = \"?\"\nrule = \"registry/heartbeat-lost\"\n";
const END: &str = "[[end]]\nid = \"e\"\ncause = \"found\"\n";

#[test]
fn every_built_in_book_is_without_mistakes() {
    let shelf = Shelf::built_in().unwrap();
    assert!(shelf.books().len() >= 9);
    for book in shelf.books() {
        let wrong: Vec<String> = lint(book, &shelf).iter().map(ToString::to_string).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn every_workflow_has_a_book_and_the_books_tell_its_causes_apart() {
    let shelf = Shelf::built_in().unwrap();
    let named = |cause: &str| {
        shelf.books().iter().any(|book| {
            book.ends
                .iter()
                .any(|end| end.cause.as_ref().is_some_and(|name| name.word == cause))
        })
    };
    let mut own_ends = 0;
    for incident in crate::incident::all().unwrap() {
        let cause = &incident.expect.cause;
        if shelf.find(incident.workflow()).is_none() {
            continue;
        }
        // A cause that has no end of its own yet is taken over from the rule by the book of its workflow.
        assert!(shelf.for_cause(cause).is_some(), "no book for {cause}");
        own_ends += usize::from(named(cause));
    }
    assert!(own_ends >= 145, "only {own_ends} causes are ends");
}

#[test]
fn a_book_without_mistakes_has_none() {
    assert_eq!(mistakes(&format!("{RULE}fail = \"e\"\n{END}")), []);
}

#[test]
fn an_unknown_rule_is_told_with_the_nearest() {
    let text = RULE.replace("heartbeat-lost", "heartbeat-lots");
    let (line, what, hint) = only(&format!("{text}fail = \"e\"\n{END}"));
    assert_eq!(
        (line, what.as_str()),
        (7, "no rule 'registry/heartbeat-lots'")
    );
    assert_eq!(hint, "did you mean registry/heartbeat-lost?");
}

#[test]
fn a_dead_branch_is_told() {
    let asked = "[[step]]\nid = \"b\"\nask = \"?\"\nrule = \"registry/heartbeat-lost\"\nfinds = [\
                 \"registration/traffic-stops-later#heartbeat-path-cut\"]\nfail = \"e\"\npass = \"c\"\n[[step]]\nid = \
                 \"c\"\nask = \"?\"\nrule = \"registry/heartbeat-lost\"\nfinds = [\
                 \"registration/traffic-stops-later#heartbeat-path-cut\"]\nfail = \"f\"\npass = \"e\"\n";
    let end = "[[end]]\nid = \"f\"\nsays = \"never\"\n";
    let (line, what, _) = only(&format!("{RULE}fail = \"b\"\n{asked}{END}{end}"));
    assert_eq!(line, 21);
    assert!(what.starts_with("the fail branch of 'c' is dead"), "{what}");
}

#[test]
fn a_step_and_an_end_that_nothing_leads_to_are_told() {
    let more = "[[step]]\nid = \"b\"\nask = \"?\"\nperson = true\nfail = \"e\"\npass = \"next\"\n[[end]]\nid = \
                \"f\"\nsays = \"never\"\n";
    let all = mistakes(&format!("{RULE}fail = \"e\"\n{END}{more}"));
    let told: Vec<(usize, &str)> = all
        .iter()
        .map(|(line, what, _)| (*line, what.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (13, "no way leads to step 'b'"),
            (19, "no way leads to end 'f'")
        ]
    );
}

#[test]
fn a_way_that_leads_back_is_told() {
    let (line, what, _) = only(&format!(
        "{RULE}fail = \"b\"\n[[step]]\nid = \"b\"\nask = \"?\"\nperson = true\nfail = \"a\"\npass = \"next\"\n"
    ));
    assert_eq!((line, what.as_str()), (13, "the way leads back: a → b → a"));
}

#[test]
fn a_missing_end_is_told() {
    let (line, what, hint) = only(RULE);
    assert_eq!(
        (line, what.as_str()),
        (5, "'a' has no way on where it fails")
    );
    assert!(hint.starts_with("add fail = "));
    // One end for causes that differ.
    let cause = "[[end]]\nid = \"e\"\ncause = \"registration/traffic-stops-later#heartbeat-path-cut\"\nfix = \
                 \"x\"\nverify = \"y\"\n";
    let (line, what, _) = only(&format!("{RULE}fail = \"e\"\n{cause}"));
    assert_eq!(line, 8);
    assert!(what.contains("can lead there as well"), "{what}");
}

#[test]
fn wrong_types_and_words_are_told() {
    let (line, what, _) = only(&format!("{RULE}fail = 5\n{END}"));
    assert_eq!(line, 8);
    assert!(what.contains("string"), "{what}");
    let (line, what, _) = only(&format!("{RULE}fial = \"e\"\n{END}"));
    assert_eq!(line, 8);
    assert!(what.contains("fial"), "{what}");
    let (line, _, hint) =
        only("[[step]]\nid = \"a\"\nask = \"?\"\ncompare = \"speed\"\nfail = \"e\"\n");
    assert_eq!(
        (line, hint.as_str()),
        (7, "it can be errors, latency, traffic")
    );
    let (_, what, _) = only("[[step]]\nid = \"a\"\nask = \"?\"\nfail = \"e\"\n");
    assert_eq!(what, "nothing says how the question is answered");
    let (_, what, _) = only(&format!("{RULE}person = true\nfail = \"e\"\n{END}"));
    assert!(what.contains("one way"), "{what}");
}

#[test]
fn unknown_books_and_circles_of_books_are_told() {
    let (line, what, hint) = only("[[step]]\nid = \"a\"\nask = \"?\"\nbook = \"registrations\"\n");
    assert_eq!((line, what.as_str()), (7, "no book 'registrations'"));
    assert_eq!(hint, "did you mean registration?");
    let (_, what, _) = only("[[step]]\nid = \"a\"\nask = \"?\"\nbook = \"own\"\n");
    assert!(what.contains("own → own"), "{what}");
}

#[test]
fn a_query_reads_and_takes_what_somebody_gives() {
    let step = |sql: &str| {
        format!(
            "[[step]]\nid = \"a\"\nask = \"?\"\nquery = \"{sql}\"\npass_if = \"no rows\"\nfail = \"e\"\n{}",
            END.replace("cause = \"found\"", "says = \"x\"")
        )
    };
    assert_eq!(mistakes(&step("SELECT 1 WHERE :service = 'x'")), []);
    let (_, what, _) = only(&step("DELETE FROM spans"));
    assert_eq!(what, "a query asks with SELECT");
    let (_, what, _) = only(&step("SELECT :servise"));
    assert!(what.contains(":servise"), "{what}");
}

#[test]
fn a_tangle_of_ways_is_refused_in_good_time() {
    use std::fmt::Write;
    let mut text = String::new();
    for n in 0..60 {
        let _ = write!(
            text,
            "[[step]]\nid = \"s{n}\"\nask = \"?\"\nperson = true\npass = \"s{0}\"\nfail = \"s{0}\"\n",
            n + 1
        );
    }
    let _ = write!(
        text,
        "[[step]]\nid = \"s60\"\nask = \"?\"\nperson = true\npass = \"next\"\nfail = \"next\"\n"
    );
    assert!(
        mistakes(&text)
            .iter()
            .any(|(_, what, _)| what.contains("too many ways"))
    );
}

#[test]
fn the_schema_names_what_the_reader_reads() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let names = |place: &str| -> Vec<String> {
        schema
            .pointer(place)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    // An unknown word makes the reader list those it knows.
    let listed = |text: &str| Book::parse("x", "x", text).unwrap_err().what;
    let of_step = listed("title = \"t\"\nabout = \"a\"\nsymptoms = []\n[[step]]\nnope = 1\n");
    for name in names("/$defs/step/properties") {
        assert!(
            of_step.contains(&format!("`{name}`")),
            "{name} in {of_step}"
        );
    }
    let of_end =
        listed("title = \"t\"\nabout = \"a\"\nsymptoms = []\nstep = []\n[[end]]\nnope = 1\n");
    for name in names("/$defs/end/properties") {
        assert!(of_end.contains(&format!("`{name}`")), "{name} in {of_end}");
    }
    let of_book = listed("nope = 1\n");
    for name in names("/properties") {
        assert!(
            of_book.contains(&format!("`{name}`")),
            "{name} in {of_book}"
        );
    }
}

#[test]
fn a_finding_names_the_book_that_proves_it() {
    let shelf = Shelf::built_in().unwrap();
    let rule = analyzers::rules::find("registry/heartbeat-lost")
        .unwrap()
        .about();
    let finding = analyzers::engine::Finding::of(rule, rule.causes[0].id, "x")
        .about("pay ment", "p-1", "silent");
    let prove = shelf.prove(&finding).unwrap();
    assert_eq!(
        prove.command(),
        "casefile playbook run registration --service 'pay ment'"
    );
}
