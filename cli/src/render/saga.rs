//! Sagas and orders as lines: how many are in which state, and one of them as a timeline beside its ledgers.

use std::collections::BTreeMap;

use analyzers::saga::{Kind, Outcome, Record, Sagas, Status, Step, StepStatus, Story};
use case::Nanos;
use case::time::human_duration;

use crate::output::{Column, Line, Table, Tone, count, thousands};

/// Columns of a step's timeline.
const STRIP: usize = 36;

pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Initiated => "initiated",
        Status::Running => "running",
        Status::Compensating => "compensating",
        Status::Completed => "completed",
        Status::Failed => "failed",
        Status::Other => "unknown",
    }
}

pub fn step_name(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Pending => "pending",
        StepStatus::InProgress => "in progress",
        StepStatus::Completed => "completed",
        StepStatus::Failed => "failed",
        StepStatus::Compensating => "compensating",
        StepStatus::Compensated => "compensated",
        StepStatus::CompensationFailed => "compensation failed",
        StepStatus::Other => "unknown",
    }
}

pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Started => "started",
        Kind::StepIntent => "step_intent",
        Kind::StepResult => "step_result",
        Kind::UndoIntent => "comp_intent",
        Kind::UndoResult => "comp_result",
        Kind::State => "state",
        Kind::Lease => "lease",
        Kind::Recovered => "recovered",
        Kind::Finished => "finished",
        Kind::Other => "other",
    }
}

pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Refused => "definite error",
        Outcome::Unknown => "unknown",
        Outcome::None => "",
    }
}

const STATUSES: [Status; 6] = [
    Status::Initiated,
    Status::Running,
    Status::Compensating,
    Status::Completed,
    Status::Failed,
    Status::Other,
];

/// Whether a saga has stood still for longer than anything it waits for takes.
pub fn is_stuck(sagas: &Sagas, story: &Story) -> bool {
    let still = sagas.end.0.saturating_sub(story.last_sign().0);
    !story.status().is_terminal() && still > sagas.patience(story)
}

fn status_tone(status: Status) -> Tone {
    match status {
        Status::Completed => Tone::Dim,
        Status::Failed => Tone::Bad,
        Status::Compensating | Status::Other => Tone::Odd,
        Status::Initiated | Status::Running => Tone::Plain,
    }
}

/// How many sagas of each model are in which state.
pub fn machines(sagas: &Sagas, width: usize) -> Vec<Line> {
    let mut counts: BTreeMap<&str, BTreeMap<Status, u64>> = BTreeMap::new();
    for story in &sagas.stories {
        let of = counts.entry(&story.model).or_default();
        *of.entry(story.status()).or_default() += 1;
    }
    let mut columns = vec![Column::left("model").shrinks_to(8)];
    columns.extend(
        STATUSES
            .iter()
            .map(|status| Column::right(status_name(*status))),
    );
    columns.push(Column::right("stuck"));
    columns.push(Column::right("needs a person"));
    let mut table = Table::new(columns);
    for (model, of) in counts {
        let mut cells = vec![Line::plain(if model.is_empty() {
            "(no model said)"
        } else {
            model
        })];
        for status in STATUSES {
            cells.push(number(
                of.get(&status).copied().unwrap_or(0),
                status_tone(status),
            ));
        }
        let of_model = || sagas.stories.iter().filter(|story| story.model == model);
        let stuck = of_model().filter(|story| is_stuck(sagas, story)).count();
        let manual = of_model().filter(|story| story.now().is_some_and(|row| row.manual));
        cells.push(number(stuck as u64, Tone::Bad));
        cells.push(number(manual.count() as u64, Tone::Bad));
        table.row(cells);
    }
    table.lines(width)
}

fn number(number: u64, tone: Tone) -> Line {
    if number == 0 {
        Line::new().with(Tone::Dim, "·")
    } else {
        Line::new().with(tone, thousands(number))
    }
}

