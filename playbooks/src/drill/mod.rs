//! Drills: incidents whose answer is kept from the person, how hard they are, and how an attempt is graded.
//!
//! Pure: which incidents make a drill follows from a level and a seed, a grade from what was answered and cited. Shops
//! are started, and secrets kept, by the command line.

mod choose;
mod grade;
mod hints;

pub use choose::{Drill, Missing, choose, distance};
pub use grade::{Answered, Cited, Grade, Reference, Truth, bears, grade};
pub use hints::hints;

/// How hard a drill is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Level(u8);

impl Level {
    pub const LOWEST: u8 = 1;
    pub const HIGHEST: u8 = 5;

    pub fn new(level: u8) -> Option<Level> {
        (Level::LOWEST..=Level::HIGHEST)
            .contains(&level)
            .then_some(Level(level))
    }

    pub fn number(self) -> u8 {
        self.0
    }

    /// What makes it as hard as it is.
    pub fn about(self) -> &'static str {
        match self.0 {
            1 => "the cause shows where the symptom is",
            2 => "the cause lies away from the symptom",
            3 => "far away, and something harmless looks odd as well",
            4 => "two faults at once",
            _ => "far away, something harmless looks odd, and a signal is missing",
        }
    }
}
