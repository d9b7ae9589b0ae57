//! How spans belong together beyond one trace: links, and the clocks they were timed by.

use case::model::Span;

use super::{Basis, Domain, Intake};
use crate::links::Links;
use crate::skew::{Clocks, Observations};

/// Links and clocks of the window.
#[derive(Debug, Default)]
pub struct Relations {
    pub links: Links,
    pub clocks: Clocks,
    observations: Observations,
}

impl Domain for Relations {
    fn take_span(&mut self, span: &Span, _of: &mut Intake<'_>) {
        self.links.take(span);
        self.observations.take(span);
    }

    fn settle(&mut self, _basis: &Basis) {
        self.links.settle();
        self.clocks = std::mem::take(&mut self.observations).settle();
    }
}
