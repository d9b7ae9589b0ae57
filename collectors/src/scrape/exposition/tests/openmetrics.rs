//! OpenMetrics: what the standard's own parser cases ask of a reader, in cases of our own of each kind.

use super::*;

fn ok(body: &str) -> Page {
    read(Format::OpenMetrics, &format!("{body}# EOF\n"))
}

#[test]
fn every_kind_is_read() {
    let page = ok(
        "# TYPE req counter\n# HELP req served\nreq_total{m=\"get\"} 9223372036854775808 1700000000.000000001 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.25 1699999999.5\nreq_created{m=\"get\"} 1600000000 1700000000.000000001\n\
         # TYPE heat_celsius gauge\n# UNIT heat_celsius celsius\nheat_celsius 0000000000000000000000000000000000000021.5e-1\nheat_celsius{room=\"\"} -Inf\n\
         # TYPE dur histogram\ndur_bucket{le=\"1e-05\"} 0\ndur_bucket{le=\"1\"} 2.0 # {} 0.5\ndur_bucket{le=\"+Inf\"} 3\ndur_count 3\ndur_sum 2.5\ndur_created 5\ndur_bucket{x=\"y\",le=\"+Inf\"} 0\n\
         # TYPE backlog gaugehistogram\nbacklog_bucket{le=\"-1.0\"} 1\nbacklog_bucket{le=\"+Inf\"} 3\nbacklog_gcount 3\nbacklog_gsum -5\n\
         # TYPE rtt summary\nrtt{quantile=\"0\"} 0\nrtt{quantile=\"1.0\"} NaN\nrtt_count 4\nrtt_sum 5\n\
         # TYPE mode stateset\nmode{mode=\"on\"} 1.0\nmode{mode=\"off\"} 0\n\
         # TYPE build info\nbuild_info{v=\"1\"} 1\nbuild_info{v=\"2\"} 1\n\
         # TYPE odd unknown\nodd 1\nbare 2\n",
    );
    let shape: Vec<(&str, Kind, usize)> = page
        .families
        .iter()
        .map(|family| (family.name.as_str(), family.kind, family.samples.len()))
        .collect();
    assert_eq!(
        shape,
        [
            ("req", Kind::Counter, 2),
            ("heat_celsius", Kind::Gauge, 2),
            ("dur", Kind::Histogram, 7),
            ("backlog", Kind::GaugeHistogram, 4),
            ("rtt", Kind::Summary, 4),
            ("mode", Kind::StateSet, 2),
            ("build", Kind::Info, 2),
            ("odd", Kind::Unknown, 1),
            ("bare", Kind::Unknown, 1),
        ]
    );
    let total = &page.families[0].samples[0];
    assert_eq!(total.value, 9.223_372_036_854_776e18);
    assert_eq!(total.at, Some(1_700_000_000_000_000_001));
    let exemplar = total.exemplar.as_ref().unwrap();
    assert_eq!(
        (exemplar.value, exemplar.at),
        (0.25, Some(1_699_999_999_500_000_000))
    );
    assert_eq!(page.families[1].unit, "celsius");
    assert_eq!(page.families[1].samples[0].value, 2.15);
    assert_eq!(page.remarks, Remarks::default());
}

#[test]
fn the_end_needs_no_newline_and_metadata_may_be_empty() {
    assert_eq!(
        read(Format::OpenMetrics, "# HELP a \n# UNIT a \n# EOF")
            .families
            .len(),
        1
    );
    assert!(read(Format::OpenMetrics, "# EOF").families.is_empty());
    let page = ok("# HELP a later the type\n# TYPE a counter\na_total{} 1\n");
    assert_eq!(page.families[0].kind, Kind::Counter);
}

