//! The real workbench on a real case: keys in, screen out. Screens stand as text beside this file, one for each view,
//! size and case; `CASEFILE_WRITE_SCREENS=1 cargo test -p casefile --lib tui::tests` writes them anew, to be looked at.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::keys::Key;
use super::state::{Place, Screen};
use super::testing::{case, rig};
use super::*;

/// The two cases, written once for all tests.
struct Cases {
    _folders: [tempfile::TempDir; 2],
    healthy: PathBuf,
    faulty: PathBuf,
}

static CASES: LazyLock<Cases> = LazyLock::new(|| {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let healthy = case(folders[0].path(), false);
    let faulty = case(folders[1].path(), true);
    Cases {
        _folders: folders,
        healthy,
        faulty,
    }
});

fn of(faulty: bool) -> &'static Path {
    if faulty {
        &CASES.faulty
    } else {
        &CASES.healthy
    }
}

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// Every view, and the keys that lead to it.
const VIEWS: [(&str, &str); 12] = [
    ("overview", ""),
    ("traces", "2"),
    ("trace", "2 / status:error enter enter e"),
    ("trace-logs", "2 enter l l"),
    ("logs", "3"),
    ("patterns", "3 P"),
    ("map", "4"),
    ("registry", "5"),
    ("sagas", "6"),
    ("findings", "7"),
    ("finding", "7 enter"),
    ("compare", "2 m j j j m ="),
];

fn screens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui/screens")
}

/// Compares with the screen that is written down, or writes it.
fn compare(name: &str, text: &str) -> Result<(), String> {
    let path = screens().join(name);
    if std::env::var_os("CASEFILE_WRITE_SCREENS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return Ok(());
    }
    let expected = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    if expected == text {
        return Ok(());
    }
    Err(format!("{name} has become\n{text}\nand was\n{expected}"))
}

fn screen_of(faulty: bool, theme: &str, size: (u16, u16), keys: &str) -> Snapshot {
    let mut rig = rig(of(faulty), faulty, theme, size);
    rig.press(keys).unwrap();
    rig.screen().unwrap()
}

fn text(keys: &str) -> String {
    screen_of(true, "dark", (120, 40), keys).text()
}

