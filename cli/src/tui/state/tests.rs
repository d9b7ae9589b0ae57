use super::*;
use crate::tui::input::{Key, press};

fn overview(services: &[&str]) -> Answer {
    let window = Window {
        from: case::Nanos(0),
        until: case::Nanos(1_000_000_000),
    };
    Answer::Overview {
        head: Head {
            live: true,
            ..Head::default()
        },
        overview: Overview {
            window,
            services: services
                .iter()
                .map(|name| analyzers::red::Service {
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
        report: Report::of(window, Vec::new()),
    }
}

fn state(services: &[&str]) -> State {
    let mut state = State::new("x.case".to_owned());
    state.take(overview(services));
    state
}

fn keys(state: &mut State, text: &str) -> Option<Request> {
    crate::tui::input::keys_of(text)
        .ok()?
        .into_iter()
        .fold(None, |_, key| press(state, key))
}

#[test]
fn opening_a_service_asks_for_its_traces() {
    let mut state = state(&["payment", "two words"]);
    assert_eq!(
        keys(&mut state, "enter"),
        Some(Request::Traces {
            filter: "service:payment".to_owned()
        })
    );
    assert_eq!(
        keys(&mut state, "esc j enter"),
        Some(Request::Traces {
            filter: "service:\"two words\"".to_owned()
        })
    );
    assert!(matches!(state.screen(), Screen::Traces(view) if view.rows.is_none()));
}

#[test]
fn the_selection_stays_within_what_is_there() {
    let mut state = state(&["a", "b", "c"]);
    keys(&mut state, "j j j j j");
    assert!(matches!(state.screen(), Screen::Overview { selected: 2 }));
    state.take(overview(&["a"]));
    assert!(
        matches!(state.screen(), Screen::Overview { selected: 0 }),
        "services may vanish under the selection"
    );
    keys(&mut state, "k G g pgdn pgup");
    assert!(matches!(state.screen(), Screen::Overview { selected: 0 }));
}

#[test]
fn a_filter_is_typed_and_sent() {
    let mut state = state(&["a"]);
    assert_eq!(keys(&mut state, "/ q1x backspace"), None);
    assert!(!state.quit, "letters are text while a filter is typed");
    assert_eq!(
        state.prompt.as_ref().map(|prompt| prompt.text.as_str()),
        Some("q1")
    );
    assert_eq!(
        keys(&mut state, "enter"),
        Some(Request::Traces {
            filter: "q1".to_owned()
        })
    );
    assert_eq!(keys(&mut state, "/ esc"), None);
    assert!(state.prompt.is_none());
}

#[test]
fn late_answers_do_not_land_on_another_list() {
    let mut state = state(&["a"]);
    keys(&mut state, "/ old enter");
    keys(&mut state, "esc / new enter");
    state.take(Answer::Traces {
        filter: "old".to_owned(),
        rows: Vec::new(),
        left_out: 9,
    });
    assert!(
        matches!(state.screen(), Screen::Traces(view) if view.rows.is_none() && view.left_out == 0)
    );
}

#[test]
fn a_failure_is_said_and_ends_the_waiting() {
    let mut state = state(&["a"]);
    keys(&mut state, "/ servcie:x enter");
    state.take(Answer::Failed {
        what: "no key".to_owned(),
    });
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
    assert!(!state.quit && !state.help, "the first key closes the help");
    press(&mut state, Key::Char('q'));
    assert!(state.quit);
}
