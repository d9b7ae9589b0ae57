//! Reading ledgers against each other: what stock should be held, which step a row belongs to, what is left of a step.

use case::Nanos;

use super::model::{Book, Model};
use super::story::{Payment, Reservation, Sagas, Stock, Story};

/// Rows of one ledger are read some moments after those of another; a change so close to the reading may be missing.
const SKEW: u64 = 1_000_000_000;
/// All ledgers are read once within this time.
const ROUND: u64 = 3_000_000_000;
/// An order whose reservation is made later than this after it began is none of a running saga.
const MAKING: u64 = 3_000_000_000;

/// What stock shows against the reservations of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Residue {
    pub product: String,
    pub at: Nanos,
    pub reserved: i64,
    /// What reservations hold, at the moment the stock was read.
    pub held: i64,
    /// How far the two may differ because of what was in motion.
    pub margin: i64,
    pub released: u64,
    /// Changes that the reservations tell of and the row's version does not count.
    pub missing_changes: i64,
    pub changes_margin: i64,
}

impl Residue {
    pub fn surplus(&self) -> i64 {
        self.reserved - self.held
    }

    pub fn is_off(&self) -> bool {
        self.surplus().abs() > self.margin || self.lost_a_change()
    }

    /// A write overwrote another one.
    pub fn lost_a_change(&self) -> bool {
        self.missing_changes > self.changes_margin
    }
}

impl Sagas {
    /// The book of a step, as its model declares it.
    pub fn book(&self, story: &Story, step: usize) -> Option<Book> {
        let name = &story.steps.get(step)?.name;
        self.models.find(&story.model)?.step(name)?.ledger
    }

    pub fn model_of(&self, story: &Story) -> Option<&Model> {
        self.models.find(&story.model)
    }

    /// The step that has an effect in a book.
    pub fn step_of(&self, story: &Story, book: Book) -> Option<usize> {
        (0..story.steps.len()).find(|step| self.book(story, *step) == Some(book))
    }

    /// Every product whose stock can be compared with its reservations.
    pub fn residues(&self) -> Vec<Residue> {
        if !self.known.stock || !self.known.reservations {
            return Vec::new();
        }
        // A reading counts once other ledgers were read well after it: then what it depends on was, too.
        let last = self
            .ledgers_read
            .values()
            .max()
            .copied()
            .unwrap_or(Nanos(0));
        let mut counted: Vec<&Stock> = Vec::new();
        for stock in &self.stock {
            if stock.seen.saturating_add(ROUND) > last {
                continue;
            }
            match counted.last_mut() {
                Some(known) if known.product == stock.product => *known = stock,
                _ => counted.push(stock),
            }
        }
        counted
            .into_iter()
            .map(|stock| self.residue(stock))
            .collect()
    }

    fn residue(&self, stock: &Stock) -> Residue {
        let mut residue = Residue {
            product: stock.product.clone(),
            at: stock.seen,
            reserved: stock.reserved,
            held: 0,
            margin: 0,
            released: 0,
            missing_changes: 0,
            changes_margin: 0,
        };
        let mut changes = 0;
        for story in &self.stories {
            let begun = story.created;
            for row in story
                .reservations
                .iter()
                .filter(|row| row.product == stock.product)
            {
                let near = row.updated.0.abs_diff(stock.seen.0) <= SKEW;
                let is_held = row.status == "HELD";
                if row.updated <= stock.seen {
                    residue.held += if is_held { row.quantity } else { 0 };
                    residue.released += u64::from(row.status == "RELEASED");
                    changes += if is_held { 1 } else { 2 };
                } else if !is_held && begun.saturating_add(MAKING) < stock.seen {
                    residue.held += row.quantity;
                    changes += 1;
                } else if begun < stock.seen.saturating_add(SKEW) {
                    residue.margin += row.quantity;
                    residue.changes_margin += 2;
                }
                if near {
                    residue.margin += row.quantity;
                    residue.changes_margin += 2;
                }
            }
        }
        // The first version is 1. Where somebody adjusted the stock, nobody knows how often.
        if stock.adjustments == 0 {
            residue.missing_changes = 1 + changes - stock.version;
        }
        residue
    }
}

impl Story {
    /// Lines of the reservation that are still held.
    pub fn held(&self) -> impl Iterator<Item = &Reservation> {
        self.reservations.iter().filter(|row| row.status == "HELD")
    }

    /// Payments that took money, whatever became of it later.
    pub fn charged(&self) -> impl Iterator<Item = &Payment> {
        self.payments.iter().filter(|payment| {
            let took = |status: &str| {
                matches!(
                    status,
                    "COMPLETED" | "REFUNDING" | "REFUNDED" | "REFUND_FAILED"
                )
            };
            took(&payment.status) || payment.was.iter().any(|status| took(status))
        })
    }

    pub fn ships(&self) -> bool {
        self.shipments
            .iter()
            .any(|row| !matches!(row.status.as_str(), "CANCELLED" | "ABSENT"))
    }
}
