#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn effects(text: &str, service: &str) -> Effects {
    Behaviour::parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .for_service(service)
}

fn error_at(text: &str) -> (usize, String) {
    let error = Behaviour::parse(text).expect_err(text);
    (error.position, error.message)
}

#[test]
fn every_form_of_latency_is_read() {
    for (text, expected) in [
        ("latency=100ms", Delay::Fixed(ms(100))),
        ("latency=1s", Delay::Fixed(ms(1_000))),
        ("latency=1.5s", Delay::Fixed(ms(1_500))),
        ("latency=0ms", Delay::Fixed(ms(0))),
        ("latency=100-300ms", Delay::Range(ms(100), ms(300))),
        ("latency=100ms-300ms", Delay::Range(ms(100), ms(300))),
        ("latency=500ms-1s", Delay::Range(ms(500), ms(1_000))),
        ("latency=1s-3s", Delay::Range(ms(1_000), ms(3_000))),
        ("latency=1-3s", Delay::Range(ms(1_000), ms(3_000))),
        ("latency=0.5-1.5s", Delay::Range(ms(500), ms(1_500))),
        ("latency=100-100ms", Delay::Range(ms(100), ms(100))),
    ] {
        assert_eq!(effects(text, "payment").latency, Some(expected), "{text}");
    }
}

#[test]
fn every_form_of_error_is_read() {
    for (text, code, probability) in [
        ("error=0.2", 500, 0.2),
        ("error=1", 500, 1.0),
        ("error=0", 500, 0.0),
        ("error=1.0", 500, 1.0),
        ("error=503", 503, 1.0),
        ("error=400", 400, 1.0),
        ("error=599", 599, 1.0),
        ("error=503:0.5", 503, 0.5),
        ("error=503:1", 503, 1.0),
        ("error=404:0", 404, 0.0),
    ] {
        assert_eq!(
            effects(text, "payment").error,
            Some(Injection { code, probability }),
            "{text}"
        );
    }
}

#[test]
fn an_item_without_a_service_continues_the_last_one() {
    let text =
        "payment:error=0.2,latency=100-300ms,inventory:error=0.15,shipping:latency=200-500ms";
    let payment = effects(text, "payment");
    assert_eq!(
        payment.error,
        Some(Injection {
            code: 500,
            probability: 0.2
        })
    );
    assert_eq!(payment.latency, Some(Delay::Range(ms(100), ms(300))));
    assert_eq!(effects(text, "inventory").latency, None);
    assert_eq!(
        effects(text, "shipping").latency,
        Some(Delay::Range(ms(200), ms(500)))
    );
    assert_eq!(effects(text, "checkout"), Effects::default());
}

#[test]
fn a_service_with_items_ignores_the_global_ones() {
    let text = "latency=20-100ms,error=0.05,payment:error=0.1";
    assert_eq!(effects(text, "payment").latency, None);
    assert_eq!(
        effects(text, "payment").error,
        Some(Injection {
            code: 500,
            probability: 0.1
        })
    );
    assert_eq!(
        effects(text, "shipping").latency,
        Some(Delay::Range(ms(20), ms(100)))
    );
}

#[test]
fn repetition_replaces() {
    assert_eq!(
        effects("error=0.1,error=0.4", "payment")
            .error
            .unwrap()
            .probability,
        0.4
    );
    let back = "payment:error=0.1,shipping:error=0.2,payment:latency=5ms";
    assert_eq!(
        effects(back, "payment"),
        Effects {
            latency: Some(Delay::Fixed(ms(5))),
            error: None
        }
    );
    let same = "payment:error=0.1,payment:latency=5ms";
    assert_eq!(
        effects(same, "payment").error,
        Some(Injection {
            code: 500,
            probability: 0.1
        })
    );
}

#[test]
fn an_empty_string_is_valid_and_does_nothing() {
    assert_eq!(Behaviour::parse("").unwrap(), Behaviour::default());
}

#[test]
fn mistakes_are_refused_where_they_stand() {
    for (text, position) in [
        ("latency", 1),
        (",", 1),
        ("latency=5ms,", 13),
        ("latency=", 9),
        ("latency=5", 10),
        ("latency=ms", 9),
        ("latency=5m", 10),
        ("latency=5MS", 10),
        ("latency=-5ms", 9),
        ("latency=100ms-200", 18),
        ("latency=300-100ms", 9),
        ("latency=1s-100ms", 9),
        ("latency=1.ms", 9),
        ("latency=.5s", 9),
        ("latency=1e3ms", 10),
        ("latency=1-2-3ms", 12),
        ("latency=99999s", 9),
        ("error=", 7),
        ("error=1.5", 7),
        ("error=200", 7),
        ("error=399", 7),
        ("error=600", 7),
        ("error=503.0", 7),
        ("error=503:1.1", 11),
        ("error=503:", 11),
        ("error=:0.5", 7),
        ("error=-0.1", 7),
        ("error=NaN", 7),
        ("error=503:0.5:1", 11),
        ("panic=1", 1),
        ("payment:cpu=1", 9),
        ("nobody:error=1", 1),
        ("Payment:error=1", 1),
        ("payment:x:error=1", 9),
        (":error=1", 1),
        ("error=0.1, latency=5ms", 11),
        ("error=0.1,zahlung:error=1", 11),
        ("é=1", 1),
    ] {
        assert_eq!(error_at(text).0, position, "{text}: {}", error_at(text).1);
    }
    assert!(Behaviour::parse(&"error=0.1,".repeat(1_000)).is_err());
}

#[test]
fn no_input_of_short_length_panics() {
    const PIECES: &[&str] = &[
        "payment", ":", "=", ",", "error", "latency", "5", "0.5", "-", "ms", "s", "503", "é", ".",
    ];
    let mut rng = Rng::new(3);
    for _ in 0..20_000 {
        let count = rng.below(9);
        let text: String = (0..count)
            .map(|_| PIECES[rng.below(PIECES.len())])
            .collect();
        if let Err(error) = Behaviour::parse(&text) {
            assert!(
                error.position >= 1 && error.position <= text.chars().count() + 1,
                "{text}: {error}"
            );
        }
    }
}

#[test]
fn what_was_applied_is_written_as_reports_show_it() {
    let shown = |text| effects(text, "payment").latency.unwrap().to_string();
    assert_eq!(shown("latency=500-1000ms"), "latency:range:500ms-1s");
    assert_eq!(shown("latency=1.5s"), "latency:fixed:1.5s");
    assert_eq!(
        effects("error=503:0.5", "payment")
            .error
            .unwrap()
            .to_string(),
        "error:503:0.50"
    );
}

#[test]
fn draws_stay_in_their_range() {
    let delay = Delay::Range(ms(100), ms(300));
    let mut rng = Rng::new(1);
    assert!(
        (0..1_000)
            .map(|_| delay.draw(&mut rng))
            .all(|drawn| (ms(100)..=ms(300)).contains(&drawn))
    );
}
