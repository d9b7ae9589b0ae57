#![allow(clippy::unwrap_used)]

use analyzers::engine::{Alternative, Certainty, Judgement, Seen};
use analyzers::reference::Reference;
use case::{TraceId, Window};
use serde_json::Value;

use super::*;

fn report(findings: Vec<Finding>) -> Report {
    let answer = |rule, verdict, judgement| Answer {
        rule,
        verdict,
        missing: if verdict == Verdict::CannotTell {
            vec!["no spans in the window".to_owned()]
        } else {
            Vec::new()
        },
        judgement,
    };
    Report::of(
        Window {
            from: Nanos(0),
            until: Nanos(3_600_000_000_000),
        },
        vec![
            answer("a/blind", Verdict::CannotTell, Judgement::default()),
            answer("a/fine", Verdict::Pass, Judgement::default()),
            answer(
                "registry/cached-after-removal",
                Verdict::Fail,
                Judgement {
                    findings,
                    ..Judgement::default()
                },
            ),
        ],
    )
}

fn finding() -> Finding {
    let subject = |service: &str, instance: &str, role| Subject::new(service, instance, role);
    Finding {
        rule: "registry/cached-after-removal",
        severity: Severity::Error,
        certainty: Certainty::Likely,
        headline: "payment left and is still called.".into(),
        subjects: vec![
            subject("payment", "payment-2\x1b[2J", "departed"),
            subject(
                "orders",
                "orders-vm-34693-64fa0bac-34e5-446b-8b43-d29a9cf0f638",
                "caller",
            ),
        ],
        since: Nanos(60_000_000_000),
        until: None,
        cause_id: "resolution/stale-cache#ttl-too-long",
        cause: "the cache outlives the registry's time limit and nobody drops the address".into(),
        alternatives: vec![Alternative {
            cause_id: "resolution/stale-cache#no-refresh-on-failure",
            missing: "a <snapshot>".into(),
        }],
        evidence: vec![
            Seen::note("registry event 7"),
            Seen::at(
                "4 calls failed, which is more than fits beside a command",
                Reference::Order {
                    order_id: "o 1".into(),
                },
            ),
            Seen::at("short", Reference::RegistryEvent { seq: 7 }),
        ],
        remedy: "expire sooner".into(),
        traces: vec![TraceId([1; 16])],
        consequences: vec![Finding {
            headline: "checkouts fail & more.".into(),
            rule: "saga/x",
            alternatives: Vec::new(),
            consequences: Vec::new(),
            ..finding_below()
        }],
    }
}

fn finding_below() -> Finding {
    Finding {
        rule: "saga/x",
        severity: Severity::Warning,
        certainty: Certainty::Sure,
        headline: String::new(),
        subjects: Vec::new(),
        since: Nanos(0),
        until: Some(Nanos(1)),
        cause_id: "saga-step/x#y",
        cause: String::new(),
        alternatives: Vec::new(),
        evidence: Vec::new(),
        remedy: String::new(),
        traces: Vec::new(),
        consequences: Vec::new(),
    }
}

fn text(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.text().trim_end().to_owned())
        .collect()
}

#[test]
fn a_report_reads_from_the_verdict_down() {
    let report = report(vec![finding()]);
    assert_eq!(
        text(&lines(&Shown::whole(&report), 64)),
        [
            "✗ payment left and is still called.",
            "",
            "  error   registry/cached-after-removal  likely  00:01:00 – 01:00:00",
            "         about   payment-2\\x1b[2J (departed), orders-vm-34693-64fa…",
            "                 (caller)",
            "         cause   the cache outlives the registry's time limit",
            "                 and nobody drops the address",
            "         or      a failed call does not make the caller drop the",
            "                 address (open without a <snapshot>)",
            "         seen    registry event 7",
            "                 4 calls failed, which is more than fits beside",
            "                 a command",
            "                   casefile orders 'o 1'",
            "                 short               casefile registry --event 7",
            "         do      expire sooner",
            "         prove   casefile playbook run resolution --service payment",
            "         and     1 finding follows from this one (--all shows",
            "                 them)",
            "",
            "  ?  no spans in the window: a/blind",
            "  1 error · 0 warnings · 0 notes · 1 cannot tell · 1 rule passed",
        ]
    );
    let mut shown = Shown::whole(&report);
    shown.all = true;
    let all = text(&lines(&shown, 100));
    assert!(
        all.contains(&"         and     ! checkouts fail & more. (saga/x)".to_owned()),
        "{all:#?}"
    );
}

