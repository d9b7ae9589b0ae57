use super::*;
use crate::tui::input::{keys_of, press};

#[test]
fn every_screen_fits_any_size_before_anything_is_read() {
    for keys in ["", "?", "f", "2", "/ abc", "enter"] {
        let mut state = State::new("a\x1b[2J支付.case".to_owned());
        for key in keys_of(keys).unwrap_or_default() {
            press(&mut state, key);
        }
        for (columns, height) in [(1, 1), (20, 5), (79, 24), (118, 32), (400, 100)] {
            let lines = lines(&state, columns, height);
            assert_eq!(lines.len(), height, "{keys} {columns}x{height}");
            for line in lines {
                assert!(
                    line.columns() <= columns,
                    "{keys} {columns}x{height}: {}",
                    line.text()
                );
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
    let help: Vec<String> = help().iter().map(Line::text).collect();
    for (key, _) in input::bar(&Screen::Overview { selected: 0 }) {
        assert!(
            help.iter()
                .any(|line| line.split_whitespace().any(|word| word == key)),
            "{key}"
        );
    }
}
