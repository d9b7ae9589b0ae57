//! Where rows to export or replay come from: a case, or anything else that can show them.

use std::ops::ControlFlow;

use ::case::model::{LogRecord, MetricPoint, Span};
use ::case::{CaseError, Window};

type Each<'e, T> = &'e mut dyn FnMut(T) -> ControlFlow<()>;

/// Rows of a window, in any order, perhaps with others around it.
pub trait Rows {
    fn spans(&self, window: Window, each: Each<'_, Span>) -> Result<(), CaseError>;
    fn logs(&self, window: Window, each: Each<'_, LogRecord>) -> Result<(), CaseError>;
    fn metrics(&self, window: Window, each: Each<'_, MetricPoint>) -> Result<(), CaseError>;
}

impl Rows for ::case::Case {
    fn spans(&self, window: Window, each: Each<'_, Span>) -> Result<(), CaseError> {
        ::case::Case::spans(self, window, each)
    }

    fn logs(&self, window: Window, each: Each<'_, LogRecord>) -> Result<(), CaseError> {
        ::case::Case::logs(self, window, each)
    }

    fn metrics(&self, window: Window, each: Each<'_, MetricPoint>) -> Result<(), CaseError> {
        ::case::Case::metrics(self, window, each)
    }
}
