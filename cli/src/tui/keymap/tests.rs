use super::*;

#[test]
fn no_key_means_two_things_in_one_place() {
    let keymap = Keymap::default();
    if let Some((key, a, b)) = keymap.conflict() {
        panic!("{} is both {} and {}", key.name(), a.name, b.name);
    }
}

#[test]
fn names_are_given_once() {
    let keymap = Keymap::default();
    let mut names: Vec<&str> = keymap.bindings().iter().map(|b| b.name).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

fn with(text: &str) -> Result<Keymap, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    Keymap::default()
        .with_file(&table)
        .map_err(|error| format!("{error} {}", error.hint_text().unwrap_or_default()))
}

#[test]
fn a_file_binds_keys_anew() {
    let keymap = with("next-error = \"ctrl-n\"\nquit = [\"Q\", \"ctrl-c\"]").unwrap_or_default();
    let meant = |key, place| keymap.find(key, place).map(|binding| binding.name);
    assert_eq!(meant(Key::Ctrl('n'), Place::Trace), Some("next-error"));
    assert_eq!(meant(Key::Char('e'), Place::Trace), None);
    assert_eq!(meant(Key::Char('q'), Place::Overview), None);
    assert_eq!(meant(Key::Char('Q'), Place::Overview), Some("quit"));
}

#[test]
fn a_file_that_is_wrong_says_where() {
    for (text, said) in [
        ("nxt-error = \"n\"", "did you mean next-error?"),
        ("next-error = \"hyper-x\"", "no key \"hyper-x\""),
        ("next-error = 4", "no key and no list"),
        ("next-error = \"q\"", "would mean both"),
        ("quit = []", "quit needs a key"),
    ] {
        let error = with(text).err().unwrap_or_default();
        assert!(error.contains(said), "{text}: {error}");
    }
}
