//! `casefile metrics`: as text a line for each series, as JSON every point.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use case::Nanos;
use case::model::{MetricPoint, PointData};
use clap::Args;

use super::filtering::MetricFilterArgs;
use super::newest::Newest;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::rows::MetricRow;
use crate::output::{Column, Console, Format, Line, Table, Tone, count, thousands};
use crate::reading::Reading;
use crate::render::names;

/// Series shown as text unless asked otherwise.
const SHOWN: usize = 200;

#[derive(Debug, Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    filter: MetricFilterArgs,
    /// So many series as text, the newest so many points as JSON; 0 for all [default: 200 series, all points].
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
    /// text: a line for each series with its last value; json: an object for each point.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What is known of one series.
struct Series {
    kind: &'static str,
    unit: String,
    points: u64,
    at: Nanos,
    last: String,
}

/// Name, service, instance, attributes: what makes a series.
type SeriesKey = (String, String, String, String);

pub fn run(args: &MetricsArgs, console: &mut Console) -> Result<u8, CliError> {
    let filter = args.filter.filter()?;
    let reading = Reading::open(&args.case, &args.window, console)?;
    reading.check_services(&filter.services())?;
    match (args.format, args.limit.filter(|limit| *limit > 0)) {
        (Format::Json, None) => {
            let mut outcome = Ok(());
            reading.case.metrics(reading.window, &mut |point| {
                if filter.matches(&point) {
                    outcome = console.json(&MetricRow(&point));
                }
                if outcome.is_err() || console.is_closed() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            outcome?;
        }
        (Format::Json, limit) => {
            let mut newest = Newest::new(limit);
            reading.case.metrics(reading.window, &mut |point| {
                if filter.matches(&point) {
                    newest.offer(point.at, point);
                }
                ControlFlow::Continue(())
            })?;
            newest
                .into_rows()
                .iter()
                .try_for_each(|point| console.json(&MetricRow(point)))?;
        }
        (Format::Text, _) => {
            let mut all: BTreeMap<SeriesKey, Series> = BTreeMap::new();
            reading.case.metrics(reading.window, &mut |point| {
                if filter.matches(&point) {
                    add(&mut all, &point);
                }
                ControlFlow::Continue(())
            })?;
            let limit = match args.limit {
                None => SHOWN,
                Some(0) => usize::MAX,
                Some(limit) => limit,
            };
            show(&all, limit, console)?;
        }
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

fn add(all: &mut BTreeMap<SeriesKey, Series>, point: &MetricPoint) {
    let attributes: Vec<String> = point
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let resource = &point.origin.resource;
    let key = (
        point.name.clone(),
        resource.service().to_owned(),
        resource.instance().to_owned(),
        attributes.join(" "),
    );
    let series = all.entry(key).or_insert_with(|| Series {
        kind: point.data.kind(),
        unit: point.unit.clone(),
        points: 0,
        at: Nanos(0),
        last: String::new(),
    });
    series.points += 1;
    if point.at >= series.at {
        series.at = point.at;
        series.last = value(&point.data);
    }
}

/// A point's value for people.
fn value(data: &PointData) -> String {
    let average = |count: u64, sum: Option<f64>| match sum {
        Some(sum) if count > 0 => format!("{} × {:.6}", thousands(count), sum / count as f64),
        _ => thousands(count),
    };
    match data {
        PointData::Gauge(value) | PointData::Sum { value, .. } => value.to_string(),
        PointData::Histogram { count, sum, .. }
        | PointData::ExponentialHistogram { count, sum, .. } => average(*count, *sum),
        PointData::Summary { count, sum, .. } => average(*count, Some(*sum)),
    }
}

fn show(
    all: &BTreeMap<SeriesKey, Series>,
    limit: usize,
    console: &mut Console,
) -> Result<(), CliError> {
    if all.is_empty() {
        console.remark("no metric points in the window");
        return Ok(());
    }
    let mut table = Table::new(vec![
        Column::left("metric").shrinks_to(16),
        Column::left("service").shrinks_to(12),
        Column::left("attributes").shrinks_to(8),
        Column::left("type").shrinks_to(5),
        Column::right("points"),
        Column::right("last"),
        Column::left("unit").shrinks_to(3),
    ]);
    for ((name, service, _, attributes), series) in all.iter().take(limit) {
        table.row(vec![
            Line::plain(name),
            Line::plain(names::service(service)),
            Line::new().with(Tone::Dim, attributes),
            Line::new().with(Tone::Dim, series.kind),
            Line::plain(thousands(series.points)),
            Line::plain(&series.last),
            Line::plain(&series.unit),
        ]);
    }
    console.lines(&table.lines(console.list_width()))?;
    if all.len() > limit {
        let more = count((all.len() - limit) as u64, "more series", "more series");
        console.line(
            &Line::new().with(Tone::Dim, format!("{more} not shown (--limit 0 shows all)")),
        )?;
    }
    Ok(())
}
