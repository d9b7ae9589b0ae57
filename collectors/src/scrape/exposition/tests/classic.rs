//! The Prometheus text format.

use super::*;

#[test]
fn plain_samples_blank_lines_and_comments() {
    let page = read(
        Format::Classic,
        "\n\n# just a remark\n#\n#TYPED lines are no TYPE lines\nqueue_depth 17.5\ncpu:load -2e2 1700000000123\nempty{} 4\n# HELP nothing_follows some words\n",
    );
    assert_eq!(
        samples(&page),
        [
            ("queue_depth{}".into(), 17.5),
            ("cpu:load{}".into(), -200.0),
            ("empty{}".into(), 4.0)
        ]
    );
    assert_eq!(
        page.families[1].samples[0].at,
        Some(1_700_000_000_123_000_000)
    );
    assert_eq!(page.families[1].samples[0].line, 7);
    assert_eq!(read(Format::Classic, ""), Page::default());
    assert_eq!(
        samples(&read(Format::Classic, "no_newline_at_the_end 1")).len(),
        1
    );
    assert_eq!(
        samples(&read(Format::Classic, "windows 1\r\nlines 2\r\n")).len(),
        2
    );
}

#[test]
fn blanks_escapes_and_trailing_commas_are_taken_as_meant() {
    let page = read(
        Format::Classic,
        "# \tHELP  jobs \t two\\nlines \\\\ and \\x\n # TYPE\tjobs\tCounter \njobs {kind=\"say \\\"hi\\\"\",path=\"C:\\\\x\\ny\"} NaN\n\tjobs{ kind = \"b\"\t, path\t=\"\",\t}-Inf   42  \n",
    );
    let family = &page.families[0];
    assert_eq!(
        (family.kind, family.help.as_str()),
        (Kind::Counter, "two\nlines \\ and \\x")
    );
    assert_eq!(family.samples[0].labels[0].1, "say \"hi\"");
    assert_eq!(family.samples[0].labels[1].1, "C:\\x\ny");
    assert!(family.samples[0].value.is_nan());
    assert_eq!(family.samples[1].value, f64::NEG_INFINITY);
    assert_eq!(family.samples[1].at, Some(42_000_000));
}

#[test]
fn names_outside_the_old_character_set_are_quoted() {
    let page = read(
        Format::Classic,
        "# HELP \"http.server\" served\n# TYPE \"http.server\" histogram\n{\"http.server_bucket\",\"net.peer\"=\"ü\",le=\"+Inf\"} 3\n{zone=\"z\", \"http.server_count\"} 3\nplain{\"a b\"=\"c\"} 1\n",
    );
    assert_eq!(page.families[0].kind, Kind::Histogram);
    assert_eq!(page.families[0].samples[0].suffix, "_bucket");
    assert_eq!(page.families[0].samples[1].suffix, "_count");
    assert_eq!(samples(&page)[2].0, "plain{a b=c}");
}

#[test]
fn families_may_interleave_and_suffixes_find_their_own() {
    let page = read(
        Format::Classic,
        "# TYPE lat summary\n# TYPE size histogram\nlat{quantile=\"0.5\"} 1\nsize_bucket{le=\"10\"} 1\nlat_sum 9\nlat_bucket 5\nsize_bucket{le=\"+Inf\"} 2\nlat_count 4\nsize_sum 3\nsize_count 2\nother_count 7\n# TYPE state gauge_histogram\nstate_bucket{le=\"+Inf\"} 1.5\n",
    );
    let shape: Vec<(&str, Kind, usize)> = page
        .families
        .iter()
        .map(|family| (family.name.as_str(), family.kind, family.samples.len()))
        .collect();
    assert_eq!(
        shape,
        [
            ("lat", Kind::Summary, 3),
            ("size", Kind::Histogram, 4),
            ("lat_bucket", Kind::Unknown, 1),
            ("other_count", Kind::Unknown, 1),
            ("state", Kind::GaugeHistogram, 1)
        ]
    );
}