#[test]
fn escapes_and_marks_inside_quotes_stay_text() {
    let page = ok(
        "# HELP a say \\\"it\\\"\\n\\\\ \\t\\\na{x=\"q\\\"b\\\\n\\n\\z\",y=\"} # {\",z=\"b{r}ace\"} 1\n",
    );
    assert_eq!(page.families[0].help, "say \"it\"\n\\ \\t\\");
    let labels = &page.families[0].samples[0].labels;
    assert_eq!(labels[0].1, "q\"b\\n\n\\z");
    assert_eq!(labels[1].1, "} # {");
    assert_eq!(labels[2].1, "b{r}ace");
    let page = ok("# TYPE a counter\na_total 1 # {x=\" # {y}\"} 2\n");
    assert_eq!(
        page.families[0].samples[0]
            .exemplar
            .as_ref()
            .unwrap()
            .labels[0]
            .1,
        " # {y}"
    );
    let page = ok("# TYPE \"a.b\" counter\n{\"a.b_total\",\"x y\"=\"z\"} 1\n");
    assert_eq!(samples(&page)[0].0, "a.b_total{x y=z}");
}

#[test]
fn an_exemplar_may_have_128_characters_whatever_their_bytes() {
    let page =
        |value: String| format!("# TYPE a counter\na_total 1 # {{k=\"{value}\"}} 1\n# EOF\n");
    read(Format::OpenMetrics, &page("é".repeat(127)));
    assert!(
        refused(Format::OpenMetrics, &page("é".repeat(128)))
            .reason
            .contains("129 characters")
    );
}

#[test]
fn repeats_at_one_time_are_left_out_and_told() {
    let page = ok(
        "# TYPE g gauge\ng{a=\"1\"} 1 0.0000000001\ng{a=\"1\"} 2 0.0000000002\ng{a=\"1\"} 3 0.0000000010\ng{a=\"2\"} 4 0\n",
    );
    let values: Vec<f64> = page.families[0]
        .samples
        .iter()
        .map(|sample| sample.value)
        .collect();
    assert_eq!(
        values,
        [1.0, 3.0, 4.0],
        "times are cut to nanoseconds, and the first sample of one wins"
    );
    assert_eq!(
        page.remarks.first,
        ["line 3: left out: repeats a series at the same time"]
    );
    let page = ok("# TYPE i info\ni_info{a=\"1\"} 1 5\ni_info{a=\"2\"} 1 4\n");
    assert_eq!(page.samples(), 2, "an info may go back in time");
}

#[test]
fn a_page_needs_its_end_and_nothing_else() {
    for (page, line, why) in [
        ("", 1, "# EOF"),
        ("a 1\n", 1, "# EOF"),
        ("a 1\n# EO", 2, "not # HELP"),
        ("a 1\n\n# EOF\n", 2, "empty line"),
        ("a 1\n# EOF\na 2\n", 3, "after # EOF"),
        ("a 1\n# EOF\n\n", 3, "after # EOF"),
        ("a 1\n# EOF trailing\n", 2, "not # HELP"),
        ("a 1\r\n# EOF\n", 1, "no number"),
    ] {
        let error = refused(Format::OpenMetrics, page);
        assert!(
            error.line == line && error.reason.contains(why),
            "{page:?}: {error}"
        );
    }
}

