//! The cases that questions are asked of, and asking them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use case::sql::{self, Cell, Limits, QueryError};
use case::writer::seal_case;
use case::{Case, CaseWriter, SealMode, Signal, WriterOptions};

pub fn writer(path: &Path, seal: SealMode, segment_bytes: u64) -> CaseWriter {
    CaseWriter::open(
        path,
        WriterOptions {
            seal,
            segment_bytes,
            ..WriterOptions::default()
        },
    )
    .unwrap()
}

pub fn ask(case: &Case, sql: &str) -> Result<Vec<Vec<Cell>>, QueryError> {
    let mut rows = Vec::new();
    sql::query(case, sql, &Limits::default(), &mut |_, row| {
        rows.push(row.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

pub fn answer(case: &Case, sql: &str) -> Vec<Vec<Cell>> {
    ask(case, sql).unwrap_or_else(|error| panic!("{sql}: {error} ({:?})", error.hint))
}

/// The one value of an answer with one row of one column.
pub fn one(case: &Case, sql: &str) -> Cell {
    let rows = answer(case, sql);
    assert_eq!(
        (rows.len(), rows[0].len()),
        (1, 1),
        "{sql} answered {rows:?}"
    );
    rows[0][0].clone()
}

pub fn int(value: i64) -> Cell {
    Cell::Int(value)
}

pub fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

pub const WATCHED: [(Signal, &str); 5] = [
    (
        Signal::RegistrySnapshots,
        r#"{"at":1790000000000000001,"registry":"http://r","instances":[{"id":"p-1","name":"payment","address":"h:1","status":"UP"}]}"#,
    ),
    (
        Signal::RegistryEvents,
        "{\"at\":1790000000000000002,\"registry\":\"http://r\",\"seq\":1,\"kind\":\"registered\",\"id\":\"p-1\"}\n{\"at\":1790000000000000003,\"registry\":\"http://r\",\"seq\":2,\"kind\":\"expired\",\"id\":\"p-1\"}\n",
    ),
    (
        Signal::Probes,
        r#"{"at":1790000000000000004,"address":"h:1","check":"connect","ok":false,"duration_nano":5,"error":"refused"}"#,
    ),
    (
        Signal::Journal,
        r#"{"at":1790000000000000005,"seen_at":1790000000000000009,"source":"s","kind":"step","saga_id":"g-1","order_id":"o-1","fields":{"a":1}}"#,
    ),
    (
        Signal::Ledger,
        r#"{"at":1790000000000000006,"source":"s","ledger":"orders","key":"o-1","order_id":"o-1","fields":{"total":9007199254740993}}"#,
    ),
];

/// A case with every signal and 4,000 spans of traffic.
pub fn fill(path: &Path, seal: SealMode, segment_bytes: u64) -> CaseWriter {
    let writer = writer(path, seal, segment_bytes);
    writer
        .append(Signal::Traces, crate::common::awkward_spans())
        .unwrap();
    writer.append(Signal::Logs, crate::common::logs()).unwrap();
    writer
        .append(Signal::Metrics, crate::common::metrics())
        .unwrap();
    for (signal, line) in WATCHED {
        let receipt = writer
            .append(signal, bytes::Bytes::from_static(line.as_bytes()))
            .unwrap();
        assert!(receipt.accepted > 0);
    }
    for request in crate::common::traffic(40, 100) {
        writer.append(Signal::Traces, request).unwrap();
    }
    writer
}

/// The same signals in a live case, in a sealed one, and in one of many segments with a live rest.
pub struct Cases {
    pub folder: tempfile::TempDir,
    pub cases: Vec<(&'static str, Case)>,
}

pub fn cases() -> Cases {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    fill(&at("live"), SealMode::Manual, 64 << 20)
        .close()
        .unwrap();
    fill(&at("sealed"), SealMode::Manual, 64 << 20)
        .close()
        .unwrap();
    seal_case(&at("sealed"), |_| {}).unwrap();
    fill(&at("segments"), SealMode::Auto, 40 << 10)
        .close()
        .unwrap();
    let cases = ["live", "sealed", "segments"]
        .map(|name| (name, Case::open(&at(name)).unwrap()))
        .into();
    Cases { folder, cases }
}

impl Cases {
    /// Asks every case; they must agree.
    pub fn answer(&self, sql: &str) -> Vec<Vec<Cell>> {
        let mut first: Option<Vec<Vec<Cell>>> = None;
        for (name, case) in &self.cases {
            let rows = answer(case, sql);
            assert_eq!(case.damage(), Vec::<String>::new(), "{name}: {sql}");
            match &first {
                None => first = Some(rows),
                Some(first) => assert_eq!(*first, rows, "{name} differs: {sql}"),
            }
        }
        first.unwrap()
    }

    pub fn one(&self, sql: &str) -> Cell {
        let rows = self.answer(sql);
        assert_eq!((rows.len(), rows[0].len()), (1, 1), "{sql}: {rows:?}");
        rows[0][0].clone()
    }
}