#[test]
fn no_finding_is_not_called_clean_while_something_could_not_be_told() {
    let mut report = report(Vec::new());
    assert_eq!(
        verdict_line(&report).text(),
        "? nothing found, yet 1 question could not be told"
    );
    report.answers.remove(0);
    assert_eq!(verdict_line(&report).text(), "· nothing found");
}

#[test]
fn the_forms_for_programs_carry_the_same_finding() {
    let report = report(vec![finding()]);
    let shown = Shown::whole(&report);
    let junit = junit::lines(&shown, Severity::Error).join("\n");
    assert!(junit.contains(r#"tests="3" failures="1" errors="0" skipped="1""#));
    assert!(junit.contains("a &lt;snapshot&gt;") && junit.contains("checkouts fail &amp; more."));
    assert!(junit.contains(r#"<skipped message="cannot tell: no spans in the window"/>"#));
    let lenient = junit::lines(
        &Shown {
            findings: Vec::new(),
            ..Shown::whole(&report)
        },
        Severity::Error,
    );
    assert!(lenient.join("").contains(r#"failures="0""#));
    let github = github::lines(&shown);
    assert_eq!(github.len(), 1);
    assert!(
        github[0].starts_with(
            "::error title=registry/cached-after-removal::payment left and is still called.%0Acause: "
        ),
        "{github:?}"
    );
    let markdown = markdown::lines(&shown).join("\n");
    assert!(
        markdown.contains("a \\<snapshot\\>") && !markdown.contains('\u{1b}'),
        "{markdown}"
    );
    let sarif = sarif::object(&shown, "x.case");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "registry/cached-after-removal");
    assert_eq!(result["level"], "error");
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(rules[index]["id"], result["ruleId"]);
}

#[test]
fn the_json_form_keeps_to_its_schema() {
    let schema: Value = serde_json::from_str(object::SCHEMA).unwrap();
    let report = report(vec![finding()]);
    let object = serde_json::to_value(object::ReportObject::of(&Shown::whole(&report))).unwrap();
    assert_eq!(fits(&schema, &schema, &object, "$"), Vec::<String>::new());
    // A field more than the schema knows is as wrong as one less: it would be published unseen.
    let mut more = object.clone();
    more["findings"][0]["new"] = Value::Null;
    assert_eq!(
        fits(&schema, &schema, &more, "$"),
        ["$.findings[0].new is not in the schema"]
    );
    let mut less = object;
    less["findings"][0].as_object_mut().unwrap().remove("rule");
    assert_eq!(
        fits(&schema, &schema, &less, "$"),
        ["$.findings[0] lacks rule"]
    );
}

/// Where a value does not fit a schema, as far as ours use the language.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        return fits(root, target, value, at);
    }
    let mut wrong = Vec::new();
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = match &schema["type"] {
        Value::String(one) => one == kind,
        Value::Array(several) => several.iter().any(|one| one == kind),
        _ => true,
    };
    if !allowed {
        wrong.push(format!("{at} is {kind}"));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        wrong.push(format!("{at} is {value}"));
    }
    if let Some(only) = schema.get("const")
        && only != value
    {
        wrong.push(format!("{at} is {value}"));
    }
    if let Some(object) = value.as_object() {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for key in required.iter().filter_map(Value::as_str) {
            if !object.contains_key(key) {
                wrong.push(format!("{at} lacks {key}"));
            }
        }
        for (key, inner) in object {
            match schema["properties"].get(key) {
                Some(schema) => wrong.extend(fits(root, schema, inner, &format!("{at}.{key}"))),
                // What a reference holds beside its kind depends on the kind.
                None if at.ends_with(".reference") => {}
                None => wrong.push(format!("{at}.{key} is not in the schema")),
            }
        }
    }
    for (place, inner) in value.as_array().into_iter().flatten().enumerate() {
        wrong.extend(fits(
            root,
            &schema["items"],
            inner,
            &format!("{at}[{place}]"),
        ));
    }
    wrong
}
