use super::*;
use crate::tui::input::press;
use crate::tui::keys::keys_of;

#[test]
fn every_screen_fits_any_size_before_anything_is_read() {
    let keymap = Keymap::default();
    for keys in [
        "", "?", "f", "2", "3", "4", "5", "6", "A", "/ abc", ": tab", "enter", "= ! v",
    ] {
        let mut state = State::new("a\x1b[2J支付.case".to_owned());
        for key in keys_of(keys).unwrap_or_default() {
            press(&mut state, &keymap, key);
        }
        for (columns, height) in [(1, 1), (20, 5), (79, 24), (118, 32), (400, 100)] {
            let drawn = draw(&state, &keymap, columns, height);
            assert_eq!(drawn.lines.len(), height, "{keys} {columns}x{height}");
            assert_eq!(drawn.hits.len(), height);
            for line in drawn.lines {
                assert!(
                    line.columns() <= columns,
                    "{keys} {columns}x{height}: {}",
                    line.text()
                );
                assert!(!line.text().contains('\x1b'));
            }
        }
    }
}

#[test]
fn the_selected_row_is_always_in_sight() {
    for rows in 0..30 {
        for room in 1..12 {
            for selected in 0..rows {
                let sight = in_sight(selected, rows, room);
                assert!(sight.contains(&selected) && sight.len() <= room && sight.end <= rows);
            }
        }
    }
}

#[test]
fn the_help_tells_every_key_of_the_bar() {
    let keymap = Keymap::default();
    let state = State::new("x.case".to_owned());
    let help = help(&state, &keymap, 0, 500);
    let help: Vec<String> = help.lines.iter().map(Line::text).collect();
    for (key, _) in keymap.bar(state.place()) {
        assert!(
            help.iter()
                .any(|line| line.split_whitespace().any(|word| word == key.name())),
            "{}",
            key.name()
        );
    }
}