/// Each of these, with `# EOF` behind it, must be refused.
const BAD: &[(&str, &[&str])] = &[
    (
        "label syntax",
        &[
            "m{k=v} 1",
            "m{k=\"v} 1",
            "m{k='v'} 1",
            "m{k} 1",
            "m{k\"v\"} 1",
            "m{k=} 1",
            "m{k=\"a\"j=\"b\"} 1",
            "m{k=\"a\",,j=\"b\"} 1",
            "m{k=\"a\",} 1",
            "m{,} 1",
            "m{7=\"a\"} 1",
            "m{k:l=\"a\"} 1",
            "m{k=\"a\",k=\"b\"} 1",
            "m{k=\"a\"b} 1",
            "m{k=\"a\"}1",
            "m{ k=\"a\"} 1",
            "m{k= \"a\"} 1",
            "m{k=\" # \",k=\" # \"} 1",
            "m {k=\"a\"} 1",
            "{k=\"a\"} 1",
            "{\"m\",\"n\"} 1",
            "m{__name__=\"n\"} 1",
        ],
    ),
    (
        "metadata",
        &[
            "# HELP",
            "# HELP ",
            "# HELP m",
            "# HELP m\t",
            " # HELP m x",
            "#HELP m x",
            "#  HELP m x",
            "# TYPE",
            "# TYPE ",
            "# TYPE m",
            "# TYPE m\t",
            "# TYPE m thing",
            "# TYPE m gauge ",
            "# TYPE m Gauge",
            "# TYPE m untyped",
            "# UNIT",
            "# UNIT ",
            "# UNIT m",
            "# UNIT m seconds",
            "# UNIT mseconds seconds",
            "# UNIT m_seconds seconds ",
            "# TYPE m_x info\n# UNIT m_x x",
            "# TYPE m_x stateset\n# UNIT m_x x",
            "# HELP m x\nm 1\n# TYPE m gauge",
            "# TYPE m gauge\nm 1\n# HELP m x",
            "# TYPE m_s gauge\nm_s 1\n# UNIT m_s s",
            "# HELP m \n# HELP m ",
            "# TYPE m gauge\n# TYPE m gauge",
            "# UNIT m_s s\n# UNIT m_s s",
            "# NOTE m x",
            "# a comment",
            "# TYPE 0m gauge",
        ],
    ),
    (
        "names, values and times",
        &[
            "0m 1",
            "m.n 1",
            "m-n 1",
            "m",
            "m ",
            "m x",
            "m  1",
            "m\t1",
            "m 1\t",
            "m 1 ",
            "m 1_0",
            "m 0x1p-3",
            "m 0b1",
            "m 0o7",
            "m 1 z",
            "m 1 1z",
            "m 1 1_0",
            "m 1 1.2.3",
            "m 1 NaN",
            "m 1 Inf",
            "m 1 -Inf",
            "m 1 0x1",
            "m 1 1 1",
        ],
    ),
    (
        "exemplars",
        &[
            "# TYPE m counter\nm_total 1 #",
            "# TYPE m counter\nm_total 1# {} 1",
            "# TYPE m counter\nm_total 1 #{} 1",
            "# TYPE m counter\nm_total 1 # {}1",
            "# TYPE m counter\nm_total 1 # {}",
            "# TYPE m counter\nm_total 1 # {} 1 ",
            "# TYPE m counter\nm_total 1 # {} 1 2 ",
            "# TYPE m counter\nm_total 1 # {} 1 2 3",
            "# TYPE m counter\nm_total 1 # {} 0x1",
            "# TYPE m counter\nm_total 1 # {} 1 0x1",
            "# TYPE m counter\nm_total 1 # {} 1 NaN",
            "# TYPE m counter\nm_total 1 # {} 1 Inf",
            "# TYPE m counter\nm_total 1 # {} 1 -Inf",
            "# TYPE m counter\nm_total 1 2 # {k=\"v\"}  ",
            "# TYPE m counter\nm_total 1 2 # k=\"v\"} 1",
            "# TYPE m counter\nm_total 1 2 #k=\" # \"} 1",
            "# TYPE m counter\nm_total 1 # {\"n\"} 1",
            "# TYPE m counter\nm_created 1 # {k=\"v\"} 1",
            "# TYPE m gauge\nm 1 # {k=\"v\"} 1",
            "# TYPE m_bucket gauge\nm_bucket 1 # {k=\"v\"} 1",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 1\nm_count 1\nm_sum 1 # {k=\"v\"} 1",
            "# TYPE m info\nm_info 1 # {k=\"v\"} 1",
            "# TYPE m stateset\nm{m=\"a\"} 1 # {k=\"v\"} 1",
            "# TYPE m summary\nm_count 1 # {k=\"v\"} 1",
            "m 1 # {k=\"v\"} 1",
        ],
    ),
    (
        "labels and values a kind allows",
        &[
            "# TYPE m stateset\nm 0",
            "# TYPE m stateset\nm{m=\"a\"} 2",
            "# TYPE m info\nm_info{k=\"v\"} 2",
            "# TYPE m info\nm 1",
            "# TYPE m summary\nm 0",
            "# TYPE m summary\nm{quantile=\"-1\"} 0",
            "# TYPE m summary\nm{quantile=\"half\"} 0",
            "# TYPE m summary\nm{quantile=\"1.01\"} 0",
            "# TYPE m summary\nm{quantile=\"NaN\"} 0",
            "# TYPE m summary\nm{quantile=\"0.5\"} -1",
            "# TYPE m histogram\nm_bucket 0",
            "# TYPE m histogram\nm_bucket{le=\"x\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"NaN\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"+INF\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"Inf\"} 0",
            "# TYPE m gaugehistogram\nm_bucket 0",
            "# TYPE m counter\nm_total NaN",
            "# TYPE m counter\nm_total -1",
            "# TYPE m histogram\nm_sum NaN",
            "# TYPE m histogram\nm_count -1",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} NaN",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} -1",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 0.5",
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} 1\nm_gcount 1\nm_gsum NaN",
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} -1",
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} 0.5\nm_gsum 0.5\nm_gcount 0",
            "# TYPE m summary\nm_sum NaN",
            "# TYPE m summary\nm_sum -1",
            "# TYPE m summary\nm_count -1",
            "# TYPE m summary\nm_count 0.5",
        ],
    ),
    (
        "histograms as a whole",
        &[
            "# TYPE m histogram\nm_sum 1",
            "# TYPE m histogram\nm_created 1",
            "# TYPE m histogram\nm_bucket{le=\"1\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 0\nm_sum 0",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 0\nm_count 0",
            "# TYPE m histogram\nm_bucket{le=\"-1\"} 0\nm_bucket{le=\"+Inf\"} 0\nm_sum 0\nm_count 0",
            "# TYPE m histogram\nm_bucket{le=\"+Inf\"} 0\nm_count 1\nm_sum 1",
            "# TYPE m histogram\nm_count 1\nm_sum 1\nm_bucket{le=\"+Inf\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"2\"} 0\nm_bucket{le=\"1\"} 0\nm_bucket{le=\"+Inf\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"1\"} 0\nm_bucket{le=\"1.0\"} 0\nm_bucket{le=\"+Inf\"} 0",
            "# TYPE m histogram\nm_bucket{le=\"1\"} 1\nm_bucket{le=\"+Inf\"} 0",
            "# TYPE m gaugehistogram\nm_gsum 1",
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} 0\nm_gsum 0",
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} 0\nm_gcount 0",
            "# TYPE m gaugehistogram\nm_bucket{le=\"+Inf\"} 1\nm_gsum -1\nm_gcount 1",
        ],
    ),
    (
        "grouping and order",
        &[
            "# TYPE m gauge\nm{k=\"1\"} 0\nm{k=\"2\"} 0\nm{k=\"1\"} 0",
            "# TYPE m histogram\nm_sum{k=\"1\"} 0\nm_sum{k=\"2\"} 0\nm_count{k=\"1\"} 0",
            "# TYPE m histogram\nm_bucket{k=\"1\",le=\"1\"} 0\nm_bucket{k=\"2\",le=\"+Inf\"} 0\nm_bucket{k=\"1\",le=\"+Inf\"} 0",
            "# TYPE m summary\nm{quantile=\"0\",k=\"1\"} 0\nm_sum{k=\"2\"} 0\nm{quantile=\"1\",k=\"1\"} 0",
            "# TYPE m gauge\nm 0 -1\nm 0 -2",
            "# TYPE m gauge\nm 0 1.1\nm 0 1",
            "# TYPE m gauge\nm 0\nm 0 0",
            "# TYPE m gauge\nm 0 0\nm 0",
            "# TYPE m gauge\nm 1\n# TYPE n gauge\nn 1\nm 2",
        ],
    ),
    (
        "clashing names",
        &[
            "# TYPE m counter\nm 1",
            "# TYPE m info\n# TYPE n gauge\n# TYPE m counter",
            "# TYPE m_created gauge\n# TYPE m counter",
            "# TYPE m histogram\n# TYPE m_count gauge",
            "# TYPE m counter\nm_total 1\nm_count 1\nm_total 2",
        ],
    ),
];

#[test]
fn what_the_standard_forbids_is_refused() {
    let mut count = 0;
    for (group, pages) in BAD {
        for page in *pages {
            let full = format!("{page}\n# EOF\n");
            let refused = parse(Format::OpenMetrics, full.as_bytes(), &Limits::default());
            assert!(
                refused.is_err(),
                "{group}: {page:?} was read as {refused:?}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 161);
}
