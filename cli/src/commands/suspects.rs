//! `casefile suspects`: services, stores and nodes ranked by how well they explain an incident, against a better time.

use analyzers::suspects::{self, Cost, Ranking, Sight, Symptom};
use case::{Case, Window};
use clap::Args;
use serde::Serialize;

use crate::args::{CaseArgs, WindowArgs};
use crate::error::CliError;
use crate::exit;
use crate::output::{Console, Format};
use crate::reading::Reading;
use crate::render::suspects as drawn;
use crate::views;

#[derive(Debug, Args)]
pub struct SuspectsArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// When all was well.
    #[arg(long, value_name = "A..B")]
    baseline: String,
    /// When it was not.
    #[arg(long, value_name = "A..B")]
    incident: String,
    /// What is to be explained: a service, and its latency or its errors. Then only what it calls can be suspected.
    #[arg(long, value_name = "SERVICE:latency|errors")]
    symptom: Option<String>,
    /// List those as well against whom little speaks.
    #[arg(long)]
    all: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct SuspectsObject<'a> {
    baseline: Window,
    incident: Window,
    #[serde(flatten)]
    ranking: &'a Ranking,
}

pub fn run(args: &SuspectsArgs, console: &mut Console) -> Result<u8, CliError> {
    let reading = Reading::open(&args.case, &WindowArgs::default(), console)?;
    let window = |text: &str| -> Result<Window, CliError> {
        views::known_part(&reading.case, Window::parse(text, reading.now)?)
    };
    let baseline = window(&args.baseline)?;
    let incident = window(&args.incident)?;
    let symptom = args.symptom.as_deref().map(symptom).transpose()?;
    if let Some(symptom) = &symptom {
        reading.check_services(&[&symptom.service])?;
    }
    let mut ranking = rank(&reading.case, baseline, incident, symptom.as_ref())?;
    if !args.all {
        ranking
            .suspects
            .retain(|suspect| suspect.score >= suspects::LEAST);
    }
    match args.format {
        Format::Text => console.lines(&drawn::lines(&ranking, console.drawing_width()))?,
        Format::Json => console.json(&SuspectsObject {
            baseline,
            incident,
            ranking: &ranking,
        })?,
    }
    reading.tell_damage(console);
    Ok(exit::CLEAN)
}

/// Ranks a window of a case against another.
pub fn rank(
    case: &Case,
    baseline: Window,
    incident: Window,
    symptom: Option<&Symptom>,
) -> Result<Ranking, CliError> {
    for (name, window) in [("baseline", baseline), ("incident", incident)] {
        if window.from >= window.until {
            return Err(
                CliError::new(format!("the case has nothing in the {name}'s window"))
                    .hint("`casefile info` says from when to when it reaches"),
            );
        }
    }
    if baseline.overlaps(incident.from, incident.until.saturating_sub(1)) {
        return Err(CliError::new("the baseline and the incident overlap")
            .hint("what is compared with itself does not differ"));
    }
    let usual = Sight::gather(
        case,
        baseline,
        Some(suspects::sight::history(baseline, incident)),
    )?;
    let now = Sight::gather(case, incident, None)?;
    Ok(suspects::rank(&usual, &now, symptom))
}

fn symptom(text: &str) -> Result<Symptom, CliError> {
    let wrong = || {
        CliError::new(format!("{text:?} is no symptom"))
            .hint("name a service and what is wrong with it: checkout:latency, or checkout:errors")
    };
    let (service, what) = text.rsplit_once(':').ok_or_else(wrong)?;
    let cost = match what {
        "latency" => Cost::Latency,
        "errors" => Cost::Errors,
        _ => return Err(wrong()),
    };
    Ok(Symptom {
        service: service.to_owned(),
        cost,
    })
}
