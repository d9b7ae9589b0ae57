use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::tui::input::press;
use crate::tui::keymap::Keymap;
use crate::tui::keys::{Key, keys_of};
use crate::tui::work::{Answer, Found, OverviewFound};

fn overview(services: &[&str]) -> OverviewFound {
    let window = Window {
        from: case::Nanos(0),
        until: case::Nanos(1_000_000_000),
    };
    OverviewFound {
        head: Head {
            live: true,
            window: Some(window),
            ..Head::default()
        },
        overview: Overview {
            window,
            services: services
                .iter()
                .map(|name| Service {
                    name: (*name).to_owned(),
                    requests: 1,
                    errors: 0,
                    p50: 1,
                    p95: 1,
                    p99: 1,
                    over_time: Vec::new(),
                })
                .collect(),
            entries: Vec::new(),
        },
        partial: false,
        baseline: None,
        pinned: BTreeSet::new(),
    }
}

fn answer(serial: u64, found: Found) -> Answer {
    Answer {
        serial,
        took: Duration::ZERO,
        found,
    }
}

/// The questions that were asked since the last time.
fn asked(state: &mut State) -> Vec<Ask> {
    state
        .effects()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Ask(ask) => Some(ask),
            _ => None,
        })
        .collect()
}

fn state(services: &[&str]) -> State {
    let mut state = State::new("x.case".to_owned());
    state.ask_overview();
    let serial = asked(&mut state)[0].serial;
    state.take(answer(serial, Found::Overview(overview(services))));
    state
}

fn keys(state: &mut State, text: &str) -> Vec<Request> {
    let keymap = Keymap::default();
    for key in keys_of(text).unwrap_or_default() {
        press(state, &keymap, key);
    }
    asked(state).into_iter().map(|ask| ask.request).collect()
}

fn traces(filter: &str) -> Request {
    Request::Traces {
        filter: filter.to_owned(),
    }
}

#[test]
fn opening_a_service_asks_for_its_traces() {
    let mut state = state(&["payment", "two words"]);
    assert_eq!(keys(&mut state, "enter"), [traces("service:payment")]);
    assert_eq!(
        keys(&mut state, "esc j enter"),
        [traces("service:\"two words\"")]
    );
    assert!(matches!(state.screen(), Screen::Traces(view) if view.rows.is_none()));
}

#[test]
fn the_selection_stays_within_what_is_there_and_with_who_was_selected() {
    let mut state = state(&["a", "b", "c"]);
    keys(&mut state, "j j j j j");
    assert_eq!(state.selected(), Some(2));
    state.take(answer(0, Found::Overview(overview(&["c", "a", "b"]))));
    assert_eq!(state.selected(), Some(0), "c has moved to the top");
    keys(&mut state, "G");
    state.take(answer(0, Found::Overview(overview(&["a"]))));
    assert_eq!(
        state.selected(),
        Some(0),
        "services may vanish under the selection"
    );
    keys(&mut state, "k G g pgdn pgup");
    assert_eq!(state.selected(), Some(0));
}

#[test]
fn a_filter_is_typed_and_sent() {
    let mut state = state(&["a"]);
    assert_eq!(keys(&mut state, "/ q1x backspace"), []);
    assert!(!state.quit, "letters are text while a filter is typed");
    assert_eq!(keys(&mut state, "enter"), [traces("q1")]);
    assert_eq!(keys(&mut state, "/ esc"), []);
    assert!(state.prompt.is_none());
}

#[test]
fn late_answers_do_not_land_on_another_list() {
    let mut state = state(&["a"]);
    let keymap = Keymap::default();
    for key in keys_of("/ old enter").unwrap_or_default() {
        press(&mut state, &keymap, key);
    }
    let old = asked(&mut state)[0].serial;
    keys(&mut state, "esc / new enter");
    let found = Found::Traces {
        rows: Vec::new(),
        left_out: 9,
        window: None,
    };
    state.take(answer(old, found));
    assert!(
        matches!(state.screen(), Screen::Traces(view) if view.rows.is_none() && view.left_out == 0)
    );
}

#[test]
fn a_failure_is_said_and_ends_the_waiting() {
    let mut state = state(&["a"]);
    let keymap = Keymap::default();
    for key in keys_of("/ servcie:x enter").unwrap_or_default() {
        press(&mut state, &keymap, key);
    }
    let serial = asked(&mut state)[0].serial;
    state.take(answer(serial, Found::Failed("no key".to_owned())));
    assert_eq!(state.message.as_deref(), Some("no key"));
    assert!(
        matches!(state.screen(), Screen::Traces(view) if view.rows.as_ref().is_some_and(Vec::is_empty))
    );
}

#[test]
fn back_never_leaves_the_overview_and_quit_does() {
    let mut state = state(&["a"]);
    keys(&mut state, "f esc esc esc");
    assert!(matches!(state.screen(), Screen::Overview { .. }));
    keys(&mut state, "? q");
    assert!(
        !state.quit && state.help.is_none(),
        "the first key closes the help"
    );
    press(&mut state, &Keymap::default(), Key::Char('q'));
    assert!(state.quit);
}

#[test]
fn an_older_report_does_not_replace_a_newer_one() {
    let mut state = state(&["a"]);
    state.ask_report();
    let old = asked(&mut state)[0].serial;
    state.ask_report();
    let report = Report::of(Window::default(), Vec::new());
    state.take(answer(old, Found::Report(Arc::new(report))));
    assert!(state.report.is_none() && state.diagnosing);
}

#[test]
fn what_is_live_is_frozen_first_and_then_played() {
    let mut state = state(&["a"]);
    keys(&mut state, "space");
    assert_eq!(state.moment.at, Some(case::Nanos(1_000_000_000)));
    assert!(!state.moment.playing);
    keys(&mut state, "space");
    assert_eq!(
        state.moment.at,
        Some(case::Nanos(0)),
        "at the end it begins anew"
    );
    assert!(state.moment.playing);
    keys(&mut state, "0");
    assert_eq!(state.moment.at, None);
}
