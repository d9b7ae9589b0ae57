//! `casefile compare A B`: two windows, versions or cases side by side, with how sure each figure is; and the judge of a
//! canary, which answers with its exit code.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use analyzers::compare::attributes::{self, Gather};
use analyzers::compare::canary::{self, Action, PLANS, Plan};
use analyzers::compare::{self, Figures, Row, Side};
use case::model::{Span, StatusCode};
use case::{Case, TraceId, Window};
use clap::Args;
use serde::Serialize;

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::reading::end_of;
use crate::render::compare as drawn;

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// What was: a window (10:00..10:10 in RFC 3339, or 20m..10m before the end), version=1.4, or the path of a case.
    #[arg(value_name = "A", required_unless_present = "canary", requires = "b")]
    a: Option<String>,
    /// What is, in the same forms.
    #[arg(value_name = "B")]
    b: Option<String>,
    /// The case, where a side names none [default: $CASEFILE_CASE, else the one last collected or imported].
    #[arg(long = "case", value_name = "PATH")]
    case: Option<PathBuf>,
    #[command(flatten)]
    window: WindowArgs,
    /// Only requests to this service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Judge this version as a canary: exit 0 to go on, 1 to go back, 3 for too few requests.
    #[arg(long, value_name = "version=V", requires = "against", conflicts_with_all = ["a", "b"])]
    canary: Option<String>,
    /// The version the canary is held against.
    #[arg(long, value_name = "version=V", requires = "canary")]
    against: Option<String>,
    /// The plan of the roll-out.
    #[arg(long, value_name = "PLAN", default_value = "capstone", value_parser = ["capstone", "short", "cloudscale"])]
    plan: String,
    /// Which phase of the plan it is in.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=6))]
    phase: u8,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Where the spans of a side come from.
struct Source {
    case: Case,
    window: Window,
    version: Option<String>,
}

/// What is printed.
#[derive(Serialize)]
struct CompareObject<'a> {
    a: &'a str,
    b: &'a str,
    operations: &'a [Row],
    /// What the bad traces of B have in common: those that failed, or took longer than 19 of 20 did in A.
    common: &'a attributes::Verdict,
}

#[derive(Serialize)]
struct CanaryObject<'a> {
    canary: &'a Figures,
    against: &'a Figures,
    #[serde(flatten)]
    verdict: &'a canary::Verdict,
}

pub fn run(args: &CompareArgs, console: &mut Console) -> Result<u8, CliError> {
    if let (Some(canary), Some(against)) = (&args.canary, &args.against) {
        return judge(args, canary, against, console);
    }
    let (Some(a), Some(b)) = (&args.a, &args.b) else {
        return Err(CliError::new("two sides are needed").hint("casefile compare 20m..10m 10m..0s"));
    };
    let side_a = gather(args, &source(args, a, console)?, &mut |_| {})?;
    let slow = side_a.operations.iter().filter_map(|(operation, sample)| {
        let p95 = Figures::of(sample).p95?;
        (sample.requests >= compare::LEAST).then_some((operation.clone(), p95.high))
    });
    let slow: std::collections::BTreeMap<_, _> = slow.collect();
    let mut common = Gather::default();
    let mut bad: BTreeSet<TraceId> = BTreeSet::new();
    let side_b = gather(args, &source(args, b, console)?, &mut |span| {
        common.take(span);
        let operation = compare::Operation {
            service: span.service().to_owned(),
            operation: span.name.clone(),
        };
        let too_slow = slow
            .get(&operation)
            .is_some_and(|limit| span.duration() as f64 > *limit);
        if compare::is_request(span) && (span.status == StatusCode::Error || too_slow) {
            bad.insert(span.trace_id);
        }
    })?;
    let rows = compare::compare(&side_a, &side_b);
    let verdict = common.judge(&bad);
    match args.format {
        Format::Text => console.lines(&drawn::lines(&rows, &verdict))?,
        Format::Json => console.json(&CompareObject {
            a,
            b,
            operations: &rows,
            common: &verdict,
        })?,
    }
    Ok(exit::CLEAN)
}

fn judge(
    args: &CompareArgs,
    canary: &str,
    against: &str,
    console: &mut Console,
) -> Result<u8, CliError> {
    let version = |text: &str| -> Result<Source, CliError> {
        if version_of(text).is_none() {
            return Err(CliError::new(format!("{text:?} names no version")).hint("say version=1.4"));
        }
        source(args, text, console)
    };
    let figures = |source: &Source| -> Result<Figures, CliError> {
        Ok(Figures::of(&gather(args, source, &mut |_| {})?.whole()))
    };
    let canary = figures(&version(canary)?)?;
    let against = figures(&version(against)?)?;
    let plan: &Plan = PLANS
        .iter()
        .find(|plan| plan.name == args.plan)
        .unwrap_or(&PLANS[0]);
    let phase = usize::from(args.phase);
    if phase > plan.percents.len() {
        return Err(CliError::new(format!(
            "plan {} has {} phases",
            plan.name,
            plan.percents.len()
        )));
    }
    let verdict = canary::judge(plan, phase, &canary, &against);
    match args.format {
        Format::Text => console.lines(&drawn::verdict_lines(&verdict, &canary, &against))?,
        Format::Json => console.json(&CanaryObject {
            canary: &canary,
            against: &against,
            verdict: &verdict,
        })?,
    }
    Ok(match verdict.action {
        Action::Advance => exit::CLEAN,
        Action::Extend => exit::CANNOT_TELL,
        Action::StepBack | Action::Drain | Action::RollBack => exit::FINDING,
    })
}

fn version_of(text: &str) -> Option<&str> {
    text.strip_prefix("version=")
        .or_else(|| text.strip_prefix("service.version="))
}

/// What a side's text means.
fn source(args: &CompareArgs, text: &str, console: &Console) -> Result<Source, CliError> {
    let named = Path::new(text);
    let path = if case::manifest::path(named).exists() {
        named.to_owned()
    } else {
        CaseArgs::at(args.case.clone()).resolve(console)?
    };
    let case = Case::open(&path)?;
    let now = end_of(&case)?;
    let whole = args.window.resolve(now)?;
    if path == named {
        return Ok(Source {
            case,
            window: whole,
            version: None,
        });
    }
    if let Some(version) = version_of(text) {
        return Ok(Source {
            case,
            window: whole,
            version: Some(version.to_owned()),
        });
    }
    let window = Window::parse(text, now).map_err(|error| {
        CliError::from(error).hint("a side is a window (A..B), version=V, or the path of a case")
    })?;
    Ok(Source {
        case,
        window,
        version: None,
    })
}

fn gather(
    args: &CompareArgs,
    source: &Source,
    also: &mut dyn FnMut(&Span),
) -> Result<Side, CliError> {
    let mut side = Side::default();
    let mut of_version = source.version.is_none();
    source.case.spans(source.window, &mut |span| {
        let resource = &span.origin.resource;
        let version = resource.attributes.text("service.version");
        let meant = source
            .version
            .as_deref()
            .is_none_or(|wanted| version == Some(wanted));
        of_version |= meant;
        if meant
            && args
                .service
                .as_deref()
                .is_none_or(|service| service == span.service())
        {
            side.take(&span);
            also(&span);
        }
        ControlFlow::Continue(())
    })?;
    if !of_version {
        let wanted = source.version.as_deref().unwrap_or_default();
        return Err(CliError::new(format!("no span is of version {wanted:?}"))
            .hint("versions are what spans call service.version"));
    }
    Ok(side)
}