#[test]
fn every_view_at_every_size_is_as_it_was_looked_at() {
    let mut wrong = Vec::new();
    for faulty in [false, true] {
        for size in SIZES {
            for (view, keys) in VIEWS {
                let keys = if faulty {
                    keys.to_owned()
                } else {
                    keys.replace("status:error", "")
                };
                let text = screen_of(faulty, "dark", size, &keys).text();
                let case = if faulty { "faulty" } else { "healthy" };
                wrong.extend(
                    compare(&format!("{case}/{view}-{}x{}.txt", size.0, size.1), &text).err(),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_theme_is_as_it_was_looked_at() {
    for theme in theme::NAMES {
        let svg = screen_of(true, theme, (80, 24), "").svg();
        compare(&format!("themes/{theme}.svg"), &svg).unwrap();
    }
}

#[test]
fn no_key_hint_is_clipped_at_any_width() {
    for width in (20..220).step_by(7) {
        for (view, keys) in VIEWS {
            let mut rig = rig(of(true), true, "dark", (width, 24));
            rig.press(keys).unwrap();
            rig.state.message = None;
            let drawn = rig.drawn();
            let bar = drawn.lines.last().unwrap().text();
            assert!(!bar.contains('…'), "{view} {width}: {bar}");
            for (columns, _) in &drawn.keys {
                assert!(columns.end <= usize::from(width), "{view} {width}: {bar}");
            }
        }
    }
}

/// Everything one can tell from outside of a state, to see whether a key did something.
fn print(rig: &Rig) -> String {
    let state = &rig.state;
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {} {} {} {:?}",
        state.place(),
        state.selected(),
        state.message,
        state.help,
        state.moment,
        state.prompt.as_ref().map(|prompt| &prompt.text),
        state.theme,
        state.quit,
        rig.copied.len(),
        rig.screen().unwrap().text(),
    )
}

/// Keys that lead to a place where every binding of it has something to do.
fn way_to(place: Place) -> &'static str {
    match place {
        Place::Overview => "j",
        Place::Traces => "2 j",
        Place::Trace => "2 / status:error enter enter j",
        Place::Logs => "3 k",
        Place::Map => "2 enter 4 j",
        Place::Registry => "5 j",
        Place::Sagas => "6 j",
        Place::Findings => "7",
        Place::Compare => "2 m j j m = j",
        Place::Playbooks => "8 j",
        Place::Notes | Place::Faults => "A",
    }
}

/// What a key does in its place that shows: each binding of the keymap is pressed where it holds.
#[test]
fn every_key_of_every_place_does_something_or_says_why_not() {
    let places = [
        Place::Overview,
        Place::Traces,
        Place::Trace,
        Place::Logs,
        Place::Map,
        Place::Registry,
        Place::Sagas,
        Place::Findings,
        Place::Compare,
    ];
    // These speak to the terminal, or ask for what is there already.
    let unseen = ["suspend", "redraw", "refresh", "cancel", "detail"];
    let keymap = keymap::Keymap::default();
    for place in places {
        for binding in keymap
            .bindings()
            .iter()
            .filter(|binding| binding.holds(place))
        {
            if unseen.contains(&binding.name) {
                continue;
            }
            let key = binding.keys[0];
            let mut rig = rig(of(true), true, "dark", (120, 30));
            // So that there is something to go to the next of, to go forward to, and to go up from.
            rig.press(way_to(place)).unwrap();
            assert_eq!(rig.state.place(), place, "{}", binding.name);
            match binding.name {
                "next-match" | "previous-match" => rig.state.sought = "payment".to_owned(),
                "forward" => rig.press("1 esc").unwrap(),
                _ => {}
            }
            rig.state.message = None;
            let before = print(&rig);
            input::press(&mut rig.state, &rig.settings.keymap, key);
            let asked = rig.state.effects();
            let went = !asked.is_empty() || print(&rig) != before;
            let at_home = [
                "overview", "traces", "logs", "map", "registry", "sagas", "findings",
            ]
            .contains(&binding.name)
                && binding.name == place.name();
            let at_edge = matches!(
                binding.name,
                "down"
                    | "page-down"
                    | "last"
                    | "page-up"
                    | "up"
                    | "first"
                    | "next-match"
                    | "previous-match"
                    | "back"
                    | "unfold"
                    | "fold"
                    | "light"
                    | "follow-link"
            );
            assert!(
                went || at_home || at_edge,
                "{} did nothing on {}",
                binding.name,
                place.name()
            );
        }
    }
}

#[test]
fn a_view_is_reached_by_its_key_and_left_by_esc() {
    for (key, place) in [
        ("2", Place::Traces),
        ("3", Place::Logs),
        ("4", Place::Map),
        ("5", Place::Registry),
        ("6", Place::Sagas),
        ("7", Place::Findings),
        ("A", Place::Notes),
    ] {
        let mut rig = rig(of(true), true, "dark", (120, 40));
        rig.press(key).unwrap();
        assert_eq!(rig.state.place(), place);
        rig.press("esc").unwrap();
        assert_eq!(rig.state.place(), Place::Overview);
        rig.press("L").unwrap();
        assert_eq!(rig.state.place(), place, "forward again");
    }
}

#[test]
fn from_a_finding_to_where_its_evidence_lies() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press("f enter enter").unwrap();
    let text = rig.screen().unwrap().text();
    assert_eq!(rig.state.place(), Place::Registry);
    assert!(text.contains("payment-2"), "the instance is opened: {text}");
    rig.press("esc esc j enter").unwrap();
    assert_eq!(rig.state.place(), Place::Traces);
    let Screen::Traces(view) = rig.state.screen() else {
        unreachable!()
    };
    assert!(
        view.rows
            .as_ref()
            .is_some_and(|rows| rows.len() >= 10 && rows.iter().all(|row| row.errors > 0))
    );
    rig.press("enter e").unwrap();
    assert_eq!(rig.state.place(), Place::Trace);
    rig.press("esc esc j enter").unwrap();
    assert_eq!(rig.state.place(), Place::Logs);
    assert!(
        rig.screen()
            .unwrap()
            .text()
            .contains("refused the connection")
    );
}

#[test]
fn a_filter_that_is_wrong_says_so_and_suggests() {
    assert!(text("2 / servcie:x enter").contains("did you mean service?"));
    assert!(text("2 / service:paymnt enter").contains("no service \"paymnt\""));
    assert!(text(": tracs enter").contains("did you mean trace"));
    assert!(text(": window space x enter").contains("no stretch of time"));
}

#[test]
fn a_replay_knows_only_what_was_known_then() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press(": at space 10:30:40 enter").unwrap();
    let text = rig.screen().unwrap().text();
    assert!(
        text.contains("as of 10:30:40") && text.contains("0.0% fail"),
        "{text}"
    );
    rig.press("2 / status:error enter").unwrap();
    assert!(
        rig.screen().unwrap().text().contains("none"),
        "nothing had failed yet"
    );
    rig.press("0").unwrap();
    let text = rig.screen().unwrap().text();
    assert!(!text.contains("none") && !text.contains("as of"), "{text}");
    // A step back from the end, and time that passes.
    rig.press("1 , space").unwrap();
    assert!(rig.state.moment.playing);
    let before = rig.state.moment.at.unwrap();
    rig.state.pass(std::time::Duration::from_millis(500));
    rig.settle();
    assert!(rig.state.moment.at.unwrap() > before);
    rig.state.pass(std::time::Duration::from_secs(100));
    assert!(!rig.state.moment.playing, "it ends at the end");
}

#[test]
fn a_brush_looks_at_a_part_of_time() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press("right right v right right right").unwrap();
    assert_eq!(rig.state.moment.brushed(), Some((1, 4)));
    rig.press("enter").unwrap();
    let window = rig.state.moment.range.unwrap();
    let overview = rig.state.overview.as_ref().unwrap();
    assert_eq!(overview.window, window);
    assert!(
        overview
            .services
            .iter()
            .all(|service| service.requests < 10)
    );
    rig.press("v esc 0").unwrap();
    assert_eq!(rig.state.moment.range, None);
}

