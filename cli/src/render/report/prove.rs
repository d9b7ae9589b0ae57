//! The book that proves a finding, with its inputs filled in.
//!
//! Only books that are built in: a report says the same on every machine.

use std::sync::LazyLock;

use analyzers::engine::Finding;
use playbooks::book::{Prove, Shelf};
use serde::Serialize;

static BUILT_IN: LazyLock<Shelf> = LazyLock::new(|| Shelf::built_in().unwrap_or_default());

/// As JSON has it.
#[derive(Serialize)]
pub(super) struct ProveObject<'a> {
    book: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    command: String,
}

pub(super) fn book_of(finding: &Finding) -> Option<Prove<'_>> {
    BUILT_IN.prove(finding)
}

pub(super) fn object(finding: &Finding) -> Option<ProveObject<'_>> {
    book_of(finding).map(|prove| ProveObject {
        book: prove.book,
        service: prove.service,
        command: prove.command(),
    })
}
