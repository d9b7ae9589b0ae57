//! Pages of both formats that must be read, pages that must be refused, and pages nobody would write.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod classic;
mod mutation;
mod openmetrics;

use super::*;

fn samples(page: &Page) -> Vec<(String, f64)> {
    let named = |family: &Family, sample: &Sample| {
        let labels: Vec<String> = sample
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (
            format!("{}{}{{{}}}", family.name, sample.suffix, labels.join(",")),
            sample.value,
        )
    };
    page.families
        .iter()
        .flat_map(|family| {
            family
                .samples
                .iter()
                .map(move |sample| named(family, sample))
        })
        .collect()
}

fn refused(format: Format, page: &str) -> ParseError {
    match parse(format, page.as_bytes(), &Limits::default()) {
        Err(error) => error,
        Ok(read) => panic!("{page:?} was read as {read:?}"),
    }
}

fn read(format: Format, page: &str) -> Page {
    match parse(format, page.as_bytes(), &Limits::default()) {
        Ok(page) => page,
        Err(error) => panic!("{page:?} was refused: {error}"),
    }
}

#[test]
fn content_types_choose_the_format() {
    assert_eq!(
        Format::of("application/openmetrics-text; version=1.0.0; charset=utf-8"),
        Ok(Format::OpenMetrics)
    );
    assert_eq!(
        Format::of("application/openmetrics-text"),
        Ok(Format::OpenMetrics)
    );
    assert_eq!(Format::of("text/plain; version=0.0.4"), Ok(Format::Classic));
    assert_eq!(Format::of(""), Ok(Format::Classic));
    assert!(Format::of("text/html").unwrap_err().contains("text/html"));
    assert!(
        Format::of("application/openmetrics-text; version=2.0.0")
            .unwrap_err()
            .contains("2.0.0")
    );
}

#[test]
fn limits_name_the_line_that_breaks_them() {
    let limits = Limits {
        line_bytes: 40,
        labels: 2,
        samples: 3,
    };
    for (page, line, why) in [
        (
            format!("a 1\nb{{l=\"{}\"}} 1\n", "x".repeat(40)),
            2,
            "longer than 40",
        ),
        (
            "a{a=\"1\",b=\"2\",c=\"3\"} 1\n".to_owned(),
            1,
            "more than 2 labels",
        ),
        ("a 1\nb 1\nc 1\nd 1\n".to_owned(), 4, "more than 3 samples"),
    ] {
        let error = parse(Format::Classic, page.as_bytes(), &limits).unwrap_err();
        assert!(
            error.line == line && error.reason.contains(why),
            "{page:?}: {error}"
        );
        let page = format!("{page}# EOF\n");
        let error = parse(Format::OpenMetrics, page.as_bytes(), &limits).unwrap_err();
        assert!(
            error.line == line && error.reason.contains(why),
            "{page:?}: {error}"
        );
    }
    let error = parse(Format::Classic, b"a 1\nb{l=\"\xff\"} 1\n", &limits).unwrap_err();
    assert_eq!(error.to_string(), "line 2: not UTF-8 at byte 6");
}

#[test]
fn label_sets_have_one_key_in_any_order_and_no_other_set_has_it() {
    let key = |labels: &[(&str, &str)]| label_key(labels.iter().copied());
    assert_eq!(
        key(&[("a", "1"), ("b", "2")]),
        key(&[("b", "2"), ("a", "1")])
    );
    let apart = [
        key(&[]),
        key(&[("a", "")]),
        key(&[("a", "1b")]),
        key(&[("a1", "b")]),
        key(&[("a", "1"), ("b", "")]),
        key(&[("a", "11:b0:")]),
        key(&[("a", "1:b")]),
    ];
    let distinct: std::collections::HashSet<&String> = apart.iter().collect();
    assert_eq!(distinct.len(), apart.len());
}

#[test]
fn times_keep_their_nanoseconds() {
    for (text, nanos) in [
        ("0", 0),
        ("007", 7_000_000_000),
        ("1.5", 1_500_000_000),
        (".5", 500_000_000),
        ("3.", 3_000_000_000),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1700000000.1234567899", 1_700_000_000_123_456_789),
        ("-1.000000001", -1_000_000_001),
        ("+2", 2_000_000_000),
        ("2.5e3", 2_500_000_000_000),
        (
            "98765432109876543210.5",
            98_765_432_109_876_543_210_500_000_000,
        ),
    ] {
        assert_eq!(number::seconds(text), Ok(nanos), "{text}");
    }
    for text in [
        "",
        ".",
        "-",
        "x",
        "1z",
        "1_0",
        "1.2.3",
        "NaN",
        "Inf",
        "-inf",
        "1e400",
        "0x10",
        " 1",
        "1e",
        &"9".repeat(30),
    ] {
        assert!(number::seconds(text).is_err(), "{text}");
    }
    assert_eq!(number::milliseconds("-2"), Ok(-2_000_000));
    assert!(number::milliseconds("2.5").is_err());
}
