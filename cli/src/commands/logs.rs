//! `casefile logs`: log records, newest last.

use std::ops::ControlFlow;

use clap::Args;

use super::filtering::LogFilterArgs;
use super::newest::Newest;
use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::rows::LogRow;
use crate::output::{Console, Format, Line, Tone, count};
use crate::reading::Reading;
use crate::render::waterfall::log_line;

/// Lines shown as text unless asked otherwise.
const SHOWN: usize = 200;

#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    case: CaseArgs,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    filter: LogFilterArgs,
    /// The newest so many; 0 for all [default: 200 as text, all as JSON].
    #[arg(long, short = 'n', value_name = "COUNT")]
    limit: Option<usize>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub fn run(args: &LogsArgs, console: &mut Console) -> Result<u8, CliError> {
    let filter = args.filter.filter()?;
    let reading = Reading::open(&args.case, &args.window, console)?;
    reading.check_services(&filter.services())?;
    let limit = match (args.limit, args.format) {
        (Some(0), _) | (None, Format::Json) => None,
        (Some(limit), _) => Some(limit),
        (None, Format::Text) => Some(SHOWN),
    };
    if args.format == Format::Json && limit.is_none() {
        let mut outcome = Ok(());
        reading.case.logs(reading.window, &mut |log| {
            if filter.matches(&log) {
                outcome = console.json(&LogRow(&log));
            }
            if outcome.is_err() || console.is_closed() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        return outcome.map(|()| exit::CLEAN);
    }
    let mut newest = Newest::new(limit);
    reading.case.logs(reading.window, &mut |log| {
        if filter.matches(&log) {
            newest.offer(log.at(), log);
        }
        ControlFlow::Continue(())
    })?;
    let left_out = newest.left_out();
    let width = console.list_width();
    for log in newest.into_rows() {
        match args.format {
            Format::Json => console.json(&LogRow(&log))?,
            Format::Text => console.line(&log_line(&log, true).fit(width))?,
        }
    }
    if args.format == Format::Text && left_out > 0 {
        let earlier = count(left_out, "earlier record", "earlier records");
        console.line(&Line::new().with(
            Tone::Dim,
            format!("{earlier} not shown (--limit 0 shows all)"),
        ))?;
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}
