#![allow(clippy::unwrap_used)]

use super::*;

const SECOND: u64 = 1_000_000_000;

fn registration(id: &str) -> Registration {
    Registration {
        id: id.to_owned(),
        name: "payment".to_owned(),
        address: "127.0.0.1:9200".to_owned(),
        health_path: "/health/ready".to_owned(),
        status: None,
        metadata: REQUIRED_METADATA
            .iter()
            .map(|key| ((*key).to_owned(), "1".to_owned()))
            .collect(),
    }
}

fn kinds(table: &Table) -> Vec<String> {
    table
        .events_since(0)
        .into_iter()
        .map(|event| event.kind)
        .collect()
}

#[test]
fn a_silent_instance_ages_through_every_state() {
    let mut table = Table::new(Timing::scaled(1.0));
    table.register(0, registration("a")).unwrap();
    for second in (5..=85).step_by(5) {
        table.sweep(second * SECOND);
        let listed = table.lookup("payment").len();
        assert_eq!(listed, usize::from(second < 45), "at {second} s");
    }
    assert_eq!(
        kinds(&table),
        [
            "registered",
            "heartbeat_missed",
            "suspect",
            "expired",
            "draining",
            "removed"
        ]
    );
    assert_eq!(table.all().count(), 0);
    let seqs: Vec<u64> = table
        .events_since(0)
        .iter()
        .map(|event| event.seq)
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_time_scale_shortens_every_interval() {
    let mut table = Table::new(Timing::scaled(20.0));
    table.register(0, registration("a")).unwrap();
    table.sweep(45 * SECOND / 20);
    assert!(table.lookup("payment").is_empty());
}

#[test]
fn heartbeats_keep_it_and_bring_it_back() {
    let mut table = Table::new(Timing::scaled(1.0));
    table.register(0, registration("a")).unwrap();
    assert!(table.heartbeat(15 * SECOND, "a", None));
    table.sweep(16 * SECOND);
    assert_eq!(kinds(&table), ["registered"]);
    table.sweep(46 * SECOND);
    assert_eq!(table.lookup("payment")[0].state, State::Suspect);
    table.heartbeat(47 * SECOND, "a", Some(State::Healthy));
    assert_eq!(table.lookup("payment")[0].state, State::Healthy);
    assert_eq!(kinds(&table).last().unwrap(), "status_changed");
    assert!(!table.heartbeat(48 * SECOND, "unknown", None));
}

#[test]
fn suspects_are_listed_only_when_nothing_better_is() {
    let mut table = Table::new(Timing::scaled(1.0));
    table.register(0, registration("a")).unwrap();
    table.register(20 * SECOND, registration("b")).unwrap();
    table.sweep(35 * SECOND);
    let listed: Vec<&str> = table
        .lookup("payment")
        .iter()
        .map(|instance| instance.id.as_str())
        .collect();
    assert_eq!(listed, ["b"]);
}

#[test]
fn registering_again_replaces_and_missing_metadata_warns() {
    let mut table = Table::new(Timing::scaled(1.0));
    let mut incomplete = registration("a");
    incomplete.metadata.remove("track");
    let (_, warnings) = table.register(0, incomplete).unwrap();
    assert_eq!(warnings, ["metadata 'track' is missing"]);
    let (record, warnings) = table.register(1, registration("a")).unwrap();
    assert!(warnings.is_empty() && record.seq == 2);
    assert_eq!(kinds(&table), ["registered", "replaced"]);
    assert!(table.deregister(2, "a") && !table.deregister(3, "a"));
}

#[test]
fn a_restarted_registry_counts_on_and_knows_nobody() {
    let mut table = Table::new(Timing::scaled(1.0));
    table.register(0, registration("a")).unwrap();
    let mut again = Table::new(Timing::scaled(1.0));
    again.resume(5, table.events_since(0));
    assert_eq!(kinds(&again), ["registered", "restarted"]);
    assert_eq!((again.seq(), again.all().count()), (2, 0));
    assert_eq!(again.events_since(1).len(), 1);
}

#[test]
fn malformed_registrations_are_refused() {
    let mut table = Table::new(Timing::scaled(1.0));
    let breaks: [fn(&mut Registration); 6] = [
        |registration| registration.id.clear(),
        |registration| registration.name = "pay ment".to_owned(),
        |registration| registration.address = String::new(),
        |registration| registration.address = "host:0".to_owned(),
        |registration| registration.health_path = String::new(),
        |registration| registration.status = Some("fine".to_owned()),
    ];
    for change in breaks {
        let mut broken = registration("a");
        change(&mut broken);
        assert!(table.register(0, broken).is_err());
    }
    assert!(kinds(&table).is_empty());
}

fn probing() -> Table {
    let mut table = Table::new(Timing::scaled(1.0));
    table.set_probe(Some(ProbeTiming {
        interval: 10 * SECOND,
        timeout: 5 * SECOND,
        failures: 3,
    }));
    table.register(0, registration("a")).unwrap();
    table
}

#[test]
fn three_failed_probes_in_a_row_mark_it_and_one_success_ends_that() {
    let mut table = probing();
    let failed = || Err("answered 503".to_owned());
    for (second, found) in [
        (1, failed()),
        (2, failed()),
        (3, Ok(())),
        (4, failed()),
        (5, failed()),
    ] {
        table.probed(second * SECOND, "a", found);
        assert_eq!(table.lookup("payment").len(), 1, "at {second} s");
    }
    table.probed(6 * SECOND, "a", failed());
    assert!(table.lookup("payment").is_empty());
    // Its own word does not outweigh what the registry sees.
    table.heartbeat(7 * SECOND, "a", Some(State::Healthy));
    assert!(table.lookup("payment").is_empty());
    table.probed(8 * SECOND, "a", Ok(()));
    assert_eq!(table.lookup("payment").len(), 1);
    let reasons: Vec<String> = table
        .events_since(1)
        .into_iter()
        .filter_map(|event| event.reason)
        .collect();
    assert_eq!(
        reasons,
        [
            "healthy to unhealthy: 3 probes failed, the last one answered 503",
            "unhealthy to healthy: a probe succeeded"
        ]
    );
}

#[test]
fn a_registry_that_keeps_its_dead_blocks_their_ids_until_it_cleans_up() {
    let mut table = Table::new(Timing::scaled(1.0));
    table.register(0, registration("a")).unwrap();
    table.set_disorder(Disorder {
        keep_dead: Some(Some(600 * SECOND)),
        corrupt: None,
    });
    for second in (5..600).step_by(5) {
        table.sweep(second * SECOND);
    }
    assert_eq!(table.all().count(), 1);
    assert!(table.lookup("payment").is_empty());
    assert!(table.register(599 * SECOND, registration("a")).is_err());
    table.sweep(600 * SECOND);
    assert_eq!(table.all().count(), 0);
    assert!(table.register(601 * SECOND, registration("a")).is_ok());
}

#[test]
fn a_damaged_row_differs_from_its_event() {
    let mut table = Table::new(Timing::scaled(1.0));
    table.set_disorder(Disorder {
        keep_dead: None,
        corrupt: Some("payment".to_owned()),
    });
    table.register(0, registration("a")).unwrap();
    assert_eq!(table.events_since(0)[0].name, "payment");
    assert_eq!(table.all().next().unwrap().name, "payent");
}
