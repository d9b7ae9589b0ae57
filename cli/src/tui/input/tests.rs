use super::*;

#[test]
fn a_binding_is_a_command_where_it_holds() {
    let keymap = Keymap::default();
    let mut state = State::new("x.case".to_owned());
    run(&mut state, &keymap, "findings");
    assert_eq!(state.place().name(), "findings");
    run(&mut state, &keymap, "next-error");
    assert!(
        state
            .message
            .as_ref()
            .is_some_and(|said| said.contains("for trace"))
    );
    run(&mut state, &keymap, "findings now");
    assert!(
        state
            .message
            .as_ref()
            .is_some_and(|said| said.contains("takes nothing"))
    );
    run(&mut state, &keymap, "baseline");
    assert!(
        state
            .message
            .as_ref()
            .is_some_and(|said| said.contains("needs something"))
    );
    run(&mut state, &keymap, "quti");
    assert!(
        state
            .message
            .as_ref()
            .is_some_and(|said| said.contains("did you mean quit"))
    );
    assert!(!state.quit);
    run(&mut state, &keymap, "quit");
    assert!(state.quit);
}