/// Sagas as a table.
pub fn table<'a>(
    sagas: &Sagas,
    stories: impl Iterator<Item = &'a Story>,
    width: usize,
) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("began"),
        Column::left("saga").shrinks_to(12),
        Column::left("model").shrinks_to(8),
        Column::left("order").shrinks_to(12),
        Column::left("status"),
        Column::left("at step").shrinks_to(8),
        Column::right("last sign"),
        Column::left("").shrinks_to(0),
    ]);
    for story in stories {
        let status = story.status();
        let mut said = Line::new();
        if is_stuck(sagas, story) {
            said.push(Tone::Bad, "✗ stuck ");
        }
        if story.now().is_some_and(|row| row.manual) {
            said.push(Tone::Bad, "needs a person ");
        }
        if let Some((_, record)) = story.failed_step() {
            said.push(Tone::Dim, &record.error);
        }
        table.row(vec![
            Line::new().with(Tone::Dim, story.created.clock()),
            Line::plain(&story.id),
            Line::plain(&story.model),
            Line::plain(&story.order_id),
            Line::new().with(status_tone(status), status_name(status)),
            Line::plain(current_step(story).map_or("·", |step| step.name.as_str())),
            Line::plain(format!("{} ago", ago(sagas, story.last_sign()))),
            said,
        ]);
    }
    table.lines(width)
}

/// The step a saga is at: the first that is neither done nor undone; the last one if all are.
fn current_step(story: &Story) -> Option<&Step> {
    let settled =
        |step: &&Step| matches!(step.status, StepStatus::Completed | StepStatus::Compensated);
    story
        .steps
        .iter()
        .find(|step| !settled(step))
        .or_else(|| story.steps.last())
}

fn ago(sagas: &Sagas, at: Nanos) -> String {
    human_duration(sagas.end.0.saturating_sub(at.0))
}

/// `12999` as `129.99`.
pub fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", thousands(cents / 100), cents % 100)
}

/// One saga: its steps over time with what ledgers hold of each, then its journal.
pub fn story(sagas: &Sagas, story: &Story, width: usize) -> Vec<Line> {
    let status = story.status();
    let mut head = Line::new()
        .with(Tone::Strong, &story.id)
        .with(
            Tone::Plain,
            format!("  {}  order {}  ", story.model, story.order_id),
        )
        .with(status_tone(status), status_name(status));
    if is_stuck(sagas, story) {
        let limit = human_duration(sagas.patience(story));
        head.push(
            Tone::Bad,
            format!(
                " ✗ no sign for {} (limit {limit})",
                ago(sagas, story.last_sign())
            ),
        );
    }
    if story.now().is_some_and(|row| row.manual) {
        head.push(Tone::Bad, " ✗ needs a person");
    }
    let mut out = vec![head.fit(width), facts(story).fit(width)];
    out.push(Line::new());
    let (from, until) = extent(story);
    let mut table = Table::new(vec![
        Column::left("step").shrinks_to(10),
        Column::left("").shrinks_to(8),
        Column::left("status").shrinks_to(10),
        Column::left("ledgers").shrinks_to(16),
    ]);
    for (place, step) in story.steps.iter().enumerate() {
        table.row(vec![
            Line::plain(&step.name),
            timeline(story, place, from, until),
            step_status(story, place, step),
            books(story, step),
        ]);
    }
    out.extend(table.lines(width));
    if let Some(order) = story.current_order() {
        let mut line = Line::new().with(Tone::Dim, "order   ").with(
            Tone::Plain,
            format!("{}  {}", order.status, money(order.total)),
        );
        if !order.reason.is_empty() {
            line.push(Tone::Odd, format!("  {}", order.reason));
        }
        out.push(line.fit(width));
    }
    for notice in &story.notices {
        let line = Line::new().with(Tone::Dim, "told    ").with(
            Tone::Plain,
            format!("{} {}", notice.at.clock(), notice.kind),
        );
        out.push(line.fit(width));
    }
    if !story.log.is_empty() {
        out.push(Line::new().with(Tone::Dim, "journal"));
        out.extend(
            story
                .log
                .iter()
                .map(|record| log_line(story, record).fit(width)),
        );
    }
    for recovery in &story.recoveries {
        let line = Line::new()
            .with(Tone::Dim, format!("  {}  ", recovery.start.clock()))
            .with(
                Tone::Odd,
                format!(
                    "recovered by {}: {}",
                    super::names::instance(&recovery.instance),
                    recovery.action
                ),
            );
        out.push(line.fit(width));
    }
    out
}

