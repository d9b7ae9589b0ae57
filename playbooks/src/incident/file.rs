//! The TOML of an incident file, and the checks that need nothing but the file and the rules.

use std::collections::BTreeMap;
use std::time::Duration;

use analyzers::rules;
use serde::Deserialize;
use toml::Spanned;

use super::{Expect, Fault, Incident, Setting};
use crate::place::{Misplaced, Source};

/// How long an incident is watched unless it says so.
const WATCH: Duration = Duration::from_secs(40);
/// When a fault strikes unless it says so: what is normal must have been seen before.
const STRIKES: Duration = Duration::from_secs(10);
/// Nobody waits longer for one incident.
const LONGEST: Duration = Duration::from_secs(3600);

type Settings = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncidentFile {
    title: Spanned<String>,
    #[serde(default)]
    story: String,
    watch: Option<Spanned<String>>,
    #[serde(default)]
    shop: Settings,
    #[serde(default)]
    load: Settings,
    fault: Vec<FaultTable>,
    expect: ExpectTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultTable {
    kind: Spanned<String>,
    target: Spanned<String>,
    at: Option<Spanned<String>>,
    lasts: Option<Spanned<String>>,
    #[serde(default)]
    params: toml::Table,
    #[serde(default)]
    from_start: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectTable {
    cause: Spanned<String>,
    #[serde(default)]
    subjects: Vec<String>,
    #[serde(default)]
    also: Vec<Spanned<String>>,
}

pub(super) fn read(id: &str, source: Source<'_>) -> Result<Incident, Misplaced> {
    let file: IncidentFile =
        toml::from_str(source.text).map_err(|error| source.toml_error(&error))?;
    if file.title.get_ref().trim().is_empty() {
        return Err(source.error(file.title.span(), "an incident needs a title"));
    }
    let watch = optional(source, file.watch.as_ref())?.unwrap_or(WATCH);
    let mut faults = Vec::with_capacity(file.fault.len());
    for table in &file.fault {
        let fault = fault(source, table)?;
        if fault.at >= watch {
            return Err(source.error(
                table.at.as_ref().map_or(table.kind.span(), Spanned::span),
                "the fault strikes when the run is over",
            ));
        }
        faults.push(fault);
    }
    Ok(Incident {
        id: id.to_owned(),
        title: file.title.into_inner(),
        story: file.story,
        watch,
        shop: settings(source, file.shop)?,
        load: settings(source, file.load)?,
        faults,
        expect: expect(source, file.expect)?,
        file: source.file.to_owned(),
        text: source.text.to_owned(),
    })
}

fn optional(
    source: Source<'_>,
    text: Option<&Spanned<String>>,
) -> Result<Option<Duration>, Misplaced> {
    let Some(text) = text else { return Ok(None) };
    let duration = case::time::parse_duration(text.get_ref())
        .map(Duration::from_nanos)
        .map_err(|error| source.error(text.span(), error))?;
    if duration > LONGEST {
        return Err(source.error(text.span(), "an incident lasts an hour at most"));
    }
    Ok(Some(duration))
}

fn fault(source: Source<'_>, table: &FaultTable) -> Result<Fault, Misplaced> {
    let target = table.target.get_ref();
    let (service, instance) = match target.split_once(':') {
        None => (target.as_str(), None),
        Some((service, number)) => {
            let number = number.parse().map_err(|_| {
                source
                    .error(
                        table.target.span(),
                        format!("'{number}' is no instance number"),
                    )
                    .hint("name one instance as service:number, counted from 0: payment:1")
            })?;
            (service, Some(number))
        }
    };
    if service.is_empty() {
        return Err(source.error(table.target.span(), "a fault needs a target"));
    }
    Ok(Fault {
        at: optional(source, table.at.as_ref())?.unwrap_or(STRIKES),
        lasts: optional(source, table.lasts.as_ref())?,
        kind: table.kind.get_ref().clone(),
        service: service.to_owned(),
        instance,
        params: serde_json::to_value(&table.params)
            .map_err(|error| source.error(table.kind.span(), error))?,
        from_start: table.from_start,
        place: table.kind.span(),
    })
}

fn settings(source: Source<'_>, settings: Settings) -> Result<Vec<Setting>, Misplaced> {
    settings
        .into_iter()
        .map(|(key, value)| {
            let at = key.span();
            Ok(Setting {
                key: key.into_inner(),
                value: serde_json::to_value(value.get_ref())
                    .map_err(|error| source.error(value.span(), error))?,
                at,
            })
        })
        .collect()
}

fn expect(source: Source<'_>, table: ExpectTable) -> Result<Expect, Misplaced> {
    let cause = table.cause.get_ref();
    let of_form = cause
        .split_once('#')
        .is_some_and(|(symptom, name)| symptom.contains('/') && !name.is_empty());
    if !of_form {
        return Err(source
            .error(table.cause.span(), format!("'{cause}' is no cause"))
            .hint("a cause is written symptom#cause: resolution/stale-cache#ttl-too-long"));
    }
    for rule in &table.also {
        let name = rule.get_ref();
        let known = match name.strip_suffix("/*") {
            Some(_) => true,
            None => rules::find(name).is_some(),
        };
        if !known {
            let error = source.error(rule.span(), format!("no rule '{name}'"));
            let names = rules::ALL.iter().map(|rule| rule.about().id);
            return Err(match case::nearest::nearest(name, names) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("`casefile explain` lists the rules"),
            });
        }
    }
    Ok(Expect {
        cause: table.cause.into_inner(),
        subjects: table.subjects,
        also: table.also.into_iter().map(Spanned::into_inner).collect(),
    })
}
