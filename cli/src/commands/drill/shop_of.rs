//! What an incident asks of the shop, in the shop's own words: switches, load and faults, checked against what there is.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use playbooks::incident::{Fault, Incident, Setting};
use playbooks::place::Misplaced;
use serde_json::Value;
use shop_fixture::ShopError;
use shop_fixture::config::{Ports, Resilience, ShopConfig};
use shop_fixture::faults::{FaultRequest, KindInfo, Target, kinds};
use shop_fixture::load::LoadOptions;

/// How fast the shop's clockwork runs unless an incident says so: its minutes are seconds.
pub(super) const TIME_SCALE: f64 = 20.0;
/// Journey steps a second.
const RATE: f64 = 8.0;

/// The shop that an incident is played in.
pub(super) fn config(incident: &Incident, run_dir: &Path) -> Result<ShopConfig, Misplaced> {
    let mut config = ShopConfig {
        ports: Ports::Auto,
        blind: true,
        time_scale: TIME_SCALE,
        ..ShopConfig::new(run_dir.to_owned())
    };
    let mut publish_said = false;
    for setting in &incident.shop {
        let wrong = |what: String| incident.error(&setting.at, what);
        match setting.key.as_str() {
            "profile" => config.profile = switch(setting).map_err(wrong)?,
            "resilience" => config.resilience = switch(setting).map_err(wrong)?,
            "publish" => {
                config.publish = switch(setting).map_err(wrong)?;
                publish_said = true;
            }
            "latency" => config.latency = switch(setting).map_err(wrong)?,
            "noise" => config.noise = switch(setting).map_err(wrong)?,
            "rate_limit" => config.rate_limit = switch(setting).map_err(wrong)?,
            "bus_trace" => config.bus_trace = switch(setting).map_err(wrong)?,
            "restart" => config.restart = switch(setting).map_err(wrong)?,
            "registry_probe" => config.registry_probe = switch(setting).map_err(wrong)?,
            "registry_nodes" => config.registry_nodes = number(setting).map_err(wrong)? as u16,
            "saga_model" => config.saga_model = text(setting).map_err(wrong)?.to_owned(),
            "time_scale" => config.time_scale = number(setting).map_err(wrong)?,
            other => return Err(wrong(format!("the shop has no switch '{other}'"))),
        }
    }
    // As on the shop's own command line.
    if !publish_said && config.resilience != Resilience::On {
        config.publish = shop_fixture::config::Publish::Direct;
    }
    config.check().map_err(|error| {
        let at = incident.shop.first().map(|setting| setting.at.clone());
        incident.error(&at.unwrap_or(0..0), error)
    })?;
    Ok(config)
}

/// The load on it.
pub(super) fn load(incident: &Incident, seed: u64) -> Result<LoadOptions, Misplaced> {
    let mut load = LoadOptions {
        rate: RATE,
        seed,
        mix: shop_fixture::load::Mix::Shoppers,
        ..LoadOptions::new(String::new())
    };
    for setting in &incident.load {
        let wrong = |what: String| incident.error(&setting.at, what);
        match setting.key.as_str() {
            "rate" => load.rate = number(setting).map_err(wrong)?,
            "mix" => load.mix = switch(setting).map_err(wrong)?,
            "pattern" => load.pattern = switch(setting).map_err(wrong)?,
            "behavior" => load.behaviour = Some(text(setting).map_err(wrong)?.to_owned()),
            "other_client" => load.other_client = Some(switch(setting).map_err(wrong)?),
            other => return Err(wrong(format!("load has no '{other}'"))),
        }
    }
    Ok(load)
}

/// The fault as the shop is asked for it.
pub(super) fn request(incident: &Incident, fault: &Fault) -> Result<FaultRequest, Misplaced> {
    let request = FaultRequest {
        target: Target {
            service: fault.service.clone(),
            instance: fault.instance,
        },
        params: fault.params.clone(),
        // Longer than anyone watches, so that it ends with the run.
        ttl_s: Some(
            fault
                .lasts
                .unwrap_or(Duration::from_secs(7200))
                .as_secs_f64(),
        ),
        from_start: fault.from_start,
        ..FaultRequest::new(&fault.kind, &fault.service)
    };
    request.resolve().map(|_| request.clone()).map_err(|what| {
        let error = incident.error(&fault.place, what);
        match KindInfo::find(&fault.kind) {
            Some(_) => error,
            None => match case::nearest::nearest(&fault.kind, kinds().map(|kind| kind.name)) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("`casefile shop fault list` lists the kinds"),
            },
        }
    })
}

/// All checks that need no running shop.
pub(super) fn check(incident: &Incident) -> Result<(), Misplaced> {
    config(incident, Path::new("/"))?;
    load(incident, 0)?;
    for fault in &incident.faults {
        request(incident, fault)?;
    }
    Ok(())
}

fn text(setting: &Setting) -> Result<&str, String> {
    setting
        .value
        .as_str()
        .ok_or_else(|| format!("{} must be a text", setting.key))
}

fn number(setting: &Setting) -> Result<f64, String> {
    setting
        .value
        .as_f64()
        .ok_or_else(|| format!("{} must be a number", setting.key))
}

fn switch<T: FromStr<Err = ShopError>>(setting: &Setting) -> Result<T, String> {
    match &setting.value {
        Value::String(text) => text.parse().map_err(|error: ShopError| error.to_string()),
        _ => Err(format!("{} must be a text", setting.key)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_built_in_incident_fits_the_shop() {
        for incident in playbooks::incident::all().unwrap() {
            check(&incident).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn what_the_shop_does_not_know_is_told_with_its_place() {
        let text = |shop: &str, kind: &str| {
            format!(
                "title = \"x\"\n[shop]\n{shop}\n[[fault]]\nkind = \"{kind}\"\ntarget = \"payment\"\n[expect]\ncause = \
                 \"a/b#c\"\n"
            )
        };
        let wrong = |shop: &str, kind: &str| {
            let incident = Incident::parse("a/b--c", "f", &text(shop, kind)).unwrap();
            check(&incident).unwrap_err()
        };
        let error = wrong("", "kil9");
        assert_eq!((error.line, error.column), (5, 8));
        assert_eq!(error.hint.as_deref(), Some("did you mean kill9?"));
        assert_eq!(wrong("profil = \"tiny\"", "kill9").line, 3);
        assert_eq!(wrong("profile = \"huge\"", "kill9").line, 3);
        assert_eq!(wrong("time_scale = \"fast\"", "kill9").line, 3);
    }
}
