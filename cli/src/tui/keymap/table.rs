//! The bindings as they ship, in the order in which the help lists them.

use super::Binding;
use crate::tui::keys::Key;
use crate::tui::state::{Action, Place};

use Key::{
    Backspace, Char, Ctrl, Down, End, Enter, Escape, Home, Left, PageDown, PageUp, Right, Tab, Up,
};

const EVERYWHERE: &[Place] = &[];
/// Views with a strip of time at the top.
const STRIPS: &[Place] = &[Place::Overview, Place::Traces, Place::Logs];

/// name, keys, places, action, word for the bar, help
type Row = (
    &'static str,
    &'static [Key],
    &'static [Place],
    Action,
    &'static str,
    &'static str,
);

// A row each: laid out by hand, or it would be a page for each binding.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("overview", &[Char('1')], EVERYWHERE, Action::Overview, "overview", "the verdict, services, what is open"),
    ("traces", &[Char('2')], EVERYWHERE, Action::Traces, "traces", "all traces, newest first"),
    ("logs", &[Char('3')], EVERYWHERE, Action::Logs, "logs", "log records and their patterns"),
    ("map", &[Char('4')], EVERYWHERE, Action::Map, "map", "who calls whom, how often, how fast, how well"),
    ("registry", &[Char('5')], EVERYWHERE, Action::Registry, "registry", "what the registry says of instances, beside reality"),
    ("sagas", &[Char('6')], EVERYWHERE, Action::Sagas, "sagas", "sagas and their states, stuck ones first"),
    ("findings", &[Char('7'), Char('f')], EVERYWHERE, Action::Findings, "findings", "what is wrong and why"),
    ("playbooks", &[Char('8')], EVERYWHERE, Action::Playbooks, "playbooks", "questions that lead to a cause, with evidence beside each"),
    ("traces-of", &[Enter], &[Place::Overview], Action::Open, "traces of", "traces of the service"),
    ("open-trace", &[Enter], &[Place::Traces], Action::Open, "open", "the trace as a waterfall"),
    ("open-row", &[Enter], &[Place::Map, Place::Registry, Place::Sagas], Action::Open, "open", "the row whole; from a saga on to its trace"),
    ("open-finding", &[Enter], &[Place::Findings], Action::Open, "open", "the finding; then the evidence, where it lies"),
    ("open-log", &[Enter], &[Place::Logs], Action::Open, "trace", "the record's trace; of a pattern, its records"),
    ("follow-link", &[Enter], &[Place::Trace], Action::Open, "follow", "the trace that the line links to; else fold or unfold"),
    ("open-compared", &[Enter], &[Place::Compare], Action::Open, "open", "the trace of this side"),
    ("start-fault", &[Enter], &[Place::Faults], Action::Open, "start", "start the fault, or end it if it is on"),
    ("open-book", &[Enter], &[Place::Playbooks], Action::Open, "next", "walk the book; then the next question's answer"),
    ("sort", &[Char('o')], &[Place::Traces], Action::Sort, "sort", "order by time, duration, errors or spans"),
    ("scatter", &[Char('d')], &[Place::Traces], Action::Scatter, "scatter", "durations over time above the list"),
    ("next-error", &[Char('e')], &[Place::Trace], Action::NextError, "error", "next failed span"),
    ("previous-error", &[Char('E')], &[Place::Trace], Action::PreviousError, "", "previous failed span"),
    ("next-slow", &[Char('s')], &[Place::Trace], Action::NextSlow, "slow", "next span that the trace waited long for"),
    ("previous-slow", &[Char('S')], &[Place::Trace], Action::PreviousSlow, "", "previous span that the trace waited long for"),
    ("trace-logs", &[Char('l')], &[Place::Trace], Action::TraceLogs, "logs", "logs: of the span, of the whole trace among its spans, or none"),
    ("critical", &[Char('c')], &[Place::Trace], Action::Critical, "critical", "only the critical path, or all spans"),
    ("skew", &[Char('K')], &[Place::Trace], Action::Skew, "clocks", "times as they would read on one clock"),
    ("fold", &[Char('z')], &[Place::Trace], Action::Fold, "fold", "fold what is beneath the span, or unfold it"),
    ("fold-all", &[Char('Z')], &[Place::Trace], Action::FoldAll, "", "fold all but the first levels, or unfold all"),
    ("detail", &[Char('J')], &[Place::Trace], Action::Detail, "", "scroll the span's attributes"),
    ("mark", &[Char('m')], &[Place::Trace, Place::Traces], Action::Mark, "mark", "mark the trace to be compared"),
    ("compare", &[Char('=')], EVERYWHERE, Action::Compare, "", "the two marked traces side by side"),
    ("pin", &[Char('p')], &[Place::Trace, Place::Traces], Action::Pin, "pin", "pin the trace: retention keeps it"),
    ("follow", &[Char('F')], &[Place::Logs], Action::Follow, "follow", "stay with the newest records"),
    ("patterns", &[Char('P')], &[Place::Logs], Action::Patterns, "patterns", "message patterns with counts, or records"),
    ("filter-in", &[Char('i')], &[Place::Logs], Action::FilterIn, "in", "only what is like this"),
    ("filter-out", &[Char('o')], &[Place::Logs], Action::FilterOut, "out", "everything but what is like this"),
    ("light", &[Char('l')], &[Place::Map], Action::Light, "path", "light up the path of the trace that was opened last"),
    ("layout", &[Char('d')], &[Place::Map], Action::Layout, "drawn", "the map drawn as a graph, or as a table"),
    ("acknowledge", &[Char('a')], &[Place::Findings], Action::Acknowledge, "acknowledge", "mark the finding as known, or no longer"),
    ("why", &[Char('w')], &[Place::Findings], Action::Why, "why", "what the rule saw, its limit, how far it was from it"),
    ("unfold", &[Char('u')], &[Place::Findings], Action::Unfold, "follows", "show what follows from the finding"),
    ("other-side", &[Tab], &[Place::Compare], Action::OtherSide, "side", "to the other trace"),
    ("filter", &[Char('/')], &[Place::Overview, Place::Traces, Place::Logs], Action::Filter, "filter", "only what a filter means, in the language of the command line"),
    ("search", &[Char('/')], &[Place::Trace, Place::Map, Place::Registry, Place::Sagas, Place::Findings, Place::Compare, Place::Faults, Place::Playbooks], Action::Search, "search", "go to the next row with a text"),
    ("next-match", &[Char('n')], EVERYWHERE, Action::NextMatch, "", "next row with the text searched for"),
    ("previous-match", &[Char('N')], EVERYWHERE, Action::PreviousMatch, "", "previous row with that text"),
    ("command", &[Char(':')], EVERYWHERE, Action::Command, "command", "type a command; tab completes"),
    ("down", &[Char('j'), Down], EVERYWHERE, Action::Down, "", "down"),
    ("up", &[Char('k'), Up], EVERYWHERE, Action::Up, "", "up"),
    ("page-down", &[PageDown, Ctrl('d')], EVERYWHERE, Action::PageDown, "", "a page down"),
    ("page-up", &[PageUp, Ctrl('u')], EVERYWHERE, Action::PageUp, "", "a page up"),
    ("first", &[Char('g'), Home], EVERYWHERE, Action::First, "", "to the top"),
    ("last", &[Char('G'), End], EVERYWHERE, Action::Last, "", "to the bottom"),
    ("back", &[Escape, Backspace, Char('h')], EVERYWHERE, Action::Back, "back", "back to where one was"),
    ("forward", &[Char('L')], EVERYWHERE, Action::Forward, "", "forward again"),
    ("later", &[Right], STRIPS, Action::CursorRight, "", "cursor on the strip of time to the right"),
    ("earlier", &[Left], STRIPS, Action::CursorLeft, "", "cursor on the strip of time to the left"),
    ("brush", &[Char('v')], STRIPS, Action::Brush, "brush", "begin to select a stretch of time; again to look at it alone"),
    ("whole", &[Char('0')], EVERYWHERE, Action::WholeTime, "", "all of time, and now"),
    ("window", &[Char('t')], EVERYWHERE, Action::AskWindow, "", "type the stretch of time to look at"),
    ("play", &[Char(' ')], EVERYWHERE, Action::Play, "", "freeze what is live; in replay, play or pause"),
    ("step-back", &[Char(',')], EVERYWHERE, Action::StepBack, "", "replay: a step back; what was known then"),
    ("step", &[Char('.')], EVERYWHERE, Action::Step, "", "replay: a step on"),
    ("slower", &[Char('<')], EVERYWHERE, Action::Slower, "", "replay at half the speed"),
    ("faster", &[Char('>')], EVERYWHERE, Action::Faster, "", "replay at twice the speed"),
    ("copy", &[Char('y')], EVERYWHERE, Action::Copy, "", "copy the id of what is selected"),
    ("note", &[Char('+')], EVERYWHERE, Action::AskNote, "", "write a note on what is selected"),
    ("notes", &[Char('A')], EVERYWHERE, Action::Notes, "", "list notes, pins and acknowledged findings"),
    ("export", &[Char('x')], EVERYWHERE, Action::AskExport, "", "write what is on screen to a file, as markdown or JSON"),
    ("faults", &[Char('!')], EVERYWHERE, Action::Faults, "", "break the bundled shop, where it runs beside this"),
    ("refresh", &[Char('r')], EVERYWHERE, Action::Refresh, "", "look at the case again"),
    ("cancel", &[Ctrl('x')], EVERYWHERE, Action::Cancel, "", "give up what is being worked out"),
    ("theme", &[Char('T')], EVERYWHERE, Action::NextTheme, "", "next theme"),
    ("suspend", &[Ctrl('z')], EVERYWHERE, Action::Suspend, "", "to the shell; `fg` comes back"),
    ("redraw", &[Ctrl('l')], EVERYWHERE, Action::Redraw, "", "draw the screen anew"),
    ("help", &[Char('?')], EVERYWHERE, Action::Help, "help", "this help"),
    ("quit", &[Char('q'), Ctrl('c')], EVERYWHERE, Action::Quit, "quit", "leave"),
];

pub(super) fn bindings() -> Vec<Binding> {
    ROWS.iter()
        .map(|(name, keys, places, action, short, help)| Binding {
            name,
            keys: keys.to_vec(),
            places,
            action: *action,
            short,
            help,
        })
        .collect()
}