#[test]
fn a_mouse_selects_opens_scrolls_and_brushes() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    let mut pressed = Pressed::default();
    let mut mouse = |rig: &mut Rig, what, at| {
        let drawn = rig.drawn();
        input::mouse(
            &mut rig.state,
            &rig.settings.keymap,
            &mut pressed,
            &drawn,
            what,
            at,
        );
        rig.settle();
    };
    let line = |rig: &Rig, row| {
        rig.drawn()
            .hits
            .iter()
            .position(|hit| *hit == Some(row))
            .unwrap()
    };
    let second = line(&rig, 1);
    mouse(&mut rig, input::Mouse::Down, (5, second));
    assert_eq!(rig.state.selected(), Some(1));
    mouse(&mut rig, input::Mouse::WheelUp, (5, second));
    assert_eq!(rig.state.selected(), Some(0));
    let strip = rig.drawn().strip.unwrap();
    mouse(&mut rig, input::Mouse::Down, (strip.left, strip.top));
    mouse(
        &mut rig,
        input::Mouse::Drag,
        (strip.left + strip.width / 2, strip.top),
    );
    mouse(
        &mut rig,
        input::Mouse::Up,
        (strip.left + strip.width / 2, strip.top),
    );
    assert!(rig.state.moment.range.is_some());
    // A hint at the bottom is pressed as its key would be.
    let (columns, _) = rig
        .drawn()
        .keys
        .iter()
        .find(|(_, key)| *key == Key::Char('2'))
        .cloned()
        .unwrap();
    let bottom = rig.drawn().lines.len() - 1;
    mouse(&mut rig, input::Mouse::Down, (columns.start, bottom));
    assert_eq!(rig.state.place(), Place::Traces);
    let first = line(&rig, 0);
    mouse(&mut rig, input::Mouse::Down, (5, first));
    assert_eq!(
        rig.state.place(),
        Place::Trace,
        "a click on what is selected opens it"
    );
}

#[test]
fn what_is_kept_is_there_when_the_case_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = case(folder.path(), true);
    let mut first = rig(&path, true, "dark", (120, 40));
    first
        .press("7 a + seen space by space me enter 2 p")
        .unwrap();
    assert_eq!(first.state.pinned.len(), 1);
    let saved = first.state.saved();
    let mut again = rig(&path, true, "dark", (120, 40));
    again.press("A").unwrap();
    let text = again.screen().unwrap().text();
    for part in [
        "seen by me",
        "pin ",
        "acknowledged",
        "registry/cached-after-removal",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    again.press("7").unwrap();
    assert!(again.screen().unwrap().text().contains("✓ acknowledged"));
    again.press("a").unwrap();
    assert!(!again.screen().unwrap().text().contains("✓ acknowledged"));
    // Where one stood, one stands again.
    let mut third = rig(&path, true, "dark", (120, 40));
    let text = serde_json::to_string(&saved).unwrap();
    third.state.restore(&serde_json::from_str(&text).unwrap());
    third.settle();
    assert_eq!(third.state.place(), Place::Traces);
    third.press("esc").unwrap();
    assert_eq!(third.state.place(), Place::Findings);
}

#[test]
fn what_is_on_screen_is_written_to_a_file_and_never_over_one() {
    let folder = tempfile::tempdir().unwrap();
    for (view, keys) in VIEWS {
        let mut rig = rig(of(true), true, "dark", (120, 40));
        rig.press(keys).unwrap();
        for ending in ["md", "json"] {
            let file = folder.path().join(format!("{view}.{ending}"));
            let name = file.display().to_string();
            rig.state.run("export", &name);
            rig.settle();
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.len() > 100, "{view}: {text}");
            if ending == "json" {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert!(!value["shown"].is_null(), "{view}");
            }
            rig.state.run("export", &name);
            rig.settle();
            assert!(
                rig.state.message.as_ref().unwrap().contains("exists"),
                "{view}"
            );
        }
        rig.state.run("export", "x.doc");
        rig.settle();
        assert!(rig.state.message.as_ref().unwrap().contains(".md or .json"));
    }
}