fn facts(story: &Story) -> Line {
    let mut texts = vec![format!("began {}", story.created)];
    if !story.coordinator.is_empty() {
        texts.push(format!("run by {}", story.coordinator));
    }
    if let Some(trace) = &story.trace {
        texts.push(format!("trace {trace}"));
    }
    if !story.tries.is_empty() {
        texts.push(count(
            story.tries.len() as u64,
            "attempt in spans",
            "attempts in spans",
        ));
    }
    Line::new().with(Tone::Dim, texts.join(" · "))
}

/// From the saga's first sign to its last.
fn extent(story: &Story) -> (Nanos, Nanos) {
    let first = story.log.iter().map(|record| record.at).min();
    let first = first.unwrap_or(story.created).min(story.created);
    (first, story.last_sign().max(first))
}

/// When a step was begun and answered, and undone, on the saga's own time.
fn timeline(story: &Story, place: usize, from: Nanos, until: Nanos) -> Line {
    let length = until.0.saturating_sub(from.0).max(1);
    let cell = |at: Nanos| {
        let since = u128::from(at.0.saturating_sub(from.0));
        ((since * (STRIP as u128 - 1) / u128::from(length)) as usize).min(STRIP - 1)
    };
    let mut cells = ['·'; STRIP];
    let mut begun: Option<usize> = None;
    for record in story.log.iter().filter(|record| record.step == Some(place)) {
        let at = cell(record.at);
        let line = match record.kind {
            Kind::StepIntent => '─',
            Kind::UndoIntent => '┄',
            _ => {
                if let Some(begin) = begun.take() {
                    let dash = if record.kind == Kind::UndoResult {
                        '┄'
                    } else {
                        '─'
                    };
                    cells[begin.min(at)..at].fill(dash);
                }
                cells[at] = match (record.kind, record.outcome) {
                    (Kind::StepResult, Outcome::Ok) => '●',
                    (Kind::UndoResult, Outcome::Ok) => '○',
                    (_, Outcome::Unknown) => '?',
                    _ => '✗',
                };
                continue;
            }
        };
        cells[at] = line;
        begun = Some(at);
    }
    // An intent nothing has answered yet reaches to the end.
    if let Some(begin) = begun {
        cells[begin..].fill('─');
    }
    let text: String = cells.iter().collect();
    Line::new().with(Tone::Plain, text)
}

fn step_status(story: &Story, place: usize, step: &Step) -> Line {
    let tone = match step.status {
        StepStatus::Completed | StepStatus::Compensated => Tone::Plain,
        StepStatus::Pending => Tone::Dim,
        StepStatus::Failed | StepStatus::CompensationFailed => Tone::Bad,
        _ => Tone::Odd,
    };
    let mut line = Line::new().with(tone, step_name(step.status));
    if step.retries > 0 {
        line.push(
            Tone::Odd,
            format!(" after {}", count(step.retries, "retry", "retries")),
        );
    }
    let error = story
        .log
        .iter()
        .rev()
        .find(|record| record.step == Some(place) && !record.error.is_empty());
    if let Some(record) = error {
        line.push(Tone::Bad, format!(" {}", record.error));
    }
    line
}

