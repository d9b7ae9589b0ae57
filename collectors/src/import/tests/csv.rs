//! CSV through built-in mappings and one's own.

use super::*;
use crate::import::{Format, Mapping};

#[test]
fn nezha_spans_take_their_service_from_the_pod() {
    let (report, taken) = run(capture("nezha-trace"));
    assert_eq!(
        (
            report.format,
            report.records,
            report.spans,
            report.bad.total
        ),
        (Format::Csv, 8, 8, 0)
    );
    let spans = taken.spans();
    let (service, root) = &spans[0];
    assert_eq!(service, "ts-gateway-service");
    assert!(root.parent_span_id.is_empty());
    assert_eq!(root.start_time_unix_nano, 1_674_987_198_209_000_000);
    assert_eq!(root.end_time_unix_nano, 1_674_987_198_305_860_576);
    assert_eq!(hex(&spans[1].1.parent_span_id), "920e4b8ecf4b7b42");
    assert_eq!(report.mapping[0].from, "nezha-traces");
}

#[test]
fn nezha_logs_are_stamped_by_their_column_not_their_text() {
    let (report, taken) = run(capture("nezha-log"));
    assert_eq!(
        (report.records, report.logs, report.bad.total),
        (8, 8, 0),
        "{:?}",
        report.bad
    );
    let logs = taken.logs();
    assert_eq!(logs[0].0, "ts-travel-service");
    assert_eq!(logs[0].1.time_unix_nano, 1_674_987_210_955_272_087);
    assert_eq!(
        (logs[0].1.severity_text.as_str(), logs[0].1.severity_number),
        ("INFO", 9)
    );
    assert_eq!(logs[7].1.severity_text, "ERROR");
    let Some(any_value::Value::StringValue(body)) = logs[0].1.body.clone().unwrap().value else {
        panic!("no text")
    };
    assert!(
        body.starts_with("18:13:30.955 INFO") && !body.ends_with('\n'),
        "{body}"
    );
}

#[test]
fn nezha_metrics_become_a_gauge_a_column() {
    let (report, taken) = run(capture("nezha-pod"));
    assert_eq!(
        (report.records, report.points, report.bad.total),
        (3, 3 * 19, 0),
        "{:?}",
        report.bad
    );
    let metrics = taken.metrics();
    assert_eq!(metrics[0].0, "ts-route-service");
    let cpu = metrics
        .iter()
        .find(|(_, metric)| metric.name == "CpuUsage")
        .unwrap();
    assert_eq!(cpu.1.unit, "m");
    let (report, _) = run(capture("nezha-front"));
    assert_eq!((report.records, report.points), (3, 15));
}

const GRID: &str = "microservice,A,B\nmetric,latency,requests\nstatistic,p99,Sum\nunix_timestamp,,\n1692608400.0,0.5,3\n1692608700.0,,4\n1692609000.0,x,4\n";

#[test]
fn three_header_rows_describe_each_column_and_empty_cells_are_gaps() {
    let (report, taken) = run(GRID);
    assert_eq!((report.records, report.points), (3, 3));
    assert_eq!(bad(&report), ["line 7: column 2: \"x\" is no number"]);
    assert_eq!(report.notes.values().sum::<u64>(), 1, "one gap");
    let metrics = taken.metrics();
    let latency = metrics.iter().find(|(service, _)| service == "A").unwrap();
    assert_eq!(
        (latency.1.name.as_str(), latency.1.unit.as_str()),
        ("latency", "s")
    );
    let Some(metric::Data::Gauge(gauge)) = &latency.1.data else {
        panic!("no gauge")
    };
    assert_eq!(
        text(&gauge.data_points[0].attributes, "statistic").as_deref(),
        Some("p99")
    );
    assert_eq!(
        gauge.data_points[0].time_unix_nano,
        1_692_608_400_000_000_000
    );
}

#[test]
fn a_square_of_names_is_a_graph() {
    let (report, taken) = run(",a,b,c\na,0.0,1.0,0.0\nb,0.0,0.0,1.0\nc,0,0,0\nd,0,0,1\n");
    assert_eq!((report.records, report.points), (4, 2));
    assert_eq!(bad(&report), ["line 5: \"d\" names a row, but no column"]);
    let metrics = taken.metrics();
    let Some(metric::Data::Gauge(gauge)) = &metrics[0].1.data else {
        panic!("no gauge")
    };
    assert_eq!(
        text(&gauge.data_points[0].attributes, "client").as_deref(),
        Some("a")
    );
    assert_eq!(
        text(&gauge.data_points[0].attributes, "server").as_deref(),
        Some("b")
    );
}

#[test]
fn bad_rows_are_named_by_line_even_behind_quoted_line_breaks() {
    let header = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration\n";
    let text = format!(
        "{header}1,2,root,a-b-c,\"two\nlines\",10,20,10\n1,3,root\n1,xx,root,a-b-c,op,10,20,10\n1,4,root,a-b-c,op,soon,20,10\n1,5,root,a-b-c,op,10,20,10"
    );
    let (report, taken) = run(text);
    assert_eq!(taken.spans().len(), 2);
    assert_eq!(taken.spans()[0].1.name, "two\nlines");
    assert_eq!(
        bad(&report),
        [
            "line 4: it has 3 cells where the header has 8",
            "line 5: the span id \"xx\" is not hexadecimal",
            "line 6: \"soon\" is no time in numbers (Start)",
        ]
    );
}

#[test]
fn an_open_quote_costs_its_line_and_not_the_rest() {
    let header = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration\n";
    let text = format!("{header}1,2,root,a-b-c,\"open,10,20,10\n1,3,root,a-b-c,op,10,20,10\n");
    let (report, taken) = run(text);
    assert_eq!(taken.spans().len(), 1);
    assert_eq!(
        bad(&report),
        ["line 2: a quote that begins here is never closed"]
    );
}

#[test]
fn a_mapping_of_ones_own() {
    let mapping = Mapping::parse(
        "mine",
        "name = \"mine\"\nlayout = \"logs\"\n[fields]\ntime = { column = \"when\", unit = \"ms\" }\nmessage = \"what\"\nservice = \"who\"\n[attributes]\n\"code\" = \"no\"\n",
    )
    .unwrap();
    let options = Options {
        mapping: Some(mapping),
        ..Options::default()
    };
    let run = |text: &'static str| run_with(Input::memory("f", text), &options);
    let (report, taken) = run("when,what,who,no\n5,hello,me,7\n").unwrap();
    assert_eq!(report.logs, 1);
    let (service, record) = taken.logs().remove(0);
    assert_eq!((service.as_str(), record.time_unix_nano), ("me", 5_000_000));
    assert_eq!(text(&record.attributes, "code").as_deref(), Some("7"));
    let missing = run("when,what\n5,hello\n").err().unwrap();
    assert_eq!(
        missing.to_string(),
        "mapping mine wants a column \"who\"; the header has \"when\", \"what\""
    );
}