#[test]
fn commands_and_filters_are_completed() {
    let typed = |keys: &str| {
        let mut rig = rig(of(true), true, "dark", (120, 40));
        rig.press(keys).unwrap();
        rig.state
            .prompt
            .as_ref()
            .map(|prompt| prompt.text.clone())
            .unwrap_or_default()
    };
    assert_eq!(typed(": basel tab"), "baseline");
    assert_eq!(typed("/ serv tab"), "service:");
    assert_eq!(typed("/ service:pay tab"), "service:payment");
    assert_eq!(typed("/ -status: tab tab"), "-status:ok");
    assert_eq!(
        typed(": traces space service:api tab"),
        "traces service:api-gateway"
    );
    assert_eq!(typed("/ abc left left X ctrl-e Y backspace ctrl-w"), "");
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press(":").unwrap();
    input::paste(&mut rig.state, "note one\nline\x1b[2J");
    assert_eq!(rig.state.prompt.as_ref().unwrap().text, "note one line [2J");
}

#[test]
fn ids_are_copied() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press("y 2 y enter y 5 y 6 y f y enter y").unwrap();
    assert_eq!(rig.copied.len(), 7);
    assert_eq!(rig.copied[0], "api-gateway");
    assert_eq!(rig.copied[1].len(), 32);
    assert_eq!(rig.copied[2], rig.copied[1]);
    assert!(
        rig.copied[6].starts_with("casefile registry --instance"),
        "{}",
        rig.copied[6]
    );
}

#[test]
fn a_book_is_walked_a_question_at_a_time() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press("8").unwrap();
    let Screen::Playbooks(view) = rig.state.screen() else {
        unreachable!()
    };
    assert!(
        view.lines[0].because.is_some(),
        "the finding calls for a book"
    );
    rig.press("enter").unwrap();
    assert!(
        rig.screen()
            .unwrap()
            .text()
            .contains("what the evidence says")
    );
    for _ in 0..40 {
        rig.press("enter").unwrap();
    }
    let Screen::Playbooks(view) = rig.state.screen() else {
        unreachable!()
    };
    let walk = view.walk.as_ref().unwrap();
    let run = walk.run.as_ref().unwrap();
    assert!(!run.steps.is_empty() && walk.shown == run.steps.len() + 1);
    rig.press("esc").unwrap();
    assert_eq!(
        rig.state.place(),
        Place::Playbooks,
        "back to the list first"
    );
}

#[test]
fn two_traces_stand_side_by_side() {
    let text = text("2 / status:error enter m : traces space status:unset enter o j m =");
    assert!(text.contains("B − A") && text.contains("▸A"), "{text}");
}

#[test]
fn logs_are_narrowed_down_by_what_they_are_like() {
    let mut rig = rig(of(true), true, "dark", (120, 40));
    rig.press("3 P").unwrap();
    let Screen::Logs(view) = rig.state.screen() else {
        unreachable!()
    };
    let all = view.rows();
    assert!(all >= 4, "{all}");
    rig.press("o").unwrap();
    let Screen::Logs(view) = rig.state.screen() else {
        unreachable!()
    };
    assert_eq!(view.rows(), all - 1, "{}", view.filter);
    rig.press("esc i").unwrap();
    let Screen::Logs(view) = rig.state.screen() else {
        unreachable!()
    };
    assert_eq!(view.rows(), 1, "{}", view.filter);
    rig.press("P enter").unwrap();
    assert_eq!(rig.state.place(), Place::Trace);
}

#[test]
fn folding_and_the_critical_path_leave_lines_out() {
    let mut rig = rig(of(false), false, "dark", (120, 40));
    rig.press("2 enter").unwrap();
    let rows = |rig: &Rig| match rig.state.screen() {
        Screen::Trace(view) => view.rows.len(),
        _ => 0,
    };
    let all = rows(&rig);
    assert_eq!(all, 6);
    rig.press("j z").unwrap();
    assert_eq!(rows(&rig), 2);
    rig.press("z l l").unwrap();
    assert_eq!(rows(&rig), 8, "logs stand among the spans");
    rig.press("l K").unwrap();
    assert_eq!(rows(&rig), 6);
    assert!(rig.screen().unwrap().text().contains("on one clock"));
}