/// What the ledgers hold of a step's effect, by the service that serves it.
fn books(story: &Story, step: &Step) -> Line {
    let mut texts: Vec<String> = Vec::new();
    match step.service.as_str() {
        "payment" | "payments" => texts.extend(story.payments.iter().map(|payment| {
            let refunded = if payment.refunded == 0 {
                String::new()
            } else {
                format!(", {} back", money(payment.refunded))
            };
            format!(
                "{} {} {}{refunded}",
                payment.id,
                payment.status,
                money(payment.amount)
            )
        })),
        "inventory" => texts.extend(story.reservations.iter().map(|reservation| {
            format!(
                "{} {} {}×{}",
                reservation.id, reservation.status, reservation.quantity, reservation.product
            )
        })),
        "shipping" => texts.extend(
            story
                .shipments
                .iter()
                .map(|shipment| format!("{} {}", shipment.id, shipment.status)),
        ),
        _ => {}
    }
    if texts.is_empty() {
        Line::new().with(Tone::Dim, "no row")
    } else {
        Line::plain(texts.join("; "))
    }
}

fn log_line(story: &Story, record: &Record) -> Line {
    let mut line = Line::new()
        .with(
            Tone::Dim,
            format!("  {}  {:>6}  ", record.at.clock(), record.seq),
        )
        .with(Tone::Plain, format!("{:<12}", kind_name(record.kind)));
    if let Some(step) = record.step.and_then(|place| story.steps.get(place)) {
        line.push(Tone::Plain, format!(" {}", step.name));
    }
    if record.attempt > 1 {
        line.push(Tone::Odd, format!(" attempt {}", record.attempt));
    }
    let tone = match record.outcome {
        Outcome::Ok | Outcome::None => Tone::Dim,
        Outcome::Refused => Tone::Bad,
        Outcome::Unknown => Tone::Odd,
    };
    if record.outcome != Outcome::None {
        line.push(tone, format!(" {}", outcome_name(record.outcome)));
    }
    if !record.error.is_empty() {
        line.push(Tone::Bad, format!(" {}", record.error));
    }
    line.push(
        Tone::Dim,
        format!("  {}", super::names::instance(&record.instance)),
    );
    line
}

/// Orders as a table: what each ledger holds of them.
pub fn orders<'a>(
    sagas: &Sagas,
    stories: impl Iterator<Item = &'a Story>,
    width: usize,
) -> Vec<Line> {
    let mut table = Table::new(vec![
        Column::left("began"),
        Column::left("order").shrinks_to(12),
        Column::left("status"),
        Column::right("total"),
        Column::left("saga").shrinks_to(8),
        Column::left("payments").shrinks_to(8),
        Column::left("stock").shrinks_to(8),
        Column::left("shipping").shrinks_to(8),
        Column::left("").shrinks_to(0),
    ]);
    for story in stories {
        let order = story.current_order();
        let dot = || Line::new().with(Tone::Dim, "·");
        let list = |texts: Vec<String>| {
            if texts.is_empty() {
                dot()
            } else {
                Line::plain(texts.join(", "))
            }
        };
        let failed = order.is_some_and(|order| order.status == "FAILED");
        let mut said = Line::new();
        if is_stuck(sagas, story) {
            said.push(Tone::Bad, "✗ its saga is stuck ");
        }
        if let Some(order) = order {
            said.push(Tone::Dim, &order.reason);
        }
        table.row(vec![
            Line::new().with(Tone::Dim, story.created.clock()),
            Line::plain(&story.order_id),
            order.map_or_else(dot, |order| {
                let tone = if failed { Tone::Bad } else { Tone::Plain };
                Line::new().with(tone, &order.status)
            }),
            order.map_or_else(dot, |order| Line::plain(money(order.total))),
            Line::new().with(status_tone(story.status()), status_name(story.status())),
            list(
                story
                    .payments
                    .iter()
                    .map(|payment| payment.status.clone())
                    .collect(),
            ),
            list(
                story
                    .reservations
                    .iter()
                    .map(|reservation| reservation.status.clone())
                    .collect(),
            ),
            list(
                story
                    .shipments
                    .iter()
                    .map(|shipment| shipment.status.clone())
                    .collect(),
            ),
            said,
        ]);
    }
    table.lines(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_its_cents() {
        assert_eq!(money(129_900), "1,299.00");
        assert_eq!(money(-5), "-0.05");
        assert_eq!(money(i64::MIN).len(), "-92,233,720,368,547,758.08".len());
    }
}