#[test]
fn what_says_nothing_is_left_out_and_told() {
    let page = read(
        Format::Classic,
        "x{a=\"1\",b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 2\nx{a=\"1\",b=\"2\"} 3 5\n# TYPE s summary\ns 3\n# TYPE h histogram\nh_bucket 3\n",
    );
    assert_eq!(
        page.samples(),
        2,
        "the same series at another time is another sample"
    );
    assert_eq!(page.remarks.count, 3);
    assert_eq!(
        page.remarks.first[0],
        "line 2: left out: repeats a series of this page"
    );
    assert_eq!(page.remarks.first[1], "line 5: left out: no quantile label");
    assert_eq!(page.remarks.first[2], "line 7: left out: no le label");
}

#[test]
fn bad_pages_are_refused_with_their_line() {
    for (page, line, why) in [
        ("ok 1\nname\n", 2, "no value"),
        ("name \n", 1, "no value"),
        ("name{} \n", 1, "no value"),
        ("met-ric 1\n", 1, "no metric name"),
        ("@x{l=\"v\"} 1\n", 1, "metric name is expected"),
        ("{l=\"v\"} 1\n", 1, "no metric name"),
        ("{} 1\n", 1, "no metric name"),
        ("{\"one\",\"two\"} 1\n", 1, "named twice"),
        ("one{\"two\"} 1\n", 1, "named twice"),
        ("{\"one\".l=\"v\"} 1\n", 1, "no = after"),
        ("x{\"\"=\"v\"} 1\n", 1, "empty"),
        ("x{l=\"v\\t\"} 1\n", 1, "escape"),
        ("x{l=\"v\\", 1, "escape"),
        ("x{l=\"open\nnext\"} 1\n", 1, "no closing quote"),
        ("x{l=v} 1\n", 1, "double quote"),
        ("x{l='v'} 1\n", 1, "double quote"),
        ("x{l+=\"v\"} 1\n", 1, "no = after"),
        ("x{l} 1\n", 1, "no = after"),
        ("x{@=\"v\"} 1\n", 1, "label name is expected"),
        ("x{0=\"v\"} 1\n", 1, "label name is expected"),
        ("x{l=\"v\"+} 1\n", 1, "comma or a closing brace"),
        ("x{l=\"v\" m=\"w\"} 1\n", 1, "comma or a closing brace"),
        ("x{l=\"v\",,m=\"w\"} 1\n", 1, "label name is expected"),
        ("x{,} 1\n", 1, "label name is expected"),
        ("x{l=\"v\",l=\"w\"} 1\n", 1, "stands twice"),
        ("x{__name__=\"v\"} 1\n", 1, "reserved"),
        ("x 1 2.5\n", 1, "whole milliseconds"),
        ("x 1 2 3\n", 1, "after the timestamp"),
        ("x one\n", 1, "no number"),
        ("x 1_000\n", 1, "no number"),
        ("x 0x1p-3\n", 1, "no number"),
        ("x 0b1\n", 1, "no number"),
        ("# TYPE x counter\n# TYPE x gauge\n", 2, "second TYPE"),
        ("x 1\n# TYPE x counter\n", 2, "after its samples"),
        ("# HELP x one\n# HELP x two\n", 2, "second HELP"),
        ("# TYPE x thing\n", 1, "no metric type"),
        ("# TYPE x-y gauge\n", 1, "no metric name"),
        ("# TYPE \"x\\t\" gauge\n", 1, "escape"),
        (
            "# TYPE s summary\ns{quantile=\"half\"} 1\n",
            2,
            "quantile is",
        ),
        ("# TYPE h histogram\nh_bucket{le=\"0x1\"} 1\n", 2, "le is"),
        ("# TYPE h histogram\nh_bucket{le=\"1\"} -1\n", 2, "below 0"),
        ("# TYPE h histogram\nh_count -1.5\n", 2, "below 0"),
    ] {
        let error = refused(Format::Classic, page);
        assert_eq!(error.line, line, "{page:?}: {error}");
        assert!(error.reason.contains(why), "{page:?}: {error}");
    }
}

#[test]
fn an_error_quotes_little_of_the_page() {
    let page = format!("{} 1\n", "é-".repeat(10_000));
    assert!(refused(Format::Classic, &page).to_string().len() < 300);
}
